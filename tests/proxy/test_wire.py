"""Heads of requests and answers: RFC 9112 section by section, both ways."""

from __future__ import annotations

import pytest

from minihub.proxy.framing import Chunked, Length, UntilClose
from minihub.proxy.memo import Memos
from minihub.proxy.wire import (
    MAX_ANSWER_FIELDS,
    MAX_FIELDS,
    MAX_HEAD,
    MAX_METHOD,
    MAX_TARGET,
    BadMessage,
    find_head_end,
    parse_repeated,
    parse_request,
    parse_response,
)
from tests.proxy.wire_kit import facts, read


def head(*lines, start="GET / HTTP/1.1"):
    return "\r\n".join([start, *lines, "", ""]).encode("latin-1")


def request(*lines, start="GET / HTTP/1.1", host="hub"):
    return parse_request(head(f"Host: {host}", *lines, start=start))


def answer(*lines, start="HTTP/1.1 200 OK", method="GET"):
    return parse_response(head(*lines, start=start), method)


def warm(*lines, start="GET / HTTP/1.1"):
    """Memos that know these lines."""
    memos = Memos()
    for _ in range(3):
        memos.read(head(*lines, start=start))
    assert len(memos) == 1
    return memos


def status_of(function, *args, **kwargs):
    """The status with which something is refused."""
    with pytest.raises(BadMessage) as caught:
        function(*args, **kwargs)
    assert caught.value.reason.isprintable()
    return caught.value.status


BROWSER = (
    b"GET /user/ada/api/contents?content=1 HTTP/1.1\r\nHost: hub.example.org\r\nConnection: keep-alive\r\n"
    b"User-Agent: Mozilla/5.0\r\nAccept: */*\r\nX-XSRFToken: 2|a\r\nCookie: _xsrf=2|a; login=b\r\n\r\n"
)


def test_what_a_browser_sends():
    got = parse_request(BROWSER)
    assert (got.method, got.target, got.version) == ("GET", "/user/ada/api/contents?content=1", 11)
    assert got.fields == (
        ("Host", "hub.example.org"),
        ("Connection", "keep-alive"),
        ("User-Agent", "Mozilla/5.0"),
        ("Accept", "*/*"),
        ("X-XSRFToken", "2|a"),
        ("Cookie", "_xsrf=2|a; login=b"),
    )
    assert got.host == "hub.example.org"
    assert got.block == BROWSER.partition(b"\r\n")[2]
    assert (got.framing, got.keep_alive, got.upgrade, got.expect_continue) == (None, True, "", False)


# ---- 2.2: where a head ends -----------------------------------------------------------------------------------------


def find_in_pieces(data, step, **kwargs):
    """As a reader does that knows how far it searched."""
    buffer, searched = bytearray(), 0
    for at in range(0, len(data), step):
        buffer += data[at : at + step]
        end = find_head_end(buffer, searched, **kwargs)
        if end >= 0:
            return end
        searched = len(buffer)
    return -1


@pytest.mark.parametrize("step", [1, 2, 3, 5, 1000])
@pytest.mark.parametrize(
    ("data", "end"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 18),
        (b"GET / HTTP/1.1\r\nA: b\r\n\r\nbody\r\n\r\n", 24),
        (b"GET / HTTP/1.1\r\nA: b\r\n", -1),
        (b"GET / HTTP/1.1\r\nA: b\r\n\r", -1),
        (b"GET", -1),
        (b"\r\nGET / HTTP/1.1\r\n\r\n", 20),
        (b"\r\n\r\nGET / HTTP/1.1\r\n\r\n", 22),
        (b"\r\n\r\n", -1),
        (b"\r", -1),
        (b"", -1),
    ],
)
def test_2_1_a_head_ends_with_an_empty_line(data, end, step):
    assert find_in_pieces(data, step) == end


@pytest.mark.parametrize("step", [1, 2, 3, 5, 1000])
@pytest.mark.parametrize("answer", [False, True])
@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\n",
        b"GET / HTTP/1.1\r\nA: b\n\n",
        b"GET / HTTP/1.1\rA",
        b"\n",
        b"A\n\r\n",
        b"A\r\n\n",
        b"A\r\r\n",
    ],
)
def test_2_2_a_line_end_that_is_not_cr_lf_is_refused_at_once(data, answer, step):
    assert status_of(find_in_pieces, data, step, answer=answer) == (502 if answer else 400)


