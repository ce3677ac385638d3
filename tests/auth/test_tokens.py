from __future__ import annotations

import asyncio

import pytest

from minihub.auth.tokens import RECHECK_S, ApiTokens
from minihub.errors import Forbidden, NotAllowed, OptionsError, StoreError
from tests.auth.conftest import nobody


@pytest.fixture
def tokens(store, settings, clock, policy):
    return ApiTokens(store, settings, clock, policy)


@pytest.fixture
def restarted(store, settings, clock, policy):
    return lambda: ApiTokens(store, settings, clock, policy)


async def test_a_token_works_at_once_and_after_a_restart(tokens, restarted, clock):
    secret, row = await tokens.create("ada", note="laptop")
    principal = await tokens.resolve(secret)

    assert secret.startswith("mh_")
    assert len(secret) == 46
    assert (row.note, row.scopes, row.expires_at) == ("laptop", ("self",), clock.now + 5000)
    assert (principal.user, principal.kind, principal.key) == ("ada", "token", row.id)
    assert (principal.admin, principal.scopes) == (False, frozenset({"self"}))
    assert await restarted().resolve(secret) == principal


async def test_the_secret_is_in_no_file(tokens, store):
    secret, row = await tokens.create("ada")
    content = b"".join(path.read_bytes() for path in store.path.parent.iterdir())
    assert row.id.encode() in content
    assert secret[3:].encode() not in content
    assert secret not in repr(row)


@pytest.mark.parametrize("token", ["", "mh_", "mh_short", "a" * 46, "mh_" + "é" * 43, "mh_" + "a" * 44])
async def test_what_is_not_ours_by_its_looks_is_not_looked_up(tokens, store, token):
    """Notebook 7 sends its server's token with every request: no I/O for that."""
    await store.close()
    assert await tokens.resolve(token) is None
    with pytest.raises(StoreError):
        await tokens.resolve("mh_" + "a" * 43)


async def test_an_unknown_token_is_nobodys(tokens):
    assert await tokens.resolve("mh_" + "a" * 43) is None


async def test_a_cached_token_needs_no_store(tokens, store):
    secret, _ = await tokens.create("ada")
    await tokens.resolve(secret)
    await store.close()
    assert await tokens.resolve(secret) is not None


async def test_a_token_of_a_moment_ago_is_good_while_the_store_cannot_be_read(tokens, store, clock):
    known, _ = await tokens.create("ada")
    unused, row = await tokens.create("ada")
    assert await tokens.resolve(known)
    await store.close()
    clock.advance(RECHECK_S + 1)

    assert (await tokens.resolve(known)).user == "ada"
    with pytest.raises(StoreError):
        await tokens.resolve(unused)
    clock.now = row.expires_at + 1
    assert await tokens.resolve(known) is None


async def test_it_expires(tokens, restarted, clock):
    secret, _ = await tokens.create("ada", lifetime_s=100)
    clock.advance(99)
    assert await tokens.resolve(secret) is not None
    assert len(await tokens.list("ada")) == 1
    clock.advance(1)
    assert await tokens.resolve(secret) is None
    assert await restarted().resolve(secret) is None
    assert await tokens.list("ada") == []


@pytest.mark.parametrize("lifetime", [0, -1, 5001, float("nan"), float("inf")])
async def test_a_wrong_lifetime_is_refused(tokens, lifetime):
    with pytest.raises(OptionsError, match="at most 5000"):
        await tokens.create("ada", lifetime_s=lifetime)


async def test_revoked_it_is_over_at_once(tokens, restarted, store):
    heard = []
    tokens.on_revoked(lambda user, key: heard.append((user, key)))
    secret, row = await tokens.create("ada")
    await tokens.resolve(secret)

    assert await tokens.revoke("bob", row.id) is False
    assert await tokens.revoke("ada", "nothing") is False
    assert await tokens.resolve(secret) is not None
    assert await tokens.revoke("ada", row.id) is True
    assert await tokens.resolve(secret) is None
    assert await restarted().resolve(secret) is None
    assert heard == [("ada", row.id)]


