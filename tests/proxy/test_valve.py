"""Back-pressure as a set of reasons."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minihub.proxy.valve import AHEAD, DECIDING, PEER_FULL, Valve

REASONS = (DECIDING, PEER_FULL, AHEAD)


class Transport:
    """Notes what it is told."""

    def __init__(self):
        self.told = []
        self.closing = False

    def is_closing(self):
        return self.closing

    def pause_reading(self):
        self.told.append("pause")

    def resume_reading(self):
        self.told.append("resume")


@pytest.fixture
def transport():
    return Transport()


@pytest.fixture
def valve(transport):
    return Valve(transport)


def test_a_new_valve_reads(valve, transport):
    assert not valve.reasons
    assert transport.told == []


@pytest.mark.parametrize("reason", REASONS)
def test_one_reason_pauses_and_resumes(valve, transport, reason):
    valve.shut(reason)
    assert valve.reasons
    assert transport.told == ["pause"]
    valve.free(reason)
    assert not valve.reasons
    assert transport.told == ["pause", "resume"]


def test_the_last_reason_counts(valve, transport):
    for reason in REASONS:
        valve.shut(reason)
    valve.free(PEER_FULL)
    valve.free(DECIDING)
    assert valve.reasons
    assert transport.told == ["pause"]
    valve.free(AHEAD)
    assert transport.told == ["pause", "resume"]


def test_a_reason_given_twice_is_one(valve, transport):
    valve.shut(PEER_FULL)
    valve.shut(PEER_FULL)
    valve.free(PEER_FULL)
    assert not valve.reasons
    assert transport.told == ["pause", "resume"]


def test_what_was_no_reason_frees_nothing(valve, transport):
    valve.free(AHEAD)
    valve.open()
    assert transport.told == []
    valve.shut(PEER_FULL)
    valve.free(AHEAD)
    assert valve.reasons
    assert transport.told == ["pause"]


def test_open_forgets_all_reasons(valve, transport):
    valve.shut(PEER_FULL)
    valve.shut(AHEAD)
    valve.open()
    assert not valve.reasons
    assert transport.told == ["pause", "resume"]
    valve.free(AHEAD)
    assert transport.told == ["pause", "resume"]


@pytest.mark.parametrize("ends", ["free", "open"])
def test_a_closing_transport_is_left_alone(valve, transport, ends):
    valve.shut(PEER_FULL)
    transport.closing = True
    valve.free(PEER_FULL) if ends == "free" else valve.open()
    valve.shut(AHEAD)
    assert valve.reasons
    assert transport.told == ["pause"]


STEPS = st.lists(st.tuples(st.sampled_from(["shut", "free", "open"]), st.sampled_from(REASONS)))


@given(STEPS)
def test_it_reads_while_nobody_has_a_reason(steps):
    transport, reasons = Transport(), set()
    valve = Valve(transport)
    for step, reason in steps:
        if step == "shut":
            valve.shut(reason)
            reasons.add(reason)
        elif step == "free":
            valve.free(reason)
            reasons.discard(reason)
        else:
            valve.open()
            reasons.clear()
        assert valve.reasons == sum(reasons)
        assert (transport.told[-1:] == ["pause"]) == bool(reasons)
    assert all(one != other for one, other in zip(transport.told, transport.told[1:], strict=False))
