"""RFC 6455, sections 4 to 7: into the tunnel, through it, and out of it. Messages are not looked at."""

from __future__ import annotations

import re

import pytest

from tests.proxy.conformance.kit import (
    ABORTED,
    CLOSED,
    EITHER,
    FIN,
    GONE,
    HALF,
    HANGS_UP,
    HOLD,
    HOST,
    HUNG_UP,
    OPEN,
    REFUSES,
    RST,
    Answer,
    Await,
    Case,
    Cue,
    Got,
    Only,
    Pause,
    Reached,
    Req,
    Seen,
    Torn,
    X,
    answer,
    chunked,
    get,
    whole,
)
from tests.proxy.conformance.run import check

WS = "/user/alice/api/kernels/1/channels?session_id=a"
KEY, ACCEPT = "dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # section 1.3's
UPGRADE = (
    "Upgrade: websocket",
    "Connection: Upgrade",
    f"Sec-WebSocket-Key: {KEY}",
    "Sec-WebSocket-Version: 13",
)
HELLO = "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"  # section 5.7's: "Hello", masked
HELLO_BACK = "\x81\x05Hello"
PING, PONG = "\x89\x80\x37\xfa\x21\x3d", "\x8a\x00"
CLOSE, CLOSE_BACK = "\x88\x82\x37\xfa\x21\x3d\x34\x12", "\x88\x02\x03\xe8"

FIELDS = {"upgrade": re.compile("(?i)websocket"), "connection": re.compile("(?i)upgrade"), "sec-websocket-key": KEY,
          "sec-websocket-version": "13"}  # fmt: skip
SWITCHED = Answer(
    101,
    has={
        "upgrade": re.compile("(?i)websocket"),
        "connection": re.compile("(?i)upgrade"),
        "sec-websocket-accept": ACCEPT,
    },
)


def ask(*fields, without="", target=WS, **more):
    """A handshake; `without` the fields that begin like that."""
    return get(
        *(one for one in UPGRADE if not without or not one.startswith(without)),
        *fields,
        target=target,
        **more,
    )


def switch(*fields, but=None):
    """The server's consent."""
    lines = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Accept": ACCEPT, **(but or {})}
    said = [f"{name}: {value}" for name, value in lines.items() if value]
    return "\r\n".join(["HTTP/1.1 101 Switching Protocols", *said, *fields]) + "\r\n\r\n"


def asked(tunnel="", has=None, **more):
    """The handshake at the server."""
    return Req("GET", WS, has={**FIELDS, **(has or {})}, tunnel=tunnel, **more)


def opened(section, id, send, does, tunnel="", back="", **more):  # noqa: A002
    """A tunnel, through which `tunnel` goes to the server and `back` comes back."""
    return Case(section, id, send, whole(*does), [asked(tunnel)], [SWITCHED], tunnel=back, **more)


ASK, SWITCH = ask(), switch()

# -- 4. Opening handshake ------------------------------------------------------------------------------------

