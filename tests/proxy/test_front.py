"""The front door: hub pages and servers over one connection, limits, TLS, logins, and its end."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest

from minihub.auth.model import Principal
from minihub.errors import StoreError
from minihub.proxy import front, memo
from minihub.proxy.dialing import Dialer
from minihub.proxy.pool import Pool
from minihub.schedulers.base import Endpoint
from minihub.servers.identity import make_self_signed
from minihub.tasks import TaskKeeper
from minihub.tls import FrontTls
from tests.proxy.kit import COOKIE, PATIENCE_S, TLS_COOKIE, FakeIdentity, run_hub, serve, until

LOGIN = f"Cookie: {COOKIE}=alice-cookie\r\n"
MB = 1024 * 1024


@dataclass
class Answer:
    status: int
    fields: dict
    body: bytes

    @property
    def seen(self):
        """What the page or the server saw."""
        return json.loads(self.body)

    @property
    def saw(self):
        """The fields it saw, by their small names."""
        return {name.lower(): value for name, value in self.seen["headers"]}


class Browser:
    """One connection, on which requests are written as they are."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    def send(self, text):
        self.writer.write(text if isinstance(text, bytes) else text.encode("latin-1"))

    def ask(self, target, fields="", method="GET", body=""):
        self.send(f"{method} {target} HTTP/1.1\r\nHost: h\r\n{fields}\r\n{body}")

    async def answer(self, *, empty=False):
        async with asyncio.timeout(PATIENCE_S):
            line, *lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[:-2]
            fields = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
            status, body = int(line.split()[1]), b""
            if empty or status < 200 or status in (204, 304):
                pass
            elif "content-length" in fields:
                body = await self.reader.readexactly(int(fields["content-length"]))
            elif fields.get("transfer-encoding") == "chunked":
                while size := int(await self.reader.readline(), 16):
                    body += (await self.reader.readexactly(size + 2))[:-2]
                await self.reader.readline()
            else:
                body = await self.reader.read()
        return Answer(status, fields, body)

    async def get(self, target, fields="", **more):
        self.ask(target, fields, **more)
        return await self.answer()

    async def ended(self):
        """How it ends: "closed" or "reset"; what still comes is dropped."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self.reader.read()
        except ConnectionResetError:
            return "reset"
        return "closed"


@asynccontextmanager
async def knock(hub, tls=None, address="127.0.0.1"):
    reader, writer = await asyncio.open_connection(
        hub.host, hub.port, ssl=tls, local_addr=(address, 0), server_hostname="" if tls else None
    )
    try:
        yield Browser(reader, writer)
    finally:
        writer.transport.abort()


def page(seen):
    return seen["path"], seen["remote"], seen["scheme"]


# -- one connection for all ----------------------------------------------------------------------------------


async def test_pages_and_servers_take_turns_on_one_connection(served, backend):
    async with knock(served) as browser:
        for n in range(3):
            answer = await browser.get(f"/hub/page{n}", LOGIN)
            assert page(answer.seen) == (f"/hub/page{n}", "127.0.0.1", "http")
            answer = await browser.get(f"/user/alice/x{n}", LOGIN)
            assert answer.seen["path"] == f"/user/alice/x{n}"
            assert answer.saw["authorization"] == "token upstream-token"
        assert len(served.proxy) == 1
    assert len(backend.connections) == 1


async def test_what_is_sent_ahead_is_answered_in_order(served):
    targets = ["/hub/1", "/user/alice/2", "/user/alice/3", "/hub/4", "/hub/5", "/user/alice/6", "/nowhere"]
    async with knock(served) as browser:
        browser.send("".join(f"GET {target} HTTP/1.1\r\nHost: h\r\n{LOGIN}\r\n" for target in targets))
        for target in targets[:-1]:
            assert (await browser.answer()).seen["path"] == target
        assert (await browser.answer()).status == 404


async def test_a_quiet_door_remembers_nobodys_heads(served, monkeypatch):
    async with knock(served) as browser, knock(served) as another:
        for one in (browser, another):
            await one.get("/user/alice/x", LOGIN)
        assert len(served.proxy.memos) == 1
        monkeypatch.setattr(memo, "FORGET_S", 0.0)
        monkeypatch.setattr(served.proxy.memos, "_forget_at", 0.0)
        await until(lambda: not len(served.proxy.memos), 30)
        assert (await browser.get("/user/alice/x", LOGIN)).status == 200


async def test_where_a_post_comes_from_is_looked_at_each_time(served, backend):
    """Referer says so where Origin does not; it is no part of what is remembered of a request."""
    async with knock(served) as browser:
        for n in range(4):
            for referer, status in (("http://h/user/alice/lab", 200), ("http://evil.example/", 403)):
                browser.ask(f"/user/alice/{n}", f"{LOGIN}Referer: {referer}\r\n", method="POST")
                answer = await browser.answer()
                assert (answer.status, referer) == (status, referer)
    assert backend.requests == 4


async def test_an_origin_is_remembered_with_the_rest(served, backend):
    async with knock(served) as browser:
        for _ in range(4):
            for origin, status in (("http://h", 200), ("http://evil.example", 403), ("null", 403)):
                browser.ask(
                    "/user/alice/x", f"{LOGIN}Origin: {origin}\r\nReferer: http://h/\r\n", method="POST"
                )
                answer = await browser.answer()
                assert (answer.status, origin) == (status, origin)
            assert (await browser.get("/user/alice/x", f"{LOGIN}Origin: null\r\n")).status == 200, (
                "it changes nothing"
            )
    assert backend.requests == 8


@pytest.mark.parametrize("line", ["Referer: %d", "Accept: %d", "If-None-Match: %d"])
async def test_lines_that_differ_go_on(served, line):
    async with knock(served) as browser:
        for n in range(5):
            answer = await browser.get("/user/alice/x", f"{LOGIN}{line % n}\r\nX: y\r\n")
            assert answer.saw[line.partition(":")[0].lower()] == str(n)
            assert answer.saw["x"] == "y"
            assert answer.saw["authorization"] == "token upstream-token"
            assert COOKIE not in str(answer.seen)


async def test_bodies_that_are_sent_ahead_go_where_they_belong(served):
    fields = f"Host: h\r\nOrigin: http://h\r\n{LOGIN}"
    async with knock(served) as browser:
        browser.send(
            f"POST /hub/1 HTTP/1.1\r\n{fields}Content-Length: 3\r\n\r\none"
            f"POST /user/alice/upload HTTP/1.1\r\n{fields}Transfer-Encoding: chunked\r\n\r\n4\r\ntwo!\r\n0\r\n\r\n"
            f"POST /hub/3 HTTP/1.1\r\n{fields}Transfer-Encoding: chunked\r\n\r\n2\r\nth\r\n3\r\nree\r\n0\r\n\r\n"
            f"GET /hub/4 HTTP/1.1\r\n{fields}\r\n"
        )
        assert (await browser.answer()).seen["body"] == "one"
        assert (await browser.answer()).seen["size"] == 4
        assert (await browser.answer()).seen["body"] == "three"
        assert (await browser.answer()).seen["path"] == "/hub/4"


async def test_heads_may_come_in_pieces(served):
    async with knock(served) as browser:
        for piece in (
            "GET /hub/a HTT",
            "P/1.1\r\nHo",
            "st: h\r",
            "\n\r",
            f"\nGET /user/alice/b HTTP/1.1\r\nHost: h\r\n{LOGIN}",
        ):
            browser.send(piece)
            await asyncio.sleep(0.01)
        assert (await browser.answer()).seen["path"] == "/hub/a"
        browser.send("\r\n")
        assert (await browser.answer()).seen["path"] == "/user/alice/b"


# -- what a page of the hub sees -------------------------------------------------------------------------------


async def test_a_page_sees_the_browsers_address(hub):
    for address in ("127.0.0.1", "127.0.0.2", "127.1.2.3"):
        async with knock(hub, address=address) as browser:
            assert page((await browser.get("/hub/x")).seen) == ("/hub/x", address, "http")


async def test_each_address_is_told_to_the_server_though_the_fields_are_the_same(served):
    for address in ("127.0.0.1", "127.0.0.2", "127.0.0.1"):
        async with knock(served, address=address) as browser:
            for _ in range(2):
                assert (await browser.get("/user/alice/x", LOGIN)).saw["x-forwarded-for"] == address
    assert len(served.proxy.memos) == 1


@pytest.mark.parametrize("size", [0, 1, 3 * MB // 4])
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_page_gets_the_body(hub, size, chunked):
    body = "b" * size
    async with knock(hub) as browser:
        for _ in range(2):
            if chunked:
                sent = (f"{size:x}\r\n{body}\r\n" if size else "") + "0\r\n\r\n"
                answer = await browser.get(
                    "/hub/x", "Transfer-Encoding: chunked\r\n", method="POST", body=sent
                )
            else:
                answer = await browser.get("/hub/x", f"Content-Length: {size}\r\n", method="POST", body=body)
            assert (answer.seen["method"], answer.seen["body"]) == ("POST", body)


async def test_a_page_is_asked_to_go_on(hub):
    async with knock(hub) as browser:
        browser.ask("/hub/x", "Expect: 100-continue\r\nContent-Length: 3\r\n", method="POST")
        assert (await browser.answer()).status == 100
        browser.send("abc")
        assert (await browser.answer()).seen["body"] == "abc"
        assert (await browser.get("/hub/y")).status == 200


async def test_a_body_for_nobody_is_not_asked_for(hub):
    async with knock(hub) as browser:
        browser.ask("/user/alice/x", "Expect: 100-continue\r\nContent-Length: 3\r\n", method="POST")
        answer = await browser.answer()
        assert (answer.status, answer.fields["connection"]) == (403, "close")


async def test_fields_between_door_and_hub_come_from_nobody_else(hub):
    fields = (
        "X-Minihub-Problem: bad_answer\r\nx_minihub_problem: bad_answer\r\nX-MINIHUB-UPGRADE: websocket\r\nX-Other: 1\r\n"
        "X-Minihub-Anything: 1\r\n"
    )
    async with knock(hub) as browser:
        saw = (await browser.get("/hub/x", fields)).saw
    assert saw == {"host": "h", "x-other": "1"}


async def test_a_planted_problem_changes_no_answer(hub, unused_tcp_port):
    hub.route_to(Endpoint(host="127.0.0.1", port=unused_tcp_port))
    async with knock(hub) as browser:
        answer = await browser.get("/user/alice/x", f"{LOGIN}X-Minihub-Problem: bad_answer\r\n")
        assert answer.status == 503


async def test_a_page_never_upgrades(hub):
    fields = (
        "Connection: Upgrade, X-Hop\r\nUpgrade: websocket\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    )
    async with knock(hub) as browser:
        answer = await browser.get("/hub/x", fields)
        assert answer.status == 200
        assert answer.saw["x-minihub-upgrade"] == "websocket"
        assert not answer.saw.keys() & {"upgrade", "connection", "x-hop", "keep-alive", "te"}
        assert (await browser.get("/hub/y")).status == 200


async def test_a_page_without_a_body_and_a_page_for_http_1_0(hub):
    async with knock(hub) as browser:
        browser.ask("/hub/x", method="HEAD")
        answer = await browser.answer(empty=True)
        assert answer.status == 200
        assert int(answer.fields["content-length"]) > 0
        browser.send("GET /hub/y HTTP/1.0\r\n\r\n")
        answer = await browser.answer()
        assert answer.seen["path"] == "/hub/y"
        assert answer.fields["connection"] == "close"
        assert await browser.ended() == "closed"


@pytest.mark.parametrize("target", ["*", "/hub/pot"])
async def test_what_no_page_can_be_asked(hub, target):
    async with knock(hub) as browser:
        browser.ask(target, method="OPTIONS" if target == "*" else "BREW")
        answer = await browser.answer()
        assert answer.status == (400 if target == "*" else 405)
        assert await browser.ended() == "closed"


async def test_the_base_path(backend):
    async with run_hub({"hub": {"base_path": "/jupyter/"}}) as hub:
        hub.route_to(Endpoint(host="127.0.0.1", port=1))
        cookie = f"Cookie: {COOKIE}=alice-cookie\r\n"
        async with knock(hub) as browser:
            assert (await browser.get("/jupyter/hub/x")).seen["path"] == "/jupyter/hub/x"
            assert (await browser.get("/hub/x")).status == 404
            assert (await browser.get("/user/alice/x", cookie)).status == 404
            assert hub.servers.doubted == []
            assert (await browser.get("/jupyter/user/alice/x", cookie)).status == 503
            assert hub.servers.doubted == ["alice"], "it was asked"


# -- limits --------------------------------------------------------------------------------------------------


async def turned_away(browser):
    answer = await browser.answer()
    assert answer.status == 503
    assert int(answer.fields["retry-after"]) > 0
    assert answer.fields["connection"] == "close"
    assert await browser.ended() == "closed"


async def test_too_many_connections():
    async with run_hub({"proxy": {"max_connections": 2}}) as hub:
        async with knock(hub) as one, knock(hub, address="127.0.0.2") as two:
            assert (await one.get("/hub/x")).status == (await two.get("/hub/x")).status == 200
            async with knock(hub, address="127.0.0.3") as third:
                await turned_away(third)
            await until(lambda: len(hub.proxy) == 2)
            assert (await one.get("/hub/x")).status == 200, "who is in stays in"
        await until(lambda: len(hub.proxy) == 0)
        async with knock(hub) as browser:
            assert (await browser.get("/hub/x")).status == 200


async def test_websockets_count(backend, browser):
    async with run_hub({"proxy": {"max_connections": 1}}) as hub, serve(backend) as endpoint:
        hub.route_to(endpoint)
        async with browser.ws_connect(hub.url("ws"), headers=hub.login) as ws:
            await ws.send_str("x")
            await ws.receive()
            async with knock(hub) as third:
                await turned_away(third)
        await until(lambda: len(hub.proxy) == 0)
        assert not hub.proxy._by_address


async def test_what_passes_is_counted(served, browser):
    tally = served.proxy.tally
    async with browser.post(served.url("upload"), data=b"u" * 50_000, headers=served.login) as answer:
        assert (await answer.json())["size"] == 50_000
        sent = int(answer.headers["Content-Length"])
    assert (tally.of_servers[200], sum(tally.of_servers), sum(tally.seconds)) == (1, 1, 1)
    assert (50_000 < tally.received < 51_000, tally.sent) == (True, sent)

    async with browser.get(served.url("die?when=before"), headers=served.login) as answer:
        assert answer.status == 503
    assert tally.unanswered.total() == 1
    assert (sum(tally.of_servers), tally.of_hub[503]) == (1, 1)
    async with knock(served) as rude:
        rude.send("nonsense\r\n\r\n")
        assert (await rude.answer()).status == 400
    assert tally.of_hub[400] == 1

    async with browser.ws_connect(served.url("ws"), headers=served.login) as ws:
        await ws.send_str("x" * 3000)
        await ws.receive()
        assert (served.proxy.websockets, tally.tunnels, tally.of_servers[101]) == (1, 1, 1)
    await until(lambda: served.proxy.websockets == 0)
    assert tally.tunnel_received > 3000


async def test_too_many_connections_from_one_address():
    async with run_hub({"proxy": {"max_connections_per_address": 1}}) as hub:
        async with knock(hub) as one, knock(hub, address="127.0.0.2") as two:
            assert (await one.get("/hub/x")).status == (await two.get("/hub/x")).status == 200
            async with knock(hub) as third:
                await turned_away(third)
            assert (await one.get("/hub/x")).status == 200
        await until(lambda: len(hub.proxy) == 0)
        assert not hub.proxy._by_address
        async with knock(hub) as browser:
            assert (await browser.get("/hub/x")).status == 200


async def test_a_trusted_proxy_may_have_as_many_as_it_needs():
    settings = {"hub": {"trusted_proxies": ["127.0.0.2"]}, "proxy": {"max_connections_per_address": 1}}
    async with (
        run_hub(settings) as hub,
        knock(hub, address="127.0.0.2") as one,
        knock(hub, address="127.0.0.2") as two,
        knock(hub) as three,
        knock(hub) as four,
    ):
        for browser in (one, two, three):
            assert (await browser.get("/hub/x")).status == 200
        await turned_away(four)


# -- the end ---------------------------------------------------------------------------------------------------


async def refuses(hub):
    try:
        async with knock(hub) as browser:
            return await browser.ended() != ""
    except ConnectionRefusedError:
        return True


async def test_idle_connections_are_closed_in_order(served):
    async with knock(served) as fresh, knock(served) as used, knock(served) as begun:
        assert (await used.get("/hub/x")).status == 200
        begun.send("GET /hub/x HT")
        await until(lambda: any(client._buffer for client in served.proxy._clients))
        await until(lambda: len(served.proxy) == 3)
        closing = asyncio.create_task(served.proxy.close(5))
        for browser in (fresh, used, begun):
            assert await browser.ended() == "closed"
        await closing
    await until(lambda: len(served.proxy) == 0)
    assert await refuses(served)


@pytest.mark.parametrize("kind", ["length unknown", "head outstanding"])
async def test_a_request_under_way_may_end(served, backend, kind):
    async with knock(served) as browser:
        if kind == "length unknown":
            browser.ask("/user/alice/slow", LOGIN)
            await until(lambda: backend.requests == 1)
        else:
            fields = f"{LOGIN}Origin: http://h\r\nContent-Length: 6\r\n"
            browser.ask("/user/alice/upload", fields, method="POST", body="abc")
            await until(lambda: backend.received == 3)
        closing = asyncio.create_task(served.proxy.close(5))
        await asyncio.sleep(0.1)
        assert not closing.done()
        backend.go_on.set()
        if kind == "head outstanding":
            browser.send("def")
        answer = await browser.answer()
        if kind == "length unknown":
            assert answer.body == b"one\ntwo\n"
        else:
            assert answer.seen["size"] == 6
            assert answer.fields["connection"] == "close"
        assert await browser.ended() == "closed"
        await closing


async def test_a_request_under_way_does_not_hold_up_the_end_for_ever(served, backend):
    async with knock(served) as browser:
        browser.ask("/user/alice/slow", LOGIN)
        await until(lambda: backend.requests == 1)
        await browser.reader.readuntil(b"one\n")
        await served.proxy.close(0.1)
        assert await browser.ended() == "reset"
    await asyncio.wait_for(backend.aborted.wait(), PATIENCE_S)


async def test_websockets_are_broken_off(served, backend, browser):
    async with browser.ws_connect(served.url("ws"), headers=served.login) as ws:
        await ws.send_str("x")
        await ws.receive()
        await served.proxy.close(5)
        message = await asyncio.wait_for(ws.receive(), PATIENCE_S)
        assert message.type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR), "without a close frame"
        assert ws.close_code == aiohttp.WSCloseCode.ABNORMAL_CLOSURE
        assert await asyncio.wait_for(backend.closes.get(), PATIENCE_S) is None
    await until(lambda: len(served.proxy) == 0)


# -- TLS in front ------------------------------------------------------------------------------------------------


def make_certificate(directory, name="hub"):
    now = datetime.fromtimestamp(time.time(), UTC)
    certificate, key = make_self_signed(name, now - timedelta(hours=1), now + timedelta(hours=1), [])
    (directory / "tls.crt").write_text(certificate)
    (directory / "tls.key").write_text(key)
    return ssl.PEM_cert_to_DER_cert(certificate)


@pytest.fixture
def certificate(tmp_path):
    """The front's certificate in DER, and its TLS."""
    der = make_certificate(tmp_path)
    return der, FrontTls(tmp_path / "tls.crt", tmp_path / "tls.key")