def test_2_2_up_to_two_empty_lines_before_a_request_are_ignored():
    for lead in (b"\r\n", b"\r\n\r\n"):
        assert parse_request(lead + BROWSER) == parse_request(BROWSER)
    for step in (1, 2, 3, 1000):
        assert status_of(find_in_pieces, b"\r\n\r\n\r\n" + BROWSER, step) == 400
    assert status_of(parse_request, b"\r\n\r\n\r\n" + BROWSER) == 400
    assert status_of(parse_request, b"\r" + BROWSER) == 400


@pytest.mark.parametrize("lead", [b"\r\n", b"\r\n\r\n", b"\r\n\r\n\r\n"])
def test_2_2_none_before_an_answer(lead):
    data = lead + b"HTTP/1.1 200 OK\r\n\r\n"
    end = find_head_end(data, answer=True)
    assert end > 0
    assert status_of(parse_response, data[:end], "GET") == 502


def test_3_a_head_has_at_most_64_kb_also_when_it_comes_at_once():
    most = b"GET / HTTP/1.1\r\nA: ".ljust(MAX_HEAD - 4, b"x") + b"\r\n\r\n"
    assert find_head_end(most) == MAX_HEAD
    assert find_head_end(most, MAX_HEAD - 2) == MAX_HEAD
    too_long, endless = most[:-4] + b"x\r\n\r\n", most[:-4] + b"xxxx"
    for data in (too_long, endless):
        assert status_of(find_head_end, data) == 431
        assert status_of(find_in_pieces, data, 1000) == 431
        assert status_of(find_head_end, data, answer=True) == 502
    # A refusal for a wrong line end comes first, however it arrives.
    wrong = b"GET /\n" + most[6:-4] + b"x\r\n\r\n"
    assert status_of(find_head_end, wrong) == 400
    assert status_of(find_in_pieces, wrong, 1000) == 400


def test_5_4_field_counts():
    lines = ["A: b"] * MAX_FIELDS
    assert len(request(*lines[1:]).fields) == MAX_FIELDS
    assert status_of(request, *lines) == 431
    lines = ["A: b"] * MAX_ANSWER_FIELDS
    assert len(answer(*lines).fields) == MAX_ANSWER_FIELDS
    assert status_of(answer, *lines, "A: b") == 502


# ---- 2.3, 3: request line -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        ("GET / HTTP/1.1", ("GET", "/", 11)),
        ("get / HTTP/1.1", ("get", "/", 11)),
        ("M-SEARCH /a?b=c&d HTTP/1.0", ("M-SEARCH", "/a?b=c&d", 10)),
        ("X" * MAX_METHOD + " //a/../%2e%2e/;x?y=/?| HTTP/1.1", ("X" * MAX_METHOD, "//a/../%2e%2e/;x?y=/?|", 11)),
        ("GET /" + "x" * (MAX_TARGET - 1) + " HTTP/1.1", ("GET", "/" + "x" * (MAX_TARGET - 1), 11)),
    ],
)  # fmt: skip
def test_3_request_lines(start, expected):
    got = request(start=start)
    assert (got.method, got.target, got.version) == expected


@pytest.mark.parametrize(
    ("start", "status"),
    [
        ("", 400),
        ("GET", 400),
        ("GET /", 400),
        ("GET  HTTP/1.1", 400),
        ("GET /  HTTP/1.1", 400),
        ("GET  / HTTP/1.1", 400),
        (" GET / HTTP/1.1", 400),
        ("GET / HTTP/1.1 ", 400),
        ("GET\t/ HTTP/1.1", 400),
        ("GET /\tHTTP/1.1", 400),
        ("GET /a b HTTP/1.1", 400),
        ("G[T / HTTP/1.1", 400),
        ("G\xcbT / HTTP/1.1", 400),
        ("G(T / HTTP/9.9", 400),
        (" / HTTP/1.1", 400),
        ("X" * (MAX_METHOD + 1) + " / HTTP/1.1", 501),
        ("GET /\xe4 HTTP/1.1", 400),
        ("GET /\x7f HTTP/1.1", 400),
        ("GET /\x01 HTTP/1.1", 400),
        ("GET /\xa0 HTTP/1.1", 400),
        ("GET /a#b HTTP/1.1", 400),
        ("GET a HTTP/1.1", 400),
        ("GET ?a HTTP/1.1", 400),
        ("GET \\a HTTP/1.1", 400),
        ("GET /" + "x" * MAX_TARGET + " HTTP/1.1", 414),
        # 2.3
        ("GET / HTTP/2.0", 505),
        ("GET / HTTP/1.2", 505),
        ("GET / HTTP/0.9", 505),
        ("PRI * HTTP/2.0", 505),
        ("GET / HTTP/1.10", 400),
        ("GET / HTTP/01.1", 400),
        ("GET / HTTP/1.", 400),
        ("GET / HTTP/11", 400),
        ("GET / http/1.1", 400),
        ("GET / HTTP/1,1", 400),
        ("GET / HTTP/1.1x", 400),
        ("GET / HTTP/1.\xb2", 400),
        ("GET / ICY/1.1", 400),
    ],
)
def test_3_other_request_lines_are_refused(start, status):
    assert status_of(request, start=start) == status
    # Also where only the request line is looked at again.
    assert status_of(warm("Host: hub").read, head("Host: hub", start=start)) == status