HANDSHAKE = [
    opened("4", "both agree", ASK, [SWITCH]),
    opened("4", "byte by byte", Torn(ASK), [Torn(SWITCH)]),
    opened("4.1", "names and values in other cases",
           get("upgrade: WebSocket", "CONNECTION: UPGRADE", f"sec-websocket-key: {KEY}", "SEC-WEBSOCKET-VERSION: 13",
               target=WS), [SWITCH]),
    opened("4.1", "as Firefox asks", ask("Connection: keep-alive, Upgrade", without="Connection"), [SWITCH]),
    opened("4.1", "what Connection names besides is dropped",
           ask("Connection: Upgrade, X-Hop", "X-Hop: 1", without="Connection"), [SWITCH]),
    Case("4.1", "subprotocols are the server's matter", ask("Sec-WebSocket-Protocol: v1.kernel, other"),
         whole(switch("Sec-WebSocket-Protocol: other")),
         [asked(has={"sec-websocket-protocol": "v1.kernel, other"})],
         [Answer(101, has={"sec-websocket-protocol": "other"})]),
    Case("4.1", "extensions are the server's matter",
         ask("Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"),
         whole(switch("Sec-WebSocket-Extensions: permessage-deflate")),
         [asked(has={"sec-websocket-extensions": "permessage-deflate; client_max_window_bits"})],
         [Answer(101, has={"sec-websocket-extensions": "permessage-deflate"})]),
    Case("4.1", "what the hub alone may set is dropped from a consent, too", ASK,
         whole(switch("Set-Cookie: minihub-login=bob", "Clear-Site-Data: x", "A: 1")),
         [asked()], [Answer(101, has={"a": "1"}, lacks=("set-cookie", "clear-site-data"))]),
    Case("4.1", "after another request", [get(), Seen(1), ASK], [whole(answer(200, body="ok")), whole(SWITCH)],
         [Req("GET"), asked()], [200, SWITCHED]),
    Case("4.1", "in a row with another request", get() + ASK, [whole(answer(200, body="ok")), whole(SWITCH)],
         [Req("GET"), asked()], [200, SWITCHED]),
    Case("4.1", "an interim answer before", ASK, whole("HTTP/1.1 103 Hints\r\n\r\n" + SWITCH), [asked()],
         [103, SWITCHED]),
    # Who refuses these, the hub or the server, is nobody's business; that nothing is opened is.
    *[Case("4.2.1", what, send, whole(answer(400, body="no")), [Req("GET", WS, maybe=True)], [{400, 426}],
           then=EITHER)
      for what, send in (("no key", ask(without="Sec-WebSocket-Key")),
                         ("an empty key", ask("Sec-WebSocket-Key:", without="Sec-WebSocket-Key")),
                       ("no version", ask(without="Sec-WebSocket-Version")),
                         ("version 8", ask("Sec-WebSocket-Version: 8", without="Sec-WebSocket-Version")))],
    Case("4.2.1", "POST", ask(method="POST"), whole(answer(400, body="no")), [Req("POST", WS, maybe=True)], [400],
         then=EITHER),
    Case("4.2.1", "HTTP/1.0 cannot ask", ask(version="HTTP/1.0"), whole(answer(400, body="no")),
         [Req("GET", WS, maybe=True, lacks=("upgrade",))], [400], then=HUNG_UP),
    Case("4.2.1", "not named in Connection", ask(without="Connection"), whole(answer(400, body="no")),
         [Req("GET", WS, maybe=True, lacks=("upgrade",))], [400], then=EITHER),
    Case("10.2", "another origin", ASK.replace("http://hub.test", "http://evil.test"), answers=[403], then=EITHER),
    Case("10.2", "no origin", ASK.replace("Origin: http://hub.test\r\n", ""), answers=[403], then=EITHER),
    Case("10.5", "nobody known", ASK.replace("alice-cookie", "x"), answers=[403], then=EITHER),
    Case("10.5", "somebody else's", ask(target="/user/bob/api"), answers=[403], then=EITHER),
    Case("10.5", "a token instead of cookie and origin",
         f"GET {WS} HTTP/1.1\r\n{HOST}Authorization: token alice-token\r\n" + "\r\n".join(UPGRADE) + "\r\n\r\n",
         whole(SWITCH), [asked()], [SWITCHED]),
]  # fmt: skip

# -- 4.2.2 The server refuses: an answer as any other --------------------------------------------------------

