"""A table that forgets what does not come again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from minihub.proxy.recent import Recent


def find(recent, key):
    found = recent.young.get(key)
    return recent.revive(key) if found is None else found


def test_what_does_not_come_again_is_forgotten_after_two_turns():
    recent = Recent(8)
    recent.put("a", 1)
    recent.put("b", 2)
    recent.turn()
    assert find(recent, "a") == 1
    recent.turn()
    assert (find(recent, "a"), find(recent, "b")) == (1, None)
    recent.turn()
    recent.turn()
    assert len(recent) == 0


def test_a_newer_value_counts():
    recent = Recent(8)
    recent.put("a", 1)
    recent.turn()
    recent.put("a", 2)
    assert find(recent, "a") == 2
    recent.turn()
    assert find(recent, "a") == 2


@given(st.lists(st.integers(0, 30)), st.integers(2, 12))
def test_it_holds_the_latest_and_never_too_many(keys, most):
    recent = Recent(most)
    for n, key in enumerate(keys):
        if find(recent, key) is None:
            recent.put(key, n + 1)
        assert len(recent) <= most
        # As many different ones as half of it has room for.
        latest = list(dict.fromkeys(reversed(keys[: n + 1])))[: most // 2]
        assert all(find(recent, one) is not None for one in reversed(latest))
