"""The same RFC 9112 from the other side: what a user's server may do wrong, and what the browser then gets.

Section numbers are RFC 9112's. Before a byte of the answer came: 503. What came is no answer: 502. After its head was
passed on: the client's connection is broken off, so that nobody takes a part for the whole.
"""

from __future__ import annotations

import re

import pytest

from tests.proxy.conformance.kit import (
    ABORTED,
    CLOSED,
    EITHER,
    FIN,
    HANGS_UP,
    HUNG_UP,
    OK,
    OPEN,
    REFUSES,
    RESETS,
    RST,
    Answer,
    Await,
    Case,
    Cue,
    Ended,
    Got,
    Pause,
    Reached,
    Req,
    Seen,
    X,
    answer,
    chunked,
    early,
    get,
    head_of,
    post,
    whole,
)
from tests.proxy.conformance.run import check

TE = "Transfer-Encoding: chunked"
UNANSWERED, NO_ANSWER = 503, 502
BROKEN = {502, 503}
"""The answer's head has begun, but is not there: both are true."""


def bad(section, id, said, status=NO_ANSWER, **more):  # noqa: A002
    """The server says this, and then nothing: it is no answer, and not waited for."""
    return Case(section, id, get(), whole(said), [Req("GET")], [status], then=EITHER, reuse=False, **more)


def line(start):
    return f"{start}\r\nX-Upstream: 1\r\nContent-Length: 2\r\n\r\nok"


def fields(*lines, end="\r\n"):
    return (
        "HTTP/1.1 200 OK\r\nX-Upstream: 1\r\nContent-Length: 2\r\n"
        + "".join(f"{one}{end}" for one in lines)
        + "\r\nok"
    )


def framed(*lines, body="abc"):
    return answer(200, *lines, body=body, length=False)


# -- 2. to 5. Heads ------------------------------------------------------------------------------------------

HEADS = [
    *[bad("4", f"{start!r}", line(start))
      for start in ("HTTP/1.1 20 OK", "HTTP/1.1 2000 OK", "HTTP/1.1 2x0 OK", "HTTP/1.1 +20 OK", "HTTP/1.1 -20 OK",
                    "HTTP/1.1 2 0 OK", "HTTP/1.1 099 Low", "HTTP/1.1 000 None", "HTTP/1.1  200 OK",
                    " HTTP/1.1 200 OK", "HTTP/1.1\t200\tOK", "HTTP/1.1200 OK", "HTTP/1.1", "HTTP/1.1 OK",
                    "HTTP/2.0 200 OK", "HTTP/0.9 200 OK", "HTTP/1.10 200 OK", "HTTP/1.2 200 OK", "http/1.1 200 OK",
                    "HTTPS/1.1 200 OK", "ICY 200 OK", "200 OK", "hello", "HTTP/1.1 200 O\x00K", "HTTP/1.1 200 O\rK",
                    "HTTP/1.1 200 O\x1bK", "GET / HTTP/1.1")],
    bad("2.2", "an empty line before", "\r\n" + OK),
    bad("2.2", "no head at all", "hello\n", BROKEN),
    bad("2.2", "only bare LFs", OK.replace("\r\n", "\n")),
    bad("2.2", "a bare LF ends the status line", OK.replace("OK\r\n", "OK\n", 1)),
    bad("2.2", "a bare LF is the empty line", OK.replace("\r\n\r\n", "\r\n\n")),
    bad("2.2", "CR CR LF", OK.replace("OK\r\n", "OK\r\r\n", 1)),
    *[bad("5", f"{text!r}", fields(text))
      for text in ("A : 1", "A\t: 1", ": 1", "A", "A B: 1", "A(: 1", "A\x00: 1", "\xe9: 1", "A: 1\x002", "A: 1\x0b",
                   "A: 1\x7f", "A: 1\r2", "A: 1\nB: 2", "A: 1\r\n 2", "A: 1\r\n\t2", "A: 1\r\n ",
                   "Set-Cookie : minihub-login=bob")],
    bad("5.2", "the first line folded", "HTTP/1.1 200 OK\r\n A: 1\r\nContent-Length: 2\r\n\r\nok"),
    bad("5.2", "a folded Content-Length", "HTTP/1.1 200 OK\r\nContent-Length:\r\n 2\r\n\r\nok"),
    bad("9110, 5.4", "a head of 300 KB", fields(*(f"A: {'a' * 3000}" for _ in range(100)))),
    bad("9110, 5.4", "a field of 300 KB", fields(f"A: {'a' * 300_000}")),
    bad("9110, 5.4", "a field without end", "HTTP/1.1 200 OK\r\nA: " + "a" * 1_000_000),
    bad("9110, 5.4", "a status line without end", "HTTP/1.1 200 " + "a" * 1_000_000),
    bad("9110, 5.4", "10,000 fields", fields(*(f"A: {n}" for n in range(10_000)))),
    bad("9110, 5.4", "an interim answer without end", "HTTP/1.1 103 Hints\r\nA: " + "a" * 1_000_000),
    Case("9110, 5.4", "a head of 30 KB is none of it", get(), whole(fields(*(f"A: {'a' * 300}" for _ in range(100)))),
         [Req("GET")], [200], reuse=True),
    Case("4", "HTTP/1.0 is none of it", get(), whole(OK.replace("HTTP/1.1", "HTTP/1.0")), [Req("GET")], [200],
         reuse=False),
    Case("4", "a bad one after an interim one", get(), whole("HTTP/1.1 103 Hints\r\n\r\n" + line("hello")),
         [Req("GET")], [103, 502],
         then=EITHER, reuse=False),
]  # fmt: skip

