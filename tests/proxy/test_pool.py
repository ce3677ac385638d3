"""Connections that wait for the next request."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from minihub.errors import UpstreamError
from minihub.proxy.dialing import Dialer
from minihub.proxy.pool import IDLE_S, MAX_IDLE, Pool, Pools, Rules
from minihub.proxy.question import get
from minihub.proxy.upstream import Upstream
from minihub.schedulers.base import Endpoint
from minihub.servers.model import Route, Secrets
from minihub.tasks import TaskKeeper
from tests.proxy.kit import serve, until


class Transport:
    """Of a connection that nobody is at the other end of."""

    def __init__(self):
        self.aborted = 0

    def write(self, data):
        pass

    def set_write_buffer_limits(self, high):
        pass

    def is_closing(self):
        return self.aborted > 0

    def abort(self):
        self.aborted += 1


class ScriptedDialer:
    """Dials when it is told to; with an error, it fails."""

    def __init__(self):
        self.go_on = asyncio.Event()
        self.error = None
        self.dialled = []
        self.closed = 0

    async def dial(self, factory):
        await self.go_on.wait()
        if self.error is not None:
            raise self.error
        made = factory()
        made.connection_made(Transport())
        self.dialled.append(made)
        return made

    async def close(self):
        self.closed += 1


class Now:
    """The rules' clock."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def rules():
    return Rules(base_path="/", own_cookies=frozenset({"ours"}), dial_timeout_s=5)


def route(endpoint=None, user="alice"):
    return Route(user, "a1", endpoint or Endpoint(host="127.0.0.1", port=1), Secrets("upstream-token", "r"))


@pytest.fixture
async def keeper():
    made = TaskKeeper()
    yield made
    await made.close()
    assert made.crashes == 0


@pytest.fixture
def now():
    return Now()


@pytest.fixture
async def dialer():
    return ScriptedDialer()


@pytest.fixture
async def pool(dialer, keeper, now):
    return Pool(route(), dialer, keeper, rules())


async def dial(pool, dialer, count):
    dialer.go_on.set()
    return [await pool.dial() for _ in range(count)]


@asynccontextmanager
async def real_pool(endpoint, keeper, now):
    wanted = route(endpoint)
    made = Pool(wanted, Dialer(wanted, None, timeout_s=5), keeper, rules())
    try:
        yield made
    finally:
        await made.close()


async def test_what_opens_the_server(pool):
    assert pool.authorization_end == b"Authorization: token upstream-token\r\n\r\n"


async def test_the_one_used_last_goes_first(pool, dialer):
    one, two, three = await dial(pool, dialer, 3)
    assert pool.take() is None, "those are in use"
    for upstream in (one, two, three):
        pool.released(upstream)
    assert pool.take() is three
    assert pool.take() is two
    pool.released(three)
    assert pool.take() is three
    assert pool.take() is one
    assert pool.take() is None


async def test_more_than_so_many_do_not_wait(pool, dialer):
    made = await dial(pool, dialer, MAX_IDLE + 2)
    for upstream in made:
        pool.released(upstream)
    assert [upstream.transport.aborted for upstream in made] == [0] * MAX_IDLE + [1, 1]
    taken = 0
    while pool.take() is not None:
        taken += 1
    assert taken == MAX_IDLE


async def test_what_waits_too_long_is_closed(pool, dialer, now):
    old, new, busy = await dial(pool, dialer, 3)
    pool.released(old)
    pool.sweep(now.now)
    now.now += 10
    pool.released(new)
    pool.sweep(now.now)
    pool.sweep(now.now + IDLE_S - 10.001)
    assert not old.transport.aborted
    pool.sweep(now.now + IDLE_S - 10)
    assert [u.transport.aborted for u in (old, new, busy)] == [1, 0, 0]
    pool.sweep(now.now + IDLE_S)
    assert [u.transport.aborted for u in (old, new, busy)] == [1, 1, 0]
    assert pool.take() is None


async def test_use_begins_the_wait_anew(pool, dialer, now):
    (one,) = await dial(pool, dialer, 1)
    pool.released(one)
    now.now += IDLE_S - 1
    assert pool.take() is one
    pool.released(one)
    pool.sweep(now.now + 2)
    assert pool.take() is one


