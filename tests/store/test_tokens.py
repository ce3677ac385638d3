from __future__ import annotations

import pytest

from minihub.store.rows import TokenRow


def token(number=1, user="ada", expires=100.0):
    return TokenRow(f"t{number}", f"h{number}", user, "note", ("self", "read:users"), 10.0 + number, expires)


@pytest.fixture(autouse=True)
async def users(store):
    for name in ("ada", "bob"):
        await store.users.know(name, 1.0)


async def test_create_find_touch_delete(store):
    await store.tokens.create(token())
    assert await store.tokens.get_by_hash("h1") == token()
    assert await store.tokens.get_by_hash("h2") is None
    await store.tokens.touch({"t1": 55.0, "gone": 1.0})
    await store.tokens.touch({})

    assert (await store.tokens.get_by_hash("h1")).last_used_at == 55.0
    assert (await store.tokens.delete("t1")).hash == "h1"
    assert await store.tokens.delete("t1") is None


async def test_list_delete_user_and_purge(store):
    for row in (token(1), token(2, expires=50.0), token(3, "bob")):
        await store.tokens.create(row)

    assert [row.id for row in await store.tokens.list("ada")] == ["t2", "t1"]
    assert len(await store.tokens.list()) == 3
    assert await store.tokens.purge_expired(expired_before=60.0) == 1
    assert await store.tokens.delete_user("ada") == [token(1)]
    assert [row.id for row in await store.tokens.list()] == ["t3"]


def test_a_rows_repr_shows_no_hash():
    assert "h1" not in repr(token())
