"""The register of what is under way."""

from __future__ import annotations

import pytest

from minihub.proxy.live import Ending, Live, LiveConnections


def test_found_by_user_or_by_login():
    lives, ended = LiveConnections(), []

    def live(user, key):
        return Live(user, key, "", lambda why: ended.append((user, key, why)))

    with lives.hold(live("alice", "k1")), lives.hold(live("alice", "t1")), lives.hold(live("bob", "t1")):
        assert len(lives) == 3
        assert lives.end(Ending.SERVER_GONE, user="alice") == 2
        assert sorted(ended) == [("alice", "k1", 1011), ("alice", "t1", 1011)]
        ended.clear()
        assert lives.end(Ending.LOGIN_OVER, login_key="t1") == 2
        assert sorted(ended) == [("alice", "t1", 1008), ("bob", "t1", 1008)]
        assert lives.end(Ending.LOGIN_OVER, login_key="") == 0
        assert lives.end(Ending.HUB_RESTARTS) == 3
    assert len(lives) == 0
    assert lives.end(Ending.SERVER_GONE, user="alice") == 0


def test_forgotten_even_after_an_error():
    lives = LiveConnections()
    with pytest.raises(ValueError), lives.hold(Live("a", "k", "")):
        raise ValueError
    assert len(lives) == 0


def test_no_ending_is_a_clean_close():
    assert not {1000, 1001} & set(Ending)