# -- 6. Framing ----------------------------------------------------------------------------------------------

FRAMING = [
    *[bad("6.1", f"{coding!r}", framed(f"Transfer-Encoding: {coding}", body=chunked("abc")))
      for coding in ("gzip", "gzip, chunked", "chunked, gzip", "chunked, chunked", "xchunked", "identity",
                     "chunked;q=1", '"chunked"', "chun ked", "", "\x0bchunked", "chunked\x00")],
    bad("6.1", "two fields", framed(TE, TE, body=chunked("abc"))),
    bad("6.1", "with HTTP/1.0", framed(TE, body=chunked("abc")).replace("HTTP/1.1", "HTTP/1.0")),
    *[bad("6.2", f"{length!r}", framed(f"Content-Length: {length}"))
      for length in ("", "+3", "-3", "0x3", "3.0", "3 3", "3_0", "3,", "3, 3", "3,3", "3, 4", "three", "\xb3",
                     "3\x00", "9" * 19, "1" + "0" * 18)],
    bad("6.3", "two equal lengths", framed("Content-Length: 3", "Content-Length: 3")),
    bad("6.3", "two lengths", framed("Content-Length: 3", "Content-Length: 2")),
    bad("6.3", "two lengths, one in Connection", framed("Connection: Content-Length", "Content-Length: 3",
                                                        "Content-Length: 2")),
    bad("6.3", "both", framed("Content-Length: 3", TE, body=chunked("abc"))),
    bad("6.3", "both, the other way round", framed(TE, "Content-Length: 3", body=chunked("abc"))),
    bad("6.3", "both, the length 0", framed("Content-Length: 0", TE, body=chunked("abc"))),
    bad("6.3", "both, to HTTP/1.0", framed("Content-Length: 3", TE, body=chunked("abc"))),
]  # fmt: skip

# -- 6.3 and 9: bytes where none belong ----------------------------------------------------------------------

POISON = "HTTP/1.1 200 OK\r\nX-Upstream: 1\r\nContent-Length: 6\r\n\r\npoison"


def over(id, send, said, request, wanted, **more):  # noqa: A002
    """The server says more than its answer: that is dropped, with the connection."""
    return Case(
        "6.3",
        f"{id}: {'an answer' if POISON in said else 'some bytes'} over",
        send,
        whole(said),
        [request],
        [wanted],
        reuse=False,
        **more,
    )


