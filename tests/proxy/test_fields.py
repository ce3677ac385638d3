"""Header fields and what they say of the message, in the order of RFC 9112."""

from __future__ import annotations

import pytest

from minihub.proxy.fields import read_connection, read_framing, split_fields, verify_bytes, verify_host
from minihub.proxy.framing import BadMessage, Chunked, Length


def refusal(function, *args):
    with pytest.raises(BadMessage) as caught:
        function(*args)
    return caught.value.status


# ---- 2.2: lines -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lines", [b"\r\n", b"A: b\r\n\r\n", b"A:\t b \xff\r\n", b"\r\n\r\n\r\n"])
def test_2_2_lines_end_in_cr_lf(lines):
    verify_bytes(lines)


def test_2_2_all_else_may_stand_in_a_line():
    allowed = bytes(byte for byte in range(256) if bytes([byte]) not in (*CONTROL, b"\r", b"\n"))
    assert len(allowed) == 256 - len(CONTROL) - 2
    verify_bytes(allowed + b"\r\n")


CONTROL = [bytes([byte]) for byte in (*range(9), 11, 12, *range(14, 32), 127)]


@pytest.mark.parametrize(
    "lines", [b"", b"A: b", b"A: b\n", b"A: b\r", b"A: b\n\r", b"A\rB: c\n\r\n", b"\r\r\n\n", b"A: b\r\nC"]
)
def test_2_2_other_line_ends_are_refused(lines):
    assert refusal(verify_bytes, lines) == 400


@pytest.mark.parametrize("byte", CONTROL, ids=repr)
def test_2_2_control_characters_are_refused(byte):
    assert refusal(verify_bytes, b"A: b" + byte + b"\r\n\r\n") == 400
    assert refusal(verify_bytes, byte + b"\r\n\r\n") == 400


# ---- 5: fields ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "fields"),
    [
        (b"\r\n", ()),
        (b"A: b\r\n\r\n", (("A", "b"),)),
        (b"A:b\r\na: c\r\n\r\n", (("A", "b"), ("a", "c"))),
        (b"A: \t b c \t\r\n\r\n", (("A", "b c"),)),
        (b"A:\r\nB: \r\n\r\n", (("A", ""), ("B", ""))),
        (b"A: b: c\r\n\r\n", (("A", "b: c"),)),
        (b"A: \xe4\xa0\r\n\r\n", (("A", "\xe4\xa0"),)),
        (b"!#$%&'*+-.^_`|~09azAZ: b\r\n\r\n", (("!#$%&'*+-.^_`|~09azAZ", "b"),)),
    ],
)
def test_5_1_names_and_values(raw, fields):
    assert split_fields(raw, 10) == fields


def test_5_1_fields_are_found_by_name_in_any_spelling():
    raw = b"hOST: a\r\nHost: b\r\nCONTENT-LENGTH: 1\r\nTransfer-encoding: c\r\nconnection: d\r\nUpGrade: e\r\nexpect: f\r\nX: y\r\n\r\n"
    assert split_fields(raw, 10).by_name == {
        "host": ["a", "b"],
        "content-length": ["1"],
        "transfer-encoding": ["c"],
        "connection": ["d"],
        "upgrade": ["e"],
        "expect": ["f"],
        "x": ["y"],
    }


@pytest.mark.parametrize(
    "line",
    [
        b": b", b"A : b", b"Host : b", b"Host\t: b", b" A: b", b"\tA: b", b"A B: c", b"A", b"Host", b"Content-Length",
        b"", b"A\xe4: b", b"A(: b", b"A/B: c", b'"A": b', b"A\xa0: b", b"Content_Length: 3", b"transfer_encoding: x",
    ],
)  # fmt: skip
def test_5_1_malformed_fields_are_refused(line):
    assert refusal(split_fields, line + b"\r\n\r\n", 10) == 400
    assert refusal(split_fields, b"A: b\r\n" + line + b"\r\nC: d\r\n\r\n", 10) == 400


@pytest.mark.parametrize("folded", [b" b", b"\tb", b" ", b" C: d"])
def test_5_2_folded_lines_are_refused(folded):
    assert refusal(split_fields, b"A: a\r\n" + folded + b"\r\n\r\n", 10) == 400


@pytest.mark.parametrize("raw", [b"A: b\r\n", b"A: b\r\nC", b"A: b"])
def test_5_the_empty_line_has_to_be_there(raw):
    assert refusal(split_fields, raw, 10) == 400


def test_5_4_not_more_fields_than_allowed():
    assert len(split_fields(b"A: b\r\n" * 10 + b"\r\n", 10)) == 10
    assert refusal(split_fields, b"A: b\r\n" * 11 + b"\r\n", 10) == 431


# ---- 6: framing -----------------------------------------------------------------------------------------------------


