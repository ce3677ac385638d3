from __future__ import annotations

import os
import pwd

import pytest

from minihub.auth.policy import CACHE_S, GRACE_S, Account, Policy, find_account, find_refusal, read_uid_min
from minihub.config import AuthSettings
from minihub.errors import NotAllowed
from tests.auth.conftest import nobody

ADA = Account("ada", 1000, frozenset({"staff", "physics"}))


def refusal(account=ADA, user="ada", **settings):
    return find_refusal(user, account, AuthSettings(**settings), 1000)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, ""),
        ({"allow_users": ("ada",)}, ""),
        ({"allow_groups": ("physics",)}, ""),
        ({"allow_users": ("bob",)}, "in neither"),
        ({"allow_groups": ("chemistry",)}, "in neither"),
        ({"allow_users": ("bob",), "allow_groups": ("staff",)}, ""),
        ({"deny_users": ("ada",)}, "deny_users"),
        ({"deny_groups": ("staff",)}, "deny_groups: staff"),
        ({"allow_users": ("ada",), "deny_users": ("ada",)}, "deny_users"),
        ({"allow_users": ("ada",), "deny_groups": ("staff",)}, "deny_groups"),
        ({"admin_users": ("ada",), "deny_groups": ("staff",)}, "deny_groups"),
        ({"admin_users": ("ada",), "allow_users": ("bob",)}, ""),
        ({"admin_groups": ("staff",), "allow_users": ("bob",)}, ""),
    ],
)
def test_lists_and_groups(settings, expected):
    found = refusal(**settings)
    assert (expected in found) if expected else (found == "")


@pytest.mark.parametrize("uid", [0, 1, 999, 65534])
def test_root_system_accounts_and_nobody_never_get_in(uid):
    account = Account("ada", uid, frozenset())
    assert "not a person's" in refusal(account, allow_users=("ada",), admin_users=("ada",))


def test_unknown_and_other_names_are_refused():
    assert "no such account" in refusal(None)
    assert "not the canonical name (ada)" in refusal(ADA, user="Ada")


async def test_admit_tells_the_log_why_and_the_user_nothing_of_it(clock, directory):
    policy = Policy(
        AuthSettings(deny_users=("bob",)), clock, is_admitted=nobody, lookup=directory, uid_min=1000
    )
    await policy.admit("ada")
    with pytest.raises(NotAllowed) as caught:
        await policy.admit("bob")
    assert "deny_users" in caught.value.detail
    assert "deny_users" not in caught.value.user_message


async def test_an_admins_word_counts_beyond_the_allow_lists_but_not_against_a_denial(clock, directory, store):
    directory.add("cyd", 1005, "banned")
    settings = AuthSettings(allow_users=("ada",), deny_groups=("banned",))
    policy = Policy(settings, clock, is_admitted=store.users.is_admitted, lookup=directory, uid_min=1000)
    await policy.admit("ada")
    with pytest.raises(NotAllowed) as caught:
        await policy.admit("bob")
    assert "auth.allow_users" in caught.value.detail
    await store.users.know("bob", 1.0)  # a login or a token of before is no admission
    with pytest.raises(NotAllowed):
        await policy.admit("bob")
    await policy.verify_admissible("bob")
    for user in ("bob", "cyd", "nowhere"):
        await store.users.admit(user, 1.0)
    await policy.admit("bob")
    for user, why in (("cyd", "deny_groups"), ("nowhere", "no such account")):
        for ask in (policy.admit, policy.verify_admissible):
            with pytest.raises(NotAllowed) as caught:
                await ask(user)
            assert why in caught.value.detail
    await store.users.forget("bob")
    with pytest.raises(NotAllowed):
        await policy.admit("bob")


async def test_admins(clock, directory):
    directory.add("cyd", 1005, "wheel")
    directory.add("dan", 1006, "wheel", "banned")
    settings = AuthSettings(admin_users=("ada", "root"), admin_groups=("wheel",), deny_groups=("banned",))
    directory.add("root", 0, "wheel")
    policy = Policy(settings, clock, is_admitted=nobody, lookup=directory, uid_min=1000)

    assert [await policy.is_admin(user) for user in ("ada", "bob", "cyd", "dan", "root", "nobody")] == [
        True, False, True, False, False, False,
    ]  # fmt: skip
    assert policy.is_known_admin("cyd")
    assert not policy.is_known_admin("bob")
    assert not policy.is_known_admin("never asked about")


async def test_the_database_is_asked_once_a_minute(clock, directory, policy):
    for _ in range(5):
        await policy.admit("ada")
        await policy.is_admin("ada")
    assert directory.asked == ["ada"]
    clock.advance(CACHE_S)
    await policy.admit("ada")
    assert directory.asked == ["ada", "ada"]


async def test_groups_are_asked_for_once_a_minute_and_together(clock, directory, policy):
    await policy.admit("ada")
    found = await policy.groups_of(["ada", "unknown"])
    assert found == {"ada": directory.accounts["ada"].groups, "unknown": frozenset()}
    assert await policy.groups_of(["ada", "unknown"]) == found
    assert directory.asked == ["ada", "unknown"]
    clock.advance(CACHE_S)
    await policy.groups_of(["ada"])
    assert directory.asked == ["ada", "unknown", "ada"]


async def test_a_directory_that_is_down_ends_nobodys_login(clock, directory, policy, caplog):
    await policy.admit("ada")
    account = directory.accounts.pop("ada")
    clock.advance(GRACE_S - 1)
    await policy.admit("ada")
    assert "taken as before" in caplog.text
    with pytest.raises(NotAllowed):
        await policy.admit("unknown")
    clock.advance(CACHE_S + 1)
    with pytest.raises(NotAllowed):
        await policy.admit("ada")
    directory.accounts["ada"] = account
    clock.advance(CACHE_S)
    await policy.admit("ada")


def test_the_systems_own_database():
    entry = pwd.getpwuid(os.getuid())
    account = find_account(entry.pw_name)
    assert (account.name, account.uid) == (entry.pw_name, entry.pw_uid)
    assert account.groups
    assert find_account("no such user") is None
    assert find_account("nul\0inside") is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("UID_MIN\t\t\t 1500\n", 1500),
        ("# UID_MIN 5\nSYS_UID_MIN 100\n", 1000),
        ("x\n  UID_MIN 600\n", 600),
        ("", 1000),
    ],
)
def test_uid_min(tmp_path, text, expected):
    (tmp_path / "login.defs").write_text(text)
    assert read_uid_min(tmp_path / "login.defs") == expected
    assert read_uid_min(tmp_path / "missing") == 1000
