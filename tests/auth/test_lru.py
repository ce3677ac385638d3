from __future__ import annotations

from minihub.auth.lru import Lru


def test_the_least_recently_used_is_forgotten():
    lru = Lru(2)
    lru.put("a", 1)
    lru.put("b", 2)
    assert lru.get("a") == 1
    lru.put("c", 3)

    assert ("a" in lru, "b" in lru, "c" in lru) == (True, False, True)
    assert len(lru) == 2
    assert lru.get("b") is None


def test_pop_and_pop_where():
    lru = Lru(9)
    for number in range(5):
        lru.put(str(number), number)
    assert lru.pop("4") == 4
    assert lru.pop("4") is None
    assert lru.pop_where(lambda value: value % 2 == 0) == ["0", "2"]
    assert len(lru) == 2