def framing(version=11, **telling):
    return read_framing({name.replace("_", "-"): values for name, values in telling.items()}, version)


@pytest.mark.parametrize(
    ("value", "size"), [("0", 0), ("5", 5), ("007", 7), ("999999999999999999", 999_999_999_999_999_999)]
)
def test_6_2_content_length(value, size):
    assert framing(content_length=[value]) == Length(size)


@pytest.mark.parametrize(
    "values",
    [
        ["+5"], ["-1"], ["0x5"], ["5, 5"], ["5,5"], ["5 5"], [""], ["5."], ["5e1"], ["1_0"], ["\u0665"], ["\xb2"], ["five"],
        ["1000000000000000000"], ["5", "5"], ["5", "6"], ["5", ""],
    ],
)  # fmt: skip
def test_6_2_anything_but_one_number_is_refused(values):
    with pytest.raises(BadMessage) as caught:
        framing(content_length=values)
    assert caught.value.status == 400


@pytest.mark.parametrize("value", ["chunked", "Chunked", "CHUNKED"])
def test_6_1_chunked_is_the_only_coding(value):
    assert framing(transfer_encoding=[value]) == Chunked()


@pytest.mark.parametrize(
    ("values", "status"),
    [
        (["gzip"], 501),
        (["xchunked"], 501),
        (["identity"], 501),
        (["gzip, chunked"], 501),
        (["gzip", "chunked"], 501),
        (["x;q=1, chunked"], 501),
        (["chunked, chunked"], 400),
        (["chunked", "chunked"], 400),
        (["chunked, gzip"], 400),
        (["chunked, identity"], 400),
        (["chunked;q=1"], 501),
        (["chunked,"], 400),
        ([",chunked"], 400),
        ([""], 400),
        (["chun ked"], 400),
        (['"chunked"'], 400),
        (["[chunked]"], 400),
        (["chunked\xa0"], 400),
    ],
)
def test_6_1_other_codings_are_refused(values, status):
    with pytest.raises(BadMessage) as caught:
        framing(transfer_encoding=values)
    assert caught.value.status == status


def test_6_1_http_1_0_has_no_transfer_codings():
    for value in ("chunked", "gzip", ""):
        with pytest.raises(BadMessage) as caught:
            framing(10, transfer_encoding=[value])
        assert caught.value.status == 400


def test_6_3_both_at_once_are_refused():
    for version in (10, 11):
        with pytest.raises(BadMessage) as caught:
            framing(version, content_length=["5"], transfer_encoding=["chunked"])
        assert caught.value.status == 400


def test_6_3_neither():
    assert framing() is None


# ---- RFC 9110 -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("connection", "upgrade", "expected"),
    [
        ([], ["websocket"], (False, "")),
        (["keep-alive"], ["websocket"], (False, "")),
        (["close"], [], (True, "")),
        (["Close"], [], (True, "")),
        (["x, close"], [], (True, "")),
        (["keep-alive", "close"], [], (True, "")),
        (["keep-alive", "\tclose "], [], (True, "")),
        (["xclose, close-x, clo se"], [], (False, "")),
        (["Upgrade"], ["WebSocket"], (False, "websocket")),
        (["keep-alive, Upgrade"], ["websocket"], (False, "websocket")),
        (["upgrade"], ["h2c", "websocket"], (False, "h2c, websocket")),
        (["upgrade,close"], ["h2c"], (True, "h2c")),
        (["upgrade"], [], (False, "")),
        ([""], [], (False, "")),
    ],
)
def test_9110_7_6_1_connection(connection, upgrade, expected):
    assert read_connection({"connection": connection, "upgrade": upgrade}) == expected


@pytest.mark.parametrize(
    "host",
    [
        "hub", "hub.example.org", "HUB.example.org.", "hub:8000", "hub:", "127.0.0.1:80", "[::1]", "[::1]:8000",
        "[2001:db8::7]", "[::ffff:192.0.2.1]", "a_b", "x" * 255, "xn--bcher-kva.example",
    ],
)  # fmt: skip
def test_9110_7_2_hosts(host):
    verify_host(host)


@pytest.mark.parametrize(
    "host",
    [
        "", ":80", "a b", "a,b", "a@b", "user:pw@hub", "hub/x", "hub?x", "hub#x", "hub\\x", "hub:80:80", "hub:x", "hub:-1",
        "hub:123456", "::1", "[::1", "::1]", "[]", "[:::]", "[1:2]", "[::1]x", "[::1%25eth0]", "[v1.x]", "h\xfcb", "hub%2ex",
        "'hub'", '"', "hub;x", "hub\n", "x" * 256,
    ],
)  # fmt: skip
def test_9110_7_2_what_is_no_host(host):
    assert refusal(verify_host, host) == 400
