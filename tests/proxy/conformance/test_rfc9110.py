"""RFC 9110: what is for one hop only, Upgrade, HEAD, refused methods, Expect, and answers that have no body."""

from __future__ import annotations

import re

import pytest

from tests.proxy.conformance.kit import (
    CLOSED,
    EITHER,
    FIN,
    HUNG_UP,
    Answer,
    Await,
    Case,
    Cue,
    Got,
    Pause,
    Reached,
    Req,
    Seen,
    Torn,
    X,
    answer,
    chunked,
    early,
    get,
    head_of,
    passes,
    post,
    whole,
)
from tests.proxy.conformance.run import check

TE = "Transfer-Encoding: chunked"
ABC = Req("POST", X, "abc")


def lacks(*names, **more):
    return Req("GET", lacks=names, **more)


def hop(id, *fields, **expected):  # noqa: A002
    """An answer with such fields."""
    return Case(
        "7.6.1",
        id,
        get(),
        whole(answer(200, *fields, body="ok")),
        [Req("GET")],
        [Answer(200, "ok", **expected)],
    )


# -- 7.6.1 Connection: what is said to the next hop only -----------------------------------------------------

CONNECTION = [
    passes("7.6.1", "a field it names", get("Connection: X-Hop", "X-Hop: 1", "X-Way: 2"),
           lacks("x-hop", has={"x-way": "2"})),
    passes("7.6.1", "whatever the case", get("connection: x-HOP", "X-Hop: 1"), lacks("x-hop")),
    passes("7.6.1", "the field before it", get("X-Hop: 1", "Connection: X-Hop"), lacks("x-hop")),
    passes("7.6.1", "every line of the field", get("X-Hop: 1", "Connection: X-Hop", "X-Hop: 2"), lacks("x-hop")),
    passes("7.6.1", "several, in a list with gaps", get("Connection: , X-Hop ,,\tX-Hip,", "X-Hop: 1", "X-Hip: 1"),
           lacks("x-hop", "x-hip")),
    passes("7.6.1", "several, in two fields", get("Connection: X-Hop", "X-Hop: 1", "Connection: X-Hip", "X-Hip: 1"),
           lacks("x-hop", "x-hip")),
    passes("7.6.1", "what it names need not be there", get("Connection: X-Hop")),
    passes("7.6.1", "an empty one", get("Connection:")),
    passes("7.6.1", "it cannot name Host and Cookie", get("Connection: Host, Cookie", "Cookie: a=1"),
           Req("GET", has={"host": "hub.test", "cookie": "a=1"})),
    passes("7.6.1", "it cannot name Content-Length", post("Connection: Content-Length", "Content-Length: 3",
                                                          body="abc"), ABC),
    passes("7.6.1", "it cannot name Transfer-Encoding", post("Connection: Transfer-Encoding", TE,
                                                             body=chunked("abc")), ABC),
    passes("7.6.1", "it cannot name Content-Type", post("Connection: Content-Type", "Content-Type: text/plain",
                                                        "Content-Length: 3", body="abc"),
           Req("POST", X, "abc", has={"content-type": "text/plain"})),
    passes("7.6.1", "it cannot name what the hub says",
           get("Connection: Authorization, X-Forwarded-For, X-Forwarded-Proto, X-Forwarded-Host"),
           Req("GET", has={"x-forwarded-host": "hub.test"})),
    Case("7.6.1", "it cannot name the Origin away",
         post("Connection: Origin").replace("Origin: http://hub.test", "Origin: http://evil.test"),
         answers=[403], then=EITHER),
    *[passes("7.6.1", f"not sent on: {name}", get(f"{name}: 1"), lacks(name.lower()))
      for name in ("Keep-Alive", "Proxy-Connection", "Proxy-Authorization", "TE", "Trailer", "Upgrade",
                   "HTTP2-Settings")],
    passes("7.6.1", "TE is not sent on, named or not", get("TE: trailers", "Connection: TE"), lacks("te")),
    hop("of an answer: a field it names", "Connection: X-Hop", "X-Hop: 1", "X-Way: 2", lacks=("x-hop",),
        has={"x-way": "2"}),
    hop("of an answer: whatever the case", "X-Hop: 1", "connection: x-HOP", lacks=("x-hop",)),
    hop("of an answer: it cannot name Content-Length", "Connection: Content-Length"),
    hop("of an answer: it cannot name Content-Type", "Connection: Content-Type", "Content-Type: text/html",
        has={"content-type": "text/html"}),
    *[hop(f"of an answer, not sent on: {name}", f"{name}: 1", lacks=(name.lower(),))
      for name in ("Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authentication-Info", "Upgrade",
                   "Trailer")],
    Case("7.6.1", "of an answer: close is not passed on", get(),
         whole(answer(200, "Connection: close", body="ok"), FIN), [Req("GET")],
         [Answer(200, "ok")]),
    Case("7.6.1", "of an answer: keep-alive is not passed on to one who asks to close", get("Connection: close"),
         whole(answer(200, "Connection: keep-alive", body="ok")), [Req("GET")],
         [Answer(200, "ok", has={"connection": "close"})], then=CLOSED),
]  # fmt: skip

