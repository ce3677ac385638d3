"""The plots' page."""

from __future__ import annotations

import re

import pytest

from minihub.errors import StoreError
from minihub.servers import explain
from minihub.servers.model import FailureKind, State
from tests.web.fakes import NOW, make_attempt


async def get(admin, query="", **headers):
    answer = await admin.get(f"/hub/admin/trends{query}", **headers)
    assert answer.status == 200
    return await answer.text()


def past(count, *, every_s=600.0, **changes):
    for n in range(count):
        created = NOW - n * every_s
        yield make_attempt(
            State.STOPPED,
            id=f"{n:012x}",
            created_at=created,
            started_at=created + 60,
            ready_at=created + 70,
            ended_at=created + 900,
            **changes,
        )


async def test_nothing_yet(admin):
    text = await get(admin)

    assert text.count("Nothing yet.") == 4
    assert "<svg" not in text


@pytest.mark.parametrize("span", ["", "?span=day", "?span=week"])
async def test_each_plot_has_words_and_a_table(admin, span):
    admin.world.servers.ended = list(past(300))
    text = await get(admin, span)

    assert text.count('<svg class="plot"') == text.count("<title>") - 1 == text.count("<desc>") == 3
    assert text.count("The same as a table") == 3
    assert "Running: at most 2, from" in text
    assert "Median: at most 1 min" in text
    assert text.count("Nothing yet.") == 1, "no start has failed"
    assert " style=" not in text


async def test_failed_starts_by_cause_in_the_readers_language(admin):
    queued = make_attempt(State.QUEUED)
    failed = queued.with_(state=State.FAILED, failure=explain.spawn_timeout(queued, 300), ended_at=NOW - 60)
    admin.world.servers.ended = [failed]
    text = await get(admin, **{"Accept-Language": "fr"})

    assert "Trop longtemps en file d\N{RIGHT SINGLE QUOTATION MARK}attente" in text
    assert 'class="bar c0"' in text


async def test_rare_causes_share_a_colour(admin):
    queued = make_attempt(State.QUEUED)
    kinds = list(FailureKind)[:8]
    admin.world.servers.ended = [
        queued.with_(
            id=f"{place}-{n}", state=State.FAILED, ended_at=NOW - 60, failure=explain.Failure(kind, "x")
        )
        for place, kind in enumerate(kinds)
        for n in range(10 - place)
    ]
    text = await get(admin)
    legend = re.findall(r'<span class="key c(\d)"[^>]*></span> ([^<]+)</li>', text)

    assert [int(colour) for colour, _ in legend[-6:]] == list(range(6))
    assert legend[-1][1] == "Other causes"


async def test_a_span_that_is_none(admin):
    assert (await admin.get("/hub/admin/trends?span=year")).status == 404


async def test_a_store_that_cannot_be_read_is_said(admin):
    async def fail(_):
        raise StoreError

    admin.world.servers.past = fail

    assert (await admin.get("/hub/admin/trends")).status == 503
