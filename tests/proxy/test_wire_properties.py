"""For any bytes whatever: the cuts between reads do not matter, and others read in what goes on what we read."""

from __future__ import annotations

import httptools
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.proxy.wire_kit import cut, read
from tests.proxy.wire_oracles import check_answers, check_requests, h11_answer, h11_requests, llhttp_messages

slow = settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])

METHODS = ["GET", "HEAD", "POST", "PUT", "OPTIONS", "DELETE", "PROPFIND"]
ODD_METHODS = ["get", "X-OWN", "CONNECT", "G(T", ""]
TARGETS = ["/", "/user/ada/lab?a=b|c", "//x", "/a/../%2e", "http://other/x?y"]
ODD_TARGETS = ["*", "HTTPS://other", "http://u@other/", "hub:443", "/a#b", "/\x7f", "/a b", ""]
PLAIN_LINES = [
    "Accept: */*", "Cookie: a=b; c=d", "Empty:", "X-Odd: \xe4\t\xff", "x_own:y", "Connection: keep-alive",
    "Connection: Upgrade", "Upgrade: websocket", "Expect: 100-continue", "Trailer: A", "TE: trailers", "Keep-Alive: x",
    "Content-Type: text/plain", "Set-Cookie: a=b",
]  # fmt: skip
ODD_LINES = [
    "Connection: close", "Proxy-Connection: close",
    "Host: other", "Content-Length: 3", "Content-Length: +3", "Content-Length: 3, 3", "Content-Length : 3", "content_length: 3",
    "Content-Length: 99", "Transfer-Encoding: chunked", "Transfer-Encoding: gzip, chunked", "Transfer-Encoding: identity",
    "Transfer-Encoding:\x0bchunked", "Transfer-Encoding : chunked", " folded", "\tfolded", ": x", "no colon", "A: \0", "A: b\rc",
    "A: b\nContent-Length: 3", "Expect: x", "A\xa0: b", "Content-Length:", "Transfer-Encoding:",
]  # fmt: skip
CHUNKS = [b"5\r\nhello\r\n", b"A;x=y\r\n0123456789\r\n", b"0005\r\n0\r\n\r\n\r\n"]
ODD_CHUNKS = [
    b"0x5\r\nhello\r\n",
    b"5 \r\nhello\r\n",
    b"5\nhello\n",
    b"5\r\nhello!\r\n",
    b"-1\r\n",
    b"\r\n",
    b"5;\n\r\nhello\r\n",
]
ENDS = [b"0\r\n\r\n"] * 3 + [b"000;z\r\n\r\n", b"0\r\nA: b\r\nContent-Length: 7\r\n\r\n"]
ODD_ENDS = [b"0\r\nA : b\r\n\r\n", b"0\n\n", b"0\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", b""]

places = st.lists(st.integers(0, 1 << 16), max_size=12)


def chosen(good, odd, *, is_odd):
    """One of `good`; where something odd is wanted, about as often one of `odd`."""
    return st.one_of(st.sampled_from(good), st.sampled_from(odd)) if is_odd else st.sampled_from(good)


def is_odd():
    return st.sampled_from([False, False, False, True])


@st.composite
def bodies(draw, odd):
    """How a body is announced, and a body that mostly fits."""
    kind = draw(st.sampled_from(["none", "length", "chunked"]))
    if kind == "none":
        return [], b""
    if kind == "length":
        body = draw(st.binary(max_size=20))
        return [f"Content-Length: {len(body)}"], body
    chunks = draw(st.lists(chosen(CHUNKS, ODD_CHUNKS, is_odd=odd), max_size=3))
    end = draw(chosen(ENDS, ODD_ENDS, is_odd=odd))
    return [draw(st.sampled_from(["Transfer-Encoding: chunked", "transfer-encoding:Chunked"]))], b"".join(
        [*chunks, end]
    )


@st.composite
def requests(draw):
    odd = draw(is_odd())
    announced, body = draw(bodies(odd))
    lines = [*draw(st.lists(chosen(PLAIN_LINES, ODD_LINES, is_odd=odd), max_size=5)), *announced]
    host = draw(chosen(["Host: hub", "host: [::1]:80"], ["Host: a b", "X: y"], is_odd=odd))
    lines.insert(draw(st.integers(0, len(lines))), host)
    start = [
        draw(chosen(METHODS, ODD_METHODS, is_odd=odd)),
        draw(chosen(TARGETS, ODD_TARGETS, is_odd=odd)),
        draw(chosen(["HTTP/1.1"], ["HTTP/1.0", "HTTP/1.10", "HTTP/2.0", "http/1.1"], is_odd=odd)),
    ]
    lead = draw(chosen([b""], [b"\r\n", b"\r\n\r\n\r\n"], is_odd=odd))
    return lead + "\r\n".join([" ".join(start), *lines, "", ""]).encode("latin-1") + body


