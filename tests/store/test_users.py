from __future__ import annotations

from minihub.store.rows import HistoryQuery, LoginRow, TokenRow, UserRow


async def test_seen_makes_and_updates(store):
    await store.users.seen("ada", 10.0, admin=False)
    await store.users.seen("ada", 20.0, admin=True)

    assert await store.users.get("ada") == UserRow("ada", admin=True, created_at=10.0, last_seen=20.0)
    assert await store.users.get("bob") is None


async def test_admit_and_forget(store):
    assert await store.users.admit("ada", 10.0) is True
    assert await store.users.admit("ada", 20.0) is False
    assert await store.users.get("ada") == UserRow("ada", admin=False, created_at=10.0, last_seen=None)
    assert await store.users.is_admitted("ada")
    assert await store.users.forget("ada") is True
    assert await store.users.forget("ada") is False
    assert not await store.users.is_admitted("ada")


async def test_who_is_known_is_not_admitted_by_that(store):
    await store.users.know("ada", 10.0)
    await store.users.know("ada", 20.0)
    assert await store.users.get("ada") == UserRow("ada", admin=False, created_at=10.0, last_seen=None)
    await store.users.seen("bob", 10.0, admin=False)
    for user in ("ada", "bob"):
        assert not await store.users.is_admitted(user)
        assert await store.users.admit(user, 30.0) is True
        assert await store.users.admit(user, 30.0) is False
        assert await store.users.is_admitted(user)


async def test_activity_only_goes_forward(store):
    await store.users.admit("ada", 10.0)
    for at, seen in ((20.0, 20.0), (15.0, 20.0), (30.0, 30.0)):
        assert await store.users.active("ada", at) is True
        assert (await store.users.get("ada")).last_seen == seen
    assert await store.users.active("bob", 20.0) is False
    assert await store.users.get("bob") is None


async def test_forgetting_a_user_deletes_his_logins_and_tokens_and_keeps_history(store, attempt):
    await store.users.seen("ada", 10.0, admin=False)
    await store.login_sessions.create(LoginRow("k", "ada", 1.0, 1.0, "", ""))
    await store.tokens.create(TokenRow("t", "h", "ada", "", (), 1.0, 2.0))
    await store.attempts.save(attempt(live=False))
    await store.users.forget("ada")

    assert await store.login_sessions.get("k") is None
    assert await store.tokens.get_by_hash("h") is None
    assert (await store.attempts.find(HistoryQuery("ada")))[1] == 1


async def test_list_filters_pages_and_counts(store):
    for name in ("bob", "ada", "adam", "a_b", "Adele"):
        await store.users.admit(name, 1.0)

    async def names(text="", **paging):
        rows, total = await store.users.list(text, **paging)
        return [row.name for row in rows], total

    assert await names() == (["Adele", "a_b", "ada", "adam", "bob"], 5)
    assert await names("AD") == (["Adele", "ada", "adam"], 3)
    assert await names("ad", offset=1, limit=1) == (["ada"], 3)
    assert await names("_") == (["a_b"], 1)
    assert await names("%") == ([], 0)


async def test_last_options(store):
    assert await store.users.last_options("ada") is None
    await store.users.set_last_options("ada", {"cores": 2, "account": None})
    assert await store.users.last_options("ada") == {"cores": 2, "account": None}
    await store.users.seen("ada", 6.0, admin=False)
    await store.users.set_last_options("ada", {"cores": 4})
    assert await store.users.last_options("ada") == {"cores": 4}