# ---- 3.2: targets and Host ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "host", "target"),
    [
        ("GET http://hub/a?b HTTP/1.1", "hub", "/a?b"),
        ("GET http://Other:8000/a?b HTTP/1.1", "Other:8000", "/a?b"),
        ("GET HTTPS://other HTTP/1.1", "other", "/"),
        ("GET http://other?b HTTP/1.1", "other", "/?b"),
        ("GET http://[::1]:80//a HTTP/1.1", "[::1]:80", "//a"),
        ("GET http://other/http://third/ HTTP/1.1", "other", "/http://third/"),
        ("OPTIONS http://other HTTP/1.1", "other", "*"),
        ("OPTIONS http://other/ HTTP/1.1", "other", "/"),
        ("OPTIONS * HTTP/1.1", "hub", "*"),
        ("GET http://other/ HTTP/1.0", "other", "/"),
    ],
)
def test_3_2_2_whole_urls_say_the_host(start, host, target):
    got = request("A: b", start=start)
    assert (got.host, got.target) == (host, target)
    assert [value for name, value in got.fields if name == "Host"] == [host]
    assert got.block == f"Host: {host}\r\nA: b\r\n\r\n".encode()
    # The head that goes on says the same.
    again = parse_request(f"GET / HTTP/1.{got.version - 10}\r\n".encode() + got.block)
    assert again.header == got.header


def test_3_2_2_a_whole_url_needs_a_host_field_too():
    assert status_of(parse_request, head(start="GET http://hub/ HTTP/1.1")) == 400
    assert parse_request(head("A: b", start="GET http://hub/ HTTP/1.0")).fields == (
        ("Host", "hub"),
        ("A", "b"),
    )


def test_3_2_2_a_url_does_not_hide_behind_what_is_remembered():
    memos = warm("Host: hub")
    for start, host in [("GET http://other/ HTTP/1.1", "other"), ("GET / HTTP/1.1", "hub")] * 3:
        got, memo = memos.read(head("Host: hub", start=start))
        assert got.host == memo.header.host == host
        assert bool(got.raw) == (host == "hub"), "only the usual form may be compared with the next one"


@pytest.mark.parametrize(
    "start",
    [
        "GET * HTTP/1.1", "OPTIONS ** HTTP/1.1", "CONNECT hub:443 HTTP/1.1", "CONNECT / HTTP/1.1", "GET hub:443 HTTP/1.1",
        "CONNECT http://hub/ HTTP/1.1", "GET ftp://hub/ HTTP/1.1", "GET http:/hub/ HTTP/1.1", "GET http:hub HTTP/1.1",
        "GET http:/// HTTP/1.1", "GET http:// HTTP/1.1", "GET http://:80/ HTTP/1.1", "GET http://user@hub/ HTTP/1.1",
        "GET http://user:pw@hub/ HTTP/1.1", "GET http://hub\\@x/ HTTP/1.1", "GET http://hub:x/ HTTP/1.1", "GET ://hub/ HTTP/1.1",
        "GET ws://hub/ HTTP/1.1", "GET xhttp://hub/ HTTP/1.1",
    ],
)  # fmt: skip
def test_3_2_other_forms_are_refused(start):
    assert status_of(request, start=start) == (405 if start.startswith("CONNECT") else 400)