# -- 7.8 Upgrade: websocket is in test_rfc6455.py, everything else is nothing --------------------------------

UPGRADE = [
    passes("7.8", "h2c", get("Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings",
                             "HTTP2-Settings: AAMAAABkAAQAoAAA"), lacks("upgrade", "http2-settings")),
    passes("7.8", "TLS", get("Upgrade: TLS/1.2", "Connection: Upgrade"), lacks("upgrade")),
    passes("7.8", "with a body", post("Upgrade: h2c", "Connection: Upgrade", "Content-Length: 3", body="abc"),
           Req("POST", X, "abc", lacks=("upgrade",))),
    passes("7.8", "not named in Connection", get("Upgrade: h2c"), lacks("upgrade")),
    passes("7.8", "empty", get("Upgrade:", "Connection: Upgrade"), lacks("upgrade")),
    Case("7.8", "and the request after it", get("Upgrade: h2c", "Connection: Upgrade") + get(),
         reaches=[lacks("upgrade"), Req("GET")], answers=[200, 200]),
    Case("7.8", "of an answer, offered", get(), whole(answer(200, "Upgrade: h2c", "Connection: Upgrade", body="ok")),
         [Req("GET")], [Answer(200, "ok", lacks=("upgrade",))]),
    Case("7.8", "of an answer, demanded", get(), whole(answer(426, "Upgrade: h2c", "Connection: Upgrade", body="no")),
         [Req("GET")], [Answer(426, "no")]),
]  # fmt: skip

# -- 9.3 Methods ---------------------------------------------------------------------------------------------

LENGTH = "Content-Length: 5"

