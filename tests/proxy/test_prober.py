"""The prober: what may become READY, what may be asked again, what never."""

from __future__ import annotations

import asyncio
import hashlib
import hmac

import pytest
from aiohttp import web

from minihub.config import parse_settings
from minihub.errors import UpstreamError, UpstreamUnsafe
from minihub.proxy.pool import Pools, make_rules
from minihub.proxy.prober import Prober
from minihub.proxy.question import get
from minihub.schedulers.base import Endpoint
from minihub.servers.model import Route, Secrets
from minihub.tasks import TaskKeeper
from tests.proxy.kit import make_tls, serve

PLAIN = Secrets("upstream-token", "report-secret")


def proof(secret, nonce):
    return hmac.new(secret.encode(), nonce.encode(), hashlib.sha256).hexdigest()


class Jupyter:
    """What the prober meets: each answer can be changed."""

    def __init__(self):
        self.asked = []
        self.fields = []
        self.connections = set()
        self.secret = "report-secret"
        self.answers = {"api": (200, "{}"), "api/contents": (403, "no")}
        self.wait = 0.0
        self.app = web.Application()
        self.app.router.add_get("/user/alice/{path:.*}", self.answer)

    async def answer(self, request):
        path = request.match_info["path"]
        self.asked.append(request.raw_path.removeprefix("/user/alice/").partition("nonce=")[0])
        self.fields += [f"{k}: {v}" for k, v in request.headers.items()]
        self.connections.add(id(request.transport))
        await asyncio.sleep(self.wait)
        if path == "minihub-proof" and path not in self.answers:
            return web.Response(text=proof(self.secret, request.query["nonce"]) + "\n")
        status, text = self.answers[path]
        return web.Response(
            status=status, text=text, headers={"Location": "/elsewhere"} if 300 <= status < 400 else {}
        )


@pytest.fixture
def jupyter():
    return Jupyter()


@pytest.fixture
async def pools():
    keeper = TaskKeeper()
    made = Pools(keeper, make_rules(parse_settings({})))
    yield made
    await made.close()
    await keeper.close()


async def verify(pools, endpoint, secrets=PLAIN):
    prober = Prober(
        pools,
        base_path="/",
        verify_proof=lambda s, n, a: len(n) == 64 and hmac.compare_digest(proof(s, n), a),
    )
    await prober.verify(Route("alice", "a1", endpoint, secrets))


def never_told(jupyter):
    return not any("upstream-token" in line or "report-secret" in line for line in jupyter.fields)


async def test_plain(jupyter, pools):
    async with serve(jupyter) as endpoint:
        await verify(pools, endpoint)
        assert jupyter.asked == ["minihub-proof?", "api", "api/contents?content=0"]
        assert len(jupyter.connections) == 1
        assert never_told(jupyter)
        # The user's first request goes over the connection that was verified.
        pool = pools.get(Route("alice", "a1", endpoint, PLAIN))
        assert (await get(pool, "/user/alice/api", timeout_s=5))[0] == 200
        assert len(jupyter.connections) == 1


async def test_tls_proves_itself(jupyter, pools, tmp_path):
    tls = make_tls()
    async with serve(jupyter, tls=tls.server_context(tmp_path)) as endpoint:
        await verify(pools, endpoint, tls.secrets)
    assert jupyter.asked == ["api", "api/contents?content=0"]
    assert never_told(jupyter)


async def test_a_unix_socket_proves_itself(jupyter, pools, short_dir):
    async with serve(jupyter, path=short_dir / "s") as endpoint:
        await verify(pools, endpoint)
    assert jupyter.asked == ["api", "api/contents?content=0"]


async def test_somebody_elses_socket(jupyter, pools, short_dir):
    async with serve(jupyter, path=short_dir / "s") as endpoint:
        with pytest.raises(UpstreamUnsafe):
            await verify(pools, Endpoint(path=endpoint.path, uid=54321))
    assert jupyter.asked == []


async def test_somebody_elses_certificate(jupyter, pools, tmp_path):
    async with serve(jupyter, tls=make_tls().server_context(tmp_path)) as endpoint:
        with pytest.raises(UpstreamUnsafe):
            await verify(pools, endpoint, make_tls().secrets)
    assert jupyter.asked == []


@pytest.mark.parametrize(
    ("path", "answer", "asked"),
    [
        ("api/contents", (200, "{}"), 3),
        ("api/contents", (204, ""), 3),
        ("api/contents", (302, ""), 3),
        ("api", (302, ""), 2),
        ("minihub-proof", (200, "0" * 64), 1),
        ("minihub-proof", (200, ""), 1),
        ("minihub-proof", (200, "é"), 1),
        ("minihub-proof", (302, ""), 1),
        ("minihub-proof", (200, "x" * 70_000), 1),
    ],
)
async def test_unsafe_at_once(jupyter, pools, path, answer, asked):
    jupyter.answers[path] = answer
    async with serve(jupyter) as endpoint:
        with pytest.raises(UpstreamUnsafe):
            await verify(pools, endpoint)
    assert len(jupyter.asked) == asked
    assert never_told(jupyter)


async def test_a_server_of_another_attempt(jupyter, pools):
    jupyter.secret = "another"
    async with serve(jupyter) as endpoint:
        with pytest.raises(UpstreamUnsafe):
            await verify(pools, endpoint)
    assert jupyter.asked == ["minihub-proof?"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("api", 404),
        ("api", 503),
        ("api", 403),
        ("api/contents", 500),
        ("api/contents", 404),
        ("minihub-proof", 404),
    ],
)
async def test_not_yet(jupyter, pools, path, status):
    jupyter.answers[path] = (status, "")
    async with serve(jupyter) as endpoint:
        with pytest.raises(UpstreamError) as caught:
            await verify(pools, endpoint)
        assert not isinstance(caught.value, UpstreamUnsafe)
        del jupyter.answers[path]
        jupyter.answers = {"api": (200, "{}"), "api/contents": (403, "no")}
        await verify(pools, endpoint)


async def test_nobody_listens_yet(pools, unused_tcp_port):
    with pytest.raises(UpstreamError) as caught:
        await verify(pools, Endpoint(host="127.0.0.1", port=unused_tcp_port))
    assert not isinstance(caught.value, UpstreamUnsafe)


async def test_silence_has_an_end(jupyter, pools, monkeypatch):
    monkeypatch.setattr("minihub.proxy.prober.ANSWER_TIMEOUT_S", 0.2)
    jupyter.wait = 5
    async with serve(jupyter) as endpoint:
        with pytest.raises(UpstreamError, match="no answer"):
            await verify(pools, endpoint)


async def test_it_does_not_wait(jupyter, pools):
    async with serve(jupyter) as endpoint:
        started = asyncio.get_running_loop().time()
        await verify(pools, endpoint)
        assert asyncio.get_running_loop().time() - started < 0.25
