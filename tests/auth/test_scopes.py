from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minihub.auth.model import Principal
from minihub.auth.scopes import (
    IMPLIES,
    ROLES,
    allows,
    covers,
    effective_scopes,
    is_all_own,
    parse_scope,
    verify_scopes,
)
from minihub.errors import Forbidden, OptionsError

OWN_ACTS = ("read:users", "read:servers", "start:servers", "delete:servers", "tokens", "access:servers")
ADMIN_ACTS = ("admin:users", "delete:users", "shutdown", "read:hub", "read:metrics", "list:users")


def login(user="ada", *, admin=False):
    return Principal(user, admin, "login", "k")


def token(*scopes, user="ada", admin=False):
    kept = effective_scopes(scopes, user, admin=admin)
    return Principal(user, "admin" in kept, "token", "t", kept)


def test_everything_implied_exists():
    assert {name for names in IMPLIES.values() for name in names} <= set(IMPLIES)


@pytest.mark.parametrize("scope", OWN_ACTS)
def test_a_login_does_everything_with_its_own_and_nothing_with_others(scope):
    assert allows(login(), scope, "ada")
    assert not allows(login(), scope, "bob")
    assert not allows(login(), scope)


def test_an_admins_login_manages_others_but_does_not_open_their_servers():
    admin = login(admin=True)
    assert all(allows(admin, scope, "bob") for scope in OWN_ACTS if scope != "access:servers")
    assert all(allows(admin, scope) for scope in ADMIN_ACTS)
    assert allows(admin, "access:servers", "ada")
    assert not allows(admin, "access:servers", "bob")


def test_nobody_manages_users_without_being_an_admin():
    for scope in ("admin:users", "delete:users", "shutdown"):
        assert not allows(login(), scope, "ada")
        assert not allows(token("self", "inherit"), scope, "ada")


def test_self_is_all_of_ones_own():
    assert all(allows(token("self"), scope, "ada") for scope in OWN_ACTS)
    assert not any(allows(token("self", admin=True), scope, "bob") for scope in OWN_ACTS)
    assert not any(allows(token("self", admin=True), scope) for scope in ADMIN_ACTS)


def test_admin_is_everything_but_the_use_of_others_servers():
    admin = token("admin", admin=True)
    assert all(allows(admin, scope, "bob") for scope in (*OWN_ACTS, *ADMIN_ACTS) if scope != "access:servers")
    assert not allows(admin, "access:servers", "bob")
    assert allows(token("admin", "access:servers", admin=True), "access:servers", "bob")


def test_a_single_scope_is_no_more_than_that():
    monitor = token("read:metrics", admin=True)
    assert allows(monitor, "read:metrics")
    assert not any(allows(monitor, scope, "ada") for scope in OWN_ACTS)


def test_scopes_contain_others():
    assert allows(token("servers"), "read:users:name", "ada")
    assert allows(token("admin:users", admin=True), "users:activity", "bob")
    assert not allows(token("read:servers"), "delete:servers", "ada")


def test_scopes_limited_to_a_user():
    culler = token("servers!user=bob", "tokens!user", admin=True)
    assert allows(culler, "delete:servers", "bob")
    assert not allows(culler, "delete:servers", "cyd")
    assert not allows(culler, "delete:servers")
    assert allows(culler, "read:tokens", "ada")
    assert not allows(culler, "read:tokens", "bob")


def test_what_the_idle_culler_needs():
    culler = token(
        "list:users", "read:users:activity", "read:servers", "delete:servers", user="svc", admin=True
    )
    for scope in ("list:users", "read:users:activity", "read:servers", "delete:servers"):
        assert allows(culler, scope)
        assert allows(culler, scope, "bob")
    assert not allows(culler, "start:servers", "bob")


@pytest.mark.parametrize(
    "bad", ["", "x", "read", "self!user", "servers!group=x", "servers!user=", "servers!", "!user"]
)
def test_what_is_no_scope(bad):
    with pytest.raises(OptionsError):
        parse_scope(bad, "ada")
    with pytest.raises(OptionsError):
        verify_scopes([bad], "ada", admin=True)


@pytest.mark.parametrize(
    "beyond",
    [
        "admin",
        "admin:users",
        "admin:users!user",
        "admin:users!user=ada",
        "read:hub",
        "shutdown",
        "servers!user=bob",
    ],
)
def test_more_than_the_owner_has_is_refused(beyond):
    with pytest.raises(Forbidden):
        verify_scopes(["self", beyond], "ada", admin=False)
    assert verify_scopes([beyond], "ada", admin=True) == {beyond}


def test_no_scope_means_self():
    assert verify_scopes([], "ada", admin=False) == {"self"}


def test_inherit_is_what_the_owner_has():
    assert effective_scopes(["inherit"], "ada", admin=False) == {"self"}
    assert effective_scopes(["inherit"], "ada", admin=True) == {"self", "admin"}


def test_scopes_of_a_newer_hub_are_worth_nothing():
    assert effective_scopes(["fly", "self"], "ada", admin=True) == {"self"}


ANY_SCOPE = st.sampled_from(
    [
        *IMPLIES,
        *ROLES,
        *(f"{name}!user" for name in IMPLIES),
        *(f"{name}!user={who}" for name in IMPLIES for who in ("ada", "bob")),
    ]
)


@given(st.lists(ANY_SCOPE), st.sampled_from(sorted(IMPLIES)), st.sampled_from(["ada", "bob", None]))
def test_no_token_can_do_more_than_its_owners_login(scopes, scope, user):
    """But for access:servers of an admin, which is the one thing only tokens can."""
    for admin in (False, True):
        may = allows(token(*scopes, admin=admin), scope, user)
        if may and not (admin and scope == "access:servers"):
            assert allows(login(admin=admin), scope, user)


@given(
    st.lists(ANY_SCOPE, max_size=4),
    st.lists(ANY_SCOPE, min_size=1, max_size=3),
    st.sampled_from(["ada", "bob"]),
    st.sampled_from(sorted(IMPLIES)),
    st.sampled_from(["ada", "bob", "eve", None]),
)
def test_what_is_covered_can_do_no_more(held, wanted, owner, scope, user):
    """`covers` lets nobody make a token, of anybody, that may do what he may not."""
    for admin in (False, True):
        maker = token(*held, admin=True)
        effective = effective_scopes(wanted, owner, admin=admin)
        made = Principal(owner, "admin" in effective, "token", "t", effective)
        if covers(maker, effective, owner) and allows(made, scope, user):
            assert allows(maker, scope, user)


def test_everything_covers_itself():
    for text in [*IMPLIES, "self", "admin"]:
        for admin in (False, True):
            maker = token(text, "self", admin=admin)
            assert covers(maker, effective_scopes([text], "ada", admin=admin), "ada"), text


def test_everything_on_ones_own_things_is_not_everything():
    maker = token(*(f"{name}!user=ada" for name in IMPLIES), admin=True)

    assert not covers(maker, {"admin"}, "ada")
    assert covers(maker, {"self"}, "ada")


def test_what_is_all_ones_own():
    for scopes, own in (
        ({"self"}, True),
        ({"read:servers!user=ada", "tokens!user=ada"}, True),
        ({"read:servers"}, False),
        ({"read:servers!user=bob"}, False),
        ({"admin"}, False),
        ({"shutdown!user=ada"}, False),
    ):
        assert is_all_own(scopes, "ada") is own, scopes