METHODS = [
    *[passes("9.3", method, get(method=method), Req(method))
      for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "M-SEARCH")],
    *[passes("9.3", f"{method} with a body", post("Content-Length: 3", body="abc", method=method),
             Req(method, X, "abc"))
      for method in ("PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND")],
    Case("9.3.2", "HEAD with a length", get(method="HEAD"), whole(answer(200, LENGTH, length=False)), [Req("HEAD")],
         [head_of(200, has={"content-length": "5"})], reuse=True),
    Case("9.3.2", "HEAD of chunks", get(method="HEAD"), whole(answer(200, TE, length=False)), [Req("HEAD")],
         [head_of(200)], reuse=True),
    Case("9.3.2", "HEAD of neither", get(method="HEAD"), whole(answer(200, length=False)), [Req("HEAD")],
         [head_of(200)]),
    Case("9.3.2", "HEAD of nothing", get(method="HEAD"), whole(answer(200)), [Req("HEAD")], [head_of(200)],
         reuse=True),
    Case("9.3.2", "HEAD to HTTP/1.0", get(method="HEAD", version="HTTP/1.0"),
         whole(answer(200, LENGTH, length=False)), [Req("HEAD")],
         [head_of(200, has={"content-length": "5"})], then=HUNG_UP),
    Case("9.3.2", "HEAD of an error", get(method="HEAD"), whole(answer(404, LENGTH, length=False)), [Req("HEAD")],
         [head_of(404)], reuse=True),
    Case("9.3.2", "HEAD, then GET", get(method="HEAD") + get(), whole(answer(200, "Content-Length: 2", length=False)),
         [Req("HEAD"), Req("GET")],
         [head_of(200), 200], reuse=True),
    Case("9.3.2", "HEAD that the hub refuses", get(method="HEAD", target="/user/bob/x") + get(), reaches=[Req("GET")],
         answers=[head_of(403), 200]),
    Case("9.3.8", "TRACE", get(method="TRACE"), answers=[405], then=EITHER),
    Case("9.3.8", "TRACK", get(method="TRACK"), answers=[405], then=EITHER),
    Case("9.3.8", "TRACE, with a body", post("Content-Length: 3", method="TRACE", body="abc"), answers=[{400, 405}],
         then=EITHER),
    Case("15.5.6", "405 says what is allowed", get(method="TRACE"),
         answers=[Answer(405, has={"allow": re.compile("(?!.*TRACE).*GET.*")})], then=EITHER),
]  # fmt: skip

# -- 10.1.1 Expect -------------------------------------------------------------------------------------------

EXPECT = "Expect: 100-continue"
ASKING = post(EXPECT, "Content-Length: 3")
CONTINUE = "HTTP/1.1 100 Continue\r\n\r\n"
EXPECTING = Req("POST", X, "abc", has={"expect": "100-continue"})

EXPECTS = [
    Case("10.1.1", "the server says continue", [ASKING, Seen(1), "abc"],
         early(CONTINUE, Got("abc"), answer(200, body="ok")), [EXPECTING], [100, 200], reuse=True),
    Case("10.1.1", "with chunks", [post(EXPECT, TE), Seen(1), chunked("abc")],
         early(CONTINUE, Got("0\r\n\r\n"), answer(200, body="ok")), [EXPECTING], [100, 200], reuse=True),
    Case("10.1.1", "in capitals", [ASKING.replace("continue", "CONTINUE"), Seen(1), "abc"],
         early(CONTINUE, Got("abc"), answer(200, body="ok")), [ABC], [100, 200]),
    Case("10.1.1", "the hub does not say it by itself", [ASKING, Reached(X), Pause(), "abc"], reaches=[EXPECTING],
         answers=[200]),
    Case("10.1.1", "the client does not wait", ASKING + "abc", early(CONTINUE, Got("abc"), answer(200, body="ok")),
         [EXPECTING], [100, 200]),
    Case("10.1.1", "nobody waits, and nobody says it", ASKING + "abc" + get(), reaches=[EXPECTING, Req("GET")],
         answers=[200, 200]),
    Case("10.1.1", "the server refuses", [ASKING, Seen(1)], early(answer(413, body="no")),
         [Req("POST", X, "", cut=True, has={"expect": "100-continue"})],
         [Answer(413, "no")], then=CLOSED, reuse=False),
    Case("10.1.1", "the server cannot", [ASKING, Seen(1)], early(answer(417, body="no")),
         [Req("POST", X, "", cut=True)], [Answer(417, "no")], then=CLOSED, reuse=False),
    # Closed, or the body is still read: 10.1.1 leaves the choice.
    Case("10.1.1", "the hub refuses", [post(EXPECT, "Content-Length: 3", target="/user/bob/x"), Seen(1), "abc"],
         answers=[403], then=EITHER),
    Case("10.1.1", "without a body", get(EXPECT), reaches=[Req("GET")], answers=[200]),
    Case("10.1.1", "HTTP/1.0's is nothing", [post(EXPECT, "Content-Length: 3", version="HTTP/1.0"), Pause(), "abc"],
         reaches=[Req("POST", X, "abc", lacks=("expect",))], answers=[200], then=HUNG_UP),
    *[Case("10.1.1", f"something else: {value}", post(f"Expect: {value}", "Content-Length: 3", body="abc"),
           answers=[417], then=EITHER)
      for value in ("tea", "100-continue, tea", "100-continue=1", "100")],
    Case("10.1.1", "something else, in a second field", post(EXPECT, "Expect: tea", "Content-Length: 3", body="abc"),
         answers=[417], then=EITHER),
]  # fmt: skip

