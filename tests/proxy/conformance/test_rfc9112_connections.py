"""RFC 9112, section 9: how long connections live, on both sides, and how they end."""

from __future__ import annotations

import pytest

from tests.proxy.conformance.kit import (
    ABORTED,
    CLOSED,
    EITHER,
    FIN,
    GONE,
    HOLD,
    HUNG_UP,
    RST,
    Answer,
    Await,
    Case,
    Cue,
    Ended,
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
    head_of,
    passes,
    post,
    refused,
    whole,
)
from tests.proxy.conformance.run import check

A, B, C = (f"{X}?{name}" for name in "abc")
GET_A, GET_B, GET_C = (Req("GET", target) for target in (A, B, C))


def say(text, *more):
    """The server says which request it answers."""
    return whole(answer(200, *more, body=text))


SAID_A, SAID_B, SAID_C = (Answer(200, text) for text in "abc")
CLOSE = "Connection: close"
BOTH = {"connection": "close"}

# -- 9.3 Persistence -----------------------------------------------------------------------------------------

PERSISTENCE = [
    Case("9.3", "one after the other", [get(target=A), Seen(1), get(target=B), Seen(2), get(target=C)],
         [say("a"), say("b"), say("c")],
         [Req("GET", A, on=1), Req("GET", B, on=1), Req("GET", C, on=1)], [SAID_A, SAID_B, SAID_C], reuse=True),
    Case("9.3", "after a body", [post("Content-Length: 3", body="abc"), Seen(1), get()],
         reaches=[Req("POST", X, "abc", on=1), Req("GET", on=1)],
         answers=[200, 200], reuse=True),
    Case("9.3", "after an error of the server", [get(), Seen(1), get(target=B)],
         [whole(answer(500, body="a")), say("b")],
         [Req("GET", on=1), Req("GET", B, on=1)], [Answer(500, "a"), SAID_B], reuse=True),
    Case("9.3", "the client asks to close", get(CLOSE), reaches=[Req("GET")], answers=[200], then=CLOSED, reuse=True),
    Case("9.3", "in capitals", get("Connection: Close"), reaches=[Req("GET")], answers=[200], then=CLOSED),
    Case("9.3", "in a list", get("Connection: x-a, close"), reaches=[Req("GET")], answers=[200], then=CLOSED),
    Case("9.3", "in a second field", get("Connection: x-a", CLOSE), reaches=[Req("GET")], answers=[200], then=CLOSED),
    Case("9.3", "it asks for both", get("Connection: keep-alive, close"), reaches=[Req("GET")], answers=[200],
         then=CLOSED),
    Case("9.3", "it asks to close, with a body", post(CLOSE, "Content-Length: 3", body="abc"),
         reaches=[Req("POST", X, "abc")], answers=[200], then=CLOSED),
    passes("9.3", "it asks to keep alive", get("Connection: keep-alive")),
    passes("9.3", "a field named close is nothing", get("Close: 1")),
    passes("9.3", "closed is not close", get("Connection: closed, close-x")),
    Case("9.3", "HTTP/1.0 is closed", get(version="HTTP/1.0"), reaches=[Req("GET")], answers=[200], then=HUNG_UP),
    Case("9.3", "HTTP/1.0 that asks to keep alive, too", get("Connection: keep-alive", version="HTTP/1.0"),
         reaches=[Req("GET")], answers=[200], then=HUNG_UP),
    Case("9.3", "the server asks to close", [get(target=A), Seen(1), get(target=B)],
         [whole(answer(200, CLOSE, body="a"), FIN), say("b")],
         [Req("GET", A, on=1), Req("GET", B, on=2)], [SAID_A, SAID_B]),
    Case("9.3", "it asks to close, but does not", [get(target=A), Seen(1), Ended(1), get(target=B)],
         [say("a", CLOSE), say("b")],
         [Req("GET", A, on=1), Req("GET", B, on=2)], [SAID_A, SAID_B]),
    Case("9.3", "it asks to close in a list", [get(target=A), Seen(1), Ended(1), get(target=B)],
         [say("a", "Connection: x-a, Close"), say("b")],
         [Req("GET", A, on=1), Req("GET", B, on=2)], [SAID_A, SAID_B]),
    Case("9.3", "the server speaks HTTP/1.0", [get(target=A), Seen(1), Ended(1), get(target=B)],
         [whole(answer(200, body="a").replace("HTTP/1.1", "HTTP/1.0")), say("b")],
         [Req("GET", A, on=1), Req("GET", B, on=2)], [SAID_A, SAID_B]),
    Case("9.3", "HTTP/1.0 until close", get(),
         whole(answer(200, body="abc", length=False).replace("HTTP/1.1", "HTTP/1.0"), FIN),
         [Req("GET")], [Answer(200, "abc")], then=EITHER, reuse=False),
    Case("9.3", "an idle connection that the server closes is not used",
         [get(target=A), Seen(1), Cue("close"), Got("a"), Pause(), get(target=B)],
         [whole(answer(200, body="a"), Await("close"), FIN), say("b")], [Req("GET", A, on=1), Req("GET", B, on=2)],
         [SAID_A, SAID_B]),
    Case("9.3", "the client's own 400 ends nothing at the server", [get(target=A), Seen(1), get("A : 1")], say("a"),
         [Req("GET", A)], [SAID_A, 400], then=CLOSED, reuse=True),
]  # fmt: skip