OVER = [
    row
    for extra in ("defg", POISON)
    for row in (
        over("a length", get(), answer(200, body="abc") + extra, Req("GET"), Answer(200, "abc")),
        over("a length of 0", get(), answer(200) + extra, Req("GET"), Answer(200, "")),
        over("chunks", get(), framed(TE, body=chunked("abc")) + extra, Req("GET"), Answer(200, "abc")),
        over("204", get(), answer(204, length=False) + extra, Req("GET"), Answer(204, "")),
        over("304", get(), answer(304, "Content-Length: 4", length=False) + extra, Req("GET"), Answer(304, "")),
        over("HEAD", get(method="HEAD"), answer(200, "Content-Length: 4", length=False) + extra, Req("HEAD"),
             head_of(200)),
        over("a body", post("Content-Length: 3", body="abc"), answer(200, body="abc") + extra, Req("POST", X, "abc"),
             Answer(200, "abc")),
        Case("6.3", f"idle: {'an answer' if extra == POISON else 'some bytes'} over",
             [get(), Seen(1), Cue("speak"), Ended(1), get()],
             [whole(OK, Await("speak"), extra)], [Req("GET", on=1), Req("GET", on=2)], [200, 200]),
        Case("6.3", f"pipelined: {'an answer' if extra == POISON else 'some bytes'} over", get() + get("A: 1"),
             [whole(OK + extra)], [Req("GET", on=1), Req("GET", on=2, has={"a": "1"})], [200, 200]),
    )
]  # fmt: skip

# -- 8. The server dies --------------------------------------------------------------------------------------

NAVIGATE = ("Sec-Fetch-Mode: navigate", "Sec-Fetch-Site: same-origin", "Accept: text/html")
JSON, PAGE = ({"content-type": re.compile(f"{kind}.*")} for kind in ("application/json", "text/html"))
UPLOAD = post("Content-Length: 9", body="abc")
HALF_UP = Req("POST", X, "abcdefghi", cut=True)


def dies(section, id, *said, send=None, request=None, status=UNANSWERED, **more):  # noqa: A002
    return [
        Case(section, f"{id}, {how}", send or get(), whole(*said, how), [request or Req("GET", on=1)], [status],
             then=EITHER, reuse=False, **more)
        for how in (FIN, RST)
    ]  # fmt: skip


