"""HTTP through the real proxy to a real server."""

from __future__ import annotations

import asyncio
import gzip
import json
import re

import aiohttp
import pytest

from minihub.schedulers.base import Endpoint
from minihub.servers.model import Attempt, Secrets, ServerOptions, State
from tests.proxy.kit import COOKIE, PATIENCE_S, TLS_COOKIE, run_hub, serve, stopped, until

NAVIGATE = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Dest": "document"}
MB = 1024 * 1024


async def raw(hub, text, *, eof=True):
    """Send bytes, return all bytes that come back."""
    reader, writer = await asyncio.open_connection(hub.host, hub.port)
    writer.write(text)
    try:
        return await asyncio.wait_for(reader.read(), PATIENCE_S)
    finally:
        writer.close()
        await writer.wait_closed()


class Memory:
    """How much more the process held at its peak than before."""

    def __enter__(self):
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")  # resets the peak
        self.before = self._read("VmRSS")
        return self

    def __exit__(self, *_):
        self.grown_mb = (self._read("VmHWM") - self.before) / 1024

    @staticmethod
    def _read(name):
        with open("/proc/self/status") as file:
            return int(re.search(rf"{name}:\s+(\d+)", file.read())[1])


# -- heads ---------------------------------------------------------------------------------------------------


async def test_what_goes_on_and_what_does_not(served, browser):
    sent = {
        "Cookie": f"{COOKIE}=alice-cookie; _xsrf=2|x; minihub-language=fr",
        "Authorization": "token the-servers-own",
        "X-Forwarded-For": "6.6.6.6",
        "X-Forwarded-Prefix": "/evil",
        "Connection": "keep-alive, X-Hop",
        "X-Hop": "1",
        "X-Other": "2",
        "User-Agent": "me",
    }
    async with browser.get(served.url("tree/a%20b%2Fc?x=%20&token=abc&y"), headers=sent) as answer:
        seen = await answer.json()
    assert seen["method"] == "GET"
    assert seen["path"] == "/user/alice/tree/a%20b%2Fc?x=%20&y"
    fields = [(k.lower(), v) for k, v in seen["headers"]]
    assert sorted(fields) == sorted(
        [
            ("host", f"127.0.0.1:{served.port}"),
            ("accept", "*/*"),
            ("accept-encoding", dict(fields)["accept-encoding"]),
            ("cookie", "_xsrf=2|x"),
            ("x-other", "2"),
            ("user-agent", "me"),
            ("authorization", "token upstream-token"),
            ("x-forwarded-for", "127.0.0.1"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", f"127.0.0.1:{served.port}"),
        ]
    )
    assert served.servers.touched.count("alice") >= 1


@pytest.mark.parametrize(
    "target",
    ["a%2fb", "a%2Fb;c=%C3%A9", "a/../b", "a//b", "a/%2e%2e/b", "x?a=b&c=%20+;|{}\\^`'", "files/100%.txt", "a?x=?&&=", "~!*'()$,"],
)  # fmt: skip
async def test_paths_pass_byte_for_byte(served, target):
    text = f"GET /user/alice/{target} HTTP/1.1\r\nHost: h\r\nCookie: {COOKIE}=alice-cookie\r\nConnection: close\r\n\r\n"
    answer = await raw(served, text.encode())
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["path"] == f"/user/alice/{target}"


async def test_our_user_agent_and_defaults_are_not_added(served):
    text = (
        f"GET /user/alice/x HTTP/1.1\r\nHost: h\r\nCookie: {COOKIE}=alice-cookie\r\nConnection: close\r\n\r\n"
    )
    answer = await raw(served, text.encode())
    names = {k.lower() for k, _ in json.loads(answer.partition(b"\r\n\r\n")[2])["headers"]}
    assert names == {"host", "authorization", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"}


async def test_what_comes_back(served, browser):
    async with browser.get(served.url("fields"), headers=served.login) as answer:
        assert answer.headers.getall("Set-Cookie") == ["a=1; Path=/user/alice/"]
        assert answer.headers["X-Kept"] == "yes"
        assert "Clear-Site-Data" not in answer.headers
        assert "Service-Worker-Allowed" not in answer.headers


async def test_a_trusted_front_proxy_is_believed(backend, browser):
    settings = {"hub": {"trusted_proxies": ["127.0.0.1"], "base_path": "/"}}
    async with run_hub(settings) as hub, serve(backend) as endpoint:
        hub.route_to(endpoint)
        headers = {
            "Cookie": f"{TLS_COOKIE}=alice-cookie",
            "X-Forwarded-For": "192.0.2.9",
            "X-Forwarded-Proto": "https",
            "X-Forwarded-Host": "hub.example",
            "Origin": "https://hub.example",
        }
        async with browser.post(hub.url("x"), headers=headers, data=b"") as answer:
            seen = dict(map(tuple, (await answer.json())["headers"]))
        assert seen["X-Forwarded-For"] == "192.0.2.9"
        assert seen["X-Forwarded-Proto"] == "https"
        assert seen["X-Forwarded-Host"] == "hub.example"
        assert "Cookie" not in seen


async def test_the_public_url_is_the_origin(backend, browser):
    async with run_hub({"hub": {"public_url": "https://pub.example/"}}) as hub, serve(backend) as endpoint:
        hub.route_to(endpoint)
        headers = {"Cookie": f"{TLS_COOKIE}=alice-cookie", "Origin": "https://pub.example"}
        async with browser.post(hub.url("x"), headers=headers) as answer:
            assert answer.status == 200
        async with browser.post(hub.url("x"), headers={**headers, "Origin": hub.origin}) as answer:
            assert answer.status == 403


@pytest.mark.parametrize("status", [200, 204, 304, 404, 424, 500])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_statuses_and_empty_answers(served, browser, status, method):
    for _ in range(2):  # the second on the same connection, which must be in step
        async with browser.request(method, served.url(f"status?s={status}"), headers=served.login) as answer:
            assert answer.status == status
            assert answer.reason == "Odd"
            body = await answer.read()
            assert body == (b"" if method == "HEAD" or status in (204, 304) else b"body")
            if status not in (204, 304):
                assert answer.headers["Content-Length"] == "4"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"])
async def test_methods_pass(served, browser, method):
    async with browser.request(method, served.url("x"), headers=served.login) as answer:
        assert (await answer.json())["method"] == method


async def test_trace_is_refused(served):
    text = f"TRACE /user/alice/x HTTP/1.1\r\nHost: h\r\nCookie: {COOKIE}=alice-cookie\r\nConnection: close\r\n\r\n"
    assert (await raw(served, text.encode())).startswith(b"HTTP/1.1 405 ")


async def test_http_1_0(served):
    answer = await raw(
        served, f"GET /user/alice/download?size=9 HTTP/1.0\r\nCookie: {COOKIE}=alice-cookie\r\n\r\n".encode()
    )
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"Transfer-Encoding" not in head
    assert body == b"x" * 9


# -- bodies --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", ["", "1"])
async def test_a_huge_download_takes_no_memory(served, backend, browser, length):
    size, got = 200 * MB, 0
    with Memory() as memory:
        async with browser.get(
            served.url(f"download?size={size}&length={length}"), headers=served.login
        ) as answer:
            assert answer.headers.get("Content-Length") == (str(size) if length else None)
            async for chunk in answer.content.iter_any():
                got += len(chunk)
    assert got == size
    assert memory.grown_mb < 30


@pytest.mark.parametrize("length", [False, True])
async def test_a_huge_upload_takes_no_memory(served, backend, browser, length):
    size = 200 * MB

    async def body():
        block = b"y" * 65536
        for _ in range(size // len(block)):
            yield block

    headers = {**served.login, **({"Content-Length": str(size)} if length else {})}
    with Memory() as memory:
        async with browser.post(served.url("upload"), data=body(), headers=headers) as answer:
            seen = await answer.json()
    assert seen["size"] == size
    assert seen["headers"].get("Content-Length") == (str(size) if length else None)
    assert memory.grown_mb < 30


async def test_a_browser_that_does_not_read_slows_the_server(served, backend):
    reader, writer = await asyncio.open_connection(served.host, served.port, limit=1024)
    writer.write(
        f"GET /user/alice/download?size={200 * MB} HTTP/1.1\r\nHost: h\r\nCookie: {COOKIE}=alice-cookie\r\n\r\n".encode()
    )
    await reader.readline()
    await until(lambda: backend.sent)
    assert await stopped(lambda: backend.sent) < 30 * MB
    writer.transport.abort()
    await asyncio.wait_for(backend.aborted.wait(), PATIENCE_S)


async def test_a_server_that_does_not_read_slows_the_browser(served, backend, browser):
    given = 0

    async def body():
        nonlocal given
        while given < 200 * MB:
            yield b"y" * 65536
            given += 65536

    async def send():
        async with browser.post(served.url("upload?slow=1"), data=body(), headers=served.login) as answer:
            return await answer.json()

    task = asyncio.create_task(send())
    await until(lambda: given)
    assert await stopped(lambda: given) < 30 * MB
    backend.go_on.set()
    assert (await task)["size"] == 200 * MB


async def test_pieces_pass_at_once(served, backend, browser):
    async with browser.get(served.url("slow"), headers=served.login) as answer:
        assert await asyncio.wait_for(answer.content.readline(), PATIENCE_S) == b"one\n"
        backend.go_on.set()
        assert await answer.content.read() == b"two\n"


async def test_both_ways_at_once(served, browser):
    asked = asyncio.Queue()

    async def body():
        while (piece := await asked.get()) is not None:
            yield piece

    await asked.put(b"one")
    async with browser.post(served.url("echo"), data=body(), headers=served.login) as answer:
        assert await asyncio.wait_for(answer.content.readany(), PATIENCE_S) == b"one"
        await asked.put(b"two")
        assert await asyncio.wait_for(answer.content.readany(), PATIENCE_S) == b"two"
        await asked.put(None)
        assert await answer.content.read() == b""


async def test_packed_bodies_pass_unopened(served, browser):
    packed = gzip.compress(b"z" * 1000)
    headers = {**served.login, "Content-Encoding": "gzip"}
    async with browser.post(served.url("echo"), data=packed, headers=headers) as answer:
        assert await answer.read() == packed
    async with browser.get(served.url("packed"), headers=served.login) as answer:
        assert answer.headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(await answer.read()) == b"z" * 1000


async def test_expect_is_answered(served):
    text = (
        f"POST /user/alice/upload HTTP/1.1\r\nHost: {served.host}:{served.port}\r\nCookie: {COOKIE}=alice-cookie\r\n"
        f"Origin: {served.origin}\r\nExpect: 100-continue\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc"
    )
    answer = await raw(served, text.encode())
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 ")


async def test_an_early_answer_ends_an_upload(served, browser):
    async def body():
        for _ in range(50):
            yield b"y" * 65536
            await asyncio.sleep(0.001)

    async with browser.post(served.url("refuse"), data=body(), headers=served.login) as answer:
        assert answer.status == 413
        assert await answer.text() == "too much"
    async with browser.get(served.url("x"), headers=served.login) as answer:
        assert answer.status == 200


@pytest.mark.parametrize("length", ["", "1"])
@pytest.mark.parametrize("how", ["rst", "fin"])
async def test_an_answer_that_breaks_off_does_not_end_cleanly(served, browser, length, how):
    with pytest.raises(aiohttp.ClientError):  # noqa: PT012
        async with browser.get(served.url(f"die?length={length}&how={how}"), headers=served.login) as answer:
            assert answer.status == 200
            await answer.read()


async def test_a_browser_that_goes_away_ends_the_request(served, backend, browser):
    async with browser.get(served.url("slow"), headers=served.login) as answer:
        await answer.content.readline()
        answer.close()
    await asyncio.wait_for(backend.aborted.wait(), PATIENCE_S)


async def test_a_broken_upload_does_not_look_complete(served, backend):
    _, writer = await asyncio.open_connection(served.host, served.port)
    head = f"POST /user/alice/upload HTTP/1.1\r\nHost: h\r\nCookie: {COOKIE}=alice-cookie\r\nOrigin: http://h\r\n"
    writer.write(f"{head}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n".encode())
    while not backend.received:
        await asyncio.sleep(0.01)
    writer.transport.abort()
    await asyncio.wait_for(backend.aborted.wait(), PATIENCE_S)


@pytest.mark.parametrize(
    "framing",
    ["Content-Length: 3\r\nTransfer-Encoding: chunked", "Content-Length: 3\r\nContent-Length: 4", "Content-Length : 3",
     "Transfer-Encoding: chunked, chunked", "Content-Length: +3"],
)  # fmt: skip
async def test_ambiguous_framing_is_refused(served, backend, framing):
    head = f"POST /user/alice/upload HTTP/1.1\r\nHost: h\r\nCookie: {COOKIE}=alice-cookie\r\nOrigin: http://h\r\n"
    assert (await raw(served, f"{head}{framing}\r\n\r\n0\r\n\r\n".encode()))[8:13] == b" 400 "
    assert backend.requests == 0


async def test_connections_are_used_again(served, backend, browser):
    for _ in range(5):
        async with browser.get(served.url("x"), headers=served.login) as answer:
            await answer.read()
    assert len(backend.connections) == 1


# -- in the server's place -----------------------------------------------------------------------------------


async def fetch(browser, url, **headers):
    async with browser.get(url, headers=headers, allow_redirects=False) as answer:
        return answer.status, answer.content_type, await answer.text(), answer.headers.get("Location")


async def test_tokens_open_and_unknown_ones_do_not(served, browser):
    assert (await fetch(browser, served.url("x"), Authorization="token alice-token"))[0] == 200
    assert (await fetch(browser, served.url("x"), Authorization="Bearer service"))[0] == 200
    assert (await fetch(browser, served.url("x?token=alice-token")))[0] == 200
    assert (await fetch(browser, served.url("x?token=nobody"), Authorization="token alice-token"))[0] == 200
    assert (await fetch(browser, served.url("x"), Authorization="token nobody"))[0] == 403
    status, kind, text, _ = await fetch(browser, served.url("x"))
    assert (status, kind, json.loads(text)["status"]) == (403, "application/json", 403)


async def test_a_valid_cookie_wins_over_a_token(served, browser):
    headers = {"Cookie": f"{COOKIE}=bob-cookie", "Authorization": "token alice-token"}
    assert (await fetch(browser, served.url("x"), **headers))[0] == 403
    headers["Cookie"] = f"{COOKIE}=expired"
    assert (await fetch(browser, served.url("x"), **headers))[0] == 200


async def test_a_planted_second_cookie_locks_nobody_out(served, browser):
    assert (await fetch(browser, served.url("x"), Cookie=f"{COOKIE}=planted; {COOKIE}=alice-cookie"))[
        0
    ] == 200


async def test_of_two_valid_logins_the_first_counts(served, browser):
    """Whichever of them is in memory: bob's is not, alice's is."""
    for cookies, status in (("bob-cookie", "alice-cookie"), 403), (("alice-cookie", "bob-cookie"), 200):
        sent = "; ".join(f"{COOKIE}={value}" for value in cookies)
        assert (await fetch(browser, served.url("x"), Cookie=sent))[0] == status


async def test_who_knocks_must_be_known_in_time(served, browser, monkeypatch):
    monkeypatch.setattr("minihub.proxy.front.ASK_S", 0.1)
    never = asyncio.Event()

    async def hang(_cookie):
        await never.wait()

    served.identity.login = hang
    status, kind, _, _ = await fetch(browser, served.url("x"), Cookie=f"{COOKIE}=slow")
    assert (status, kind) == (503, "application/json")
    never.set()


async def test_strangers_are_sent_to_the_login(served, browser):
    status, _, _, location = await fetch(browser, served.url("lab?a=1&token=t"), **NAVIGATE)
    assert (status, location) == (302, "/hub/login?next=%2Fuser%2Falice%2Flab%3Fa%3D1")


async def test_others_get_a_page_or_json(served, backend, browser):
    cookie = f"{COOKIE}=bob-cookie"
    assert await fetch(browser, served.url("lab"), Cookie=cookie, **NAVIGATE) == (
        403, "text/html", "not_owner alice bob", None,
    )  # fmt: skip
    status, kind, _, _ = await fetch(browser, served.url("api"), Cookie=cookie)
    assert (status, kind) == (403, "application/json")
    assert backend.requests == 0


async def test_cross_site_posts_are_stopped(served, backend, browser):
    headers = {"Cookie": f"{COOKIE}=alice-cookie", "Origin": "https://evil.example"}
    async with browser.post(served.url("x"), headers=headers, data=b"1") as answer:
        assert answer.status == 403
    assert backend.requests == 0


async def test_log_out_is_ours(served, backend, browser):
    cookie = f"{COOKIE}=alice-cookie"
    status, _, text, _ = await fetch(browser, served.url("logout"), Cookie=cookie, **NAVIGATE)
    assert (status, text) == (200, "logged out")
    assert served.logged_out == ["alice-login"]
    text = (await fetch(browser, served.url("logout"), Cookie=cookie))[2]
    assert text == "confirm alice"
    assert served.logged_out == ["alice-login"]
    assert backend.requests == 0


async def test_without_a_server(hub, browser):
    cookie = f"{COOKIE}=alice-cookie"
    assert await fetch(browser, hub.url("lab/tree/x?y=1"), Cookie=cookie, **NAVIGATE) == (
        424, "text/html", "not_running alice /user/alice/lab/tree/x?y=1", None,
    )  # fmt: skip
    status, kind, text, _ = await fetch(browser, hub.url("api/status"), Cookie=cookie)
    assert (status, kind, json.loads(text)["status"]) == (424, "application/json", 424)
    starting = Attempt("a", "alice", "t", ServerOptions(1, 1, 1), Secrets("T", "R"), State.STARTING, 0.0, 0.0)
    hub.servers.attempts["alice"] = starting
    assert (await fetch(browser, hub.url("api/status"), Cookie=cookie))[0] == 503


async def test_an_unreachable_server(hub, browser, unused_tcp_port):
    hub.route_to(Endpoint(host="127.0.0.1", port=unused_tcp_port))
    cookie = f"{COOKIE}=alice-cookie"
    status, kind, _, _ = await fetch(browser, hub.url("api/status"), Cookie=cookie)
    assert (status, kind) == (503, "application/json")
    assert hub.servers.doubted == ["alice"], "its job may have ended"
    status, kind, text, _ = await fetch(browser, hub.url("lab"), Cookie=cookie, **NAVIGATE)
    assert (status, kind, text) == (503, "text/html", "not_running alice /user/alice/lab")


async def test_a_server_that_hangs_up(served, browser):
    cookie = f"{COOKIE}=alice-cookie"
    assert (await fetch(browser, served.url("die?when=before"), Cookie=cookie))[0] == 503


async def test_the_slash_is_added(served, browser):
    status, _, _, location = await fetch(browser, f"{served.origin}/user/alice?x=1&token=t")
    assert (status, location) == (302, "/user/alice/?x=1")


async def test_the_base_path(backend, browser):
    async with run_hub({"hub": {"base_path": "/jupyter/"}}) as hub:
        location = (await fetch(browser, f"{hub.origin}/jupyter/user/alice/lab", **NAVIGATE))[3]
        assert location == "/jupyter/hub/login?next=%2Fjupyter%2Fuser%2Falice%2Flab"
        assert (await fetch(browser, f"{hub.origin}/user/alice/lab"))[0] == 404


async def test_tokens_are_not_logged(served, browser, caplog):
    caplog.set_level("DEBUG")
    await fetch(browser, served.url("x?token=alice-token"))
    await fetch(browser, served.url("die?when=before&token=alice-token"), Cookie=f"{COOKIE}=alice-cookie")
    ours = [r.getMessage() for r in caplog.records]
    assert any("no answer" in text for text in ours)
    assert not any(
        "alice-token" in text or "alice-cookie" in text or "upstream-token" in text for text in ours
    )


async def test_malformed_heads_are_not_logged(served, caplog):
    caplog.set_level("DEBUG")
    text = f"GET /user/alice/x HTTP/1.1\r\nHost: h\r\nCookie: {COOKIE}=alice-\x01cookie\r\n\r\n"
    assert b" 400 " in await raw(served, text.encode())
    assert not any(COOKIE in record.getMessage() + str(record.exc_text) for record in caplog.records)


# -- ended at once -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["user", "login"])
async def test_requests_end_when_the_server_stops_or_the_login_is_over(served, browser, by):
    async with browser.get(served.url("slow"), headers=served.login) as answer:
        await answer.content.readline()
        assert served.proxy.close_user("bob") == served.proxy.close_login("bob-login") == 0
        ended = served.proxy.close_user("alice") if by == "user" else served.proxy.close_login("alice-login")
        assert ended == 1
        with pytest.raises(aiohttp.ClientError):
            await asyncio.wait_for(answer.read(), PATIENCE_S)
    await until(lambda: len(served.proxy) == 0)


async def test_a_new_attempt_gets_new_connections(served, backend, browser):
    async with browser.get(served.url("x"), headers=served.login) as answer:
        await answer.read()
    served.route_to(served.servers.routes["alice"].endpoint, attempt="a2", secrets=Secrets("second", "r"))
    async with browser.get(served.url("x"), headers=served.login) as answer:
        assert ["Authorization", "token second"] in (await answer.json())["headers"]
    assert len(backend.connections) == 2