# -- 9.3.2 Pipelining ----------------------------------------------------------------------------------------

PIPELINING = [
    Case("9.3.2", "two", get(target=A) + get(target=B), [say("a"), say("b")], [GET_A, GET_B], [SAID_A, SAID_B]),
    Case("9.3.2", "three", get(target=A) + get(target=B) + get(target=C), [say("a"), say("b"), say("c")],
         [GET_A, GET_B, GET_C], [SAID_A, SAID_B, SAID_C]),
    Case("9.3.2", "fifty", get() * 50, reaches=[Req("GET")] * 50, answers=[200] * 50),
    Case("9.3.2", "byte by byte", Torn(get(target=A) + get(target=B)), [say("a"), say("b")], [GET_A, GET_B],
         [SAID_A, SAID_B]),
    Case("9.3.2", "cut within the second", [get(target=A) + get(target=B)[:20], Seen(1), get(target=B)[20:]],
         [say("a"), say("b")], [GET_A, GET_B], [SAID_A, SAID_B]),
    Case("9.3.2", "one at a time", [get(target=A) + get(target=B), Reached(A), Pause(), Only(1), Cue("go on")],
         [whole(Await("go on"), answer(200, body="a")), say("b")], [GET_A, GET_B], [SAID_A, SAID_B]),
    Case("9.3.2", "the answers in order, however slow", [get(target=A), Reached(A), get(target=B), Pause(),
                                                         get(target=C), Pause(), Only(1), Cue("go on")],
         [whole(Await("go on"), answer(200, body="a")), say("b"), say("c")], [GET_A, GET_B, GET_C],
         [SAID_A, SAID_B, SAID_C]),
    Case("9.3.2", "the next comes within the answer", [get(target=A), Got("half"), get(target=B), Pause(), Only(1),
                                                       Cue("go on")],
         [whole(answer(200, TE := "Transfer-Encoding: chunked", body="4\r\nhalf\r\n", length=False), Await("go on"),
                "0\r\n\r\n"), say("b")],
         [GET_A, GET_B], [Answer(200, "half"), SAID_B]),
    Case("9.3.2", "bodies between", post("Content-Length: 3", body="abc") + post(TE, body=chunked("d", "ef")) + get(),
         reaches=[Req("POST", X, "abc"), Req("POST", X, "def"), Req("GET")], answers=[200, 200, 200]),
    Case("9.3.2", "HEAD between", get(target=A, method="HEAD") + get(target=B),
         [whole(answer(200, "Content-Length: 5", length=False)), say("b")],
         [Req("HEAD", A), GET_B], [head_of(200), SAID_B]),
    Case("9.3.2", "204 and 304 between", get(target=A) + get(target=B) + get(target=C),
         [whole(answer(204, length=False)), whole(answer(304, "Content-Length: 5", length=False)), say("c")],
         [GET_A, GET_B, GET_C], [Answer(204, ""), Answer(304, ""), SAID_C]),
    Case("9.3.2", "more than a buffer's worth", [get(target=A) + get("Z: " + "z" * 2000, target=B) * 100, Reached(A),
                                                 Pause(), Only(1), Cue("go on")],
         [whole(Await("go on"), answer(200, body="a")), *[say("b")] * 100], [GET_A, *[GET_B] * 100],
         [SAID_A, *[SAID_B] * 100]),
    Case("9.3.2", "a bad one ends it", get(target=A) + get("B : 1") + get(target=C), say("a"), [GET_A], [SAID_A, 400],
         then=CLOSED),
    Case("9.3.2", "a bad one waits for its turn", [get(target=A) + get("B : 1"), Reached(A), Pause(), Cue("go on")],
         whole(Await("go on"), answer(200, body="a")), [GET_A], [SAID_A, 400], then=CLOSED),
    Case("9.3.2", "a refused one does not", get(target=A) + get(target="/user/bob/x") + get(target=C),
         [say("a"), say("c")], [GET_A, GET_C], [SAID_A, 403, SAID_C]),
    Case("9.3.2", "nothing after close", get(CLOSE, target=A) + get(target=B), say("a"), [GET_A], [SAID_A],
         then=CLOSED),
    Case("9.3.2", "nothing after HTTP/1.0", get(target=A, version="HTTP/1.0") + get(target=B), say("a"), [GET_A],
         [SAID_A], then=HUNG_UP),
]  # fmt: skip

