from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minihub.auth.admission import Admission, AdmissionLimits
from minihub.errors import TooManyAttempts

HERE, THERE = "192.0.2.7", "198.51.100.9"


def arrive(room, user, address=HERE):
    return room.arrive(user, address)[0]


def Room(limits, **suspicions):
    """A waiting room that suspects some users."""
    return Admission(limits, lambda user, _address, _now: suspicions.get(user, 0.0))


def begin(room, now=0.0):
    """All who may begin now."""
    started = []
    while (ticket := room.next(now)) is not None:
        started.append(ticket.user)
    return started


def test_no_more_checks_at_once_than_allowed():
    room = Room(AdmissionLimits(checking=2))
    tickets = {name: arrive(room, name) for name in "abcd"}
    started = begin(room)
    assert len(started) == 2
    assert (room.running, room.waiting) == (2, 2)
    room.ended(tickets[started[0]], 0.05)
    assert len(begin(room, 0.05)) == 1


def test_a_slow_check_makes_room_up_to_the_limit_of_all():
    room = Room(AdmissionLimits(checking=2, running=5, slow_after_s=0.2))
    for number in range(9):
        arrive(room, f"u{number}")
    assert len(begin(room, 0.0)) == 2
    assert begin(room, 0.1) == []
    assert room.wake_at(0.1) == 0.2
    assert len(begin(room, 0.2)) == 2
    assert len(begin(room, 0.4)) == 1
    assert begin(room, 60.0) == []
    assert room.running == 5


def test_addresses_take_turns():
    room = Room(AdmissionLimits(checking=4))
    for number in range(100):
        arrive(room, f"wrong{number}", THERE)
        if number == 50:
            arrive(room, "ada")
            arrive(room, "bob")
    assert {"ada", "bob"} <= set(begin(room))


def test_who_just_failed_comes_after_those_who_did_not():
    room = Room(AdmissionLimits(checking=1), eve=3.0)
    for _ in range(50):
        arrive(room, "eve")
    arrive(room, "ada")
    for _ in range(50):
        arrive(room, "eve")
    assert begin(room) == ["ada"]


def test_one_user_many_times_does_not_take_all_the_doors():
    room = Room(AdmissionLimits(checking=2))
    for _ in range(40):
        arrive(room, "ada")
    arrive(room, "bob")
    for _ in range(40):
        arrive(room, "ada")
    assert sorted(begin(room)) == ["ada", "bob"]


@pytest.mark.parametrize("last", [True, False])
def test_among_equals_the_newest_and_the_oldest_are_soon_next(last):
    room = Room(AdmissionLimits(checking=2))
    names = [f"wrong{number}" for number in range(40)]
    for name in [*names, "ada"] if last else ["ada", *names]:
        arrive(room, name)
    assert "ada" in begin(room)


def test_answers_held_back_keep_their_address_and_user_waiting_and_nobody_else():
    room = Room(AdmissionLimits(checking=1, outstanding_per_address=2, outstanding_per_user=3))
    for _ in range(2):
        ticket = arrive(room, "eve")
        assert begin(room) == ["eve"]
        room.ended(ticket, 0.0, held_until=10.0)
    arrive(room, "ada", HERE)
    assert begin(room, 9.9) == []
    assert room.wake_at(9.9) == 10.0
    ticket = arrive(room, "eve", THERE)
    assert begin(room, 9.9) == ["eve"]
    room.ended(ticket, 9.9, held_until=20.0)
    arrive(room, "eve", "203.0.113.5")
    assert begin(room, 9.9) == []
    assert sorted(begin(room, 10.0)) in (["ada"], ["eve"])


def test_a_full_room_sends_away_the_newest_of_the_greediest_address():
    room = Room(AdmissionLimits(waiting=10))
    for number in range(9):
        arrive(room, f"wrong{number}", THERE)
    arrive(room, "bob")
    ticket, victim = room.arrive("ada", HERE)
    assert (victim.user, victim.refused, ticket.refused) == ("wrong8", True, False)
    with pytest.raises(TooManyAttempts):
        room.arrive("wrong9", THERE)
    assert room.waiting == 10


def test_who_left_is_not_called():
    room = Room(AdmissionLimits())
    ticket = arrive(room, "ada")
    room.leave(ticket)
    room.leave(ticket)
    assert begin(room) == []
    assert room.wake_at(0.0) is None


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("arrive"), st.sampled_from("abc"), st.sampled_from([HERE, THERE])),
        st.tuples(st.just("end"), st.booleans()),
        st.tuples(st.just("leave")),
        st.tuples(st.just("wait"), st.floats(0, 3)),
    ),
    max_size=80,
)


@given(EVENTS)
def test_whatever_happens_limits_hold_and_all_are_served_at_last(events):
    limits = AdmissionLimits(
        checking=2, running=3, waiting=8, outstanding_per_address=3, outstanding_per_user=2
    )
    room, now, running, waiting = Room(limits), 0.0, [], []

    def call():
        while (ticket := room.next(now)) is not None:
            waiting.remove(ticket)
            running.append(ticket)
        assert room.running == len(running) <= limits.running
        assert room.waiting == len(waiting) <= limits.waiting
        assert sum(now - ticket.started_at < limits.slow_after_s for ticket in running) <= limits.checking

    for event in events:
        match event:
            case ("arrive", user, address):
                try:
                    ticket, victim = room.arrive(user, address)
                except TooManyAttempts:
                    continue
                waiting.append(ticket)
                if victim is not None:
                    waiting.remove(victim)
            case ("end", wrong) if running:
                room.ended(running.pop(0), now, now + 5 if wrong else None)
            case ("leave",) if waiting:
                room.leave(waiting.pop(0))
            case ("wait", seconds):
                now += seconds
        call()
    for _ in range(200):
        while running:
            room.ended(running.pop(), now)
        call()
        if not waiting and not running:
            break
        now = max(now, room.wake_at(now) or now)
    assert not waiting
    assert not running
