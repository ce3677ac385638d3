"""One look a second for all admins who watch."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from minihub.clock import ManualClock
from minihub.servers.model import State
from minihub.tasks import TaskKeeper
from minihub.web.live import Live
from tests.web.fakes import NOW, FakeServers, make_attempt

SOON_S = 10


@pytest.fixture
async def keeper():
    keeper = TaskKeeper()
    yield keeper
    await keeper.close()


@pytest.fixture
def servers():
    servers = FakeServers()
    servers.looks = 0
    everybody = servers.all

    def counted():
        servers.looks += 1
        return everybody()

    servers.all = counted
    return servers


@pytest.fixture
def live(servers, keeper):
    return Live(servers, ManualClock(NOW), keeper, look_s=0.01)


async def test_what_has_not_changed_is_the_very_same(live, servers):
    servers.attempts = {"ada": make_attempt(), "bob": make_attempt(user="bob")}
    ada, bob = live.entries()
    servers.attempts["bob"] = make_attempt(State.STOPPING, "bob")
    again, other = live.entries()

    assert again is ada
    assert other is not bob


async def test_activity_is_told_to_the_minute(live, servers):
    servers.attempts["ada"] = make_attempt()
    servers.active["ada"] = NOW + 5
    (first,) = live.entries()
    servers.active["ada"] = NOW + 50
    (same,) = live.entries()
    servers.active["ada"] = NOW + 65
    (other,) = live.entries()

    assert first.last_activity == NOW
    assert same is first
    assert other.last_activity == NOW + 60


async def test_all_who_watch_are_told_by_the_same_looks(live, servers):
    async def told(watcher):
        async with asyncio.timeout(SOON_S):
            return await watcher.changed(SOON_S)

    with live.watch() as one, live.watch() as another:
        assert live.watchers == 2
        servers.attempts["ada"] = make_attempt()
        assert await told(one)
        assert await told(another)
        assert [entry.attempt.user for entry in live.seen()] == ["ada"]
        servers.attempts["ada"] = make_attempt(State.STOPPED)
        assert await told(one)
        assert live.seen() == []


async def test_what_another_page_saw_first_is_told_all_the_same(live, servers):
    with live.watch() as watcher:
        servers.attempts["ada"] = make_attempt()
        live.entries()
        assert await watcher.changed(SOON_S)


async def test_an_outage_is_told(live, servers):
    with live.watch() as watcher:
        servers.scheduler_health = replace(servers.scheduler_health, failing_since=NOW)
        assert await watcher.changed(SOON_S)


async def test_nobody_is_told_of_nothing(live, servers):
    servers.attempts["ada"] = make_attempt()
    with live.watch() as watcher:
        assert await watcher.changed(SOON_S)
        looks = servers.looks
        assert not await watcher.changed(0.1)
        assert servers.looks > looks


async def test_it_looks_only_while_somebody_watches(live, servers, keeper):
    with live.watch():
        assert len(keeper) == 1
    async with asyncio.timeout(SOON_S):
        while len(keeper):
            await asyncio.sleep(0.01)
    with live.watch() as watcher:
        servers.attempts["ada"] = make_attempt()
        assert await watcher.changed(SOON_S), "it begins again for the next one"
