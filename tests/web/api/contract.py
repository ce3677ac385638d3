"""A real `minihub serve` with the local scheduler, and schemathesis, which asks it everything that its description allows.

    scripts/api-contract [--examples 100] [--seed 1] [--as admin user nobody]

test_contract.py does the same with few examples.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from tests.chaos.standin import install_jupyter
from tests.e2e.kit import Hub, local_settings, merge
from tests.helper.machine import Machine, end_machine, make_machine

ADMIN, USER, OTHER = "mh-user1", "mh-user2", "mh-user3"
NOTE = "note-of-the-other"
"""Stands in what only OTHER, and admins, may see."""
NAMES = {
    # Not himself: he would end his own token.
    "admin": (USER, OTHER, "mh-user4", "mh-user5", "no-such-user"),
    "user": (USER, OTHER, ADMIN, "no-such-user"),
    "nobody": (USER, "no-such-user"),
}
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
    "allow_header_conformance",
    "ignored_auth",
    "missing_required_header",
)


@contextlib.contextmanager
def real_hub(machine: Machine) -> Iterator[Hub]:
    """A running hub of this machine, whose people are those of `tests/helper/machine.py`."""
    directory = machine.base / "hub"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(mode=0o755)
    install_jupyter(directory / "jupyter")
    enter = ("nsenter", f"--mount=/proc/{machine.keeper.pid}/ns/mnt")
    hub = Hub(directory, {}, prefix=enter)
    places = {
        "state_dir": str(directory / "state"),
        "runtime_dir": str(directory / "run"),
        "run_as": "mh-hub",
    }
    mine = {
        "hub": places,
        "auth": {"admin_users": [ADMIN]},
        "jupyter": {"bin_dir": str(directory / "jupyter")},
    }
    hub.change(**merge(local_settings(), mine))
    try:
        yield hub.start()
    finally:
        hub.end()


def tokens(hub: Hub) -> dict[str, str]:
    """By kind of asker; OTHER has one too, with a note that nobody else may see."""
    hub.command("tokens", "create", "--user", OTHER, "--note", NOTE)
    return {"admin": hub.token(ADMIN, "admin"), "user": hub.token(USER, "self"), "nobody": ""}


def describe(hub: Hub, names: Sequence[str]) -> dict[str, Any]:
    """The hub's description of its API, in which users have these names."""
    with urllib.request.urlopen(f"{hub.url}/hub/api/openapi.json", timeout=20) as answer:
        document: dict[str, Any] = json.load(answer)
    for methods in document["paths"].values():
        for operation in methods.values():
            for parameter in operation["parameters"]:
                if parameter["in"] == "path" and parameter["name"] == "name":
                    parameter["schema"] = {"type": "string", "enum": list(names)}
    return document


def run(
    hub: Hub, asker: str, token: str, report: Path, *, examples: int, seed: int, phases: str, workers: int = 1
) -> subprocess.CompletedProcess[str]:
    """Run schemathesis over all but /shutdown; `report` is an empty directory for what was sent and answered."""
    schema = report / "openapi.json"
    schema.write_text(json.dumps(describe(hub, NAMES[asker])))
    words = [
        *(str(Path(sys.executable).with_name("schemathesis")), "run", str(schema)),
        *("--url", f"{hub.url}/hub/api", "--exclude-path", "/shutdown", "--checks", ",".join(CHECKS)),
        *("--max-examples", str(examples), "--seed", str(seed), "--phases", phases),
        *("--generation-database", "none", "--workers", str(workers)),
        *("--request-timeout", "10", "--no-color", "--continue-on-failure", "--output-truncate", "false"),
        *("--report", "ndjson", "--report-ndjson-path", str(report / "events.ndjson")),
    ]
    if token:
        words += ["--header", f"Authorization: token {token}"]
    return subprocess.run(words, capture_output=True, text=True, check=False, cwd=report)


@dataclass(frozen=True)
class Exchange:
    """One request and its answer."""

    asked: str
    """Method, URL and body."""
    status: int
    answer: str


def exchanges(report: Path) -> Iterator[Exchange]:
    """All that was asked and answered in a run."""
    for line in (report / "events.ndjson").read_text().splitlines():
        event = json.loads(line)
        for one in event.get("ScenarioFinished", {}).get("recorder", {}).get("interactions", {}).values():
            if one["response"] is not None:
                sent, got = one["request"], one["response"]
                asked = f"{sent['method']} {unquote(sent['uri'])} {_text(sent.get('body'))}"
                yield Exchange(asked, got["status_code"], _text(got.get("content")))


def _text(body: dict[str, str] | None) -> str:
    return base64.b64decode(body["$base64"]).decode(errors="replace") if body else ""


def leaks(report: Path) -> list[Exchange]:
    """Answers to a user or to nobody that tell what is OTHER's, or whether he exists."""
    found = list(exchanges(report))
    assert len(found) > 30
    paths = f"/users/{OTHER}"
    return [
        one
        for one in found
        if NOTE in one.answer
        or (OTHER in one.answer and OTHER not in one.asked)
        or (paths in one.asked and one.status < 400)
    ]


def main() -> int:
    """Run long, as each kind of asker."""
    parser = argparse.ArgumentParser(
        prog="scripts/api-contract", description="Fuzz the REST API of a real hub."
    )
    parser.add_argument("--examples", type=int, default=100, help="per endpoint")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--as", dest="askers", nargs="+", choices=list(NAMES), default=list(NAMES))
    parser.add_argument("--phases", default="coverage,fuzzing,stateful")
    parser.add_argument("--reports", type=Path, default=Path("api-contract"), help="directory for reports")
    options = parser.parse_args()
    machine = make_machine()
    worst = 0
    try:
        with real_hub(machine) as hub:
            for asker in options.askers:
                report = options.reports.resolve() / asker
                shutil.rmtree(report, ignore_errors=True)
                report.mkdir(parents=True)
                done = run(
                    hub,
                    asker,
                    tokens(hub)[asker],
                    report,
                    examples=options.examples,
                    seed=options.seed,
                    phases=options.phases,
                )
                print(f"==== as {asker}: exit {done.returncode}\n{done.stdout}{done.stderr}", flush=True)
                worst = max(worst, done.returncode)
                for leak in leaks(report) if asker != "admin" else []:
                    print(f"{asker} saw what is {OTHER}'s: {leak}")
                    worst = 1
            (options.reports / "log").write_text(hub.log)
            worst = max(worst, int("Traceback" in hub.log))
    finally:
        end_machine(machine)
    return worst


if __name__ == "__main__":
    raise SystemExit(main())
