"""Bodies: where they end and what of them goes on, in the order of RFC 9112."""

from __future__ import annotations

import tracemalloc

import pytest

from minihub.proxy.framing import (
    MAX_CHUNK_LINE,
    MAX_TRAILER_FIELDS,
    MAX_TRAILERS,
    BadMessage,
    Chunked,
    ChunkedBody,
    Length,
    LengthBody,
    UntilClose,
    UntilCloseBody,
    start_body,
)


def feed_all(body, *pieces):
    """Feed pieces; say what went on and how much of the last piece was left."""
    sent, left = b"", b""
    for piece in pieces:
        assert not left
        out, taken = body.feed(piece)
        sent += out
        left = piece[taken:]
    return sent, left


def split_everywhere(data):
    """Whole, cut in two at every place, and byte by byte."""
    yield [data]
    for place in range(1, len(data)):
        yield [data[:place], data[place:]]
    yield [data[place : place + 1] for place in range(len(data))]


# ---- 6.2, 6.3: Content-Length, nothing, the end of the connection ---------------------------------------------------


def test_6_2_a_length_is_taken_exactly_and_the_rest_is_the_next_message():
    body = LengthBody(5)
    assert feed_all(body, b"he") == (b"he", b"")
    assert not body.over
    assert feed_all(body, b"lloGET") == (b"llo", b"GET")
    assert body.over


@pytest.mark.parametrize("pieces", list(split_everywhere(b"hello")))
def test_6_2_cut_anywhere(pieces):
    body = LengthBody(5)
    assert feed_all(body, *pieces) == (b"hello", b"")
    assert body.over


def test_6_3_no_body_is_over_before_it_begins():
    for framing in (None, Length(0)):
        body = start_body(framing)
        assert body.over
        assert body.feed(b"GET") == (b"", 0)


def test_6_3_until_close_is_never_over():
    body = UntilCloseBody()
    assert feed_all(body, b"a", b"b") == (b"ab", b"")
    assert not body.over


def test_each_framing_has_its_body():
    assert isinstance(start_body(None), LengthBody)
    assert isinstance(start_body(Length(3)), LengthBody)
    assert isinstance(start_body(UntilClose()), UntilCloseBody)
    assert isinstance(start_body(Chunked()), ChunkedBody)


def test_chunks_stay_chunks_unless_their_payload_is_wanted():
    data = b"1\r\na\r\n0\r\n\r\n"
    assert start_body(Chunked()).feed(data) == (data, len(data))
    assert start_body(Chunked(), payload=True).feed(data) == (b"a", len(data))


def test_what_passes_unchanged_is_not_copied():
    data = bytes(1000)
    for body in (LengthBody(5000), LengthBody(1000), UntilCloseBody()):
        assert body.feed(data)[0] is data
    for payload in (False, True):
        body = ChunkedBody(payload=payload)
        body.feed(b"ffff\r\n")
        assert body.feed(data)[0] is data
    whole = b"5\r\nhello\r\n" * 3 + b"0\r\n\r\n"
    assert ChunkedBody().feed(whole)[0] is whole


# ---- 7.1: chunks ----------------------------------------------------------------------------------------------------

