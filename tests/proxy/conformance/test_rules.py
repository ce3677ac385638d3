"""The hub's own rules: what it says to a user's server, what it keeps from it, and what that server may not say.

That the hub's own fields reach the server exactly once, and what it keeps never, is looked at in every row of every
table.
"""

from __future__ import annotations

import pytest

from tests.proxy.conformance.kit import (
    EITHER,
    HOST,
    HUNG_UP,
    OK,
    Answer,
    Case,
    Req,
    Seen,
    X,
    answer,
    get,
    head_of,
    passes,
    whole,
)
from tests.proxy.conformance.run import check

LOGIN = "Cookie: minihub-login=alice-cookie\r\n"
ORIGIN = "Origin: http://hub.test\r\n"
NAVIGATE = "Sec-Fetch-Mode: navigate\r\nSec-Fetch-Site: same-origin\r\nSec-Fetch-Dest: document\r\n"


def asks(*fields, method="GET", target=X, body=""):
    """A request with Host and these fields only."""
    return (
        f"{method} {target} HTTP/1.1\r\n{HOST}"
        + "".join(one if one.endswith("\n") else f"{one}\r\n" for one in fields)
        + "\r\n"
        + body
    )


def keeps(id, *fields, has=None, lacks=()):  # noqa: A002
    """A request with more fields; what the server gets of them."""
    return passes("hub", id, get(*fields), Req("GET", has=has or {}, lacks=lacks))


def shuts(id, send, status, **more):  # noqa: A002
    """Nothing reaches the server."""
    return Case("hub", id, send, answers=[status], then=EITHER, **more)


# -- What the hub says to the server -------------------------------------------------------------------------