# -- 15.2 Interim answers ------------------------------------------------------------------------------------

HINTS = "HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n"
SWITCH = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
OKAY = answer(200, body="ok")

INTERIM = [
    Case("15.2", "103", get(), whole(HINTS, OKAY), [Req("GET")],
         [Answer(103, has={"link": "</a>; rel=preload"}), 200], reuse=True),
    Case("15.2", "103 comes at once", [get(), Seen(1), Cue("go on")], whole(HINTS, Await("go on"), OKAY),
         [Req("GET")], [103, 200], reuse=True),
    Case("15.2", "103, byte by byte", get(), whole(Torn(HINTS + OKAY)), [Req("GET")], [103, 200], reuse=True),
    Case("15.2", "several", get(), whole("HTTP/1.1 102 Processing\r\n\r\n" * 2 + HINTS, OKAY), [Req("GET")],
         [102, 102, 103, 200], reuse=True),
    Case("15.2", "one nobody knows", get(), whole("HTTP/1.1 199 Why\r\n\r\n" + OKAY), [Req("GET")], [199, 200],
         reuse=True),
    Case("15.2", "100 that nobody asked for", get(), whole(CONTINUE + OKAY), [Req("GET")], [100, 200], reuse=True),
    Case("15.2", "with what is for one hop", get(),
         whole("HTTP/1.1 103 X\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 1\r\n\r\n" + OKAY), [Req("GET")],
         [Answer(103, lacks=("x-hop", "keep-alive")), 200]),
    Case("15.2", "with what only the hub may set", get(),
         whole('HTTP/1.1 103 X\r\nSet-Cookie: minihub-login=bob\r\nClear-Site-Data: "*"\r\n\r\n' + OKAY),
         [Req("GET")],
         [Answer(103, lacks=("set-cookie", "clear-site-data")), 200]),
    # It has no body, whatever it says; to take it for no answer is as good.
    Case("15.2", "with a length", get(), whole("HTTP/1.1 103 X\r\nContent-Length: 2\r\n\r\n" + OKAY), [Req("GET")],
         [103, 200], instead=[502], then=EITHER),
    Case("15.2", "with a coding", get(), whole(f"HTTP/1.1 103 X\r\n{TE}\r\n\r\n" + OKAY), [Req("GET")],
         [103, 200], instead=[502], then=EITHER),
    Case("15.2", "before an answer to HEAD", get(method="HEAD"), whole(HINTS, answer(200, LENGTH, length=False)),
         [Req("HEAD")], [103, head_of(200)], reuse=True),
    Case("15.2", "before 204", get(), whole(HINTS, answer(204, length=False)), [Req("GET")], [103, 204], reuse=True),
    Case("15.2", "not to HTTP/1.0", get(version="HTTP/1.0"), whole(HINTS, CONTINUE, OKAY), [Req("GET")], [200],
         then=HUNG_UP),
    Case("15.2", "then nothing more", get(), whole(HINTS, FIN), [Req("GET")], [103, {502, 503}], then=EITHER),
    Case("15.2.2", "101 that nobody asked for", get(), whole(SWITCH), [Req("GET")], [502], then=EITHER, reuse=False),
    Case("15.2.2", "101 that nobody asked for, with a body", post("Content-Length: 3", body="abc"), whole(SWITCH),
         [ABC], [502], then=EITHER, reuse=False),
    Case("15.2.2", "101 to what was not passed on", get("Upgrade: h2c", "Connection: Upgrade"),
         whole(SWITCH.replace("websocket", "h2c") + "h2c?"), [Req("GET")],
         [502], then=EITHER, reuse=False),
    Case("15.2.2", "101 to HTTP/1.0", get(version="HTTP/1.0"), whole(SWITCH), [Req("GET")], [502], then=HUNG_UP,
         reuse=False),
]  # fmt: skip

