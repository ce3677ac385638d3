"""RFC 9112, sections 6 to 8: where a body ends, sent in chunks or not, and what if it never does."""

from __future__ import annotations

import pytest

from tests.proxy.conformance.kit import (
    ABORTED,
    CLOSED,
    EITHER,
    FIN,
    GONE,
    HUNG_UP,
    RST,
    Answer,
    Await,
    Case,
    Cue,
    Got,
    Pause,
    Reached,
    Req,
    Torn,
    X,
    answer,
    chunked,
    cut,
    early,
    get,
    passes,
    post,
    refused,
    whole,
)
from tests.proxy.conformance.run import check

ABC = Req("POST", X, "abc", lacks=("trailer",))
TE = "Transfer-Encoding: chunked"
TE_HEAD = post(TE)
NEVER = {400, 501}
"""A coding nobody here knows, or not last as it has to be: both are true."""


def length(value, body="abc"):
    return post(f"Content-Length: {value}", body=body)


def coding(value):
    return post(f"Transfer-Encoding: {value}", body=chunked("abc"))


def half(section, id, send, body="", **more):  # noqa: A002
    """A request whose body goes wrong: the server sees no end of it."""
    return Case(section, id, send, reaches=[cut("POST", X, body)], answers=[400], then=CLOSED, **more)


# -- 6.1 Transfer-Encoding -----------------------------------------------------------------------------------

TRANSFER_ENCODING = [
    passes("6.1", "chunked", coding("chunked"), ABC),
    passes("6.1", "in capitals", coding("CHUNKED"), ABC),
    passes("6.1", "between blanks", coding(" \t chunked \t "), ABC),
    passes("6.1", "with GET", post(TE, body=chunked("abc"), method="GET"), Req("GET", X, "abc")),
    passes("6.1", "with DELETE", post(TE, body=chunked("abc"), method="DELETE"), Req("DELETE", X, "abc")),
    refused("6.1", "another coding", coding("xchunked"), NEVER),
    refused("6.1", "another coding, known elsewhere", coding("gzip"), NEVER),
    refused("6.1", "another coding below", coding("gzip, chunked"), 501),
    refused("6.1", "another coding above", coding("chunked, gzip"), NEVER),
    refused("6.1", "identity", coding("identity"), NEVER),
    refused("6.1", "identity below", coding("identity, chunked"), NEVER),
    refused("6.1", "chunked twice", coding("chunked, chunked"), NEVER),
    refused("6.1", "chunked twice, in two fields", post(TE, TE, body=chunked("abc")), NEVER),
    refused("6.1", "two codings, in two fields", post(TE, "Transfer-Encoding: identity", body=chunked("abc")), NEVER),
    refused("6.1", "with a parameter", coding("chunked;q=1"), NEVER),
    refused("6.1", "in quotes", coding('"chunked"'), NEVER),
    refused("6.1", "a list with an empty element", coding("chunked,"), NEVER),
    refused("6.1", "empty", coding(""), NEVER),
    refused("6.1", "a blank within", coding("chun ked"), NEVER),
    refused("6.1", "a form feed before", coding("\x0cchunked")),
    refused("6.1", "a vertical tab before", coding("\x0bchunked")),
    refused("6.1", "NUL after", coding("chunked\x00")),
    refused("6.1", "a no-break space after", coding("chunked\xa0"), NEVER),
    refused("6.1", "a blank before the colon", post("Transfer-Encoding : chunked", body=chunked("abc"))),
    refused("6.1", "HTTP/1.0", post(TE, body=chunked("abc"), version="HTTP/1.0")),
]  # fmt: skip

# -- 6.2 Content-Length --------------------------------------------------------------------------------------

