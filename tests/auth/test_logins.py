from __future__ import annotations

import asyncio
import hashlib

import pytest

from minihub.auth.logins import LoginSessions
from minihub.auth.policy import Policy
from minihub.auth.tokens import ApiTokens
from minihub.config import AuthSettings
from minihub.errors import StoreError
from tests.auth.conftest import nobody


@pytest.fixture
def logins(store, settings, clock, policy):
    return LoginSessions(store, settings, clock, policy)


@pytest.fixture
def restarted(store, settings, clock, policy):
    """A hub that knows only what the store does."""
    return lambda: LoginSessions(store, settings, clock, policy)


async def test_a_login_is_known_at_once_and_after_a_restart(logins, restarted, clock):
    cookie = await logins.create("ada", "192.0.2.7", "Firefox")
    principal = logins.cached_login(cookie)

    assert (principal.user, principal.admin, principal.kind) == ("ada", False, "login")
    assert principal.expires_at == clock.now + 10_000
    assert await logins.login(cookie) == principal
    again = restarted()
    assert again.cached_login(cookie) is None
    assert await again.login(cookie) == principal
    assert again.cached_login(cookie) == principal


async def test_the_secret_is_in_no_file_and_the_key_is_its_hash(logins, store):
    cookie = await logins.create("ada", "", "")
    await logins.flush()

    assert logins.cached_login(cookie).key == hashlib.sha256(cookie.encode()).hexdigest()
    content = b"".join(path.read_bytes() for path in store.path.parent.iterdir())
    assert logins.cached_login(cookie).key.encode() in content
    assert cookie.encode() not in content


async def test_cookies_differ(logins):
    cookies = {await logins.create("ada", "", "") for _ in range(5)}
    assert len(cookies) == 5
    assert {len(cookie) for cookie in cookies} == {43}


@pytest.mark.parametrize("cookie", ["", "x", "a" * 43, "a" * 44, "é" * 43, "a" * 42 + "\n", "a" * 100_000])
async def test_what_is_no_login_is_nobody(logins, cookie):
    await logins.create("ada", "", "")
    assert logins.cached_login(cookie) is None
    assert await logins.login(cookie) is None
    await logins.revoke(cookie)


async def test_admins_are_known_as_such(logins):
    assert logins.cached_login(await logins.create("root_like_admin", "", "")).admin is True


async def test_unused_for_the_idle_lifetime_it_is_over(logins, restarted, clock):
    cookie = await logins.create("ada", "", "")
    for _ in range(3):
        clock.advance(999)
        assert await logins.login(cookie) is not None
    clock.advance(1000)

    assert logins.cached_login(cookie) is None
    assert await logins.login(cookie) is None
    assert await restarted().login(cookie) is None


async def test_after_the_absolute_lifetime_it_is_over_however_much_it_is_used(logins, clock):
    cookie = await logins.create("ada", "", "")
    for _ in range(19):
        clock.advance(500)
        assert await logins.login(cookie) is not None
    clock.advance(500)
    assert await logins.login(cookie) is None


async def test_use_is_written_back_in_one_batch(logins, restarted, clock, store):
    cookies = [await logins.create("ada", "", "") for _ in range(5)]
    before = store.commits
    clock.advance(250)
    for _ in range(100):
        for cookie in cookies:
            assert logins.cached_login(cookie)
    assert store.commits == before
    await logins.flush()
    assert store.commits == before + 1
    clock.advance(900)

    assert await restarted().login(cookies[0]) is not None


async def test_traffic_of_a_websocket_counts_as_use(logins, clock):
    cookie = await logins.create("ada", "", "")
    key = logins.cached_login(cookie).key
    clock.advance(900)
    logins.touch(key)
    logins.touch("unknown")
    clock.advance(900)
    assert await logins.login(cookie) is not None


async def test_revoked_it_is_over_here_and_after_a_restart_and_listeners_hear_of_it(logins, restarted):
    heard = []
    logins.on_revoked(lambda user, key: heard.append((user, key)))
    cookie, other = await logins.create("ada", "", ""), await logins.create("ada", "", "")
    key = logins.cached_login(cookie).key
    await logins.revoke(cookie)

    assert heard == [("ada", key)]
    assert logins.cached_login(cookie) is None
    assert await logins.login(cookie) is None
    assert await restarted().login(cookie) is None
    assert logins.cached_login(other) is not None


async def test_a_login_not_in_the_cache_is_revoked_too(logins, restarted):
    cookie = await logins.create("ada", "", "")
    again, heard = restarted(), []
    again.on_revoked(lambda user, key: heard.append(user))
    await again.revoke(cookie)

    assert heard == ["ada"]
    assert await restarted().login(cookie) is None


