"""The way from the public address, through a real nginx that is set up well, and wrongly in every way that sites know.

One hub (the real front door and pages, the rest fakes) and one nginx; each of its ports is another mistake.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import aiohttp
import pytest
from aiohttp import web

from minihub.auth import probe_keys
from minihub.checks.bench import Wish
from minihub.checks.model import run_hops
from minihub.checks.run import _public_hops
from minihub.clock import SystemClock
from minihub.config import parse_settings
from minihub.places import admin_socket as socket_path
from minihub.proxy.front import FrontDoor
from minihub.proxy.hub_app import RUNNER_OPTIONS, HubApp
from minihub.proxy.pool import Pools, make_rules
from minihub.store.keys import load_keys
from minihub.tasks import TaskKeeper
from minihub.web.app import build_app
from minihub.web.local import admin_socket
from tests.checks.nginx import free_ports, nginx
from tests.web.fakes import make_world

HOPS = ("public URL", "forwarded headers", "websocket", "silent websocket", "event stream")


@contextlib.asynccontextmanager
async def running_hub(folder, **hub):
    """The front door and the pages, on TCP and on the admin socket."""
    settings = parse_settings({"hub": {"state_dir": str(folder), **hub}})
    clock = SystemClock()
    world = make_world({"hub": hub})
    secret = load_keys(folder).derive(probe_keys.PURPOSE)
    app = build_app(replace(world.deps, clock=clock, probe_secret=secret))
    keeper = TaskKeeper()
    pools = Pools(keeper, make_rules(settings))
    door = FrontDoor(
        servers=world.servers, identity=world.identity, settings=settings, pools=pools, keeper=keeper
    )
    runner = web.AppRunner(app, shutdown_timeout=1, **RUNNER_OPTIONS)
    await runner.setup()
    try:
        async with admin_socket(socket_path(folder), runner.server):
            port = await door.listen(HubApp(runner), "127.0.0.1", 0)
            yield SimpleNamespace(
                port=port, settings=settings, folder=folder, clock=clock, door=door, runner=runner
            )
            await door.close(1)
    finally:
        await runner.cleanup()
        await pools.close()
        await keeper.close()
        assert keeper.crashes == 0
        assert len(door) == 0, "a connection was left behind"


async def check(hub, url="", *, idle_s=0.2, settings=None, but=()):
    """Hop -> its result; `but`: not these, which take their time."""
    async with contextlib.AsyncExitStack() as stack:
        bench = SimpleNamespace(
            settings=settings or hub.settings,
            wish=Wish(url=url, idle_s=idle_s),
            clock=SystemClock(),
            stack=stack,
            ground=SimpleNamespace(state_dir=hub.folder),
        )
        hops = [hop for hop in _public_hops(bench) if hop.name not in but]
        results = await run_hops(hops, lambda _: None)
        return {result.hop: result for result in results}


@pytest.fixture(scope="module")
def folder():
    path = Path(tempfile.mkdtemp(prefix="mhf-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
async def hub(folder):
    async with running_hub(folder, trusted_proxies=["127.0.0.1"]) as hub:
        yield hub


@pytest.fixture
async def fronts(hub, folder):
    async with nginx(folder, hub.port) as urls:
        yield urls


def only_failure(results, hop, said, cure):
    assert {name: result.ok for name, result in results.items() if result.ok is False} == {hop: False}, (
        results
    )
    assert said in results[hop].detail, results[hop]
    assert cure in results[hop].cure, results[hop]


async def test_set_up_well(hub, fronts):
    results = await check(hub, fronts["good"])
    assert {name: result.ok for name, result in results.items()} == dict.fromkeys(HOPS, True)
    assert "leads to this hub" in results["public URL"].detail
    assert "browsers have an address of their own" in results["forwarded headers"].detail
    assert results["forwarded headers"].cure == ""
    assert "--idle 120" in results["silent websocket"].cure


async def test_without_a_front_proxy(hub):
    results = await check(hub, f"http://127.0.0.1:{hub.port}/hub/", but=["event stream"])
    assert {name: result.ok for name, result in results.items()} == dict.fromkeys(HOPS[:-1], True)
    assert "straight to the hub" in results["public URL"].detail
    assert "nothing stands in front" in results["forwarded headers"].detail


async def test_nginx_as_one_types_it_first(hub, fronts):
    results = await check(hub, fronts["plain"], but=["event stream"])
    failed = {name for name, result in results.items() if result.ok is False}
    assert failed == {"forwarded headers", "websocket"}
    assert "Host says" in results["forwarded headers"].cure
    assert "speaks HTTP/1.0" in results["websocket"].detail
    assert "proxy_http_version 1.1" in results["websocket"].cure
    assert results["silent websocket"].detail == "needs: websocket"


async def test_each_mistake_is_named_with_its_cure(hub, fronts):
    """One nginx and one hub for all of them: a start each would take longer than all checks."""
    for name, hop, said, cure in (
        ("http10", "websocket", "speaks HTTP/1.0", "proxy_http_version 1.1"),
        ("no_upgrade", "websocket", "does not pass Upgrade on", "upgrade=websocket"),
        (
            "upgrade_alone",
            "websocket",
            "not the rest of it, such as Connection: upgrade",
            "$minihub_connection",
        ),
        ("refuses", "websocket", "answers the handshake of a websocket with 403 itself", "traefik"),
        (
            "wrong_proto",
            "forwarded headers",
            "believes that they come to https://",
            "X-Forwarded-Proto $scheme",
        ),
        ("wrong_host", "forwarded headers", "http://hub.internal", "ProxyPreserveHost On"),
        (
            "wrong_port",
            "public URL",
            "answers 502: it does not reach the hub",
            "It has to go to 127.0.0.1:8000",
        ),
        ("wrong_path", "public URL", "another path of this one", "without a path behind the"),
        ("redirect", "public URL", "leads on to https://hub.example.org/hub/probe", "hub.public_url"),
        ("other_site", "public URL", "Welcome to nginx!", "configs/nginx.conf"),
    ):
        only_failure(await check(hub, fronts[name], but=["event stream"]), hop, said, cure)


async def test_events_that_are_held_back(hub, fronts):
    only_failure(
        await check(hub, fronts["held_back"]),
        "event stream",
        "collects events",
        "no gzip for text/event-stream",
    )


async def test_silence_that_is_cut_off(hub, fronts):
    results = await check(hub, fronts["short_silence"], idle_s=10)
    assert results["silent websocket"].ok is False
    assert "is ended after 1 s" in results["silent websocket"].detail
    assert "proxy_read_timeout 1d" in results["silent websocket"].cure
    # Its events come 1.2 s apart.
    assert results["event stream"].ok is False
    assert "an event stream" in results["event stream"].detail
    assert "proxy_read_timeout 1d" in results["event stream"].cure


async def test_addresses_that_are_missing_or_not_believed(hub, fronts):
    results = await check(hub, fronts["no_address"], but=["event stream"])
    assert results["forwarded headers"].ok is True
    assert "X-Forwarded-For is missing" in results["forwarded headers"].cure


async def test_a_front_proxy_that_the_settings_do_not_name(folder):
    async with running_hub(folder) as hub, nginx(folder, hub.port) as fronts:
        only_failure(
            await check(hub, fronts["good"], but=["event stream"]), "forwarded headers", "127.0.0.1 is not in hub.trusted_proxies",
            'Set hub.trusted_proxies = ["127.0.0.1"]',
        )  # fmt: skip


async def test_with_a_public_url_wrong_headers_do_no_harm_but_are_named(folder):
    [port] = free_ports(1)
    public = f"http://127.0.0.1:{port}"
    async with (
        running_hub(folder, trusted_proxies=["127.0.0.1"], public_url=public) as hub,
        relay(port, hub.port),
    ):
        results = await check(hub, but=["event stream"])
        assert "leads to this hub" in results["public URL"].detail
        headers = results["forwarded headers"]
        assert headers.ok is True, headers
        assert "X-Forwarded-For is missing" in headers.cure
        # A second address, which the settings do not name: forms from there are refused.
        async with nginx(folder, hub.port) as fronts:
            only_failure(
                await check(hub, fronts["good"], but=["event stream"]), "forwarded headers", f"believes that they come to {public}",
                "set it to what users type",
            )  # fmt: skip


@contextlib.asynccontextmanager
async def relay(port, to):
    """A front proxy that knows nothing of HTTP, such as a load balancer."""

    async def pump(reader, writer):
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader, writer):
        there, back = await asyncio.open_connection("127.0.0.1", to)
        await asyncio.gather(pump(reader, back), pump(there, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", port)
    yield
    server.close()


async def test_nobody_there(hub):
    [port] = free_ports(1)
    only_failure(
        await check(hub, f"http://127.0.0.1:{port}"),
        "public URL",
        "nobody answers at",
        "Does the front proxy run",
    )
    only_failure(await check(hub, "http://no-such-host.invalid"), "public URL", "knows no such host", "DNS")
    only_failure(await check(hub, "hub.example.org"), "public URL", "no http(s) URL", "hub.public_url")


async def test_without_a_running_hub_nothing_is_tested(folder):
    hub = SimpleNamespace(folder=folder, settings=parse_settings({}))
    results = await check(hub)
    assert {name: result.ok for name, result in results.items()} == dict.fromkeys(HOPS)
    assert "no hub runs here" in results["public URL"].detail


async def test_without_a_public_url_the_hubs_own_address_is_tried(hub):
    settings = parse_settings({"hub": {"port": hub.port, "host": "127.0.0.1"}})
    results = await check(hub, settings=settings, but=["event stream"])
    assert {name: result.ok for name, result in results.items()} == dict.fromkeys(HOPS[:-1], True)
    assert "hub.public_url is not set" in results["public URL"].cure
    results = await check(hub, settings=parse_settings({"hub": {"port": 0}}))
    assert "where the hub listens is not known" in results["public URL"].detail


# ---- the probe ------------------------------------------------------------------------------------------------------


async def test_the_probe_is_for_who_can_make_a_key(hub):
    good = probe_keys.make_key(load_keys(hub.folder).derive("probe"), hub.clock.wall())
    old = probe_keys.make_key(load_keys(hub.folder).derive("probe"), hub.clock.wall() - 3600)
    other = probe_keys.make_key(b"another hub's", hub.clock.wall())
    until, _, signature = good.partition(".")
    longer = f"{int(until) + 10**6}.{signature}"
    base = f"http://127.0.0.1:{hub.port}/hub/probe"
    async with aiohttp.ClientSession() as client:
        for key in ("", "x", ".", "é", old, other, longer, f"{until}.", good.upper()[:-1]):
            async with client.get(base, params={"key": key}) as answer:
                assert answer.status == 403, key
            with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
                await client.ws_connect(f"{base}?key={key}")
        async with client.get(base, params={"key": good}) as answer:
            assert answer.status == 200
        # No other page of the hub's is a websocket.
        for path in ("health", "login", "probe/", "api/"):
            with pytest.raises(aiohttp.WSServerHandshakeError):
                await client.ws_connect(f"http://127.0.0.1:{hub.port}/hub/{path}?key={good}")


async def test_an_open_probe_ends_with_the_hub(folder):
    async with running_hub(folder) as hub, aiohttp.ClientSession() as client:
        key = probe_keys.make_key(load_keys(folder).derive("probe"), hub.clock.wall())
        websocket = await client.ws_connect(f"http://127.0.0.1:{hub.port}/hub/probe?key={key}")
        assert (await websocket.receive_json())["http_version"] == "1.1"
        await websocket.send_str("a")
        assert await websocket.receive_str() == "a"
        await hub.door.close(1)
        assert (await websocket.receive(10)).type in (
            aiohttp.WSMsgType.CLOSED,
            aiohttp.WSMsgType.CLOSE,
            aiohttp.WSMsgType.ERROR,
        )


async def test_a_refused_handshake_leaves_nothing_behind(folder):
    async with running_hub(folder) as hub, aiohttp.ClientSession() as client:
        with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
            await client.ws_connect(f"http://127.0.0.1:{hub.port}/hub/probe?key=x")
        async with asyncio.timeout(30):
            while hub.runner.server.connections:
                await asyncio.sleep(0.01)