STATUS_LINES = [
    "HTTP/1.1 200 OK", "HTTP/1.1 200", "HTTP/1.0 200 OK", "HTTP/1.1 204 No Content", "HTTP/1.1 304 Not Modified",
    "HTTP/1.1 100 Continue", "HTTP/1.1 103 Early Hints", "HTTP/1.1 404 \xe4\t\xe4",
]  # fmt: skip
ODD_STATUS_LINES = [
    "HTTP/1.1 101 x",
    "HTTP/1.2 200 OK",
    "HTTP/1.1 99 x",
    "HTTP/1.1 200\0",
    "HTTP/1.1  200 OK",
    "",
]


@st.composite
def answers(draw):
    odd = draw(is_odd())
    announced, body = draw(bodies(odd))
    lines = [*draw(st.lists(chosen(PLAIN_LINES, ODD_LINES, is_odd=odd), max_size=4)), *announced]
    start = draw(chosen(STATUS_LINES, ODD_STATUS_LINES, is_odd=odd))
    return "\r\n".join([start, *lines, "", ""]).encode("latin-1") + body


PIECES = [
    b"\r", b"\n", b"\r\n", b"\r\n\r\n", b" ", b"\t", b"\0", b":", b",", b";", b"0", b"1", b"f", b"-", b"+", b"0x", b"_", b"\x0b", b"\x85",
    b"Content-Length: 1\r\n", b"Transfer-Encoding: chunked\r\n", b"Host: x\r\n", b"HTTP/1.1", b"GET / HTTP/1.1\r\nHost: h\r\n\r\n",
]  # fmt: skip


@st.composite
def spoiled(draw, messages):
    """A few messages in a row, with a few places cut out, doubled or overwritten."""
    data = b"".join(draw(st.lists(messages, min_size=1, max_size=4)))
    for _ in range(draw(st.sampled_from([0, 0, 1, 1, 2, 3]))):
        at = draw(st.integers(0, len(data)))
        until = min(len(data), at + draw(st.sampled_from([0, 0, 1, 2, 10])))
        data = data[:at] + draw(st.sampled_from([b"", data[at:until] * 2, *PIECES])) + data[until:]
    return data


noise = st.lists(st.one_of(st.sampled_from(PIECES), st.binary(max_size=4)), max_size=40).map(b"".join)
methods = st.lists(st.sampled_from(["GET", "GET", "HEAD", "POST"]), min_size=1, max_size=4)


@slow
@given(spoiled(requests()), places)
@example(b"GET http://o/ HTTP/1.1\r\nHost: h\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", [40])
def test_requests_are_what_others_read_in_them(data, places):
    check_requests(data, places)


@slow
@given(noise, places)
def test_noise_is_what_others_read_in_it(data, places):
    check_requests(data, places)
    check_requests(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + data, places)
    check_requests(b"GET / HTTP/1.1\r\nHost: h\r\n" + data, places)


@slow
@given(methods, spoiled(answers()), places)
def test_answers_are_what_others_read_in_them(methods, data, places):
    check_answers(methods, data, places)


@slow
@given(methods, noise, places)
def test_noise_as_answer_is_what_others_read_in_it(methods, data, places):
    check_answers(methods, data, places)
    check_answers(methods, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + data, places)
    check_answers(methods, b"HTTP/1.1 200 OK\r\n" + data, places)


# ---- the checks themselves can fail ---------------------------------------------------------------------------------


def test_the_generators_reach_what_they_should():
    """Enough streams are accepted, refused and cut short; else the properties would hold for nothing."""
    seen = {}

    @settings(max_examples=300, deadline=None, database=None, derandomize=True)
    @given(spoiled(requests()))
    def collect(data):
        stream = read([data])
        seen["refused"] = seen.get("refused", 0) + bool(stream.refused)
        for message in stream.complete:
            kind = type(message.head.framing).__name__
            seen[kind] = seen.get(kind, 0) + 1
        seen["pipelined"] = seen.get("pipelined", 0) + (len(stream.complete) > 1)

    collect()
    assert min(seen[kind] for kind in ("refused", "pipelined", "NoneType", "Length", "Chunked")) >= 20, seen


@pytest.mark.parametrize(
    ("data", "count"),
    [
        (b"GET / HTTP/1.1\r\nHost: h\r\n\r\n" * 2, 2),
        (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 40\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", 0),
        (b"GET / HTTP/1.1\r\nHost: h\r\n\r\n\0", 1),
    ],
)
def test_the_others_are_asked(data, count):
    complete, complaint = h11_requests(data)
    assert len(complete) == count
    assert bool(complaint) == (count < 2)
    assert len(llhttp_messages(httptools.HttpRequestParser, data)[0]) == count
    assert h11_answer("GET", data)[1]


def test_cuts():
    assert cut(b"abcdef", [2, 4, 2]) == [b"ab", b"", b"cd", b"ef"]
    assert cut(b"abc", []) == [b"abc"]
