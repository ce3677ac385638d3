"""What servers say of their use: recorded answers, and answers of servers that are hostile."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minihub.servers.usage import NoUsage, Usage, parse_usage

# jupyter_server 2.21.1, jupyter_server_terminals 0.5.
KERNEL = {
    "id": "00507579-13cc-43ad-9c5d-a080562f5508",
    "name": "python3",
    "last_activity": "2026-11-26T04:33:47.424436Z",
    "execution_state": "idle",
    "connections": 1,
}
TERMINAL = {"name": "1", "last_activity": "2026-11-26T04:34:01.535302Z"}
KERNEL_AT, TERMINAL_AT = 1795667627.424436, 1795667641.535302


def read(kernels=(), terminals=()):
    return parse_usage(
        json.dumps(list(kernels)).encode(),
        None if terminals is None else json.dumps(list(terminals)).encode(),
    )


def test_the_last_of_all_counts():
    assert read([KERNEL], [TERMINAL]) == Usage(False, TERMINAL_AT)
    assert read([KERNEL], None) == Usage(False, KERNEL_AT)
    assert read([], [TERMINAL]) == Usage(False, TERMINAL_AT)
    assert read() == Usage(False, None)


def test_one_busy_kernel_is_enough_however_long_it_has_said_nothing():
    busy = {**KERNEL, "execution_state": "busy", "last_activity": "2020-01-01T00:00:00Z"}
    assert read([KERNEL, busy]).busy
    for state in ("idle", "starting", "restarting", "dead", None):
        assert not read([{**KERNEL, "execution_state": state}]).busy


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"{}",
        b"null",
        b"[1]",
        b"[{}]",
        b'[{"last_activity": null}]',
        b'[{"last_activity": 5}]',
        b'[{"last_activity": "soon"}]',
        b"\xff\xfe",
        b"[" * 100_000,
    ],
)
def test_what_jupyter_would_not_say_is_no_answer(body):
    for answers in ((body, b"[]"), (b"[]", body)):
        with pytest.raises(NoUsage):
            parse_usage(*answers)


@given(st.binary(max_size=200), st.none() | st.binary(max_size=200))
def test_whatever_bytes_there_are(kernels, terminals):
    with contextlib.suppress(NoUsage):
        assert isinstance(parse_usage(kernels, terminals), Usage)


@pytest.mark.parametrize("when", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2026-11-26"])
def test_odd_times_are_times(when):
    assert isinstance(read([{**KERNEL, "last_activity": when}]).last_activity, float)