async def test_what_is_lost_is_not_taken(pool, dialer):
    one, two = await dial(pool, dialer, 2)
    pool.released(one)
    pool.released(two)
    two.connection_lost(None)
    two.connection_lost(None)
    assert pool.take() is one
    one.connection_lost(ConnectionResetError())
    assert pool.take() is None


async def test_close_ends_those_in_use_too(pool, dialer):
    busy, idle = await dial(pool, dialer, 2)
    pool.released(idle)
    await pool.close()
    assert busy.transport.aborted == idle.transport.aborted == 1
    assert dialer.closed == 1
    assert pool.take() is None


async def test_what_comes_back_after_the_end_is_closed(pool, dialer):
    (one,) = await dial(pool, dialer, 1)
    await pool.close()
    pool.released(one)
    assert one.transport.aborted == 2
    assert pool.take() is None


async def test_a_dial_that_ends_after_the_end_is_none(pool, dialer):
    dialling = asyncio.create_task(pool.dial())
    await asyncio.sleep(0)
    await pool.close()
    dialer.go_on.set()
    with pytest.raises(UpstreamError, match="stopped"):
        await dialling
    assert dialer.dialled[0].transport.aborted == 1


async def test_a_dial_in_the_background_tells_how_it_went(pool, dialer):
    heard = []
    pool.dial_soon(lambda *how: heard.append(how))
    await asyncio.sleep(0)
    assert heard == []
    dialer.go_on.set()
    await until(lambda: heard)
    assert heard == [(dialer.dialled[0], None)]
    dialer.error = UpstreamError(None, "nobody there")
    pool.dial_soon(lambda *how: heard.append(how))
    await until(lambda: heard[1:])
    assert heard[1:] == [(None, dialer.error)]


async def test_a_dial_in_the_background_that_ends_after_the_end(pool, dialer):
    heard = []
    pool.dial_soon(lambda *how: heard.append(how))
    await asyncio.sleep(0)
    await pool.close()
    dialer.go_on.set()
    await until(lambda: heard)
    upstream, error = heard[0]
    assert upstream is None
    assert isinstance(error, UpstreamError)


async def test_servers_set_no_cookies_of_ours(pool):
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nSet-Cookie: ours=1\r\nSet-Cookie: a=1; Path=/\r\nX: y\r\n\r\n"
    _, built = pool.answers.read(head, "GET", unchunked=False)
    assert b"ours" not in built
    assert b"Set-Cookie: a=1; Path=/user/alice/\r\n" in built


# -- with real connections -----------------------------------------------------------------------------------


async def test_a_connection_that_the_server_closes_is_not_taken(backend, keeper, now):
    async with serve(backend) as endpoint, real_pool(endpoint, keeper, now) as pool:
        assert (await get(pool, "/user/alice/x", timeout_s=5))[0] == 200
        assert pool._idle
    await until(lambda: not pool._idle)
    assert pool.take() is None


async def test_drop_closes_the_connections(backend, keeper, now):
    pools = Pools(keeper, rules())
    async with serve(backend) as endpoint:
        pool = pools.get(route(endpoint))
        assert (await get(pool, "/user/alice/x", timeout_s=5))[0] == 200
        busy, idle = await pool.dial(), pool._idle[0]
        pools.drop("bob")
        pools.drop("alice")
        pools.drop("alice")
        await until(lambda: busy.transport.is_closing() and idle.transport.is_closing())
        assert pool.take() is None
        assert pools.get(route(endpoint)) is not pool
        await pools.close()


async def test_all_pools_are_swept_and_closed(backend, keeper, now):
    pools = Pools(keeper, rules())
    async with serve(backend) as endpoint:
        waiting = []
        for user in ("alice", "bob"):
            pool = pools.get(route(endpoint, user))
            upstream = await pool.dial()
            pool.released(upstream)
            waiting.append(upstream)
        pools.sweep(now.now)
        pools.sweep(now.now + IDLE_S - 1)
        assert not any(upstream.transport.is_closing() for upstream in waiting)
        pools.sweep(now.now + IDLE_S)
        assert all(upstream.transport.is_closing() for upstream in waiting)
        last = await pools.get(route(endpoint, "bob")).dial()
        await pools.close()
        assert isinstance(last, Upstream)
        assert last.transport.is_closing()
