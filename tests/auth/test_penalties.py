from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minihub.auth.penalties import Penalties, PenaltySettings, address_key

HERE = "192.0.2.7"


@pytest.fixture
def penalties():
    return Penalties(PenaltySettings())


def test_the_delay_doubles_for_the_same_user_and_address_up_to_the_most(penalties):
    assert [round(penalties.failed("ada", HERE, 0.0), 3) for _ in range(6)] == [1, 2, 4, 8, 10, 10]
    for _ in range(5000):
        penalties.failed("ada", HERE, 0.0)
    assert penalties.failed("ada", HERE, 0.0) == 10


def test_a_user_under_attack_from_elsewhere_waits_little_for_his_own_mistake(penalties):
    for number in range(1000):
        penalties.failed("ada", f"198.51.100.{number % 250}", 0.0)
    assert penalties.failed("ada", HERE, 0.0) <= 6


def test_a_class_room_mistypes_without_harm(penalties):
    assert {penalties.failed(f"student{number}", HERE, 0.0) for number in range(30)} == {1}


def test_an_address_that_tries_many_names_slows_down(penalties):
    delays = [penalties.failed(f"name{number}", HERE, 0.0) for number in range(60)]
    assert delays[29] == 1
    assert delays[-1] == 10
    assert delays == sorted(delays)


def test_failures_are_forgotten_with_time(penalties):
    for _ in range(4):
        penalties.failed("ada", HERE, 0.0)
    assert penalties.failures("ada", HERE, 0.0) == 4
    assert penalties.failures("ada", HERE, 300.0) == 2
    assert penalties.failed("ada", HERE, 86400.0) == pytest.approx(1)


def test_success_forgets_the_pair_and_not_what_others_did(penalties):
    for _ in range(40):
        penalties.failed("eve", HERE, 0.0)
    penalties.failed("ada", HERE, 0.0)
    penalties.succeeded("ada", HERE)
    assert penalties.failures("ada", HERE, 0.0) == 0
    assert penalties.failures("eve", HERE, 0.0) == 40
    assert penalties.failed("bob", HERE, 0.0) > 1


def test_made_up_names_do_not_grow_the_memory_nor_clear_the_flooder():
    penalties = Penalties(PenaltySettings(remembered=100))
    for number in range(5000):
        penalties.failed(f"{number}" * 500, HERE, 0.0)
    assert len(penalties) <= 300
    assert penalties.failed("new", HERE, 0.0) == 10
    assert max(len(key) for key in penalties._pairs._items) < 200


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("x" * 99, "x" * 64),
    ],
)
def test_what_counts_as_one_address(address, key):
    assert address_key(address) == key


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["1", "2"]), st.floats(0, 1000), st.booleans()))
)
def test_a_delay_is_never_less_than_the_least_nor_more_than_the_most(attempts):
    penalties, now = Penalties(PenaltySettings()), 0.0
    for user, address, pause, right in attempts:
        now += pause
        if right:
            penalties.succeeded(user, address)
        else:
            assert 1 <= penalties.failed(user, address, now) <= 10