# -- 15.3 to 15.6: what passes, and what has no body ---------------------------------------------------------

PLAIN = ("content-length", "transfer-encoding")

STATUS = [
    *[Case("15", f"{status} passes", get(), whole(answer(status, body="so")), [Req("GET")], [Answer(status, "so")],
           reuse=True)
      for status in (200, 201, 206, 299, 302, 400, 401, 404, 418, 424, 451, 499, 500, 502, 503, 504, 599)],
    Case("15", "a reason passes", get(), whole(answer(200, body="ok").replace("Said", "It's (very) \xe9")),
         [Req("GET")], [200]),
    Case("15", "no reason passes", get(), whole(answer(200, body="ok").replace("Said", "")), [Req("GET")], [200]),
    Case("15.3.5", "204", get(), whole(answer(204, length=False)), [Req("GET")], [Answer(204, "", lacks=PLAIN)],
         reuse=True),
    Case("15.3.5", "204 with a length", get(), whole(answer(204, LENGTH, length=False)), [Req("GET")],
         [Answer(204, "", lacks=PLAIN)]),
    Case("15.3.5", "204 with a length of 0", get(), whole(answer(204)), [Req("GET")], [Answer(204, "", lacks=PLAIN)],
         reuse=True),
    Case("15.3.5", "204 to HTTP/1.0", get(version="HTTP/1.0"), whole(answer(204, length=False)), [Req("GET")],
         [Answer(204, "")], then=HUNG_UP),
    Case("15.3.5", "204 to POST", post("Content-Length: 3", body="abc"), whole(answer(204, length=False)), [ABC],
         [204], reuse=True),
    Case("15.3.6", "205", get(), whole(answer(205)), [Req("GET")], [Answer(205, "")], reuse=True),
    Case("15.4.5", "304", get('If-None-Match: "a"'), whole(answer(304, 'ETag: "a"', length=False)),
         [Req("GET", has={"if-none-match": '"a"'})],
         [Answer(304, "", has={"etag": '"a"'})], reuse=True),
    Case("15.4.5", "304 with a length", get(), whole(answer(304, LENGTH, length=False)), [Req("GET")],
         [Answer(304, "")], reuse=True),
    Case("15.4.5", "304 of chunks", get(), whole(answer(304, TE, length=False)), [Req("GET")], [Answer(304, "")],
         reuse=True),
    Case("8.4", "coded content passes unopened", get("Accept-Encoding: gzip"),
         whole(answer(200, "Content-Encoding: gzip", body="\x1f\x8b\x08no")),
         [Req("GET", has={"accept-encoding": "gzip"})],
         [Answer(200, "\x1f\x8b\x08no", has={"content-encoding": "gzip"})]),
    Case("8.4", "coded content of a request, too", post("Content-Encoding: gzip", "Content-Length: 3",
                                                        body="\x1f\x8b\x08"),
         reaches=[Req("POST", X, "\x1f\x8b\x08", has={"content-encoding": "gzip"})], answers=[200]),
    Case("14", "a range passes", get("Range: bytes=0-1"), whole(answer(206, "Content-Range: bytes 0-1/9", body="ab")),
         [Req("GET", has={"range": "bytes=0-1"})], [Answer(206, "ab", has={"content-range": "bytes 0-1/9"})]),
    Case("5.3", "lines of one name stay apart and in order", get(),
         whole(answer(200, "A: 1", "B: 2", "a: 3", body="ok")), [Req("GET")],
         [Answer(200, "ok", has={"a": ["1", "3"]})]),
]  # fmt: skip


@pytest.mark.parametrize("case", [*CONNECTION, *UPGRADE, *METHODS, *EXPECTS, *INTERIM, *STATUS], ids=str)
async def test_semantics(case):
    await check(case)