def trusting(*alpn, version=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(alpn)
    if version is not None:
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = version
    return context


async def test_over_tls_pages_and_servers_know_it(certificate, backend):
    async with run_hub(tls=certificate[1].context) as hub, serve(backend) as endpoint:
        hub.route_to(endpoint)
        async with knock(hub, trusting()) as browser:
            for _ in range(2):
                assert page((await browser.get("/hub/x")).seen) == ("/hub/x", "127.0.0.1", "https")
                cookie = f"Cookie: {TLS_COOKIE}=alice-cookie\r\n"
                assert (await browser.get("/user/alice/x", cookie)).saw["x-forwarded-proto"] == "https"
                assert (await browser.get("/user/alice/x", LOGIN)).status == 403, "another cookie's name"


async def test_over_tls_bodies_pass(certificate, backend):
    async with run_hub(tls=certificate[1].context) as hub, serve(backend) as endpoint:
        hub.route_to(endpoint)
        async with knock(hub, trusting()) as browser:
            answer = await browser.get(
                "/hub/x", f"Content-Length: {MB // 2}\r\n", method="POST", body="b" * (MB // 2)
            )
            assert answer.seen["body"] == "b" * (MB // 2)
            cookie = f"Cookie: {TLS_COOKIE}=alice-cookie\r\n"
            assert len((await browser.get(f"/user/alice/download?size={5 * MB}", cookie)).body) == 5 * MB


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize(
    ("version", "fits"),
    [("TLSv1", False), ("TLSv1_1", False), ("TLSv1_2", True), ("TLSv1_3", True)],
)
async def test_tls_is_1_2_or_newer(certificate, version, fits):
    async with run_hub(tls=certificate[1].context) as hub:
        context = trusting(version=ssl.TLSVersion[version])
        if fits:
            async with knock(hub, context) as browser:
                assert browser.writer.get_extra_info("ssl_object").version() == version.replace("_", ".")
                assert (await browser.get("/hub/x")).status == 200
        else:
            with pytest.raises((ssl.SSLError, ConnectionError)):
                async with knock(hub, context):
                    pass


@pytest.mark.parametrize("offers", [("h2", "http/1.1"), ("http/1.1",), ()])
async def test_only_http_1_1_is_agreed_on(certificate, offers):
    async with run_hub(tls=certificate[1].context) as hub, knock(hub, trusting(*offers)) as browser:
        chosen = browser.writer.get_extra_info("ssl_object").selected_alpn_protocol()
        assert chosen == ("http/1.1" if offers else None)
        assert (await browser.get("/hub/x")).status == 200


async def test_without_tls_nothing_is_said(certificate):
    """Who speaks HTTP to the port of TLS is no client yet."""
    async with run_hub(tls=certificate[1].context) as hub, knock(hub) as browser:
        browser.ask("/hub/x")
        assert await browser.ended() in ("closed", "reset")
        assert len(hub.proxy) == 0


async def test_a_renewed_certificate_is_served_without_a_restart(certificate, tmp_path, monkeypatch):
    monkeypatch.setattr("minihub.tls.RELOAD_S", 0.05)
    old, tls = certificate
    keeper = TaskKeeper()

    def shown(browser):
        return browser.writer.get_extra_info("ssl_object").getpeercert(binary_form=True)

    async with run_hub(tls=tls.context) as hub, knock(hub, trusting()) as first:
        keeper.start(tls.reload_when_renewed(), name="renewal")
        assert shown(first) == old
        new = make_certificate(tmp_path, "renewed")
        served = old
        async with asyncio.timeout(PATIENCE_S):
            while served != new:
                async with knock(hub, trusting()) as later:
                    served = shown(later)
                    assert (await later.get("/hub/x")).status == 200
        assert (await first.get("/hub/x")).status == 200, "open connections stay"
    await keeper.close()


async def test_over_tls_the_end_is_the_same(certificate, backend):
    async with run_hub(tls=certificate[1].context) as hub, serve(backend) as endpoint:
        hub.route_to(endpoint)
        cookie = f"Cookie: {TLS_COOKIE}=alice-cookie\r\n"
        async with knock(hub, trusting()) as idle, knock(hub, trusting()) as busy:
            assert (await idle.get("/hub/x")).status == 200
            busy.ask("/user/alice/slow", cookie)
            await until(lambda: backend.requests == 1)
            await busy.reader.readuntil(b"one\n")
            await hub.proxy.close(0.1)
            assert await idle.ended() == "closed"
            assert await busy.ended() == "reset"


# -- who it is ---------------------------------------------------------------------------------------------------


class CountingIdentity(FakeIdentity):
    """Notes who is asked, and fails or waits if it is told to."""

    def __init__(self):
        super().__init__()
        self.asked = []
        self.error = None
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.cached = {}

    def cached_login(self, cookie):
        self.asked.append(("cached", cookie))
        return self.cached.get(cookie)

    async def login(self, cookie):
        self.asked.append(("login", cookie))
        await self.go_on.wait()
        if self.error is not None:
            raise self.error
        return self.logins.get(cookie)

    async def token(self, token):
        self.asked.append(("token", token))
        await self.go_on.wait()
        if self.error is not None:
            raise self.error
        return self.tokens.get(token)


@asynccontextmanager
async def guarded(backend):
    identity = CountingIdentity()
    async with run_hub(identity=identity) as hub, serve(backend) as endpoint:
        hub.route_to(endpoint)
        yield hub, identity


async def test_a_known_login_needs_no_task(backend):
    async with guarded(backend) as (hub, identity), knock(hub) as browser:
        identity.cached["alice-cookie"] = identity.logins["alice-cookie"]
        for _ in range(3):
            assert (await browser.get("/user/alice/x", LOGIN)).status == 200
        assert identity.asked == [("cached", "alice-cookie")] * 3, "each time, but nobody waited"


async def test_an_unknown_login_is_looked_up(backend):
    async with guarded(backend) as (hub, identity), knock(hub) as browser:
        assert (await browser.get("/user/alice/x", LOGIN)).status == 200
        assert ("login", "alice-cookie") in identity.asked
        identity.asked.clear()
        assert (await browser.get("/user/alice/x", LOGIN)).status == 200
        assert ("login", "alice-cookie") in identity.asked, "and again: it is in no memory"


async def test_a_token_is_looked_up_each_time(backend):
    async with guarded(backend) as (hub, identity), knock(hub) as browser:
        for _ in range(2):
            answer = await browser.get("/user/alice/x", "Authorization: token alice-token\r\n")
            assert answer.status == 200
        assert identity.asked == [("token", "alice-token")] * 2
        assert hub.tokens_used == [("alice", identity.tokens["alice-token"].key, "127.0.0.1")] * 2
        assert (await browser.get("/user/alice/x", LOGIN)).status == 200
        assert len(hub.tokens_used) == 2, "a login is none"
        del identity.tokens["alice-token"]
        assert (await browser.get("/user/alice/x", "Authorization: token alice-token\r\n")).status == 403


async def test_only_so_many_cookies_are_tried(backend):
    async with guarded(backend) as (hub, identity), knock(hub) as browser:
        many = "; ".join(f"{COOKIE}=planted{n}" for n in range(50))
        assert (await browser.get("/user/alice/x", f"Cookie: {many}\r\n")).status == 403
        assert {what for what in identity.asked if what[0] == "login"} == {
            ("login", f"planted{n}") for n in range(4)
        }


async def test_a_login_that_ends_is_noticed_by_the_next_request(backend):
    async with guarded(backend) as (hub, identity), knock(hub) as browser:
        identity.cached["alice-cookie"] = identity.logins["alice-cookie"]
        assert (await browser.get("/user/alice/x", LOGIN)).status == 200
        identity.cached.clear()
        identity.logins.clear()
        assert (await browser.get("/user/alice/x", LOGIN)).status == 403
        other = Principal("bob", admin=False, kind="login", key="b")
        identity.cached["alice-cookie"] = other
        assert (await browser.get("/user/alice/x", LOGIN)).status == 403, "somebody else's now"
        assert backend.requests == 1


@pytest.mark.parametrize("fields", [LOGIN, "Authorization: token alice-token\r\n"])
async def test_a_login_that_nobody_can_look_up_gets_a_page(backend, fields):
    async with guarded(backend) as (hub, identity), knock(hub) as browser:
        identity.error = StoreError(None, "disk")
        answer = await browser.get("/user/alice/x", fields)
        assert (answer.status, answer.fields["x-request-id"]) == (503, "of-the-hub")
        assert backend.requests == 0
        identity.error = None
        assert (await browser.get("/user/alice/x", fields)).status == 200, "on the same connection"


async def test_what_comes_while_a_login_is_looked_up_waits(backend):
    async with guarded(backend) as (hub, identity), knock(hub) as browser:
        identity.go_on.clear()
        fields = f"{LOGIN}Origin: http://h\r\nContent-Length: 6\r\n"
        browser.ask("/user/alice/upload", fields, method="POST", body="abc")
        browser.send("def")
        browser.ask("/hub/next")
        await until(lambda: identity.asked[-1:] == [("login", "alice-cookie")])
        identity.go_on.set()
        assert (await browser.answer()).seen["size"] == 6
        assert (await browser.answer()).seen["path"] == "/hub/next"


async def test_who_goes_away_while_his_login_is_looked_up(backend):
    async with guarded(backend) as (hub, identity):
        async with knock(hub) as browser:
            identity.go_on.clear()
            browser.ask("/user/alice/x", LOGIN)
            await until(lambda: identity.asked[-1:] == [("login", "alice-cookie")])
        await until(lambda: len(hub.proxy) == 0)
        identity.go_on.set()
        async with knock(hub) as browser:
            assert (await browser.get("/user/alice/y", LOGIN)).seen["path"] == "/user/alice/y"
        assert backend.requests == 1


class HeldDialer(Dialer):
    """Connects only when it may."""

    def __init__(self, route):
        super().__init__(route, None, timeout_s=5)
        self.may = asyncio.Event()
        self.made = []

    async def dial(self, factory):
        upstream = await super().dial(factory)
        self.made.append(upstream)
        await self.may.wait()
        return upstream


@asynccontextmanager
async def dialling(hub):
    """A request of alice whose connection to her server is not there yet."""
    route, dialer = hub.servers.routes["alice"], HeldDialer(hub.servers.routes["alice"])
    hub.pools._by_user["alice"] = Pool(route, dialer, hub.pools._keeper, hub.pools._rules)
    async with knock(hub) as browser:
        browser.ask("/user/alice/x", LOGIN)
        await until(lambda: dialer.made)
        yield browser, dialer.may
    dialer.may.set()
    await until(dialer.made[0].transport.is_closing)


@pytest.mark.parametrize("first", ["revoked", "connected"])
@pytest.mark.parametrize("by", ["login", "user"])
async def test_a_login_revoked_while_dialling(served, backend, first, by):
    async with dialling(served) as (browser, may):
        if first == "connected":
            may.set()
        ended = served.proxy.close_login("alice-login") if by == "login" else served.proxy.close_user("alice")
        assert ended == 1
        may.set()
        assert await browser.ended() == "reset"
    await until(lambda: len(served.proxy) == 0)
    async with knock(served) as browser:
        assert (await browser.get("/user/alice/y", LOGIN)).status == 200
    assert backend.requests == 1, "nothing of the first one went on"


async def test_who_goes_away_while_his_server_is_dialled(served, backend):
    async with dialling(served) as (browser, may):
        browser.writer.transport.abort()
        await until(lambda: len(served.proxy) == 0)
        may.set()
    async with knock(served) as browser:
        assert (await browser.get("/user/alice/y", LOGIN)).status == 200
    assert backend.requests == 1


async def test_a_request_that_waits_for_its_server_holds_up_no_end_for_ever(served, backend):
    async with dialling(served) as (browser, may):
        await served.proxy.close(0.1)
        assert await browser.ended() == "reset"
        may.set()


async def test_old_connections_are_asked_whether_their_login_is_still_good(backend, browser):
    async with (
        guarded(backend) as (hub, identity),
        browser.ws_connect(hub.url("ws"), headers=hub.login) as ws,
    ):
        await ws.send_str("x")
        await ws.receive()
        await hub.proxy.recheck_logins(60)
        await ws.send_str("still")
        assert (await ws.receive()).data == "still"
        identity.logins.clear()
        await hub.proxy.recheck_logins(60)
        message = await asyncio.wait_for(ws.receive(), PATIENCE_S)
        assert message.type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)


# -- what counts as use ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "counts"),
    [
        ("GET", "api/kernels?1732600000", False),
        ("GET", "lab/api/settings", False),
        ("PUT", "lab/api/workspaces/default", False),
        ("PUT", "api/contents/a.ipynb", True),
        ("GET", "files/a.csv", True),
        ("GET", "rstudio/api/kernels", True),
    ],
)
async def test_what_an_idle_tab_asks_is_no_use(backend, monkeypatch, method, path, counts):
    """Neither the first time, when the gate looks, nor later, when the visitor is known."""
    monkeypatch.setattr(front, "TOUCH_S", 0.0)
    async with guarded(backend) as (hub, _), aiohttp.ClientSession() as browser:
        for _ in range(3):
            hub.servers.touched.clear()
            async with browser.request(method, hub.url(path), headers=hub.login) as answer:
                assert answer.status == 200
            assert hub.servers.touched == (["alice"] if counts else [])


async def test_use_is_told_once_a_second_and_not_hidden_by_what_is_none(backend):
    async with guarded(backend) as (hub, _), aiohttp.ClientSession() as browser:
        for path in ("api/kernels", "files/a.csv", "files/a.csv", "api/kernels"):
            async with browser.get(hub.url(path), headers=hub.login) as answer:
                assert answer.status == 200
        assert hub.servers.touched == ["alice"]
        hub.proxy.close_user("alice")
        hub.route_to(hub.servers.routes["alice"].endpoint)
        async with browser.get(hub.url("files/a.csv"), headers=hub.login) as answer:
            assert answer.status == 200
        assert hub.servers.touched == ["alice"] * 2, "another server, another use"


async def test_traffic_of_an_applications_websocket_is_use_but_what_keeps_it_open_is_not(backend, browser):
    async with (
        guarded(backend) as (hub, _),
        browser.ws_connect(hub.url("ws"), headers=hub.login) as ws,
    ):
        assert hub.servers.touched == ["alice"], "to open it is"
        hub.proxy.note_use(30)  # from here on
        hub.servers.touched.clear()
        for _ in range(4):
            await ws.ping()
            await ws.send_str("x")
            await ws.receive()
        hub.proxy.note_use(30)
        assert hub.servers.touched == []

        await ws.send_str("x" * 5000)
        await ws.receive()
        # What was sent counts once it is acknowledged, which may be after the browser's program has it.
        (tunnel,) = hub.proxy._tunnels
        await until(lambda: min(tunnel.count_bytes()) > 5000)
        hub.proxy.note_use(30)
        hub.proxy.note_use(30)
        assert hub.servers.touched == ["alice"], "once"


async def test_what_jupyters_own_websockets_carry_is_asked_of_the_server(backend, browser):
    async with (
        guarded(backend) as (hub, _),
        browser.ws_connect(hub.url("api/ws"), headers=hub.login) as ws,
    ):
        await ws.send_str("x" * 10_000)
        await ws.receive()
        hub.proxy.note_use(30)
        assert hub.servers.touched == []


async def test_a_long_answer_is_use_while_it_flows(backend, browser):
    async with guarded(backend) as (hub, _), browser.get(hub.url("slow"), headers=hub.login) as answer:
        await answer.content.readany()
        hub.servers.touched.clear()
        hub.proxy.note_use(30)
        assert hub.servers.touched == ["alice"]
        hub.servers.touched.clear()
        await asyncio.sleep(0.05)
        hub.proxy.note_use(0.01)
        assert hub.servers.touched == []