@pytest.mark.parametrize(
    ("lines", "start", "expected"),
    [
        (["Host: hub"], "GET / HTTP/1.1", "hub"),
        (["host:   [::1]:8000\t"], "GET / HTTP/1.1", "[::1]:8000"),
        (["Host: hub"], "GET / HTTP/1.0", "hub"),
        ([], "GET / HTTP/1.0", ""),
        ([], "GET / HTTP/1.1", 400),
        (["X-Host: hub"], "GET / HTTP/1.1", 400),
        (["Host: hub", "Host: hub"], "GET / HTTP/1.1", 400),
        (["Host: hub", "hOsT: other"], "GET / HTTP/1.1", 400),
        (["Host: hub", "Host: hub"], "GET / HTTP/1.0", 400),
        (["Host:"], "GET / HTTP/1.1", 400),
        (["Host:"], "GET / HTTP/1.0", 400),
        (["Host: a, b"], "GET / HTTP/1.1", 400),
        (["Host: user@hub"], "GET / HTTP/1.1", 400),
        (["Host: hub/"], "GET / HTTP/1.1", 400),
    ],
)
def test_3_2_exactly_one_host(lines, start, expected):
    if expected == 400:
        assert status_of(parse_request, head(*lines, start=start)) == 400
    else:
        assert parse_request(head(*lines, start=start)).host == expected


# ---- 5 and 6 within a head (test_fields.py has the rest) ------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "start", "expected"),
    [
        ([], "POST / HTTP/1.1", None),
        (["Content-Length: 0"], "POST / HTTP/1.1", Length(0)),
        (["content-length: 5"], "GET / HTTP/1.0", Length(5)),
        (["Transfer-Encoding: chunked"], "POST / HTTP/1.1", Chunked()),
        (["Transfer-Encoding: gzip"], "POST / HTTP/1.1", 501),
        (["Transfer-Encoding: chunked"], "POST / HTTP/1.0", 400),
        (["Transfer-Encoding: gzip"], "POST / HTTP/1.0", 400),
        (["Content-Length: 5", "Transfer-Encoding: chunked"], "POST / HTTP/1.1", 400),
        (["Content-Length: 5", "Content-Length: 5"], "POST / HTTP/1.1", 400),
        (["Content-Length : 5"], "POST / HTTP/1.1", 400),
        (["Transfer-Encoding:\x0bchunked"], "POST / HTTP/1.1", 400),
        (["A: b", " c"], "POST / HTTP/1.1", 400),
        (["A: b\0"], "POST / HTTP/1.1", 400),
        (["A: b\rc"], "POST / HTTP/1.1", 400),
        (["A: b\nc: d"], "POST / HTTP/1.1", 400),
    ],
)
def test_6_3_request_bodies(lines, start, expected):
    if isinstance(expected, int):
        assert status_of(request, *lines, start=start) == expected
    else:
        assert request(*lines, start=start).framing == expected


@pytest.mark.parametrize(
    "data", [b"", b"\r\n", b"GET / HTTP/1.1", BROWSER[:-2], BROWSER[:-1], BROWSER + b"x", BROWSER + b"\r\n"]
)
def test_what_is_not_exactly_a_head_is_refused(data):
    assert status_of(parse_request, data) == 400


# ---- 9.3, RFC 9110 7.8 and 10.1.1: what becomes of the connection ---------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "version", "keep_alive", "upgrade"),
    [
        ([], "1.1", True, ""),
        (["Connection: close"], "1.1", False, ""),
        (["Connection: x", "Connection: y , Close"], "1.1", False, ""),
        (["Connection: keep-alive"], "1.1", True, ""),
        ([], "1.0", False, ""),
        (["Connection: keep-alive"], "1.0", False, ""),
        (["Connection: Upgrade", "Upgrade: WebSocket"], "1.1", True, "websocket"),
        (["Upgrade: websocket"], "1.1", True, ""),
        (["Connection: Upgrade", "Upgrade: websocket"], "1.0", False, ""),
    ],
)
def test_9_3_persistence_and_upgrade(lines, version, keep_alive, upgrade):
    got = request(*lines, start=f"GET / HTTP/{version}")
    assert (got.keep_alive, got.upgrade) == (keep_alive, upgrade)


