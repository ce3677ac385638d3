"""Short questions to a server that answers as it is told."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from minihub.errors import UpstreamError, UpstreamUnsafe
from minihub.proxy.dialing import Dialer
from minihub.proxy.pool import Pool, Rules
from minihub.proxy.question import MAX_ANSWER, get
from minihub.schedulers.base import Endpoint
from minihub.servers.model import Route, Secrets
from minihub.tasks import TaskKeeper
from tests.proxy.kit import until

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


class Server:
    """Answers each request with the next of `answers`; None: never. An empty rest hangs up."""

    def __init__(self, *answers, hang_up=False):
        self.answers = list(answers)
        self.hang_up = hang_up
        self.heads = []
        self.connections = 0
        self.open = 0

    async def talk(self, reader, writer):
        self.connections += 1
        self.open += 1
        try:
            while True:
                self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
                answer = self.answers.pop(0) if self.answers else b""
                if answer is not None:
                    writer.write(answer)
                    if not answer or self.hang_up:
                        break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open -= 1
            writer.close()


@asynccontextmanager
async def running(*answers, **how):
    server, keeper = Server(*answers, **how), TaskKeeper()
    listening = await asyncio.start_server(server.talk, "127.0.0.1", 0)
    host, port = listening.sockets[0].getsockname()
    route = Route("alice", "a1", Endpoint(host=host, port=port), Secrets("t", "r"))
    rules = Rules(base_path="/", own_cookies=frozenset(), dial_timeout_s=5)
    pool = Pool(route, Dialer(route, None, timeout_s=5), keeper, rules)
    try:
        yield pool, server
    finally:
        await pool.close()
        await until(lambda: not server.open)
        listening.close()
        await keeper.close()


async def ask(pool, target="/x", timeout_s=5, **more):
    return await get(pool, target, timeout_s=timeout_s, **more)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (OK, (200, b"hello")),
        (b"HTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\nno", (404, b"no")),
        (b"HTTP/1.1 204 Empty\r\n\r\n", (204, b"")),
        (b"HTTP/1.1 302 Go\r\nLocation: /y\r\nContent-Length: 0\r\n\r\n", (302, b"")),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n", (200, b"hello")),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, (200, b"hello")),
        (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK, (200, b"hello")),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100_000, (200, b"x" * 100_000)),
    ],
)  # fmt: skip
async def test_status_and_body(answer, expected):
    async with running(answer) as (pool, _):
        assert await ask(pool) == expected


async def test_an_answer_that_ends_with_the_connection():
    async with running(b"HTTP/1.1 200 OK\r\n\r\nhello", hang_up=True) as (pool, _):
        assert await ask(pool) == (200, b"hello")


async def test_a_stranger_shows_no_token():
    async with running(OK) as (pool, server):
        await ask(pool, "/user/alice/api?a=%20b")
    assert server.heads == ["GET /user/alice/api?a=%20b HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n"]


async def test_the_token_opens():
    async with running(OK) as (pool, server):
        await ask(pool, token="secret")
    assert server.heads[0].count("Authorization: token secret\r\n") == 1


async def test_questions_go_over_one_connection():
    async with running(OK, OK, OK) as (pool, server):
        for _ in range(3):
            assert await ask(pool) == (200, b"hello")
        assert server.connections == 1


async def test_questions_at_once_go_over_several():
    async with running(OK, OK, OK) as (pool, server):
        assert await asyncio.gather(*(ask(pool) for _ in range(3))) == [(200, b"hello")] * 3
        assert server.connections == 3


async def test_no_answer_in_time():
    async with running(None, OK) as (pool, server):
        with pytest.raises(UpstreamError) as caught:
            await ask(pool, "/x?token=secret", timeout_s=0.1)
        assert not isinstance(caught.value, UpstreamUnsafe)
        assert caught.value.detail == "/x: no answer in 0.1 s"
        assert pool.take() is None, "its late answer must meet nobody's question"
        await until(lambda: not server.open)
        assert await ask(pool) == (200, b"hello")
        assert server.connections == 2


async def test_who_is_cancelled_leaves_no_connection_behind():
    async with running(None) as (pool, server):
        asking = asyncio.create_task(ask(pool))
        await until(lambda: server.heads)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert pool.take() is None
        await until(lambda: not server.open)


async def test_a_server_that_hangs_up():
    async with running() as (pool, _):
        with pytest.raises(UpstreamError) as caught:
            await ask(pool)
        assert not isinstance(caught.value, UpstreamUnsafe)


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n",
    ],
)
async def test_what_is_no_answer(answer):
    async with running(answer) as (pool, _):
        with pytest.raises(UpstreamError):
            await ask(pool)
        assert pool.take() is None


async def test_an_answer_that_breaks_off():
    async with running(OK[:-1], hang_up=True) as (pool, _):
        with pytest.raises(UpstreamError):
            await ask(pool)


async def test_an_answer_may_be_so_long_and_no_longer():
    def long(size):
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size

    async with running(long(MAX_ANSWER), long(MAX_ANSWER + 1)) as (pool, _):
        assert len((await ask(pool))[1]) == MAX_ANSWER
        with pytest.raises(UpstreamUnsafe):
            await ask(pool)


async def test_an_endless_answer_is_given_up():
    endless = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n" + b"x" * 2 * MAX_ANSWER
    async with running(endless) as (pool, server):
        with pytest.raises(UpstreamUnsafe):
            await ask(pool)
        await until(lambda: not server.open)
        assert pool.take() is None