async def test_all_of_a_users_logins_are_revoked(logins, restarted):
    heard = []
    stored_only = await logins.create("ada", "", "")
    again = restarted()
    again.on_revoked(lambda user, key: heard.append((user, key)))
    cookies = [stored_only, await again.create("ada", "", "")]
    bobs = await again.create("bob", "", "")

    assert await again.revoke_user("ada") == 2
    assert [await again.login(cookie) for cookie in cookies] == [None, None]
    assert sorted(user for user, _ in heard) == ["ada", "ada"]
    assert again.cached_login(bobs) is not None
    assert await again.revoke_user("ada") == 0


async def test_revoking_wins_against_a_read_that_began_before(restarted, logins):
    """The row is read, then the login revoked, then the reader goes on: it must not come back to life."""
    cookie = await logins.create("ada", "", "")
    for revoke in ("revoke", "revoke_user"):
        again = restarted()
        reading = asyncio.get_running_loop().create_task(again.login(cookie))
        await asyncio.sleep(0)
        await getattr(again, revoke)(cookie if revoke == "revoke" else "ada")
        await reading
        assert again.cached_login(cookie) is None, revoke
        assert await again.login(cookie) is None, revoke
        cookie = await logins.create("ada", "", "")


async def test_a_store_that_cannot_write_does_not_keep_a_revoked_login_alive(logins, store):
    cookie = await logins.create("ada", "", "")
    await store.close()
    with pytest.raises(StoreError):
        await logins.revoke(cookie)

    assert logins.cached_login(cookie) is None
    assert await logins.login(cookie) is None


async def test_known_logins_need_no_store(logins, store):
    cookie = await logins.create("ada", "", "")
    await store.close()
    assert await logins.login(cookie) is not None
    with pytest.raises(StoreError):
        await logins.flush()
    with pytest.raises(StoreError):
        await logins.login("b" * 43)


async def test_purge_ends_the_expired_and_tells_so_that_live_connections_close(logins, store, clock):
    heard = []
    logins.on_revoked(lambda user, key: heard.append(user))
    await logins.create("bob", "", "")
    clock.advance(600)
    cookie = await logins.create("ada", "", "")
    clock.advance(600)
    await logins.purge()

    assert heard == ["bob"]
    assert [row.user for row in await store.login_sessions.list()] == ["ada"]
    assert await logins.login(cookie) is not None


async def test_purge_spares_what_was_used_in_memory_only(logins, clock):
    cookie = await logins.create("ada", "", "")
    for _ in range(4):
        clock.advance(290)
        assert logins.cached_login(cookie) or await logins.login(cookie)
    await logins.purge()
    assert await logins.login(cookie) is not None


async def test_a_listener_that_raises_spoils_nothing(logins, caplog):
    heard = []

    def broken(_user, _key):
        raise ZeroDivisionError

    logins.on_revoked(broken)
    logins.on_revoked(lambda user, key: heard.append(user))
    await logins.revoke(await logins.create("ada", "", ""))

    assert heard == ["ada"]
    assert "could not be told" in caplog.text


async def test_who_is_denied_meanwhile_is_out_within_five_minutes(logins, store, clock, directory):
    policy = Policy(
        AuthSettings(deny_groups=("banned",)), clock, is_admitted=nobody, lookup=directory, uid_min=1000
    )
    logins = LoginSessions(store, AuthSettings(), clock, policy)
    heard = []
    logins.on_revoked(lambda user, key: heard.append(user))
    cookie = await logins.create("ada", "", "")
    directory.add("ada", 1000, "banned")
    clock.advance(300)

    assert logins.cached_login(cookie) is None
    assert await logins.login(cookie) is None
    assert heard == ["ada"]
    directory.add("ada", 1000)
    clock.advance(300)
    assert await logins.login(cookie) is not None


async def test_an_admin_who_is_none_any_more_loses_it_within_five_minutes(store, clock, directory):
    directory.add("ada", 1000, "wheel")
    policy = Policy(
        AuthSettings(admin_groups=("wheel",)), clock, is_admitted=nobody, lookup=directory, uid_min=1000
    )
    logins = LoginSessions(store, AuthSettings(), clock, policy)
    cookie = await logins.create("ada", "", "")
    assert logins.cached_login(cookie).admin is True
    directory.add("ada", 1000)
    clock.advance(300)

    assert (await logins.login(cookie)).admin is False


async def test_list_shows_the_live_ones_with_their_last_use(logins, clock):
    await logins.create("ada", "192.0.2.1", "Old")
    clock.advance(700)
    cookie = await logins.create("ada", "192.0.2.2", "New")
    clock.advance(290)
    logins.cached_login(cookie)
    rows = await logins.list("ada")
    assert [(row.user_agent, row.last_seen) for row in rows] == [
        ("New", clock.now),
        ("Old", clock.now - 990),
    ]
    clock.advance(10)
    assert [row.user_agent for row in await logins.list("ada")] == ["New"]