BEFORE = [
    Case("8", "nobody listens", get(), REFUSES, [], [Answer(503, has=JSON)], then=EITHER),
    Case("8", "nobody listens, to a person", get(*NAVIGATE), REFUSES, [], [Answer(503, has=PAGE)], then=EITHER),
    Case("8", "nobody listens, to HEAD", get(method="HEAD"), REFUSES, [], [head_of(503)], then=EITHER),
    Case("8", "nobody listens, to a body", post("Content-Length: 3", body="abc"), REFUSES, [],
         [Answer(503, has=JSON)], then=EITHER),
    Case("8", "nobody listens, to a body that comes late", [post("Content-Length: 3"), Seen(1), "abc"], REFUSES, [],
         [Answer(503, has=JSON)], then=EITHER),
    Case("8", "nobody listens, to HTTP/1.0", get(version="HTTP/1.0"), REFUSES, [], [503], then=HUNG_UP),
    Case("8", "nobody listens, to two", get() + get(), REFUSES, [], [503, 503], then=EITHER),
    Case("8", "it hangs up at once", get(), HANGS_UP, [Req("GET", maybe=True)], [503], then=EITHER),
    Case("8", "it breaks off at once", get(), RESETS, [Req("GET", maybe=True)], [503], then=EITHER),
    *dies("8", "before the answer"),
    *dies("8", "before the answer, to a person", send=get(*NAVIGATE), status=Answer(503, has=PAGE)),
    *dies("8", "before the answer, to a body", send=post("Content-Length: 3", body="abc"),
          request=Req("POST", X, "abc")),
    *dies("8", "before the answer, to chunks", send=post(TE, body=chunked("abc")), request=Req("POST", X, "abc")),
    *dies("8", "within the status line", "HTTP/1.1 2", status=BROKEN),
    *dies("8", "after the status line", "HTTP/1.1 200 OK\r\n", status=BROKEN),
    *dies("8", "within a field", "HTTP/1.1 200 OK\r\nContent-Le", status=BROKEN),
    *dies("8", "before the empty line", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n", status=BROKEN),
    *dies("8", "within the empty line", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r", status=BROKEN),
    # The rest of the body is read and dropped, or the connection is closed: RFC 9112, 9.3, leaves the choice.
    *[Case("8", f"within an upload, {how}", [UPLOAD, Reached("abc"), Seen(1), "defghi"], early(Got("abc"), how),
           [HALF_UP], [503], then=EITHER, reuse=False)
      for how in (FIN, RST)],
    *[Case("8", f"within an upload that goes on, {how}", [UPLOAD, Reached("abc"), Ended(1),
                                                          *["d", Pause(), "e", Pause(), "fghi"]],
           early(Got("abc"), how),
           [HALF_UP], [503], then=EITHER, reuse=False) for how in (FIN, RST)],
    *[Case("8", f"within an upload of 4 MB, {how}", post("Content-Length: 4000000", body="x" * 4_000_000),
           early(Got("xxx"), how),
           [Req("POST", X, "x" * 4_000_000, cut=True)], [503], then=EITHER, reuse=False) for how in (FIN, RST)],
]  # fmt: skip


def breaks(section, id, first, *said, body="abc", send=None, hows=(FIN, RST)):  # noqa: A002
    """After the head and `first` came through, the server says `said` and dies: the client must see it."""
    return [
        Case(section, f"{id}, {how}", [send or get(), Got("abc"), Cue("die")], whole(first, Await("die"), *said, how),
             [Req("GET", on=1)],
             [Answer(200, body)], then=ABORTED, reuse=False)
        for how in hows
    ]  # fmt: skip


HALF_LENGTH = answer(200, "Content-Length: 6", body="abc", length=False)
HALF_CHUNKS = framed(TE, body="3\r\nabc\r\n")
HALF_CLOSE = framed(body="abc")
OLD = get(version="HTTP/1.0")

WITHIN = [
    *breaks("8", "within a length", HALF_LENGTH),
    *breaks("8", "one byte before the end", HALF_LENGTH, "de", body="abcde"),
    *breaks("8", "between chunks", HALF_CHUNKS),
    *breaks("8", "within a size", HALF_CHUNKS, "3"),
    *breaks("8", "after a size", HALF_CHUNKS, "3\r\n"),
    *breaks("8", "within a chunk", HALF_CHUNKS, "3\r\nde", body="abcde"),
    *breaks("8", "before a chunk's CR LF", HALF_CHUNKS, "3\r\ndef", body="abcdef"),
    *breaks("8", "after the last size", HALF_CHUNKS, "0\r\n"),
    *breaks("8", "within the last CR LF", HALF_CHUNKS, "0\r\n\r"),
    *breaks("8", "within a trailer", HALF_CHUNKS, "0\r\nA: 1\r\n"),
    *breaks("8", "until close", HALF_CLOSE, hows=(RST,)),
    *breaks("8", "within a length, to HTTP/1.0", HALF_LENGTH, send=OLD),
    *breaks("8", "between chunks, to HTTP/1.0", HALF_CHUNKS, send=OLD),
    *breaks("8", "until close, to HTTP/1.0", HALF_CLOSE, send=OLD, hows=(RST,)),
    *[Case("8", f"with requests waiting, {how}", get(target=X + "?a") + get(target=X + "?b"),
           whole(HALF_LENGTH, Pause(), how), [Req("GET", X + "?a")],
           [Answer(200, "abc")], then=ABORTED, reuse=False) for how in (FIN, RST)],
    *[Case("8", f"after {what}, {how}", [get(), Seen(1), Cue("die"), Ended(1)], whole(said, Await("die"), how),
           [Req("GET")], [Answer(200, "ok")], reuse=False)
      for how in (FIN, RST) for what, said in (("a length", OK), ("chunks", framed(TE, body=chunked("ok"))))],
]  # fmt: skip


def garbles(section, id, said, body="abc", **more):  # noqa: A002
    """After the head and a chunk came through the server goes on with what is no chunk: the client is broken off."""
    return Case(section, id, [get(), Got("abc"), Cue("go on")], whole(HALF_CHUNKS, Await("go on"), said),
                [Req("GET", on=1)], [Answer(200, body)],
                then=ABORTED, reuse=False, **more)  # fmt: skip


GARBLED = [
    *[garbles("7.1", f"size {size!r}", f"{size}\r\ndef\r\n0\r\n\r\n")
      for size in ("", "x", "0x3", "+3", "-3", " 3", "3 ", "3x", "F" * 16, "0" * 15 + "3")],
    garbles("7.1", "a bare LF after the size", "3\ndef\r\n0\r\n\r\n"),
    garbles("7.1", "a bare LF after the content", "3\r\ndef\n0\r\n\r\n", "abcdef"),
    garbles("7.1", "more content than the size says", "3\r\ndefg\r\n0\r\n\r\n", "abcdef"),
    garbles("7.1", "less content than the size says", "3\r\nde\r\n0\r\n\r\n", "abcde\r"),
    garbles("7.1", "a bare LF after the last size", "0\n\r\n"),
    garbles("7.1", "a bare LF at the very end", "0\r\n\n"),
    garbles("7.1", "a size without end", "3" * 100_000),
    garbles("7.1.1", "a bare LF within an extension", "3;a\ndef\r\n0\r\n\r\n"),
    garbles("7.1.1", "an extension without end", "3;" + "a" * 100_000),
    garbles("7.1.2", "a trailer without a colon", "0\r\nA\r\n\r\n"),
    garbles("7.1.2", "a trailer with a bare LF", "0\r\nA: 1\nB: 2\r\n\r\n"),
    garbles("7.1.2", "trailers without end", "0\r\n" + "A: 1\r\n" * 50_000),
    garbles("7.1.2", "a trailer without end", "0\r\nA: " + "a" * 200_000),
    Case("7.1", "garbled to HTTP/1.0", [OLD, Got("abc"), Cue("go on")], whole(HALF_CHUNKS, Await("go on"), "x\r\n"),
         [Req("GET")],
         [Answer(200, "abc")], then=ABORTED, reuse=False),
]  # fmt: skip

# -- 9.3.1 Retrying ------------------------------------------------------------------------------------------


def stale(id, send, requests, answers, how=FIN, scripts=None, **more):  # noqa: A002
    """A connection that has served one request ends when it gets the next."""
    first = get(target=X + "?first")
    return Case("9.3.1", f"{id}, {how}", [first, Seen(1), *send], [whole(OK), *(scripts or [whole(how)])],
                [Req("GET", X + "?first", on=1), *requests], [200, *answers], then=more.pop("then", EITHER),
                **more)  # fmt: skip


STALE = [
    row
    for how in (FIN, RST)
    for row in (
        *[stale(method, [get(method=method)], [Req(method, on=1), Req(method, on=2)],
                [head_of(200) if method == "HEAD" else 200], how,
                scripts=[whole(how), whole(answer(200, "Content-Length: 2",
                                                  length=False) if method == "HEAD" else OK)], then=OPEN)
          for method in ("GET", "HEAD", "OPTIONS", "PUT", "DELETE")],
        stale("POST without a body", [post()], [Req("POST", on=1)], [503], how),
        stale("PATCH without a body", [get(method="PATCH")], [Req("PATCH", on=1)], [503], how),
        stale("an unknown method", [get(method="FROB")], [Req("FROB", on=1)], [503], how),
        stale("POST with a body", [post("Content-Length: 3", body="abc")], [Req("POST", X, "abc", on=1)], [503], how),
        stale("PUT with a body", [post("Content-Length: 3", body="abc", method="PUT")], [Req("PUT", X, "abc", on=1)],
              [503], how),
        stale("GET with a body", [post("Content-Length: 3", body="abc", method="GET")], [Req("GET", X, "abc", on=1)],
              [503], how),
        stale("PUT with chunks", [post(TE, body=chunked("abc"), method="PUT")], [Req("PUT", X, "abc", on=1)], [503],
              how),
        stale("only once", [get()], [Req("GET", on=1), Req("GET", on=2)], [503], how,
              scripts=[whole(how), whole(how)]),
        stale("not after a byte of the answer", [get()], [Req("GET", on=1)], [BROKEN], how,
              scripts=[whole("H", how)]),
        stale("not after an interim answer", [get()], [Req("GET", on=1)], [103, BROKEN], how,
              scripts=[whole("HTTP/1.1 103 Hints\r\n\r\n", how)]),
        stale("not after half an answer", [get()], [Req("GET", on=1)], [Answer(200, "abc")], how,
              scripts=[whole(HALF_LENGTH, Pause(), how)], then=ABORTED),
    )
]  # fmt: skip

# -- 9.6 Early answers ---------------------------------------------------------------------------------------

TOO_LARGE = answer(413, body="too large")
REFUSED_BODY = Answer(413, "too large", has={"connection": "close"})
BIG = "x" * 2_000_000
BIG_UPLOAD = post(f"Content-Length: {len(BIG)}")


def soon(id, send, *said, body=BIG, wanted=REFUSED_BODY, **more):  # noqa: A002
    """The server answers before it has the whole body."""
    return Case(
        "9.6",
        id,
        send,
        early(*said),
        [Req("POST", X, body, cut=True)],
        [wanted],
        then=more.pop("then", CLOSED),
        reuse=False,
    )


EARLY = [
    soon("an answer to the head only", BIG_UPLOAD, TOO_LARGE),
    soon("an answer, the client still sends", [BIG_UPLOAD + BIG[:1_900_000]], TOO_LARGE),
    soon("an answer within the body", [BIG_UPLOAD + BIG[:100_000], Reached("xxxx"), BIG[:100_000]], Got("xxxx"),
         TOO_LARGE),
    soon("an answer, then the server ends", [post("Content-Length: 9", body="abc")], Got("abc"), TOO_LARGE, FIN,
         body="abc"),
    # Its RST may overtake its answer: what the hub never read it cannot pass on.
    soon("an answer, then the server ends, the client still sends", BIG_UPLOAD + BIG, TOO_LARGE, FIN,
         wanted=Answer({413, 503}), then=EITHER),
    soon("an answer, then the server breaks off", [BIG_UPLOAD + BIG[:100_000]], Got("xxxx"), TOO_LARGE, Pause(), RST),
    soon("an answer in chunks", [BIG_UPLOAD + BIG[:100_000]],
         framed(TE, body=chunked("too ", "large")).replace("200", "413", 1)),
    soon("an answer until close", [BIG_UPLOAD + BIG[:100_000]], framed(body="too large").replace("200", "413", 1),
         FIN),
    soon("an answer to chunks", [post(TE), "3\r\nabc\r\n"], TOO_LARGE, body="abc"),
    soon("an answer to chunks that go on", [post(TE), "3\r\nabc\r\n", Seen(1), "3\r\ndef\r\n"], TOO_LARGE,
         body="abcdef"),
    soon("200", BIG_UPLOAD, answer(200, body="ok"), wanted=Answer(200, "ok", has={"connection": "close"})),
    soon("204", BIG_UPLOAD, answer(204, length=False), wanted=Answer(204, "", has={"connection": "close"})),
    soon("a request behind it is not looked at", [post("Content-Length: 9", body="abc"), Seen(1),
                                                  "defghi" + get(target=X + "?b")], TOO_LARGE, body="abcdefghi"),
    Case("9.6", "a head before the body is there, and the rest after it",
         [post("Content-Length: 6", body="abc"), Got("one"), "def"],
         early(framed(TE, body="3\r\none\r\n"), Got("abcdef"), "3\r\ntwo\r\n0\r\n\r\n"), [Req("POST", X, "abcdef")],
         [Answer(200, "onetwo")], then=EITHER),
    Case("9.6", "both ways by turns", [post(TE, body="1\r\na\r\n"), Got("A"), "1\r\nb\r\n", Got("B"), "0\r\n\r\n"],
         early(framed(TE, body=""), Got("a\r\n"), "1\r\nA\r\n", Got("b\r\n"), "1\r\nB\r\n", Got("0\r\n\r\n"),
               "0\r\n\r\n"), [Req("POST", X, "ab")], [Answer(200, "AB")], then=EITHER),
    Case("9.6", "it breaks off within a head start", [post("Content-Length: 6", body="abc"), Got("half")],
         early(answer(200, "Content-Length: 9", body="half", length=False), Pause(), RST),
         [Req("POST", X, "abc", cut=True)], [Answer(200, "half")], then=ABORTED, reuse=False),
]  # fmt: skip


@pytest.mark.parametrize(
    "case", [*HEADS, *FRAMING, *OVER, *BEFORE, *WITHIN, *GARBLED, *STALE, *EARLY], ids=str
)
async def test_bad_upstreams(case):
    await check(case)