CONTENT_LENGTH = [
    passes("6.2", "3", length("3"), ABC),
    passes("6.2", "0", length("0", ""), Req("POST")),
    passes("6.2", "leading zeros", length("0003"), ABC),
    passes("6.2", "blanks around", length(" \t 3 \t "), ABC),
    passes("6.2", "with GET", post("Content-Length: 3", body="abc", method="GET"), Req("GET", X, "abc")),
    Case("6.2", "HTTP/1.0", post("Content-Length: 3", body="abc", version="HTTP/1.0"), reaches=[ABC], answers=[200],
         then=HUNG_UP),
    *[refused("6.2", f"{value!r}", length(value))
      for value in ("", "+3", "-3", "-0", "0x3", "3h", "3.0", "3e0", "3;", "3,", ",3", "3 3", "1_0", "_3", "3\x0b",
                    "3\x00", "\x0c3", "\xb3", "\xd9\xa3", "three", '"3"', "3, 3", "3,3", "3, 4", "3,abc",
                    "1000000000000000000", "9" * 19, "18446744073709551619", "0" * 19 + "3")],
]  # fmt: skip

# -- 6.3 Message body length ---------------------------------------------------------------------------------

_INNER = f"GET {X}2 HTTP/1.1\r\nHost: hub.test\r\n\r\n"

BODY_LENGTH = [
    passes("6.3", "neither: no body", post(), Req("POST")),
    refused("6.3", "both", post("Content-Length: 3", TE, body=chunked("abc"))),
    refused("6.3", "both, the other way round", post(TE, "Content-Length: 3", body=chunked("abc"))),
    refused("6.3", "both, the length as it is", post("Content-Length: 13", TE, body=chunked("abc"))),
    refused("6.3", "both, the length 0", post("Content-Length: 0", TE, body=chunked("abc"))),
    refused("6.3", "both, the coding identity", post("Content-Length: 3", "Transfer-Encoding: identity", body="abc"),
            NEVER),
    refused("6.3", "both, the coding empty", post("Content-Length: 3", "Transfer-Encoding:", body="abc"), NEVER),
    refused("6.3", "both, with GET", post("Content-Length: 3", TE, body=chunked("abc"), method="GET")),
    refused("6.3", "two equal lengths", post("Content-Length: 3", "Content-Length: 3", body="abc")),
    refused("6.3", "two lengths", post("Content-Length: 3", "Content-Length: 4", body="abcd")),
    refused("6.3", "two lengths, one 0", post("Content-Length: 0", "Content-Length: 3", body="abc")),
    refused("6.3", "two lengths, one named in Connection", post("Content-Length: 3", "Content-Length: 4",
                                                                "Connection: Content-Length", body="abc")),
    passes("6.3", "a request as a body", post(f"Content-Length: {len(_INNER)}", body=_INNER), Req("POST", X, _INNER)),
    passes("6.3", "a request as a chunk", post(TE, body=chunked(_INNER)), Req("POST", X, _INNER)),
    Case("6.3", "what follows a body is the next request", length("3") + get(),
         reaches=[ABC, Req("GET")], answers=[200, 200]),
    Case("6.3", "what follows chunks is the next request", coding("chunked") + get(),
         reaches=[ABC, Req("GET")], answers=[200, 200]),
    Case("6.3", "what follows no body is the next request", post() + get(), reaches=[Req("POST"), Req("GET")],
         answers=[200, 200]),
    Case("6.3", "a byte too many begins the next request", length("3", "abcd") + get(), reaches=[ABC, Req("dGET")],
         answers=[200, 200]),
    Case("6.3", "an answer with a length", get(), whole(answer(200, body="abc")), [Req("GET")], [Answer(200, "abc")],
         reuse=True),
    Case("6.3", "an answer of length 0", get(), whole(answer(200)), [Req("GET")], [Answer(200, "")], reuse=True),
    Case("6.3", "an answer, byte by byte", get(), whole(Torn(answer(200, body="abc"))), [Req("GET")],
         [Answer(200, "abc")], reuse=True),
    Case("6.3", "an answer until close", get(), whole(answer(200, body="abc", length=False), Pause(), "def", FIN),
         [Req("GET")], [Answer(200, "abcdef")], then=EITHER, reuse=False),
    Case("6.3", "an answer until close, of nothing", get(), whole(answer(200, length=False), FIN), [Req("GET")],
         [Answer(200, "")], then=EITHER),
    Case("6.3", "an answer until close to HTTP/1.0", get(version="HTTP/1.0"),
         whole(answer(200, body="abc", length=False), FIN),
         [Req("GET")], [Answer(200, "abc", lacks=("transfer-encoding",))], then=HUNG_UP),
]  # fmt: skip