@pytest.mark.parametrize(
    ("lines", "version", "expected"),
    [
        (["Expect: 100-continue", "Content-Length: 5"], "1.1", True),
        (["expect: 100-Continue", "Transfer-Encoding: chunked"], "1.1", True),
        (["Expect: 100-continue"], "1.1", False),
        (["Expect: 100-continue", "Content-Length: 0"], "1.1", False),
        (["Expect: 100-continue", "Content-Length: 5"], "1.0", False),
        (["Expect: x", "Content-Length: 5"], "1.0", False),
        (["Expect: x"], "1.1", 417),
        (["Expect: 100-continue, x"], "1.1", 417),
        (["Expect: 100-continue", "Expect: 100-continue"], "1.1", 417),
    ],
)
def test_9110_10_1_1_expectations(lines, version, expected):
    if expected == 417:
        assert status_of(request, *lines, start=f"PUT / HTTP/{version}") == 417
    else:
        assert request(*lines, start=f"PUT / HTTP/{version}").expect_continue is expected


# ---- what is remembered ---------------------------------------------------------------------------------------------


def test_the_same_fields_are_not_parsed_again():
    memos = warm(*BROWSER.decode().split("\r\n")[1:-2])
    first, memo = memos.read(BROWSER)
    second, again = memos.read(BROWSER.replace(b"GET /user", b"PUT /else"))
    assert again is memo
    assert second.header is first.header is memo.header
    assert (second.method, second.target) == ("PUT", "/else/ada/api/contents?content=1")
    assert second.line == b"PUT /else/ada/api/contents?content=1 HTTP/1.1\r\n"


def test_other_fields_are():
    memos = warm(*BROWSER.decode().split("\r\n")[1:-2])
    first, memo = memos.read(BROWSER)
    for other in (
        BROWSER.replace(b"login=b", b"login=c"),
        BROWSER.replace(b"\r\n\r\n", b"\r\nA: b\r\n\r\n"),
        BROWSER.replace(b"X-XSRFToken: ", b"X_XSRFToken: "),
    ):
        got, found = memos.read(other)
        assert facts(got) == facts(parse_request(other))
        assert found is not memo
        assert got.fields != first.fields


def test_what_says_nothing_of_the_message_is_told_apart():
    memos = warm(*BROWSER.decode().split("\r\n")[1:-2])
    _, memo = memos.read(BROWSER)
    for other in (
        BROWSER.replace(b"Accept: */*", b"Accept: text/html"),
        BROWSER.replace(b"Accept: */*\r\n", b""),
        BROWSER.replace(b"Accept: */*", b"Accept: */*\r\nReferer: x"),
    ):
        got, found = memos.read(other)
        assert found is memo
        assert facts(got) == facts(parse_request(other))


def test_the_same_fields_mean_something_else_in_another_version():
    lines = ["Host: hub", "Connection: Upgrade", "Upgrade: x", "Expect: 100-continue", "Content-Length: 1"]
    memos = warm(*lines)
    for start in ("GET / HTTP/1.0", "GET / HTTP/1.1") * 2:
        data = head(*lines, start=start)
        assert facts(memos.read(data)[0]) == facts(parse_request(data))
    chunked = warm("Host: hub", "Transfer-Encoding: chunked")
    again = head("Host: hub", "Transfer-Encoding: chunked", start="GET / HTTP/1.0")
    assert status_of(chunked.read, again) == 400
    without_host = warm(start="GET / HTTP/1.0")
    assert status_of(without_host.read, head()) == 400


# ---- 4, 6.3: answers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        ("HTTP/1.1 200 OK", (11, 200, "OK")),
        ("HTTP/1.0 404 Not Found", (10, 404, "Not Found")),
        ("HTTP/1.1 200 ", (11, 200, "")),
        ("HTTP/1.1 200", (11, 200, "")),
        ("HTTP/1.1 299 a\tb  c \xe4", (11, 299, "a\tb  c \xe4")),
        ("HTTP/1.1 999 x", (11, 999, "x")),
    ],
)
def test_4_status_lines(start, expected):
    got = answer(start=start)
    assert (got.version, got.status, got.reason) == expected


@pytest.mark.parametrize(
    "start",
    [
        "", "HTTP/1.1", "HTTP/1.1 ", "HTTP/1.1 20 OK", "HTTP/1.1 2000 OK", "HTTP/1.1 099 OK", "HTTP/1.1 000", "HTTP/1.1 +20 OK",
        "HTTP/1.1 2x0 OK", "HTTP/1.1 200OK", "HTTP/1.1  200 OK", "HTTP/1.1\t200 OK", " HTTP/1.1 200 OK", "HTTP/1.2 200 OK",
        "HTTP/2.0 200 OK", "HTTP/1.10 200 OK", "http/1.1 200 OK", "ICY 200 OK", "HTTP/1.1 200 O\0K", "HTTP/1.1 200 O\rK",
        "HTTP/1.1 200 O\nA: b", "HTTP/1.1 200 \x7f", "HTTP/1.1 \xb200 OK", "GET / HTTP/1.1",
    ],
)  # fmt: skip
def test_4_other_status_lines_are_refused(start):
    assert status_of(answer, start=start) == 502