# -- 9.4 Concurrency, 9.6 Tear-down --------------------------------------------------------------------------

BAD_UPLOAD = f"POST {X} HTTP/1.1\r\nHost: a\r\nHost: b\r\nContent-Length: 1000000\r\n\r\n"
HELD = whole(HOLD)
STREAM = whole(answer(200, TE, body="4\r\nhalf\r\n", length=False), HOLD)

TEAR_DOWN = [
    refused("9.6", "a refusal can be read by one who is still sending", BAD_UPLOAD + "x" * 1_000_000),
    refused("9.6", "a refusal can be read by one who goes on sending",
            [BAD_UPLOAD, *["x" * 50_000, Pause(0.001)] * 20]),
    Case("9.6", "the client goes away before the answer, RST", [get(), Reached(X), RST], HELD, [Req("GET")],
         then=GONE, reuse=False),
    Case("9.6", "the client goes away within the answer, RST", [get(), Got("half"), RST], STREAM, [Req("GET")],
         [Answer(200, "half")], then=ABORTED, reuse=False),
    Case("9.6", "the client goes away with requests waiting", [get(target=A) + get(target=B), Reached(A), RST], HELD,
         [GET_A], then=GONE, reuse=False),
    Case("9.6", "the client goes away, and the rest of the answer is short", [get(), Got("half"), RST, Cue("go on")],
         whole(answer(200, TE, body="4\r\nhalf\r\n", length=False), Await("go on"), "0\r\n\r\n"), [Req("GET")],
         [Answer(200, "half")], then=ABORTED),
    # Only a write tells one that closes from one that only closes its half, and there may be nothing to write.
    Case("9.6", "the client closes its half, and the answer comes at once", [get(), FIN],
         reaches=[Req("GET", maybe=True)], answers=[200], silent=True, then=GONE),
    Case("9.6", "the client closes its half before the answer", [get(), Reached(X), FIN, Ended(1)], HELD,
         [Req("GET")], then=GONE, reuse=False),
    Case("9.6", "the client closes its half within the answer", [get(), Got("half"), FIN, Ended(1)], STREAM,
         [Req("GET")], [Answer(200, "half")], then=ABORTED, reuse=False),
    Case("9.6", "the client closes its half while idle", [get(), Seen(1), FIN], reaches=[Req("GET")], answers=[200],
         then=HUNG_UP, reuse=True),
    Case("9.6", "the client closes at once", [FIN], then=HUNG_UP),
    Case("9.6", "the client breaks off at once", [RST], then=GONE),
    Case("9.6", "the client breaks off within a pipelined head", [get(target=A) + get(target=B)[:-2], Seen(1), RST],
         say("a"), [GET_A], [SAID_A], then=GONE, reuse=True),
]  # fmt: skip


@pytest.mark.parametrize("case", [*PERSISTENCE, *PIPELINING, *TEAR_DOWN], ids=str)
async def test_connections(case):
    await check(case)