# -- 7.1 Chunked transfer coding -----------------------------------------------------------------------------

_BIG = "x" * 0x1F00


def chunks(section, id, body, kept="abc", **more):  # noqa: A002
    return passes(section, id, TE_HEAD + body, Req("POST", X, kept), **more)


CHUNKED = [
    chunks("7.1", "one", chunked("abc")),
    chunks("7.1", "several", chunked("a", "b", "c")),
    chunks("7.1", "none", chunked(), ""),
    passes("7.1", "byte by byte", [TE_HEAD, Torn(chunked("a", "bc"))], ABC),
    passes("7.1", "cut at every line", [TE_HEAD, Pause(), "3\r", Pause(), "\nabc", Pause(), "\r", Pause(), "\n0\r\n",
                                        Pause(), "\r", Pause(), "\n"], ABC),
    chunks("7.1", "leading zeros", "0003\r\nabc\r\n0\r\n\r\n"),
    chunks("7.1", "15 digits", "000000000000003\r\nabc\r\n000\r\n\r\n"),
    chunks("7.1", "small hex digits", f"1f00\r\n{_BIG}\r\n0\r\n\r\n", _BIG),
    chunks("7.1", "capital hex digits", f"1F00\r\n{_BIG}\r\n0\r\n\r\n", _BIG),
    chunks("7.1", "CR LF as content", "5\r\n\r\n0\r\n\r\n0\r\n\r\n", "\r\n0\r\n"),
    *[half("7.1", f"size {size!r}", f"{TE_HEAD}{size}\r\nabc\r\n0\r\n\r\n")
      for size in ("", "x", "0x3", "3x", "+3", "-3", " 3", "3 ", "\t3", "3\t", "3,3", "3.0", "_3", "0_3", "\xb3",
                   "3\x00", "G", "3h", '"3"', "0" * 15 + "3", "F" * 16, "1" + "0" * 16 + "3", "00000000000000003")],
    half("7.1", "the last size is not hex", f"{TE_HEAD}3\r\nabc\r\nzero\r\n\r\n", "abc"),
    half("7.1", "the last size is negative", f"{TE_HEAD}3\r\nabc\r\n-0\r\n\r\n", "abc"),
    half("7.1", "a bare LF after the size", f"{TE_HEAD}3\nabc\r\n0\r\n\r\n"),
    half("7.1", "a bare CR after the size", f"{TE_HEAD}3\rabc\r\n0\r\n\r\n"),
    half("7.1", "a bare LF after the content", f"{TE_HEAD}3\r\nabc\n0\r\n\r\n", "abc"),
    half("7.1", "a bare CR after the content", f"{TE_HEAD}3\r\nabc\r0\r\n\r\n", "abc"),
    half("7.1", "CR CR LF after the content", f"{TE_HEAD}3\r\nabc\r\r\n0\r\n\r\n", "abc"),
    half("7.1", "a bare LF after the last size", f"{TE_HEAD}3\r\nabc\r\n0\n\r\n", "abc"),
    half("7.1", "a bare LF at the very end", f"{TE_HEAD}3\r\nabc\r\n0\r\n\n", "abc"),
    half("7.1", "more content than the size says", f"{TE_HEAD}3\r\nabcd\r\n0\r\n\r\n", "abc"),
    half("7.1", "less content than the size says", f"{TE_HEAD}3\r\nab\r\n0\r\n\r\n", "ab\r"),
    half("7.1", "no line end after the content", f"{TE_HEAD}3\r\nabc0\r\n\r\n", "abc"),
    half("7.1", "two other bytes after the content", f"{TE_HEAD}3\r\nabcXY0\r\n\r\n", "abc"),
    half("7.1", "wrong after the content, torn", [TE_HEAD, "3\r\nabc", Pause(), "X", Pause(), "Y0\r\n\r\n"], "abc"),
    half("7.1", "wrong after the server has some", [TE_HEAD, "3\r\nabc\r\n", Reached("abc"), "x\r\n"], "abc"),
    half("7.1", "a size without end", [TE_HEAD, "3" * 20_000], ""),
    half("7.1", "zeros without end", [TE_HEAD, "0" * 100_000], ""),
    Case("7.1", "wrong after the server answers", [TE_HEAD, "3\r\nabc\r\n", Got("half"), "x\r\n"],
         early(answer(200, "Content-Length: 8", body="half", length=False)),
         [cut("POST", X, "abc")], [Answer(200, "half")], then=ABORTED),
    Case("7.1", "HTTP/1.0 gets the content of chunks", get(version="HTTP/1.0"),
         whole(answer(200, TE, body=chunked("ab", "c"), length=False)),
         [Req("GET")], [Answer(200, "abc", lacks=("transfer-encoding",))], then=HUNG_UP),
    Case("7.1", "an answer in chunks", get(), whole(answer(200, TE, body=chunked("ab", "c"), length=False)),
         [Req("GET")], [Answer(200, "abc")], reuse=True),
    Case("7.1", "an answer in chunks, byte by byte", get(),
         whole(Torn(answer(200, TE, body=chunked("ab", "c"), length=False))),
         [Req("GET")], [Answer(200, "abc")], reuse=True),
    Case("7.1", "an answer of no chunk", get(), whole(answer(200, TE, body=chunked(), length=False)), [Req("GET")],
         [Answer(200, "")], reuse=True),
    Case("7.1", "each chunk passes at once", [get(), Got("ab"), Cue("go on")],
         whole(answer(200, TE, body="2\r\nab\r\n", length=False), Await("go on"), "1\r\nc\r\n0\r\n\r\n"),
         [Req("GET")], [Answer(200, "abc")]),
]  # fmt: skip