@pytest.mark.parametrize(
    ("lines", "start", "method", "framing", "keep_alive"),
    [
        # 6.3, 1 and 2
        (["Content-Length: 5"], "HTTP/1.1 200 OK", "HEAD", None, True),
        (["Transfer-Encoding: chunked"], "HTTP/1.1 200 OK", "HEAD", None, True),
        ([], "HTTP/1.1 200 OK", "HEAD", None, True),
        ([], "HTTP/1.1 204 No Content", "GET", None, True),
        (["Content-Length: 0"], "HTTP/1.1 204 No Content", "GET", None, True),
        (["Content-Length: 5"], "HTTP/1.1 204 No Content", "GET", None, False),
        (["Transfer-Encoding: chunked"], "HTTP/1.1 204 No Content", "GET", None, False),
        (["Content-Length: 5"], "HTTP/1.1 304 Not Modified", "GET", None, True),
        (["Transfer-Encoding: chunked"], "HTTP/1.1 304 Not Modified", "GET", None, True),
        ([], "HTTP/1.1 100 Continue", "GET", None, True),
        ([], "HTTP/1.1 103 Early Hints", "GET", None, True),
        (["Content-Length: 5"], "HTTP/1.1 103 Early Hints", "GET", None, True),
        (["Transfer-Encoding: chunked"], "HTTP/1.1 103 Early Hints", "GET", None, True),
        (["Connection: upgrade", "Upgrade: websocket"], "HTTP/1.1 101 Switching Protocols", "GET", None, False),
        # 4 to 6
        (["Transfer-Encoding: Chunked"], "HTTP/1.1 200 OK", "GET", Chunked(), True),
        (["Content-Length: 5"], "HTTP/1.1 200 OK", "GET", Length(5), True),
        (["Content-Length: 0"], "HTTP/1.1 200 OK", "GET", Length(0), True),
        (["Content-Length: 5"], "HTTP/1.0 200 OK", "GET", Length(5), False),
        (["Content-Length: 5", "Connection: keep-alive"], "HTTP/1.0 200 OK", "GET", Length(5), False),
        (["Content-Length: 5", "Connection: x, close"], "HTTP/1.1 200 OK", "GET", Length(5), False),
        # 8
        ([], "HTTP/1.1 200 OK", "GET", UntilClose(), False),
        ([], "HTTP/1.1 502 Bad Gateway", "POST", UntilClose(), False),
        (["Connection: keep-alive"], "HTTP/1.0 200 OK", "GET", UntilClose(), False),
    ],
)  # fmt: skip
def test_6_3_bodies_of_answers(lines, start, method, framing, keep_alive):
    got = answer(*lines, start=start, method=method)
    assert (got.framing, got.keep_alive) == (framing, keep_alive)