REFUSED = [
    *[Case("4.2.2", f"{status}", ASK, whole(answer(status, body="no")), [Req("GET", WS)], [Answer(status, "no")],
           reuse=True)
      for status in (200, 302, 400, 401, 403, 404, 426, 500, 503)],
    Case("4.2.2", "in chunks", ASK, whole(answer(403, "Transfer-Encoding: chunked", body=chunked("no"),
                                                 length=False)), [Req("GET", WS)], [Answer(403, "no")], reuse=True),
    Case("4.2.2", "until close", ASK, whole(answer(403, body="no", length=False), FIN), [Req("GET", WS)],
         [Answer(403, "no")], then=EITHER),
    Case("4.2.2", "and the next request", ASK + get(), [whole(answer(403, body="no"))], [Req("GET", WS), Req("GET")],
         [Answer(403, "no"), 200]),
    Case("4.2.2", "and again, until it agrees", [ASK, Seen(1), ASK], [whole(answer(403, body="no")), whole(SWITCH)],
         [Req("GET", WS), asked()], [Answer(403, "no"), SWITCHED]),
    Case("4.2.2", "what was meant for the tunnel is no request",
         [ASK + HELLO + "\r\n\r\n", Reached(WS), Pause(), Only(1)], whole(answer(403, body="no")),
         [Req("GET", WS)], [Answer(403, "no"), 400], then=CLOSED),
    Case("4.2.2", "a request hidden behind the handshake is seen by the hub",
         ASK + "GET /user/alice/hidden HTTP/1.1\r\nHost: hub.test\r\n\r\n",
         whole(answer(426, body="no")), [Req("GET", WS)], [Answer(426, "no"), 403]),
    Case("4.2.2", "it switches to something else", ASK, whole(switch(but={"Upgrade": "h2c"})),
         [Req("GET", WS, tunnel=None)], [502], then=EITHER, reuse=False),
    Case("4.2.2", "it switches to nothing", ASK, whole(switch(but={"Upgrade": None})), [Req("GET", WS)], [502],
         then=EITHER, reuse=False),
    Case("4.2.2", "it cannot be reached", ASK, REFUSES, [], [503], then=EITHER),
    Case("4.2.2", "it hangs up", ASK, HANGS_UP, [Req("GET", WS, maybe=True)], [503], then=EITHER),
    Case("4.2.2", "it hangs up within its consent", ASK, whole(SWITCH[:40], FIN), [Req("GET", WS)], [{502, 503}],
         then=EITHER),
    Case("4.2.2", "it breaks off within its consent", ASK, whole(SWITCH[:-2], RST), [Req("GET", WS)], [{502, 503}],
         then=EITHER),
]  # fmt: skip

# -- 5. Data framing: whatever it is, it passes --------------------------------------------------------------

MANY = "".join(f"\x82\x7e\x03\xe8{chr(65 + n % 26) * 1000}" for n in range(1000))

THROUGH = [
    opened("5", "to the server", [ASK, Seen(1), HELLO], [SWITCH], HELLO),
    opened("5", "to the client", ASK, [SWITCH, Pause(), HELLO_BACK], back=HELLO_BACK),
    opened("5", "both ways", [ASK, Seen(1), HELLO, Got(HELLO_BACK), HELLO, Got(HELLO_BACK * 2)],
           [SWITCH, Got(HELLO), HELLO_BACK, Got(HELLO * 2), HELLO_BACK],
           HELLO * 2, HELLO_BACK * 2),
    opened("5", "both ways, byte by byte", [ASK, Seen(1), Torn(HELLO * 5)], [SWITCH, Torn(HELLO_BACK * 5)], HELLO * 5,
           HELLO_BACK * 5),
    opened("5.5", "ping and pong", [ASK, Seen(1), PING, Got(PONG)], [SWITCH, Got(PING), PONG], PING, PONG),
    opened("5", "1 MB to the server", [ASK, Seen(1), MANY], [SWITCH], MANY),
    opened("5", "1 MB to the client", ASK, [SWITCH + MANY], back=MANY),
    opened("5", "1 MB both ways at once", [ASK, Seen(1), MANY], [SWITCH, MANY], MANY, MANY),
    opened("5", "right behind the consent", ASK, [SWITCH + HELLO_BACK], back=HELLO_BACK),
    opened("5", "right behind the handshake", [ASK + HELLO], [SWITCH], HELLO),
    opened("5", "right behind both", ASK + HELLO, [SWITCH + HELLO_BACK], HELLO, HELLO_BACK),
    opened("5", "before the consent, it waits", [ASK, Reached(WS), HELLO, Pause(), Only(1), Cue("go on")],
           [Await("go on"), SWITCH, Got(HELLO)], HELLO),
    opened("5", "1 MB before the consent, it waits", [ASK + MANY, Reached(WS), Pause(), Only(1), Cue("go on")],
           [Await("go on"), SWITCH], MANY),
    opened("5", "looks like a request", [ASK, Seen(1), f"GET {X} HTTP/1.1\r\n{HOST}\r\n"], [SWITCH],
           f"GET {X} HTTP/1.1\r\n{HOST}\r\n"),
    opened("5", "looks like an answer", ASK, [SWITCH, answer(200, body="ok")], back=answer(200, body="ok")),
    opened("5", "looks like nothing", [ASK, Seen(1), "\r\n\x00\xff" * 100], [SWITCH], "\r\n\x00\xff" * 100),
]  # fmt: skip

