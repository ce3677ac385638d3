"""Asking servers what they do: real ones, mute ones, hostile ones."""

from __future__ import annotations

import asyncio
import json

import pytest
from aiohttp import web

from minihub.config import parse_settings
from minihub.errors import UpstreamError
from minihub.proxy import usage_reader
from minihub.proxy.pool import Pools, make_rules
from minihub.proxy.usage_reader import PoolUsageReader
from minihub.schedulers.base import Endpoint
from minihub.servers.model import Route, Secrets
from minihub.servers.usage import Usage
from minihub.tasks import TaskKeeper
from tests.proxy.kit import make_tls, serve

MODEL = {"last_activity": "1970-01-01T00:01:00Z", "execution_state": "idle"}


class Jupyter:
    """Answers as the test says."""

    def __init__(self):
        self.asked = []
        self.kernels = web.json_response, [MODEL]
        self.terminals = web.json_response, []
        self.gate = None
        self.app = web.Application()
        self.app.router.add_get("/jupyter/user/alice/api/{what}", self.answer)

    async def answer(self, request):
        self.asked.append((request.raw_path, request.headers.get("Authorization")))
        if self.gate is not None:
            await self.gate.wait()
        make, what = getattr(self, request.match_info["what"])
        return make(what)


@pytest.fixture
def jupyter():
    return Jupyter()


@pytest.fixture
async def read():
    keeper = TaskKeeper()
    pools = Pools(keeper, make_rules(parse_settings({"hub": {"base_path": "/jupyter/"}})))
    reader = PoolUsageReader(pools, base_path="/jupyter/")

    def read(endpoint, secrets=None):
        return reader.read(Route("alice", "a1", endpoint, secrets or Secrets("the-token", "r")))

    yield read
    await pools.close()
    await keeper.close()


async def test_a_server_says_what_it_does_and_its_own_idle_clock_is_left_alone(jupyter, read):
    async with serve(jupyter) as endpoint:
        assert await read(endpoint) == Usage(False, 60.0)
    assert jupyter.asked == [
        ("/jupyter/user/alice/api/kernels?no_track_activity=1", "token the-token"),
        ("/jupyter/user/alice/api/terminals?no_track_activity=1", "token the-token"),
    ]


async def test_over_tls(jupyter, read, tmp_path):
    tls = make_tls()
    async with serve(jupyter, tls=tls.server_context(tmp_path)) as endpoint:
        assert await read(endpoint, tls.secrets) == Usage(False, 60.0)
        with pytest.raises(UpstreamError):
            await read(endpoint, make_tls().secrets)


async def test_a_server_without_terminals(jupyter, read):
    jupyter.terminals = (lambda _: web.Response(status=404)), None
    jupyter.kernels = web.json_response, [{**MODEL, "execution_state": "busy"}]
    async with serve(jupyter) as endpoint:
        assert await read(endpoint) == Usage(True, 60.0)


@pytest.mark.parametrize("what", ["kernels", "terminals"])
@pytest.mark.parametrize(
    "answer",
    [
        lambda _: web.Response(text="<html>log in</html>"),
        lambda _: web.Response(status=403),
        lambda _: web.Response(status=302, headers={"Location": "/elsewhere"}),
        lambda _: web.Response(status=500, text="[]"),
        lambda _: web.Response(text=json.dumps([MODEL] * 30_000)),
        lambda _: web.Response(text="[" * 10_000),
    ],
    ids=["page", "403", "302", "500", "endless", "deep"],
)
async def test_odd_answers_are_none(jupyter, read, what, answer):
    setattr(jupyter, what, (answer, None))
    async with serve(jupyter) as endpoint:
        with pytest.raises(UpstreamError):
            await read(endpoint)


async def test_no_kernels_at_all_is_no_jupyter(jupyter, read):
    jupyter.kernels = (lambda _: web.Response(status=404)), None
    async with serve(jupyter) as endpoint:
        with pytest.raises(UpstreamError):
            await read(endpoint)


async def test_a_mute_server_is_not_waited_for(jupyter, read, monkeypatch):
    monkeypatch.setattr(usage_reader, "ANSWER_TIMEOUT_S", 0.1)
    jupyter.gate = asyncio.Event()
    async with serve(jupyter) as endpoint:
        with pytest.raises(UpstreamError):
            await read(endpoint)


async def test_nobody_there(read, unused_tcp_port):
    with pytest.raises(UpstreamError):
        await read(Endpoint(host="127.0.0.1", port=unused_tcp_port))


async def test_a_connection_that_the_server_has_closed_meanwhile_is_no_doubt(jupyter, read):
    async def listen(reader, writer):
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        if len(asked) == 2:
            writer.close()  # kept alive until just now
            return
        body = b"[]"
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        if len(asked) == 1:
            await listen(reader, writer)
            return
        writer.close()

    asked = []
    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    async with server:
        endpoint = Endpoint(host="127.0.0.1", port=server.sockets[0].getsockname()[1])
        assert await read(endpoint) == Usage(False, None)
    assert len(asked) == 3