async def test_revoking_wins_against_a_read_that_began_before(tokens, restarted):
    secret, row = await tokens.create("ada")
    again = restarted()
    reading = asyncio.get_running_loop().create_task(again.resolve(secret))
    await asyncio.sleep(0)
    await again.revoke("ada", row.id)
    await reading
    assert await again.resolve(secret) is None


async def test_a_token_revoked_by_another_process_is_over_within_seconds(tokens, store, clock):
    heard = []
    tokens.on_revoked(lambda user, key: heard.append(user))
    secret, row = await tokens.create("ada")
    await tokens.resolve(secret)
    await store.tokens.delete(row.id)
    clock.advance(RECHECK_S)

    assert await tokens.resolve(secret) is None
    assert heard == ["ada"]


async def test_all_of_a_users_tokens_are_revoked(tokens):
    secrets = [(await tokens.create("ada"))[0] for _ in range(3)]
    bobs, _ = await tokens.create("bob")
    await tokens.resolve(secrets[0])

    assert await tokens.revoke_user("ada") == 3
    assert [await tokens.resolve(secret) for secret in secrets] == [None] * 3
    assert await tokens.resolve(bobs) is not None


async def test_last_use_is_written_back_in_one_batch(tokens, store, clock):
    secrets = [(await tokens.create("ada"))[0] for _ in range(3)]
    before = store.commits
    clock.advance(7)
    for _ in range(20):
        for secret in secrets:
            await tokens.resolve(secret)
    assert store.commits == before
    assert {row.last_used_at for row in await tokens.list("ada")} == {clock.now}
    assert store.commits == before + 1


async def test_purge_deletes_the_expired(tokens, store, clock):
    await tokens.create("ada", lifetime_s=10)
    await tokens.create("ada", lifetime_s=1000)
    clock.advance(11)
    await tokens.purge()
    assert len(await store.tokens.list()) == 1


async def test_only_admins_make_admin_tokens_and_they_are_worth_nothing_once_the_owner_is_none(
    tokens, store, clock, settings, directory, policy
):
    with pytest.raises(Forbidden, match="Only admins"):
        await tokens.create("ada", scopes=["admin"])
    secret, _ = await tokens.create("root_like_admin", scopes=["admin", "self"])
    assert (await tokens.resolve(secret)).admin is True

    demoted = type(policy)(
        settings.model_copy(update={"admin_users": ()}),
        clock,
        is_admitted=nobody,
        lookup=directory,
        uid_min=1000,
    )
    principal = await ApiTokens(store, settings, clock, demoted).resolve(secret)
    assert (principal.admin, principal.scopes) == (False, frozenset({"self"}))


async def test_unknown_scopes_are_refused_with_the_known_ones(tokens):
    with pytest.raises(OptionsError, match=r"no such scope.*list:users"):
        await tokens.create("ada", scopes=["everything"])


async def test_a_token_of_somebody_not_admitted_any_more_is_nobodys(
    tokens, store, clock, settings, directory, policy
):
    secret, _ = await tokens.create("ada")
    denying = type(policy)(
        settings.model_copy(update={"deny_users": ("ada",)}),
        clock,
        is_admitted=nobody,
        lookup=directory,
        uid_min=1000,
    )
    again = ApiTokens(store, settings, clock, denying)
    assert await again.resolve(secret) is None
    with pytest.raises(NotAllowed):
        await again.create("ada")


async def test_notes_are_cut_and_cleaned(tokens):
    _, row = await tokens.create("ada", note="a\nb\x1b[31m" + "x" * 999)
    assert row.note.startswith("ab[31mxx")
    assert len(row.note) == 256


async def test_revoking_wins_against_a_slow_look_at_the_user_database(restarted, tokens, directory, clock):
    """The row was read; while its user is looked up, it is revoked."""
    secret, row = await tokens.create("ada")
    again = restarted()
    clock.advance(100)
    directory.answers.clear()
    directory.asked.clear()
    reading = asyncio.get_running_loop().create_task(again.resolve(secret))
    async with asyncio.timeout(30):
        while not directory.asked:
            await asyncio.sleep(0.01)
    await again.revoke("ada", row.id)
    directory.answers.set()
    assert await reading is None
    assert await again.resolve(secret) is None
