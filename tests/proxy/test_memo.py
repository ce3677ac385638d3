"""What is remembered of header blocks, and for how long."""

from __future__ import annotations

import pytest

from minihub.proxy import memo
from minihub.proxy.gate import Pass
from minihub.proxy.memo import Memo, Memos
from minihub.proxy.wire import parse_request

HERE = ("192.0.2.1", "https")


def header(*lines, host="h"):
    text = "".join(f"{line}\r\n" for line in ("GET / HTTP/1.1", f"Host: {host}", *lines, ""))
    return parse_request(text.encode()).header


def a_pass(found, user="alice"):
    return Pass(found, user, f"/user/{user}/", "cookie", unsafe=False, fields=b"")


def seen_twice(memos, found):
    memos.add(found)
    return memos.add(found)


def test_what_comes_once_is_not_remembered():
    memos = Memos()
    made = memos.add(header("X-A: 1"))
    assert made.header.fields
    assert memos.find(made.header.raw) is None
    memos.add(header("X-A: 2"))
    assert len(memos) == 0
    assert memos.find(memos.add(header("X-A: 1")).header.raw) is not None


def test_what_came_once_is_forgotten_some_day():
    memos = Memos()
    memos.add(header("X-A: 1"))
    for n in range(memo._MOST_ONCE + 1):
        memos.add(header(host=f"h{n}"))
    assert len(memos._once) <= memo._MOST_ONCE
    assert len(memos) == 0


def test_a_block_is_found_by_its_very_bytes():
    memos = Memos()
    made = seen_twice(memos, header("X-A: 1"))
    assert memos.find(b"Host: h\r\nX-A: 1\r\n\r\n") is made
    for other in (b"Host: h\r\nX-A: 2\r\n\r\n", b"Host: h\r\nx-a: 1\r\n\r\n", b"Host: h\r\nX-A: 1\r\n", b""):
        assert memos.find(other) is None


def test_a_block_of_another_version_takes_the_place():
    """The version is no part of the block's bytes, but of what they mean."""
    memos = Memos()
    memos.add(header())
    old = parse_request(b"GET / HTTP/1.0\r\nHost: h\r\n\r\n").header
    made = memos.add(old)
    assert memos.find(old.raw) is made
    assert made.header.version == 10
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


def test_blocks_do_not_add_up():
    memos = Memos()
    for n in range(2 * memo.MOST + 1):
        made = seen_twice(memos, header(host=f"h{n}"))
        assert memos.find(made.header.raw) is made
        assert len(memos) <= memo.MOST


def test_a_long_block_is_not_remembered():
    memos = Memos()
    longest = header("X-A: " + "x" * (memo.LONGEST - len("Host: h\r\nX-A: \r\n\r\n")))
    assert len(longest.raw) == memo.LONGEST
    assert memos.find(seen_twice(memos, longest).header.raw) is not None
    longer = header("X-A: " + "x" * memo.LONGEST)
    assert seen_twice(memos, longer).header is longer, "it serves its own connection"
    assert memos.find(longer.raw) is None
    assert len(memos) == 1
