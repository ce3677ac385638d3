"""What is remembered of heads, and for how long."""

from __future__ import annotations

import pytest

from minihub.proxy import memo
from minihub.proxy.gate import READING, Pass
from minihub.proxy.headers import build_answer
from minihub.proxy.memo import AnswerMemos, Memo, Memos
from minihub.proxy.wire import MAX_ANSWER_FIELDS, MAX_FIELDS, BadMessage, parse_request

HERE = ("192.0.2.1", "https")


def head(*lines, host="h", start="GET / HTTP/1.1"):
    return "".join(f"{line}\r\n" for line in (start, f"Host: {host}", *lines, "")).encode()


def header(*lines):
    return parse_request(head(*lines)).header


def a_pass(found, user="alice"):
    return Pass(found, user, f"/user/{user}/", "cookie", READING, fields=b"")


def read(memos, data, times=1):
    for _ in range(times):
        request, found = memos.read(data)
    return request, found


# ---- requests ---------------------------------------------------------------------------------------------------


def test_what_comes_once_is_not_remembered():
    memos = Memos()
    _, made = read(memos, head("X-A: 1"))
    assert made.header.fields
    read(memos, head("X-A: 2"))
    assert len(memos) == 0
    _, again = read(memos, head("X-A: 1"))
    assert again is not made
    assert len(memos) == 1
    assert read(memos, head("X-A: 1"))[1] is again


def test_what_came_once_is_forgotten_some_day():
    memos = Memos()
    read(memos, head("X-A: 1"))
    for n in range(memo._MOST_ONCE + 1):
        read(memos, head(host=f"h{n}"))
    assert len(memos._once) <= memo._MOST_ONCE
    assert len(memos) == 0


def test_telling_lines_are_found_by_their_very_bytes():
    memos = Memos()
    _, made = read(memos, head("X-A: 1"), 3)
    for other in (head("X-A: 2"), head("x-a: 1"), head("X-A:  1"), head("X-A: 1", "X-A: 1"), head()):
        assert read(memos, other)[1] is not made


def test_plain_lines_make_no_difference():
    memos = Memos()
    _, made = read(memos, head("X-A: 1"), 3)
    request, found = read(memos, head("Referer: http://a/", "X-A: 1", "Accept:text/html"))
    assert found is made
    assert request.plain == b"Referer: http://a/\r\nAccept:text/html\r\n"
    assert request.fields == (
        ("Host", "h"), ("X-A", "1"), ("Referer", "http://a/"), ("Accept", "text/html"),
    )  # fmt: skip
    assert request.fields.by_name["accept"] == ["text/html"]


def test_a_plain_name_in_another_spelling_is_not_lost():
    request, _ = read(Memos(), head("ACCEPT: a", "Accept: b", "accept: c"))
    assert request.plain == b"Accept: b\r\naccept: c\r\n"
    assert request.fields.by_name["accept"] == ["a", "b", "c"]


@pytest.mark.parametrize(
    "line", ["Referer: a\x00b", "Referer: a\rb", "Referer: a\nb", "Referer : a", "Referer", " Referer: a"]
)
def test_malformed_lines_are_not_plain(line):
    memos = Memos()
    read(memos, head(), 3)
    for _ in range(3):
        with pytest.raises(BadMessage) as caught:
            memos.read(head(line))
        assert caught.value.status == 400


def test_a_plain_field_that_connection_names_is_of_this_hop():
    memos = Memos()
    for _ in range(3):
        request, found = read(memos, head("Connection: close, referer", "Referer: a", "Accept: b"))
        assert request.plain == b""
        assert found.hub_fields == b"Host: h\r\nAccept: b\r\n"
    assert len(memos) == 0


def test_too_many_fields_are_too_many_even_if_plain():
    memos = Memos()
    most = head(*["Accept: a"] * (MAX_FIELDS - 1))
    assert len(read(memos, most, 3)[0].fields) == MAX_FIELDS
    for _ in range(3):
        with pytest.raises(BadMessage) as caught:
            memos.read(head(*["Accept: a"] * MAX_FIELDS))
        assert caught.value.status == 431


def test_another_version_takes_the_place():
    """The version is no part of the lines, but of what they mean."""
    memos = Memos()
    for version in (11, 10, 11, 10):
        request, made = read(memos, head(start=f"GET / HTTP/1.{version - 10}"), 3)
        assert request.version == made.header.version == version
    assert len(memos) == 1


def test_the_fields_for_the_hub_are_built_once():
    made = Memo(header("X-A: 1", "X-Minihub-Problem: unreachable", "Connection: close", "Upgrade: websocket"))
    assert made.hub_fields == b"Host: h\r\nX-A: 1\r\nX-Minihub-Upgrade: websocket\r\n"
    assert made.hub_fields is made.hub_fields


@pytest.mark.parametrize("elsewhere", [("192.0.2.2", "https"), ("192.0.2.1", "http"), ("", "")])
def test_a_pass_holds_where_it_was_given(elsewhere):
    made = Memo(header())
    made.keep_pass(HERE, a_pass(made.header))
    assert made.find_pass(HERE) == a_pass(made.header)
    assert made.find_pass(elsewhere) is None


def test_a_later_pass_replaces_the_one_before():
    made = Memo(header())
    made.keep_pass(HERE, a_pass(made.header))
    made.keep_pass(HERE, a_pass(made.header, "bob"))
    assert made.find_pass(HERE).user == "bob"