SAID = ("authorization", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host")
OURS = {
    "authorization": "token upstream-token",
    "x-forwarded-for": "127.0.0.1",
    "x-forwarded-proto": "http",
    "x-forwarded-host": "hub.test",
}

INBOUND = [
    keeps("its fields, once each", has=OURS),
    keeps("Authorization", "Authorization: token x", has=OURS),
    keeps("Authorization, twice", "Authorization: token x", "authorization: Basic eDp5", has=OURS),
    keeps("Authorization that the hub does not know", "Authorization: Bearer nobody", has=OURS),
    keeps("X-Forwarded-For", "X-Forwarded-For: 192.0.2.1", has=OURS),
    keeps("X-Forwarded-For, twice", "X-Forwarded-For: 192.0.2.1", "x-forwarded-for: 192.0.2.2, 192.0.2.3", has=OURS),
    keeps("X-Forwarded-Proto and -Host", "X-Forwarded-Proto: https", "X-Forwarded-Host: evil.test", has=OURS),
    keeps("every other X-Forwarded-*", "X-Forwarded-Port: 1", "X-Forwarded-Prefix: /x", "X-Forwarded-User: root",
          "X-Forwarded-Any: 1",
          has=OURS, lacks=("x-forwarded-port", "x-forwarded-prefix", "x-forwarded-user", "x-forwarded-any")),
    keeps("Forwarded and its like", "Forwarded: for=192.0.2.1", "X-Real-IP: 192.0.2.1", "X-Scheme: https",
          "X-Client-IP: 192.0.2.1",
          lacks=("forwarded", "x-real-ip", "x-scheme", "x-client-ip")),
    keeps("Proxy-*", "Proxy-Authorization: Basic eDp5", "Proxy-Connection: keep-alive", "Proxy-Any: 1",
          "Proxy: http://evil.test",
          lacks=("proxy-authorization", "proxy-connection", "proxy-any")),
    *[keeps(f"the twin {name}", f"{name}: 1", has=OURS, lacks=(name.lower(),))
      for name in ("X_Forwarded_For", "x_forwarded-for", "X-Forwarded_Proto", "X_Forwarded_Host", "X_Real_IP",
                   "Proxy_Authorization", "X_Scheme", "Keep_Alive")],
    # What looks like framing is dropped, or not served at all; in no case is it framing.
    *[Case("hub", f"the twin {name} is none", get(f"{name}: {value}", method="POST"),
           reaches=[Req("POST", maybe=True)],
           answers=[200], instead=[400], then=EITHER)
      for name, value in (("Content_Length", "3"), ("Transfer_Encoding", "chunked"))],
    keeps("other names with underscores pass", "X_Other: 1", has={"x_other": "1"}),
    keeps("what the server's programs need passes", "X-XSRFToken: z", "Referer: http://hub.test/", "User-Agent: u",
          "Accept-Language: fr", "DNT: 1",
          has={"x-xsrftoken": "z", "referer": "http://hub.test/", "user-agent": "u", "accept-language": "fr",
               "origin": "http://hub.test"}),
    keeps("Sec-WebSocket-* without a handshake", "Sec-WebSocket-Key: x", lacks=("sec-websocket-key",)),
]  # fmt: skip

# -- Cookies inbound -----------------------------------------------------------------------------------------


def cookies(id, *lines, kept):  # noqa: A002
    """Cookie fields, and those the server gets."""
    return passes("hub", id, asks(*(f"Cookie: {line}" for line in lines)), Req("GET", has={"cookie": kept}))


COOKIES = [
    cookies("its own only: no Cookie at all", "minihub-login=alice-cookie", kept=[]),
    cookies("its own first", "minihub-login=alice-cookie; a=1", kept=["a=1"]),
    cookies("its own last", "a=1; minihub-login=alice-cookie", kept=["a=1"]),
    cookies("its own within", "a=1; minihub-login=alice-cookie; b=2", kept=["a=1; b=2"]),
    cookies("without blanks", "a=1;minihub-login=alice-cookie;b=2", kept=["a=1;b=2"]),
    cookies("two of its own", "minihub-login=x; a=1; minihub-login=alice-cookie", kept=["a=1"]),
    cookies("in two fields", "a=1", "minihub-login=alice-cookie", kept=["a=1"]),
    cookies("all its names", "minihub-login=alice-cookie; __Host-minihub=x; minihub-form=y; a=1",
            "__Host-minihub-form=z; minihub-language=fr; b=2", kept=["a=1", "b=2"]),
    cookies("whatever the case", "minihub-login=alice-cookie; MiniHub-Login=x; a=1", kept=["a=1"]),
    cookies("names that only look alike", "minihub-login=alice-cookie; minihub-login2=x; xminihub-login=y",
            kept=["minihub-login2=x; xminihub-login=y"]),
    cookies("values stay as they are", 'minihub-login=alice-cookie; a="1=2"; b; =c; d=\xe9',
            kept=['a="1=2"; b; =c; d=\xe9']),
]  # fmt: skip

# -- What the server may not say -----------------------------------------------------------------------------


def sets(id, *said, kept):  # noqa: A002
    """Set-Cookie fields of the server, and those the client gets."""
    return Case(
        "hub",
        id,
        get(),
        whole(answer(200, *(f"Set-Cookie: {one}" for one in said), body="ok")),
        [Req("GET")],
        [Answer(200, "ok", has={"set-cookie": kept})],
    )


ORIGIN_WIDE = ("Service-Worker-Allowed", "Clear-Site-Data", "Strict-Transport-Security", "Alt-Svc", "NEL",
               "Report-To", "Reporting-Endpoints", "Set-Cookie2", "X-Accel-Redirect", "X-Sendfile")  # fmt: skip
PASSED = {"content-type": "text/html", "content-security-policy": "sandbox", "location": "/user/alice/y",
          "etag": '"a"', "x-any": "1", "server": "T",
          "access-control-allow-origin": "*", "www-authenticate": "Basic", "cache-control": "no-cache",
          "content-disposition": "inline"}  # fmt: skip

OUTBOUND = [
    sets("Set-Cookie stays on its path", "a=1; Path=/", kept=["a=1; Path=/user/alice/"]),
    sets("Set-Cookie without a path", "a=1", kept=["a=1"]),
    sets("Set-Cookie with a path within", "a=1; Path=/user/alice/lab; HttpOnly",
         kept=["a=1; HttpOnly; Path=/user/alice/lab"]),
    sets("Set-Cookie for somebody else", "a=1; path=/user/bob/", kept=["a=1; Path=/user/alice/"]),
    sets("Set-Cookie for a path that only begins alike", "a=1; Path=/user/alice2/", kept=["a=1; Path=/user/alice/"]),
    sets("Set-Cookie with two paths", "a=1; Path=/user/alice/x; Path=/", kept=["a=1; Path=/user/alice/"]),
    sets("Set-Cookie for a domain", "a=1; Domain=test", kept=["a=1"]),
    sets("Set-Cookie of the hub's own", "minihub-login=bob-cookie; Path=/", kept=[]),
    sets("Set-Cookie of the hub's own, whatever the case", "MINIHUB-login=bob-cookie", "minihub-LANGUAGE=fr",
         "__host-minihub=x", kept=[]),
    sets("Set-Cookie of the hub's own, behind blanks", " \t minihub-login =bob-cookie", kept=[]),
    sets("Set-Cookie of the hub's own, without a name", "=minihub-login=bob-cookie", "minihub-login", kept=[]),
    sets("Set-Cookie, several", "a=1", "minihub-login=bob-cookie", "b=2", kept=["a=1", "b=2"]),
    *[Case("hub", f"{name}", get(), whole(answer(200, f"{name}: 1", body="ok")), [Req("GET")],
           [Answer(200, "ok", lacks=(name.lower(),))]) for name in ORIGIN_WIDE],
    Case("hub", "fields for the whole origin, whatever the case, twice", get(),
         whole(answer(200, 'CLEAR-SITE-DATA: "*"', "clear-site-data: x", body="ok")),
         [Req("GET")], [Answer(200, "ok", lacks=("clear-site-data",))]),
    Case("hub", "fields for the whole origin, with an error", get(),
         whole(answer(500, "Clear-Site-Data: x", body="no")), [Req("GET")],
         [Answer(500, "no", lacks=("clear-site-data",))]),
    Case("hub", "fields for the whole origin, to HEAD", get(method="HEAD"),
         whole(answer(200, "Clear-Site-Data: x", "Content-Length: 5", length=False)),
         [Req("HEAD")], [head_of(200, lacks=("clear-site-data",))]),
    Case("hub", "fields for the whole origin, with 304", get(),
         whole(answer(304, "Clear-Site-Data: x", "Set-Cookie: minihub-login=x", length=False)),
         [Req("GET")], [Answer(304, "", lacks=("clear-site-data", "set-cookie"))]),
    Case("hub", "everything else", get(),
         whole(answer(200, *(f"{name}: {value}" for name, value in PASSED.items()), body="ok")), [Req("GET")],
         [Answer(200, "ok", has=PASSED)]),
    Case("hub", "Content-Type is not made up", get(), whole(OK), [Req("GET")],
         [Answer(200, "ok", lacks=("content-type",))]),
]  # fmt: skip

# -- Who may -------------------------------------------------------------------------------------------------

WHO = [
    passes("hub", "the owner's cookie", asks(LOGIN)),
    passes("hub", "the owner's token", asks("Authorization: token alice-token")),
    passes("hub", "the owner's token, Bearer", asks("Authorization: bearer alice-token")),
    passes("hub", "the owner's token in the query, which goes no further",
           asks(target=f"{X}?a=1&token=alice-token&b=2"), Req("GET", f"{X}?a=1&b=2")),
    passes("hub", "the only thing in the query", asks(target=f"{X}?token=alice-token"), Req("GET")),
    passes("hub", "a token in the query, encoded", asks(target=f"{X}?%74oken=alice-token"), Req("GET")),
    passes("hub", "a cookie, with a token nobody knows", asks(LOGIN, "Authorization: token nobody")),
    passes("hub", "a cookie beside a planted one", asks("Cookie: minihub-login=planted; minihub-login=alice-cookie")),
    passes("hub", "a token that may open any server", asks("Authorization: token service")),
    shuts("nobody", asks(), 403),
    shuts("nobody, a person", asks(NAVIGATE), Answer(302, has={"location": "/hub/login?next=%2Fuser%2Falice%2Fx"})),
    shuts("nobody, with a body", asks("Content-Length: 3", method="POST", body="abc"), 403),
    shuts("nobody, with chunks", asks("Transfer-Encoding: chunked", method="POST", body="3\r\nabc\r\n0\r\n\r\n"),
          403),
    Case("hub", "nobody, with bad chunks", asks("Transfer-Encoding: chunked", method="POST",
                                                body="x\r\nabc\r\n0\r\n\r\n"), answers=[{400, 403}], then=HUNG_UP),
    Case("hub", "nobody, with a body that comes late", [asks("Content-Length: 3", method="POST"), Seen(1), "abc"],
         answers=[403], then=EITHER),
    Case("hub", "nobody, and then somebody", asks() + get(), reaches=[Req("GET")], answers=[403, 200]),
    Case("hub", "somebody, and then nobody", get() + asks(), reaches=[Req("GET")], answers=[200, 403]),
    shuts("a cookie that is over", asks("Cookie: minihub-login=over"), 403),
    shuts("another's cookie, admin or not", asks("Cookie: minihub-login=bob-cookie"), 403),
    shuts("another's cookie, a person", asks("Cookie: minihub-login=bob-cookie", NAVIGATE), 403),
    shuts("another's cookie wins over the owner's token", asks("Cookie: minihub-login=bob-cookie",
                                                               "Authorization: token alice-token"), 403),
    shuts("another site's form", asks(LOGIN, "Origin: http://evil.test", "Content-Length: 3", method="POST",
                                      body="abc"), 403),
    shuts("a form from nowhere", asks(LOGIN, method="POST"), 403),
    shuts("another site's script", asks(LOGIN, ORIGIN, "Sec-Fetch-Site: cross-site", method="DELETE"), 403),
    shuts("no server runs", asks("Authorization: token service", target="/user/carol/x"), 424),
    shuts("no server runs, for a person", asks("Authorization: token service", NAVIGATE, target="/user/carol/x"),
          424),
]  # fmt: skip

# -- Which path ----------------------------------------------------------------------------------------------

PATHS = [
    *[shuts(f"{target}", get(target=target), 400)
      for target in ("/user/alice%2fx", "/user/alice%2Fx/y", "/user/%61lice/x", "/user/alic%65/x", "/user/../alice/x",
                     "/user/%2e%2e/alice/x", "/user/.%2E/x", "/user/./alice/x", "/user/%2e/alice/x", "/user//alice/x",
                     "/user/", "/user/%00/x", "/user/ali%00ce/x", "/user/%zz/x", "/user/%ff/x",
                     "/user/alice\\..\\bob/x", "/user/alice/\\..\\..\\hub", "/user/alice%5c/x", "/user/alice;a=1/x",
                     "/user/alice@/x", "/user/al*ce/x")],
    shuts("/user/alice%5C/x is another user", get(target="/user/alice%5C/x"), 403),
    shuts("names are compared by every letter", get(target="/user/Alice/x"), 403),
    shuts("nor by their beginning", get(target="/user/alice2/x"), 403),
    shuts("the slash is added", get(target="/user/alice?a=1"), Answer(302, has={"location": "/user/alice/?a=1"})),
    shuts("the slash is added, and a token dropped", get(target="/user/alice?token=alice-token"),
          Answer(302, has={"location": "/user/alice/"})),
    *[passes("hub", f"{target} is the server's matter", get(target=target), Req("GET", target))
      for target in ("/user/alice/../bob/x", "/user/alice/%2e%2e/bob", "/user/alice//x", "/user/alice/a%2f..%2fb",
                     "/user/alice/%00", "/user/alice/%zz", "/user/alice/x?a=/user/bob", "/user/alice/x?a%23b",
                     "/user/alice/user/bob/")],
    shuts("log out is the hub's matter", get(target="/user/alice/logout"), Answer(200, "confirm alice")),
]  # fmt: skip


@pytest.mark.parametrize("case", [*INBOUND, *COOKIES, *OUTBOUND, *WHO, *PATHS], ids=str)
async def test_rules(case):
    await check(case)
