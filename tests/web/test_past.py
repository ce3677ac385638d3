"""What the plots are drawn from is read in pieces, and only once."""

from __future__ import annotations

import pytest

from minihub.clock import ManualClock
from minihub.servers.model import State
from minihub.web import past
from minihub.web.past import CHUNK, Past
from tests.web.fakes import NOW, FakeServers, make_attempt


class Servers(FakeServers):
    """Notes what was asked; newest first, as the store answers."""

    def __init__(self):
        super().__init__()
        self.queries = []

    async def past(self, query):
        self.queries.append(query)
        self.ended.sort(key=lambda attempt: -attempt.created_at)
        return await super().past(query)


@pytest.fixture
def servers():
    return Servers()


@pytest.fixture
def clock():
    return ManualClock(NOW)


def over(number, created, **changes):
    times = {"started_at": created + 10, "ready_at": created + 20, "ended_at": created + 100}
    return make_attempt(State.STOPPED, **{"id": f"{number:012x}", "created_at": created, **times, **changes})


async def test_it_is_read_in_pieces_and_once_a_minute(servers, clock):
    servers.ended = [over(n, NOW - n) for n in range(2 * CHUNK + 1)]
    reader = Past(servers, clock)
    for _ in range(3):
        trends, complete = await reader.trends("day")

    asked = [query.until and round(NOW - query.until) for query in servers.queries]
    assert asked == [None, CHUNK - 1, 2 * CHUNK - 2]
    assert complete
    assert trends.running[-1] == 80
    clock.advance(59)
    await reader.trends("day")
    assert len(servers.queries) == 3


async def test_two_that_began_at_the_same_moment_are_two(servers, clock):
    servers.ended = [over(n, NOW - n // 2) for n in range(4 * CHUNK)]
    reader = Past(servers, clock)
    await reader.trends("day")

    assert len(reader._lives) == 4 * CHUNK


async def test_what_is_over_is_not_read_again(servers, clock):
    servers.ended = [over(1, NOW - 9000), over(2, NOW - 5000)]
    reader = Past(servers, clock)
    await reader.trends("day")
    servers.ended.append(over(3, NOW + 90))
    clock.advance(200)
    trends, _ = await reader.trends("week")

    assert servers.queries[-1].since == NOW - past.LATE_S
    assert sum(1 for wait in trends.wait_median if wait is not None) >= 1
    assert trends.running[-1] + trends.running[-2] > 0
    assert sum(trends.failures.values(), ()) == ()


async def test_one_that_lived_is_looked_at_until_it_is_over(servers, clock):
    servers.ended = [over(1, NOW - 9000), make_attempt(State.READY, id="2" * 12, created_at=NOW - 8000, started_at=NOW - 7990,
                                                       ready_at=NOW - 7980)]  # fmt: skip
    reader = Past(servers, clock)
    before, _ = await reader.trends("day")
    servers.ended[1] = over(2, NOW - 8000, id="2" * 12, ended_at=NOW - 3700)
    clock.advance(61)
    after, _ = await reader.trends("day")

    assert servers.queries[-1].since == NOW - 8000
    assert before.running[-1] == 1
    assert after.running[-1] == 0


async def test_a_past_that_is_too_long_is_cut_and_that_is_said(servers, clock, monkeypatch):
    monkeypatch.setattr(past, "MOST", CHUNK)
    servers.ended = [over(n, NOW - n * 60) for n in range(3 * CHUNK)]
    trends, complete = await Past(servers, clock).trends("day")

    assert not complete
    assert trends.running[-1] > 0
    assert len(servers.queries) == 1


async def test_what_is_long_past_is_forgotten(servers, clock):
    servers.ended = [over(1, NOW - 100)]
    reader = Past(servers, clock)
    await reader.trends("week")
    assert len(reader._lives) == 1
    clock.advance(30 * 86400)
    await reader.trends("week")

    assert reader._lives == {}