def test_passes_do_not_add_up():
    made = Memo(header())
    origins = [(f"192.0.2.{n}", "https") for n in range(200)]
    for origin in origins:
        made.keep_pass(origin, a_pass(made.header))
        assert made.find_pass(origin) is not None
    assert sum(made.find_pass(origin) is not None for origin in origins) <= memo._MOST_PASSES


def test_memos_do_not_add_up():
    memos = Memos()
    for n in range(2 * memo.MOST + 1):
        _, made = read(memos, head(host=f"h{n}"), 2)
        assert read(memos, head(host=f"h{n}"))[1] is made
        assert len(memos) <= memo.MOST


def test_what_is_in_use_is_not_forgotten_for_what_comes_and_goes():
    memos = Memos()
    _, made = read(memos, head("X-A: 1"), 2)
    for n in range(3 * memo.MOST):
        read(memos, head(host=f"h{n}"), 2)
        assert read(memos, head("X-A: 1"))[1] is made


def test_a_quiet_time_forgets_everything():
    memos = Memos()
    _, made = read(memos, head("X-A: 1", "Accept: a"), 2)
    for now in (0.0, 1.0, 2.0, memo.FORGET_S - 1):
        memos.sweep(now)
    assert read(memos, head("X-A: 1", "Accept: a"))[1] is made, "it is not asked for every second"
    memos.sweep(memo.FORGET_S)
    assert read(memos, head("X-A: 1", "Accept: a"))[1] is made, "it came since the last time"
    for turn in (2, 3):
        memos.sweep(turn * memo.FORGET_S)
    assert len(memos) == len(memos._once) == len(memo._REQUESTS.known) == len(memo._ANSWERS.known) == 0
    assert read(memos, head("X-A: 1", "Accept: a"))[1] is not made


def test_long_heads_are_not_remembered():
    memos = Memos()
    room = memo.LONGEST - len("Host: h\r\nX-A: \r\n\r\n")
    request, made = read(memos, head("X-A: " + "x" * room), 3)
    assert len(request.raw) == memo.LONGEST
    assert read(memos, head("X-A: " + "x" * room))[1] is made
    request, made = read(memos, head("X-A: " + "x" * (room + 1)), 3)
    assert request.raw == b"", "it serves its own request only"
    assert read(memos, head("X-A: " + "x" * (room + 1)))[1] is not made
    assert len(memos) == 1


# ---- answers ----------------------------------------------------------------------------------------------------


@pytest.fixture
def built():
    """Every answer that was built anew."""
    return []


@pytest.fixture
def answers(built):
    def build(response, unchunked):
        built.append(response)
        return build_answer(response, response.fields, unchunked=unchunked)

    return AnswerMemos(build)


def an_answer(*lines, start="HTTP/1.1 200 OK"):
    return "".join(f"{line}\r\n" for line in (start, *lines, "")).encode()


def test_plain_lines_of_answers_make_no_difference(answers, built):
    first = answers.read(an_answer("Content-Length: 3", "ETag: a"), "GET", unchunked=False)
    second = answers.read(an_answer("Date: now", "Content-Length: 3", "ETag:b"), "GET", unchunked=False)
    assert len(built) == 1
    assert second[0] is first[0]
    assert first[1] == b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nETag: a\r\n"
    assert second[1] == b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nDate: now\r\nETag:b\r\n"


def test_what_answers_mean_depends_on_the_question(answers, built):
    head = an_answer("Transfer-Encoding: chunked")
    seen = {
        (method, unchunked): answers.read(head, method, unchunked=unchunked)[0].framing is None
        for method in ("GET", "HEAD")
        for unchunked in (False, True)
        for _ in range(2)
    }
    assert len(built) == 4
    assert seen == {("GET", False): False, ("GET", True): False, ("HEAD", False): True, ("HEAD", True): True}


def test_a_plain_field_of_an_answer_that_connection_names(answers, built):
    for _ in range(2):
        answers.read(an_answer("Connection: ETag", "ETag: a", "Content-Length: 0"), "GET", unchunked=False)
    assert [response.fields.by_name["etag"] for response in built] == [["a"], ["a"]], "the builder sees all"


@pytest.mark.parametrize("line", ["ETag: a\x00b", "ETag: a\nb", "ETag : a", "ETag", " ETag: a"])
def test_malformed_answers_are_refused_each_time(answers, line):
    answers.read(an_answer("Content-Length: 0"), "GET", unchunked=False)
    for _ in range(2):
        with pytest.raises(BadMessage) as caught:
            answers.read(an_answer("Content-Length: 0", line), "GET", unchunked=False)
        assert caught.value.status == 502


def test_too_many_fields_of_an_answer(answers):
    answers.read(an_answer(*["ETag: a"] * MAX_ANSWER_FIELDS), "GET", unchunked=False)
    with pytest.raises(BadMessage):
        answers.read(an_answer(*["ETag: a"] * (MAX_ANSWER_FIELDS + 1)), "GET", unchunked=False)


def test_answers_do_not_add_up(answers):
    for n in range(3 * memo._MOST_ANSWERS):
        answers.read(an_answer(f"Content-Length: {n}"), "GET", unchunked=False)
        answers.read(an_answer(f"X: {'x' * memo.LONGEST}{n}"), "GET", unchunked=False)
        assert len(answers._known) <= memo._MOST_ANSWERS
