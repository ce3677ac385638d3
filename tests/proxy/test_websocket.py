"""WebSockets through the real proxy to a real server."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from aiohttp import WSMsgType

from tests.proxy.kit import COOKIE, PATIENCE_S, run_hub, serve, stopped, until

MB = 1024 * 1024


def connect(hub, browser, path="ws", *, headers=None, **options):
    options = {"autoping": False, "autoclose": False, "max_msg_size": 0, **options}
    return browser.ws_connect(hub.url(path), headers=headers or hub.login, **options)


async def closing(ws):
    """The close frame that ends a websocket: (code, reason); None if it just broke off."""
    message = await asyncio.wait_for(ws.receive(), PATIENCE_S)
    if message.type is WSMsgType.CLOSE:
        await ws.close(code=message.data or 1000)
        return message.data, message.extra
    assert message.type in (WSMsgType.CLOSED, WSMsgType.ERROR), message
    return None


async def test_messages_pass_both_ways(served, backend, browser):
    async with connect(served, browser) as ws:
        await ws.send_str("héllo")
        assert (await ws.receive()).data == "héllo"
        await ws.send_bytes(b"\x00\xff")
        message = await ws.receive()
        assert (message.type, message.data) == (WSMsgType.BINARY, b"\x00\xff")
        await ws.send_str("")
        assert (await ws.receive()).data == ""
    assert served.servers.touched
    fields = backend.ws_headers
    assert fields["Authorization"] == "token upstream-token"
    assert fields["Origin"] == served.origin
    assert fields["Host"] == f"{served.host}:{served.port}"
    assert "Cookie" not in fields


async def test_a_huge_message_passes(served, browser):
    async with connect(served, browser) as ws:
        await ws.send_bytes(b"x" * 30 * MB)
        assert len((await ws.receive()).data) == 30 * MB


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [((), None), (("v1.kernel",), "v1.kernel"), (("x", "other"), "other"), (("x", "y"), None)],
)
async def test_the_server_chooses_the_subprotocol(served, backend, browser, offered, chosen):
    async with connect(served, browser, protocols=offered) as ws:
        assert ws.protocol == chosen
    assert [p for p in backend.ws_headers.get("Sec-WebSocket-Protocol", "").split(",") if p] == list(offered)


async def test_pings_and_pongs_pass(served, browser):
    async with connect(served, browser) as ws:
        await ws.ping(b"7")
        message = await ws.receive()
        assert (message.type, message.data) == (WSMsgType.PONG, b"pong:7")
        await ws.send_str("ping me")
        message = await ws.receive()
        assert (message.type, message.data) == (WSMsgType.PING, b"42")
        await ws.pong(message.data)
        assert (await ws.receive()).data == "pong 42"


@pytest.mark.parametrize("code", [1000, 1001, 1003, 1011, 3000, 4999])
async def test_the_servers_close_passes(served, backend, browser, code):
    async with connect(served, browser) as ws:
        await ws.send_str(f"close {code}")
        assert await closing(ws) == (code, "bye")
        assert await asyncio.wait_for(backend.closes.get(), PATIENCE_S) == code


async def test_a_close_without_code_stays_one(served, browser):
    async with connect(served, browser) as ws:
        await ws.send_str("emptyclose")
        assert await closing(ws) == (0, "")


@pytest.mark.parametrize("code", [1000, 1001, 3333])
async def test_the_browsers_close_passes(served, backend, browser, code):
    async with connect(served, browser) as ws:
        await ws.send_str("x")
        await ws.receive()
        await ws.close(code=code, message=b"done")
        assert await asyncio.wait_for(backend.closes.get(), PATIENCE_S) == (code, "done")
    await until(lambda: len(served.proxy) == 0)


@pytest.mark.parametrize("how", ["die", "fin"])
async def test_a_server_that_drops_is_no_clean_close(served, browser, how):
    async with connect(served, browser) as ws:
        await ws.send_str(how)
        assert await closing(ws) is None


async def test_a_browser_that_drops_ends_the_servers_leg(served, backend, browser):
    ws = await connect(served, browser)
    await ws.send_str("x")
    await ws.receive()
    ws._response.connection.transport.abort()
    ended = await asyncio.wait_for(backend.closes.get(), PATIENCE_S)
    assert ended is None or ended[0] == 1001
    await until(lambda: len(served.proxy) == 0)
    await ws.close()


async def test_a_slow_reader_slows_the_server(served, backend, browser):
    ws = await connect(served, browser)
    await ws.send_str("x")
    await ws.receive()
    ws._response.connection.transport.pause_reading()
    source, sent = backend.websockets[0], 0

    async def pour():
        nonlocal sent
        while sent < 200 * MB:
            await source.send_bytes(b"z" * MB)
            sent += MB

    task = asyncio.create_task(pour())
    await until(lambda: sent)
    assert await stopped(lambda: sent) < 30 * MB
    task.cancel()
    ws._response.connection.transport.abort()
    await asyncio.gather(task, return_exceptions=True)
    await ws.close()


async def status_of(hub, browser, path="ws", **headers):
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await browser.ws_connect(hub.url(path), headers=headers)
    return caught.value.status


async def test_who_gets_no_websocket(served, backend, browser):
    cookie = f"{COOKIE}=alice-cookie"
    assert await status_of(served, browser) == 403
    assert await status_of(served, browser, Cookie=cookie) == 403
    assert await status_of(served, browser, Cookie=cookie, Origin="https://evil.example") == 403
    assert await status_of(served, browser, Cookie=f"{COOKIE}=bob-cookie", Origin=served.origin) == 403
    assert await status_of(served, browser, Authorization="token nobody") == 403
    assert backend.requests == 0


async def test_a_hub_token_needs_no_origin(served, browser):
    async with connect(served, browser, headers={"Authorization": "token alice-token"}) as ws:
        await ws.send_str("x")
        assert (await ws.receive()).data == "x"
    async with connect(served, browser, "ws?token=service", headers={"X": "y"}) as ws:
        await ws.send_str("x")
        assert (await ws.receive()).data == "x"


async def test_what_the_server_refuses_is_refused(served, browser):
    assert await status_of(served, browser, "nows", **served.login) == 404


async def test_no_server(hub, browser):
    assert await status_of(hub, browser, **hub.login) == 424


async def test_a_bad_handshake_is_the_servers_to_refuse(served, browser):
    headers = {**served.login, "Upgrade": "websocket", "Connection": "Upgrade"}
    async with browser.get(served.url("ws"), headers=headers) as answer:
        assert answer.status == 400
    async with browser.get(served.url("x"), headers=served.login) as answer:
        assert answer.status == 200


@pytest.mark.parametrize("by", ["user", "login"])
async def test_open_ones_end_at_once(served, backend, browser, by):
    async with connect(served, browser) as ws, connect(served, browser) as other:
        await ws.send_str("x")
        await ws.receive()
        assert served.proxy.close_user("bob") == served.proxy.close_login("bob-login") == 0
        ended = served.proxy.close_user("alice") if by == "user" else served.proxy.close_login("alice-login")
        assert ended == 2
        # No close frame: to JupyterLab that means "come back", where 1000 and 1001 would mean "it is over".
        assert await closing(ws) is None
        assert await closing(other) is None
        assert await asyncio.wait_for(backend.closes.get(), PATIENCE_S) is None


async def test_they_end_even_while_nobody_reads(served, backend, browser):
    ws = await connect(served, browser)
    await ws.send_str("x")
    await ws.receive()
    ws._response.connection.transport.pause_reading()
    source = backend.websockets[0]
    pouring = asyncio.create_task(source.send_bytes(b"z" * 50 * MB))
    await until(lambda: any(tunnel.transport.get_write_buffer_size() for tunnel in served.proxy._tunnels))
    served.proxy.close_user("alice")
    await until(lambda: len(served.proxy) == 0)
    pouring.cancel()
    await asyncio.gather(pouring, return_exceptions=True)
    ws._response.connection.transport.abort()
    await ws.close()


async def test_a_hub_that_goes_down_says_come_back(backend, browser):
    async with serve(backend) as endpoint, run_hub() as hub:
        hub.route_to(endpoint)
        ws = await connect(hub, browser)
        await ws.send_str("x")
        await ws.receive()
        # Far sooner than those who may still end in peace have to.
        await asyncio.wait_for(hub.proxy.close(10 * PATIENCE_S), PATIENCE_S)
        assert await closing(ws) is None
        await ws.close()


async def test_an_expired_login_ends_its_websocket(served, browser):
    async with connect(served, browser) as ws:
        await ws.send_str("x")
        await ws.receive()
        asked = served.identity.asked_logins
        await asyncio.sleep(0.05)
        await served.proxy.recheck_logins(0.01)
        assert served.identity.asked_logins == asked, "no traffic of late"
        await served.proxy.recheck_logins(60)
        assert served.identity.asked_logins == asked + 1
        del served.identity.logins["alice-cookie"]
        await served.proxy.recheck_logins(60)
        assert await closing(ws) is None
