"""The API of a real hub does what its description says, whoever asks and whatever is sent. Few examples; more: scripts/api-contract."""

from __future__ import annotations

import http.client
import json
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.web.api.contract import ADMIN, NAMES, OTHER, exchanges, leaks, real_hub, run, tokens

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]

EXAMPLES = {"admin": 4, "user": 3, "nobody": 1}


@pytest.fixture(scope="module")
def hub(machine):
    with real_hub(machine) as hub:
        yield hub


@pytest.fixture(scope="module")
def runs(hub, tmp_path_factory):
    """What came of each kind of asker; side by side, since schemathesis mostly waits."""
    known = tokens(hub)
    reports = {asker: tmp_path_factory.mktemp(asker) for asker in NAMES}

    def one(asker):
        return run(
            hub, asker, known[asker], reports[asker], examples=EXAMPLES[asker], seed=7, phases="fuzzing"
        )

    with ThreadPoolExecutor(len(NAMES)) as pool:
        return {
            asker: (done, reports[asker]) for asker, done in zip(NAMES, pool.map(one, NAMES), strict=True)
        }


@pytest.mark.parametrize("asker", list(NAMES))
def test_whatever_is_sent_the_answer_is_a_described_one(runs, asker):
    done, report = runs[asker]

    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    asked = {one.asked.split("?")[0].split()[0] for one in exchanges(report)}
    assert {"GET", "POST", "PATCH", "DELETE"} <= asked


def test_an_admin_reaches_everything(runs):
    """So the others' runs would show it if they could."""
    done = [one for one in exchanges(runs["admin"][1]) if one.status < 300]
    assert {one.asked.split()[0] for one in done} >= {"GET", "POST", "DELETE"}
    assert any(OTHER in one.answer for one in done)


def test_nothing_went_wrong_inside(runs, hub):
    assert "Traceback" not in hub.log


@pytest.mark.parametrize("asker", ["user", "nobody"])
def test_nobody_saw_what_is_anothers(runs, asker):
    assert leaks(runs[asker][1]) == []


def test_bodies_that_cannot_be_unpacked_are_refused(hub):
    for coding in ("gzip", "deflate", "br", "zstd"):
        connection = http.client.HTTPConnection(hub.url.partition("//")[2], timeout=20)
        words = {"Content-Type": "application/json", "Content-Encoding": coding}
        connection.request("POST", "/hub/api/report", b"\x00{}", words)
        answer = connection.getresponse()

        assert (answer.status, json.load(answer)["status"]) == (415, 415), coding
        connection.close()


def test_shutdown_is_orderly(hub, runs):
    """Last: 202, and then the process ends as by SIGTERM, with the servers left alone."""
    words = urllib.request.Request(
        f"{hub.url}/hub/api/shutdown",
        data=b"{}",
        headers={
            "Authorization": f"token {hub.token(ADMIN, 'shutdown')}",
            "Content-Type": "application/json",
        },
        method="POST",
    )
    with urllib.request.urlopen(words, timeout=20) as answer:
        assert (answer.status, "stay up" in json.load(answer)["message"]) == (202, True)
    assert hub.process.wait(20) == 0
