from __future__ import annotations

import pytest

from minihub.errors import StoreError
from minihub.store.rows import LoginRow


def login(key="k1", user="ada", created=10.0, seen=20.0):
    return LoginRow(key, user, created, seen, "192.0.2.7", "Firefox")


@pytest.fixture(autouse=True)
async def users(store):
    for name in ("ada", "bob"):
        await store.users.know(name, 1.0)


async def test_create_get_delete(store):
    await store.login_sessions.create(login())

    assert await store.login_sessions.get("k1") == login()
    assert await store.login_sessions.delete("k1") is True
    assert await store.login_sessions.delete("k1") is False
    assert await store.login_sessions.get("k1") is None


async def test_a_login_of_nobody_is_an_error(store):
    with pytest.raises(StoreError):
        await store.login_sessions.create(login(user="eve"))


async def test_long_texts_are_cut(store):
    await store.login_sessions.create(LoginRow("k", "ada", 1.0, 1.0, "a" * 999, "b" * 999))

    found = await store.login_sessions.get("k")
    assert (len(found.address), len(found.user_agent)) == (64, 256)


async def test_touch_list_and_delete_user(store):
    for row in (login("k1"), login("k2"), login("k3", "bob")):
        await store.login_sessions.create(row)
    await store.login_sessions.touch({"k2": 30.0, "gone": 31.0})
    await store.login_sessions.touch({})

    assert [row.key for row in await store.login_sessions.list("ada")] == ["k2", "k1"]
    assert len(await store.login_sessions.list()) == 3
    assert sorted(await store.login_sessions.delete_user("ada")) == ["k1", "k2"]
    assert [row.key for row in await store.login_sessions.list()] == ["k3"]


async def test_purge_deletes_the_idle_and_the_old(store):
    await store.login_sessions.create(login("idle", created=90.0, seen=90.0))
    await store.login_sessions.create(login("old", created=10.0, seen=120.0))
    await store.login_sessions.create(login("good", created=90.0, seen=120.0))
    gone = await store.login_sessions.purge_expired(used_before=100.0, created_before=50.0)

    assert sorted(gone) == [("idle", "ada"), ("old", "ada")]
    assert [row.key for row in await store.login_sessions.list()] == ["good"]
