"""Which lines are told apart, and that it is safe to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minihub.proxy import lines
from minihub.proxy.fields import _TELLING
from minihub.proxy.headers import Fate, _inbound_fate, _key, _outbound_fate
from minihub.proxy.lines import PLAIN_ANSWER_NAMES, PLAIN_REQUEST_NAMES, Sieve

# What auth.request, auth.origin and the gate decide by where it opens a server.
DECIDING = {"origin", "cookie", "authorization", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"}


@pytest.mark.parametrize("name", PLAIN_REQUEST_NAMES)
def test_plain_fields_of_requests_pass_and_decide_nothing(name):
    assert _inbound_fate(name) is Fate.PASSES
    assert name.lower() not in _TELLING | DECIDING
    assert not _key(name).startswith(("x-minihub-", "sec-fetch-", "sec-websocket-"))


@pytest.mark.parametrize("name", PLAIN_ANSWER_NAMES)
def test_plain_fields_of_answers_pass(name):
    assert _outbound_fate(name) is Fate.PASSES
    assert name.lower() not in _TELLING


def test_rare_names_are_plain_ones():
    assert {*PLAIN_REQUEST_NAMES, *PLAIN_ANSWER_NAMES} >= lines._RARELY_REPEATED


def test_lines_are_parted_in_order():
    sieve = Sieve(["Accept", "ETag"])
    for _ in range(2):
        assert sieve.part([b"Host: h", b"accept: a", b"X: y", b"ETag:b", b"Etag: c", b"eTag: d"]) == (
            (b"Host: h", b"X: y", b"eTag: d"),
            b"accept: a\r\nETag:b\r\nEtag: c\r\n",
        )
    assert sieve.part([]) == ((), b"")


LINES = st.one_of(
    st.binary(max_size=12),
    st.builds(
        lambda name, value: name + value,
        st.sampled_from([b"Accept", b"accept:", b"ETag:", b"Referer: ", b"Host:"]),
        st.binary(max_size=4),
    ),
)


@given(st.lists(LINES, max_size=8))
def test_nothing_is_lost_and_only_what_is_visible_is_plain(found):
    sieve = Sieve(["Accept", "ETag", "Referer"])
    for _ in range(2):
        telling, plain = sieve.part(found)
        passed = [line for line in found if line not in telling]
        assert sorted([*telling, *passed]) == sorted(found)
        assert plain == b"".join(line + b"\r\n" for line in passed)
        assert all(byte in b"\t" or 32 <= byte != 127 for line in passed for byte in line)


def test_lines_of_late_do_not_add_up():
    sieve = Sieve(["Accept", "ETag"])
    for n in range(2 * lines._MOST):
        sieve.part([b"Accept: %d" % n, b"X: %d" % n, b"ETag: %d" % n, b"Accept: " + b"x" * lines._LONGEST])
        assert len(sieve.known) <= lines._MOST
    assert not any(line.startswith((b"ETag", b"Accept: x")) for line in sieve.known.young)