CHUNKED = [
    ("nothing", b"0\r\n\r\n", b"0\r\n\r\n", b""),
    ("one chunk", b"5\r\nhello\r\n0\r\n\r\n", b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
    ("two chunks", b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", b"hello"),
    ("hex of either case", b"a\r\n0123456789\r\n0A\r\n0123456789\r\n0\r\n\r\n",
     b"a\r\n0123456789\r\n0A\r\n0123456789\r\n0\r\n\r\n", b"01234567890123456789"),
    ("line ends within", b"4\r\n\r\n\r\n\r\n0\r\n\r\n", b"4\r\n\r\n\r\n\r\n0\r\n\r\n", b"\r\n\r\n"),
    ("something like an end within", b"5\r\n0\r\n\r\n\r\n0\r\n\r\n", b"5\r\n0\r\n\r\n\r\n0\r\n\r\n", b"0\r\n\r\n"),
    ("15 digits", b"000000000000005\r\nhello\r\n0\r\n\r\n", b"000000000000005\r\nhello\r\n0\r\n\r\n", b"hello"),
    ("several zeros", b"5\r\nhello\r\n000\r\n\r\n", b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
    # 7.1.1
    ("extension", b"5;a=b\r\nhello\r\n0\r\n\r\n", b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
    ("extension with spaces and quotes", b'5 ; a = "b;c" ;d\r\nhello\r\n0;e\r\n\r\n', b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
    ("extension of the second", b"1\r\na\r\n1;x\r\nb\r\n0\r\n\r\n", b"1\r\na\r\n1\r\nb\r\n0\r\n\r\n", b"ab"),
    # 7.1.2
    ("trailer", b"5\r\nhello\r\n0\r\nA: b\r\n\r\n", b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
    ("trailers that would frame a head", b"0\r\nContent-Length: 5\r\nTransfer-Encoding:x\r\n\r\n", b"0\r\n\r\n", b""),
]  # fmt: skip


@pytest.mark.parametrize(
    ("data", "sent", "payload"), [case[1:] for case in CHUNKED], ids=[case[0] for case in CHUNKED]
)
def test_7_1_chunks_cut_anywhere(data, sent, payload):
    for pieces in split_everywhere(data):
        body = ChunkedBody()
        assert feed_all(body, *pieces) == (sent, b""), pieces
        assert body.over
        body = ChunkedBody(payload=True)
        assert feed_all(body, *pieces) == (payload, b""), pieces
        assert body.over
    # What goes on needs no cleaning any more.
    assert feed_all(ChunkedBody(), sent) == (sent, b"")


def test_7_1_what_follows_is_not_taken():
    for end in (b"0\r\n\r\n", b"0;x\r\n\r\n", b"0\r\nA: b\r\n\r\n"):
        for place in range(len(end) + 1):
            body = ChunkedBody()
            _, taken = body.feed(b"1\r\na\r\n" + end[:place])
            assert taken == 6 + place
            if place < len(end):
                assert not body.over
                assert body.feed(end[place:] + b"GET / HTTP/1.1\r\n")[1] == len(end) - place
            assert body.over


BROKEN = [
    ("no size", b"\r\nhello\r\n"),
    ("no hex", b"g\r\n"),
    ("0x", b"0x2\r\nab\r\n"),
    ("sign", b"+2\r\nab\r\n"),
    ("minus", b"-2\r\nab\r\n"),
    ("underscore", b"1_0\r\nab\r\n"),
    ("space before", b" 2\r\nab\r\n"),
    ("space after", b"2 \r\nab\r\n"),
    ("16 digits", b"0000000000000002\r\nab\r\n"),
    ("overflow", b"ffffffffffffffff\r\nab\r\n"),
    ("LF alone after the size", b"2\nab\r\n"),
    ("CR alone after the size", b"2\rab\r\n"),
    ("two CR after the size", b"2\r\r\nab\r\n"),
    ("NUL", b"2\0\r\nab\r\n"),
    ("other digits", b"\xd9\xa2\r\nab\r\n"),
    ("LF alone after the chunk", b"2\r\nab\n0\r\n\r\n"),
    ("nothing after the chunk", b"2\r\nab0\r\n\r\n"),
    ("CR alone after the chunk", b"2\r\nab\r0\r\n\r\n"),
    ("more than the size", b"2\r\nabc\r\n0\r\n\r\n"),
    ("extension without semicolon", b"2 a=b\r\nab\r\n"),
    ("LF alone in an extension", b"2;a\nb\r\nab\r\n"),
    ("CR alone in an extension", b"2;a\rb\r\nab\r\n"),
    ("NUL in an extension", b"2;a\0\r\nab\r\n"),
    ("non-ASCII in an extension", b"2;a=\x80\r\nab\r\n"),
    ("LF alone after the last chunk", b"0\n\r\n"),
    ("LF alone at the end", b"0\r\n\n"),
    ("CR alone at the end", b"0\r\n\rX"),
    ("no trailer but a request", b"0\r\nGET / HTTP/1.1\r\n"),
    ("trailer without a name", b"0\r\n: b\r\n\r\n"),
    ("space before the colon", b"0\r\nA : b\r\n\r\n"),
    ("folded trailer", b"0\r\nA: b\r\n c\r\n\r\n"),
    ("LF alone in a trailer", b"0\r\nA: b\n\r\n"),
    ("NUL in a trailer", b"0\r\nA: \0\r\n\r\n"),
    ("trailer without a colon", b"0\r\nA\r\n\r\n"),
]


@pytest.mark.parametrize("data", [data for _, data in BROKEN], ids=[name for name, _ in BROKEN])
def test_7_1_broken_chunks_are_refused_however_they_are_cut(data):
    for pieces in split_everywhere(data):
        for payload in (False, True):
            body = ChunkedBody(payload=payload)
            with pytest.raises(BadMessage) as caught:
                feed_all(body, *pieces)
            assert caught.value.status == 400
            assert not body.over


def test_7_1_whose_fault_it_is():
    with pytest.raises(BadMessage) as caught:
        start_body(Chunked()).feed(b"x")
    assert (caught.value.status, str(caught.value)) == (400, "400 malformed chunked body")
    with pytest.raises(BadMessage) as caught:
        start_body(Chunked(), status=502).feed(b"x")
    assert caught.value.status == 502


@pytest.mark.parametrize(
    "begun", [b"2\n", b"2;\n", b"2\r\nab\n", b"2\r\nabx", b"0\r\n\n", b"0\r\nA\n", b"2 x", b"\r"]
)
def test_7_1_what_cannot_become_right_is_refused_at_once(begun):
    body = ChunkedBody()
    with pytest.raises(BadMessage):
        body.feed(begun)


def limit_cases():
    longest = b"1;" + b"x" * (MAX_CHUNK_LINE - 4) + b"\r\n"
    yield "longest chunk line", longest + b"a\r\n0\r\n\r\n", True
    yield "chunk line too long", b"1;x" + longest[2:] + b"a\r\n0\r\n\r\n", False
    yield "most trailers", b"0\r\n" + b"A: b\r\n" * MAX_TRAILER_FIELDS + b"\r\n", True
    yield "too many trailers", b"0\r\n" + b"A: b\r\n" * (MAX_TRAILER_FIELDS + 1) + b"\r\n", False
    longest = b"A:" + b"x" * (MAX_TRAILERS - 10) + b"\r\nB: c\r\n"
    assert len(longest) == MAX_TRAILERS
    yield "longest trailers", b"0\r\n" + longest + b"\r\n", True
    yield "trailers too long", b"0\r\n" + longest + b"C:\r\n\r\n", False
    yield "trailer too long", b"0\r\nA:x" + longest[2:] + b"\r\n", False


@pytest.mark.parametrize(
    ("data", "is_good"), [case[1:] for case in limit_cases()], ids=[case[0] for case in limit_cases()]
)
def test_7_1_limits(data, is_good):
    for step in (len(data), 7, 1):
        body = ChunkedBody()
        pieces = [data[at : at + step] for at in range(0, len(data), step)]
        if is_good:
            feed_all(body, *pieces)
            assert body.over
        else:
            with pytest.raises(BadMessage):
                feed_all(body, *pieces)


@pytest.mark.parametrize("line", [b"1;" + b"x" * MAX_CHUNK_LINE, b"0\r\nA: " + b"x" * MAX_TRAILERS])
def test_7_1_a_line_that_does_not_end_is_not_awaited_for_ever(line):
    for step in (len(line), 100):
        body = ChunkedBody()
        with pytest.raises(BadMessage):
            feed_all(body, *(line[at : at + step] for at in range(0, len(line), step)))


def test_7_1_nor_many_of_them():
    body = ChunkedBody()
    body.feed(b"0\r\nA: " + b"x" * (MAX_TRAILERS - 100) + b"\r\n")
    with pytest.raises(BadMessage):
        body.feed(b"B: " + b"x" * 100)


def test_7_1_gigabytes_pass_in_flat_memory():
    """4 GB in one chunk."""
    read = bytes(1 << 20)
    body = ChunkedBody()
    tracemalloc.start()
    try:
        body.feed(b"100000000\r\n")
        for _ in range(4096):
            assert body.feed(read)[0] is read
        assert body.feed(b"\r\n0\r\n\r\n") == (b"\r\n0\r\n\r\n", 7)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()
    assert body.over