LONG = {400, 413, 431}
"""Which of its limits a thing without end breaks first is nobody's business."""

EXTENSIONS = [
    chunks("7.1.1", "dropped", "3;a\r\nabc\r\n0;b\r\n\r\n"),
    chunks("7.1.1", "with a value", "3;a=b\r\nabc\r\n0\r\n\r\n"),
    chunks("7.1.1", "with a quoted value", '3;a="b;\\"c"\r\nabc\r\n0\r\n\r\n'),
    chunks("7.1.1", "several", "3;a=b;c;d=e\r\nabc\r\n0\r\n\r\n"),
    passes("7.1.1", "byte by byte", [TE_HEAD, Torn("3;a=b\r\nabc\r\n0;c\r\n\r\n")], ABC),
    half("7.1.1", "a bare LF within", f"{TE_HEAD}3;a\nabc\r\n0\r\n\r\n"),
    half("7.1.1", "a bare LF within, hiding a request", f"{TE_HEAD}3;\n\r\nabc\r\n0\r\n\r\n{get()}"),
    half("7.1.1", "a bare CR within", f"{TE_HEAD}3;a\rb\r\nabc\r\n0\r\n\r\n"),
    half("7.1.1", "NUL within", f"{TE_HEAD}3;a\x00\r\nabc\r\n0\r\n\r\n"),
    half("7.1.1", "a bare LF within the last", f"{TE_HEAD}3\r\nabc\r\n0;a\n\r\n", "abc"),
    Case("7.1.1", "without end", f"{TE_HEAD}3;{'a' * 100_000}", reaches=[cut("POST")], answers=[LONG], then=CLOSED),
    Case("7.1.1", "of an answer, dropped", get(),
         whole(answer(200, TE, body="3;a=b\r\nabc\r\n0;c\r\n\r\n", length=False)), [Req("GET")],
         [Answer(200, "abc")]),
]  # fmt: skip


def trailed(*lines):
    return "3\r\nabc\r\n0\r\n" + "".join(f"{line}\r\n" for line in lines) + "\r\n"