@pytest.mark.parametrize(
    ("lines", "start"),
    [
        (["Content-Length: 5", "Transfer-Encoding: chunked"], "HTTP/1.1 200 OK"),
        (["Content-Length: 5", "Content-Length: 5"], "HTTP/1.1 200 OK"),
        (["Content-Length: 5, 5"], "HTTP/1.1 200 OK"),
        (["Content-Length: -1"], "HTTP/1.1 200 OK"),
        (["Transfer-Encoding: gzip, chunked"], "HTTP/1.1 200 OK"),
        (["Transfer-Encoding: identity"], "HTTP/1.1 200 OK"),
        (["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"], "HTTP/1.1 200 OK"),
        (["Transfer-Encoding: chunked"], "HTTP/1.0 200 OK"),
        (["Content-Length: 5", "Content-Length: 6"], "HTTP/1.1 304 Not Modified"),
        ([], "HTTP/1.0 100 Continue"),
        ([], "HTTP/1.1 101 Switching Protocols"),
        (["Upgrade: websocket"], "HTTP/1.1 101 Switching Protocols"),
        (["A : b"], "HTTP/1.1 200 OK"),
        (["A: b", " c"], "HTTP/1.1 200 OK"),
        (["A: b\0"], "HTTP/1.1 200 OK"),
        (["A: b\rSet-Cookie: c"], "HTTP/1.1 200 OK"),
        (["A: b\nSet-Cookie: c"], "HTTP/1.1 200 OK"),
        ([": b"], "HTTP/1.1 200 OK"),
        (["A"], "HTTP/1.1 200 OK"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_6_3_ambiguous_answers_are_refused(lines, start, method):
    assert status_of(answer, *lines, start=start, method=method) == 502


def test_7_8_what_an_answer_upgrades_to():
    assert answer("Connection: Upgrade", "Upgrade: WebSocket", start="HTTP/1.1 101 x").upgrade == "websocket"
    assert answer("Upgrade: h2c").upgrade == ""


def test_fields_of_answers_as_sent():
    got = answer("Set-Cookie: a=b", "set-cookie:  c\t", 'Content-Disposition: x="\xe4"')
    assert got.fields == (("Set-Cookie", "a=b"), ("set-cookie", "c"), ("Content-Disposition", 'x="\xe4"'))


# ---- whole streams: the raw-socket cases against all proxies --------------------------------------------------------

GET = b"GET / HTTP/1.1\r\nHost: h\r\n"
POST = b"POST / HTTP/1.1\r\nHost: h\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"

STREAMS = [
    ("plain GET", GET + b"\r\n" + GET + b"\r\n", ["GET", "GET"]),
    ("CL and TE together", POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", [400]),
    ("two differing CL", POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", [400]),
    ("two equal CL", POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", [400]),
    ("CL list 5, 5", POST + b"Content-Length: 5, 5\r\n\r\nhello", [400]),
    ("CL +5", POST + b"Content-Length: +5\r\n\r\nhello", [400]),
    ("CL 0x5", POST + b"Content-Length: 0x5\r\n\r\nhello", [400]),
    ("CL -1", POST + b"Content-Length: -1\r\n\r\nhello", [400]),
    ("TE xchunked", POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", [501]),
    ("TE gzip, chunked", POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", [501]),
    (
        "TE chunked twice",
        POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        [400],
    ),
    ("TE space before colon", POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", [400]),
    ("TE VT chunked", POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", [400]),
    ("HTTP/1.0 with TE", b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", [400]),
    ("obs-fold", GET + b"A: b\r\n c\r\n\r\n", [400]),
    ("bare LF lines", b"GET / HTTP/1.1\nHost: h\n\n", [400]),
    ("bare CR in value", GET + b"A: b\rc\r\n\r\n", [400]),
    ("NUL in value", GET + b"A: b\0c\r\n\r\n", [400]),
    ("space in field name", GET + b"A b: c\r\n\r\n", [400]),
    ("empty field name", GET + b": c\r\n\r\n", [400]),
    ("no Host", b"GET / HTTP/1.1\r\n\r\n", [400]),
    ("two Hosts", GET + b"Host: h\r\n\r\n", [400]),
    ("absolute-form", b"GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n", ["GET"]),
    ("CONNECT", b"CONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n", [405]),
    ("OPTIONS *", b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", ["OPTIONS"]),
    ("target with space", b"GET /a b HTTP/1.1\r\nHost: h\r\n\r\n", [400]),
    # Which path belongs to whom is gate's matter.
    ("dot segments", b"GET /user/a/../b/ HTTP/1.1\r\nHost: h\r\n\r\n", ["GET"]),
    ("encoded dot segments", b"GET /user/a/%2e%2e/b/ HTTP/1.1\r\nHost: h\r\n\r\n", ["GET"]),
    ("HTTP/2.0 version", b"GET / HTTP/2.0\r\nHost: h\r\n\r\n", [505]),
    ("HTTP/1.10", b"GET / HTTP/1.10\r\nHost: h\r\n\r\n", [400]),
    ("lower-case method", b"get / HTTP/1.1\r\nHost: h\r\n\r\n", ["get"]),
    ("chunk bad hex", CHUNKED + b"g\r\nab\r\n0\r\n\r\n", ["POST", 400]),
    ("chunk 0x2", CHUNKED + b"0x2\r\nab\r\n0\r\n\r\n", ["POST", 400]),
    ("chunk LF only", CHUNKED + b"2\nab\n0\n\n", ["POST", 400]),
    ("chunk overrun", CHUNKED + b"2\r\nabcd\r\n0\r\n\r\n", ["POST", 400]),
    (
        "pipelined x3",
        GET + b"\r\n" + POST + b"Content-Length: 3\r\n\r\nabc" + GET + b"\r\n",
        ["GET", "POST", "GET"],
    ),
    ("HEAD then GET", b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n" + GET + b"\r\n", ["HEAD", "GET"]),
    (
        "Upgrade: h2c",
        GET + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n\r\n",
        ["GET"],
    ),
    ("head of 100 KB", GET + b"A: " + b"x" * 100_000 + b"\r\n\r\n", [431]),
    ("1000 fields", GET + b"A: b\r\n" * 1000 + b"\r\n", [431]),
    ("Connection: host, cookie", GET + b"Connection: host, cookie\r\nCookie: a=b\r\n\r\n", ["GET"]),
    ("Expect: 100-continue", POST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\nab", ["POST"]),
    ("HTTP/1.0 GET", b"GET / HTTP/1.0\r\n\r\n" + GET + b"\r\n", ["GET"]),
]


@pytest.mark.parametrize(
    ("data", "expected"), [case[1:] for case in STREAMS], ids=[case[0] for case in STREAMS]
)
@pytest.mark.parametrize("step", [1, 3, 1 << 20])
def test_11_streams_of_requests(data, expected, step):
    stream = read(data[at : at + step] for at in range(0, len(data), step))
    found = [message.head.method for message in stream.messages]
    assert found + ([stream.refused] if stream.refused else []) == expected
    assert stream.refused or all(message.over for message in stream.messages)


def test_an_interim_answer_is_not_the_answer():
    data = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 204 No Content\r\n\r\n"
    stream = read([data], ["PUT", "GET"])
    assert [message.head.status for message in stream.messages] == [100, 200, 204]
    assert stream.left == b""


# ---- repeated header fields ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"GET /b HTTP/1.1\r\nHost: hub\r\nX: y\r\n\r\n",
        b"POST /b?c HTTP/1.1\r\nHost: hub\r\nX: y\r\n\r\n",
    ],
)
def test_the_same_fields_again_are_read_as_parse_request_does(data):
    last, _ = Memos().read(b"GET /a HTTP/1.1\r\nHost: hub\r\nX: y\r\n\r\n")
    again = parse_repeated(data, last)
    assert facts(again) == facts(parse_request(data))
    assert again.header is last.header
    assert again.raw == last.raw


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\r\n", b"GET /b HTTP/1.1", b"GET /b HTTP/1.1\r\n", b"GET /b HTTP/1.1\r\nHost: hub\r\n\r\n",
        b"GET /b HTTP/1.1\r\nHost: hub\r\nX: z\r\n\r\n", b"GET /b HTTP/1.0\r\nHost: hub\r\nX: y\r\n\r\n",
        b"GET /b HTTP/1.1\r\nHost: hub\r\nX: y\r\n\r\nG", b"GET /b HTTP/1.1\r\nHost: hub\r\nX: y\r\n\r",
        b"\r\nGET /b HTTP/1.1\r\nHost: hub\r\nX: y\r\n\r\n", b"GET http://other/b HTTP/1.1\r\nHost: hub\r\nX: y\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: hub\r\nX: y\r\n\r\n", b"GET /b HTTP/1.1\r\nY: z HTTP/1.1\r\nHost: hub\r\nX: y\r\n\r\n",
    ],
)  # fmt: skip
def test_what_is_not_quite_the_same_is_left_to_parse_request(data):
    last, _ = Memos().read(b"GET /a HTTP/1.1\r\nHost: hub\r\nX: y\r\n\r\n")
    assert parse_repeated(data, last) is None


@pytest.mark.parametrize(
    "line",
    [
        b"GET /b\nX: HTTP/1.1", b"GET  /b HTTP/1.1", b"GET /b HTTP/1.10", b"G@T /b HTTP/1.1", b"GET /b#c HTTP/1.1", b"GET /b\x01 HTTP/1.1",
        b"GET /\xe4 HTTP/1.1", b"GET /b c HTTP/1.1", b"GET /" + b"b" * MAX_TARGET + b" HTTP/1.1",
    ],
)  # fmt: skip
def test_a_malformed_line_before_the_same_fields_is_left_to_parse_request(line):
    last, _ = Memos().read(b"GET /a HTTP/1.1\r\nHost: hub\r\nX: y\r\n\r\n")
    data = line + b"\r\nHost: hub\r\nX: y\r\n\r\n"
    assert parse_repeated(data, last) is None
    assert status_of(parse_request, data) in (400, 414)
