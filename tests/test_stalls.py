"""Stalls of the event loop are counted, and told once a minute."""

from __future__ import annotations

import time

import pytest

from minihub.stalls import StallWatch
from tests.fakes import until


@pytest.fixture
async def watch():
    watch = StallWatch()
    watch.start()
    yield watch
    watch.close()


async def test_a_blocked_loop_is_a_stall(watch):
    time.sleep(0.4)
    await until(lambda: watch.count)

    assert watch.longest_s > 0.25
    assert watch.total_s >= watch.longest_s
    assert (watch.own, watch.own_longest_s) == (0, 0.0), "it slept"


async def test_what_the_hub_computes_itself_is_told_apart(watch):
    ends = time.thread_time() + 0.3
    while time.thread_time() < ends:
        pass
    await until(lambda: watch.count)

    assert watch.own == 1
    assert watch.own_longest_s > 0.25


def test_a_short_delay_is_none():
    watch = StallWatch()
    watch.note(0.09, 0.2, 1000)

    assert (watch.count, watch.longest_s) == (0, 0.0)


def test_all_of_a_minute_are_told_in_one_line(caplog):
    watch = StallWatch()
    for now, late_s, used_s in (
        (1000, 0.2, 0.01), (1010, 0.9, 0.12), (1020, 0.3, 0.3), (1061, 0.0, 0.0), (1062, 0.0, 0.0), (1200, 0.15, 0.0),
    ):  # fmt: skip
        watch.note(late_s, used_s, now)

    assert (watch.count, watch.longest_s, watch.own, watch.own_longest_s) == (4, 0.9, 2, 0.3)
    assert [record.getMessage() for record in caplog.records] == [
        "stalls of the event loop: 1, the longest 200 ms, of which the hub itself computed 10 ms",
        "stalls of the event loop: 2, the longest 900 ms, of which the hub itself computed 120 ms",
        "stalls of the event loop: 1, the longest 150 ms, of which the hub itself computed 0 ms",
    ]