TRAILERS = [
    chunks("7.1.2", "dropped", trailed("A: 1", "B: 2")),
    passes("7.1.2", "byte by byte", [TE_HEAD, Torn(trailed("A: 1"))], ABC),
    passes("7.1.2", "announced", post(TE, "Trailer: A", "TE: trailers", "Connection: TE", body=trailed("A: 1")), ABC),
    passes("7.1.2", "what they say counts for nothing",
           TE_HEAD + trailed("Content-Length: 9", TE, "Host: evil.test", "Authorization: token x",
                             "X-Forwarded-For: 192.0.2.1"),
           Req("POST", X, "abc", has={"host": "hub.test"}, lacks=("content-length",))),
    *[half("7.1.2", f"{line!r}", TE_HEAD + trailed(line), "abc")
      for line in ("A", ": 1", "A : 1", " A: 1", "A: 1\r\n 2", "A: 1\nB: 2", "A: 1\r2", "A: \x00", "A B: 1")],
    Case("7.1.2", "of 100 KB", TE_HEAD + trailed(*(f"A: {'x' * 1000}" for _ in range(100))),
         reaches=[cut("POST", X, "abc")], answers=[LONG], then=CLOSED),
    Case("7.1.2", "one without end", f"{TE_HEAD}3\r\nabc\r\n0\r\nA: {'x' * 100_000}",
         reaches=[cut("POST", X, "abc")], answers=[LONG], then=CLOSED),
    Case("7.1.2", "10,000 of them", TE_HEAD + trailed(*(f"A: {n}" for n in range(10_000))),
         reaches=[cut("POST", X, "abc")], answers=[LONG], then=CLOSED),
    Case("7.1.2", "of an answer, dropped", get(),
         whole(answer(200, TE, "Trailer: A", body=trailed("A: 1"), length=False)),
         [Req("GET")], [Answer(200, "abc", lacks=("trailer",))], reuse=True),
    Case("7.1.2", "cannot set a cookie", get(),
         whole(answer(200, TE, body=trailed("Set-Cookie: minihub-login=bob"), length=False)),
         [Req("GET")], [Answer(200, "abc", lacks=("set-cookie",))]),
]  # fmt: skip

# -- 8. Handling incomplete messages: what the client breaks off ---------------------------------------------


def broken(id, body, how, sent="", section="8"):  # noqa: A002
    """The client ends within a request: the server must see that it is not whole."""
    return Case(
        section,
        f"{id}, {how}",
        [*body, Pause(), how],
        reaches=[] if sent is None else [cut("POST", X, sent)],
        answers=[400],
        silent=True,
        then=GONE,
    )


INCOMPLETE = [
    row
    for how in (FIN, RST)
    for row in (
        broken("nothing", [], how, None),
        broken("in the request line", ["GET /us"], how, None),
        broken("in a field", [get()[:60]], how, None),
        broken("before the empty line", [get()[:-2]], how, None),
        broken("between CR and LF of the empty line", [get()[:-1]], how, None),
        broken("before a body", [post("Content-Length: 3")], how),
        broken("within a body", [post("Content-Length: 3", body="ab")], how, "ab"),
        broken(
            "within a body the server has some of",
            [post("Content-Length: 3", body="ab"), Reached("ab")],
            how,
            "ab",
        ),
        broken("before the first chunk", [TE_HEAD], how),
        broken("within a size", [TE_HEAD, "3"], how),
        broken("after a size", [TE_HEAD, "3\r\n"], how),
        broken("within a chunk", [TE_HEAD, "3\r\nab"], how, "ab"),
        broken("before a chunk's CR LF", [TE_HEAD, "3\r\nabc"], how, "abc"),
        broken("after a chunk the server has", [TE_HEAD, "3\r\nabc\r\n", Reached("abc")], how, "abc"),
        broken("before the last empty line", [TE_HEAD, "3\r\nabc\r\n0\r\n"], how, "abc"),
        broken("within a trailer", [TE_HEAD, "3\r\nabc\r\n0\r\nA: 1\r\n"], how, "abc"),
    )
]


@pytest.mark.parametrize(
    "case",
    [*TRANSFER_ENCODING, *CONTENT_LENGTH, *BODY_LENGTH, *CHUNKED, *EXTENSIONS, *TRAILERS, *INCOMPLETE],
    ids=str,
)
async def test_bodies(case):
    await check(case)