# -- 7. Closing the connection -------------------------------------------------------------------------------


def ended(how, tunnel=""):
    return [asked(tunnel, ends=how)]


CLOSING = [
    Case("7.1", "a closing handshake, then the server ends", [ASK, Seen(1), CLOSE],
         whole(SWITCH, Got(CLOSE), CLOSE_BACK, FIN),
         [asked(CLOSE)], [SWITCHED], HUNG_UP, CLOSE_BACK),
    Case("7.1", "a closing handshake by the server", [ASK, Got(CLOSE_BACK), CLOSE, FIN],
         whole(SWITCH, CLOSE_BACK, Got(CLOSE), FIN),
         [asked(CLOSE)], [SWITCHED], HUNG_UP, CLOSE_BACK),
    Case("7.1.1", "the client closes its half, and still gets everything", [ASK, Seen(1), HELLO, FIN],
         whole(SWITCH, Got(HELLO), Pause(), HELLO_BACK, FIN),
         ended(FIN, HELLO), [SWITCHED], HUNG_UP, HELLO_BACK),
    Case("7.1.1", "the client closes its half, and the server sees it", [ASK, Seen(1), FIN, Pause()], whole(SWITCH),
         ended(FIN), [SWITCHED], OPEN, ""),
    Case("7.1.1", "the server closes its half, and still gets everything",
         [ASK, Seen(1), Await("closed"), Pause(), HELLO, Reached(HELLO), FIN],
         whole(SWITCH, HALF, Cue("closed"), Got(HELLO)), ended(FIN, HELLO), [SWITCHED], HUNG_UP, ""),
    Case("7.1.7", "the server breaks off", [ASK, Seen(1), Cue("break")], whole(SWITCH, Await("break"), RST),
         [asked()], [SWITCHED], ABORTED, ""),
    Case("7.1.7", "the server breaks off right after its consent", ASK, whole(SWITCH, Pause(), RST), [asked()],
         [SWITCHED], ABORTED, ""),
    Case("7.1.7", "the server ends right after its consent", ASK, whole(SWITCH, FIN), [asked()], [SWITCHED], HUNG_UP,
         ""),
    Case("7.1.7", "the server ends right after what it says", ASK, whole(SWITCH + MANY, FIN), [asked()], [SWITCHED],
         HUNG_UP, MANY),
    Case("7.1.7", "the client breaks off", [ASK, Seen(1), RST], whole(SWITCH), ended(RST), [SWITCHED], GONE, ""),
    Case("7.1.7", "the client breaks off after what it says", [ASK, Seen(1), HELLO, Reached(HELLO), RST],
         whole(SWITCH), ended(RST, HELLO), [SWITCHED], GONE, ""),
    Case("7.1.7", "the client breaks off before the consent", [ASK, Reached(WS), RST], whole(HOLD),
         [Req("GET", WS)], then=GONE, reuse=False),
    Case("7.1.7", "the client closes its half before the consent", [ASK, Reached(WS), FIN],
         whole(HOLD), [Req("GET", WS)], then=GONE, reuse=False),
    Case("7.1.7", "after the tunnel the server's connection is not used again", [ASK, Seen(1), CLOSE],
         whole(SWITCH, Got(CLOSE), CLOSE_BACK),
         [asked(CLOSE)], [SWITCHED], OPEN, CLOSE_BACK, reuse=False),
]  # fmt: skip


@pytest.mark.parametrize("case", [*HANDSHAKE, *REFUSED, *THROUGH, *CLOSING], ids=str)
async def test_websockets(case):
    await check(case)
