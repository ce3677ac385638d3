"""Frames between hub and helper."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minihub.helper.wire import MAX_FRAME, Unpacker, WireError, pack

MESSAGES = st.lists(
    st.dictionaries(st.text(max_size=5), st.text(max_size=20) | st.integers(), max_size=4), max_size=5
)


@given(MESSAGES, st.integers(1, 50))
def test_what_is_packed_comes_out_however_it_is_cut(messages, size):
    stream = b"".join(pack(m) for m in messages)
    unpacker = Unpacker()
    out = [m for i in range(0, len(stream), size) for m in unpacker.feed(stream[i : i + size])]
    assert out == messages


@pytest.mark.parametrize(
    "frame",
    [
        struct.pack("!I", MAX_FRAME + 1),
        struct.pack("!I", 3) + b"{x}",
        struct.pack("!I", 2) + b"[]",
        struct.pack("!I", 4) + b"null",
        struct.pack("!I", 2) + b"\xff\xfe",
        struct.pack("!I", 100_000) + b"[" * 100_000,
    ],
)
def test_anything_else_is_refused_without_repeating_it(frame):
    with pytest.raises(WireError) as caught:
        Unpacker().feed(frame)
    assert caught.value.__cause__ is None
    assert "x" not in str(caught.value).replace("too long", "")


def test_a_message_that_is_too_long_is_not_sent():
    with pytest.raises(WireError):
        pack({"x": "y" * MAX_FRAME})