async def test_the_background_work_flushes_and_survives_a_broken_store(store, clock, policy, caplog):
    logins = LoginSessions(store, AuthSettings(idle_lifetime_s=0.04), clock, policy)
    cookie = await logins.create("ada", "", "")
    before = store.commits
    logins.cached_login(cookie)
    task = asyncio.get_running_loop().create_task(logins.run())
    async with asyncio.timeout(30):
        while store.commits == before:
            await asyncio.sleep(0.01)
    await store.close()
    async with asyncio.timeout(30):
        while "not written back" not in caplog.text:
            logins._uses["k"] = 1.0
            await asyncio.sleep(0.01)
    assert not task.done()
    task.cancel()


async def test_revoking_wins_against_a_slow_look_at_the_user_database(restarted, logins, directory, clock):
    """The row was read; while its user is looked up, it is revoked."""
    cookie = await logins.create("ada", "", "")
    again = restarted()
    clock.advance(100)
    directory.answers.clear()
    directory.asked.clear()
    reading = asyncio.get_running_loop().create_task(again.login(cookie))
    async with asyncio.timeout(30):
        while not directory.asked:
            await asyncio.sleep(0.01)
    await again.revoke(cookie)
    clock.advance(100)
    await again.purge()
    directory.answers.set()
    assert await reading is None
    assert await again.login(cookie) is None
    clock.advance(1)
    await again.purge()
    assert len(again._revoked) == 0, "the read is over"
    assert await again.login(cookie) is None


@pytest.mark.parametrize("way", ["revoke", "revoke_user", "expire"])
async def test_a_login_in_use_is_over_at_once(logins, clock, way):
    """However often it was asked for before, and so is found by its cookie alone."""
    cookie, other = await logins.create("ada", "", ""), await logins.create("bob", "", "")
    for _ in range(3):
        assert logins.cached_login(cookie).user == "ada"
        assert logins.cached_login(other).user == "bob"
    if way == "revoke":
        await logins.revoke(cookie)
    elif way == "revoke_user":
        await logins.revoke_user("ada")
    else:
        clock.advance(10_001)
    assert logins.cached_login(cookie) is None
    assert (logins.cached_login(other) is None) is (way == "expire")


async def test_a_log_out_that_cannot_be_written_down_is_made_up_for(logins, restarted, store):
    cookie = await logins.create("ada", "", "")
    aside = store.path.with_name("aside")
    store.path.rename(aside)
    with pytest.raises(StoreError):
        await logins.revoke(cookie)
    assert await logins.login(cookie) is None
    aside.rename(store.path)
    assert await restarted().login(cookie) is not None
    await logins.purge()

    assert await restarted().login(cookie) is None


async def test_logins_that_an_admin_ended_stay_over_though_the_store_could_not_say_so(
    logins, restarted, store, clock
):
    cookie = await logins.create("ada", "", "")
    assert logins.cached_login(cookie) is not None
    aside = store.path.with_name("aside")
    store.path.rename(aside)
    with pytest.raises(StoreError):
        await logins.revoke_user("ada")
    clock.advance(100)
    with pytest.raises(StoreError):
        await logins.purge()
    assert await logins.login(cookie) is None
    aside.rename(store.path)
    await logins.purge()

    assert await logins.login(cookie) is None
    assert await restarted().login(cookie) is None


async def test_logins_and_tokens_are_listed_while_their_uses_cannot_be_written(
    logins, policy, settings, clock, store
):
    tokens = ApiTokens(store, settings, clock, policy)
    cookie = await logins.create("ada", "", "")
    secret, _ = await tokens.create("ada")
    await tokens.resolve(secret)
    # So that a reader is connected.
    await tokens.list("ada")
    await tokens.resolve(secret)
    assert logins.cached_login(cookie)
    store.path.rename(store.path.with_name("aside"))

    assert len(await logins.list("ada")) == 1
    assert len(await tokens.list("ada")) == 1


@pytest.mark.parametrize("one", [True, False])
async def test_nothing_of_a_login_that_is_over_stays_in_memory(logins, clock, one):
    for _ in range(3):
        cookie = await logins.create("ada", "", "")
        assert logins.cached_login(cookie) is not None
        await (logins.revoke(cookie) if one else logins.revoke_user("ada"))
    assert len(logins._by_cookie) == len(logins._cache) == len(logins._uses) == 0
    assert len(logins._unwritten) == 0
    assert len(logins._revoked) == 3, "until no read can be under way that began before"
    clock.advance(1)
    await logins.purge()
    assert len(logins._revoked) == len(logins._reads) == 0
