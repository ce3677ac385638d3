"""API tokens over the API: shown once, never worth more than who makes them, revoked at once."""

from __future__ import annotations

import pytest

from minihub.errors import TooManyAttempts
from minihub.web.api.tokens import Credentials, NewToken
from tests.web.fakes import NOW

ALL_ADMIN = ["admin"]


async def make(program, body=None, user="ada", **headers):
    return await program.ask("POST", f"/users/{user}/tokens", body, **headers)


async def test_a_token_is_made_shown_once_and_revoked(api):
    program = api.program("self")
    body = {"note": "  my  laptop ", "expires_in": 3600, "scopes": ["read:servers!user"]}
    made = await make(program, body)

    assert (made.status, made.body["token"]) == (201, "mh_the-secret-itself")
    shown = {key: value for key, value in made.body.items() if key != "token"}
    assert (shown["note"], shown["scopes"], shown["user"]) == ("my laptop", ["read:servers!user"], "ada")
    assert (shown["created"], shown["expires_at"]) == ("2027-01-15T08:00:00Z", "2027-01-15T09:00:00Z")
    assert (await program.ask("GET", "/users/ada/tokens")).body == {"api_tokens": [shown]}
    assert (await program.ask("GET", "/users/ada/tokens/t1")).body == shown
    assert (await program.ask("DELETE", "/users/ada/tokens/t1")).status == 204
    assert (await program.ask("DELETE", "/users/ada/tokens/t1")).status == 404
    assert (await program.ask("GET", "/users/ada/tokens/t1")).status == 404
    assert [line[0] for line in api.world.audit_lines] == ["token-create", "token-revoke"]


async def test_without_scopes_it_is_for_ones_own_things(api):
    assert (await make(api.program("self"))).body["scopes"] == ["self"]


@pytest.mark.parametrize(
    ("held", "wanted", "status"),
    [
        (["tokens!user"], ["self"], 403),
        (["tokens!user"], ["read:tokens!user"], 201),
        (["tokens!user", "read:servers!user"], ["read:servers"], 201),
        (["tokens!user", "read:servers!user"], ["servers!user"], 403),
        (["self"], ["access:servers!user"], 201),
        (["self"], ["inherit"], 403),
        (["self"], ["admin"], 403),
        (["self"], ["shutdown"], 403),
        (["self"], ["read:servers!user=bob"], 403),
        (["self"], ["no:such"], 400),
        (["read:tokens!user"], ["read:tokens!user"], 403),
    ],
)
async def test_a_token_makes_none_that_may_do_more_than_itself(api, held, wanted, status):
    answer = await make(api.program(*held), {"scopes": wanted})

    assert answer.status == status
    assert len(api.world.tokens.records) == (status == 201)


@pytest.mark.parametrize(
    ("held", "wanted", "user", "status"),
    [
        (["self"], ["inherit"], "root-of-all", 403),
        (["self"], ["admin"], "root-of-all", 403),
        (["self"], ["list:users"], "root-of-all", 403),
        (["self"], ["read:users"], "root-of-all", 403),
        (["self"], ["read:users!user"], "root-of-all", 201),
        (["admin"], ["admin"], "root-of-all", 201),
        (["admin", "self"], ["inherit"], "root-of-all", 201),
        (["admin"], ["read:servers"], "bob", 201),
        (["admin"], ["self"], "bob", 403),
        (["admin"], ["access:servers"], "bob", 403),
        (["admin", "access:servers"], ["self"], "bob", 201),
    ],
)
async def test_an_admins_token_does_not_become_more_either(api, held, wanted, user, status):
    answer = await make(api.program(*held, user="root-of-all"), {"scopes": wanted}, user)

    assert answer.status == status, answer.body


async def test_a_login_makes_tokens_but_an_admins_only_with_the_password(api):
    api.browser.log_in("root-of-all")
    page = {"Sec-Fetch-Site": "same-origin", "X-XSRFToken": api.world.xsrf("root-of-all")}
    program = api.stranger()

    assert (await make(program, {"scopes": ["self"]}, "root-of-all")).status == 403
    assert (await make(program, {"scopes": ["self"]}, "root-of-all", **page)).status == 201
    assert (await make(program, {"scopes": ["admin"]}, "root-of-all", **page)).status == 403
    assert (await make(program, {"scopes": ["inherit"]}, "root-of-all", **page)).status == 403
    assert (await make(program, {"scopes": ["read:servers"]}, "bob", **page)).status == 403
    auth = {"username": "root-of-all", "password": "battery staple"}
    assert (await make(program, {"scopes": ["admin"], "auth": auth}, "root-of-all", **page)).status == 201


async def test_a_password_makes_a_token_without_login(api):
    auth = {"username": "Ada", "password": "correct horse"}
    answer = await make(api.stranger(), {"auth": auth, "note": "first"})

    assert (answer.status, answer.body["scopes"]) == (201, ["self"])
    assert api.world.audit_lines == [("login", "ada", "ok", ""), ("token-create", "ada", "ok", "t1")]
    assert "correct horse" not in str(answer.body)


async def test_a_token_that_may_grow_needs_the_password(api):
    """ "inherit" is worth an admin's rights on the day when its owner becomes one."""
    api.browser.log_in()
    page = {"Sec-Fetch-Site": "same-origin", "X-XSRFToken": api.world.xsrf()}
    auth = {"username": "ada", "password": "correct horse"}

    assert (await make(api.stranger(), {"scopes": ["inherit"]}, **page)).status == 403
    assert (await make(api.stranger(), {"scopes": ["inherit"], "auth": auth}, **page)).status == 201


async def test_the_page_lists_what_the_api_made(api):
    await make(api.program("self"), {"note": "by the API", "scopes": ["read:servers!user"]})
    text = await (await api.browser.log_in().get("/hub/token")).text()

    assert "by the API" in text
    assert "read:servers!user" in text


@pytest.mark.parametrize("user", ["ada", "bob", "no-such-user"])
async def test_a_wrong_password_tells_nothing(api, user):
    answers = [
        await make(api.stranger(), {"auth": {"username": name, "password": "wrong"}}, user)
        for name in ("ada", "no-such-user", " ")
    ]

    assert {answer.status for answer in answers} == {403}
    assert len({answer.body["message"] for answer in answers}) == 1
    assert api.world.tokens.records == []
    assert api.world.audit_lines == [("login", "", "BadCredentials", "")] * 3


async def test_a_password_is_worth_its_users_rights_only(api):
    auth = {"username": "ada", "password": "correct horse"}
    assert (await make(api.stranger(), {"auth": auth}, "bob")).status == 404
    assert (await make(api.stranger(), {"auth": auth, "scopes": ["admin"]})).status == 403
    assert (await make(api.stranger())).status == 401


async def test_logins_by_the_api_are_throttled_as_others_are(api):
    api.world.refusal = TooManyAttempts()
    auth = {"username": "ada", "password": "correct horse"}

    assert (await make(api.stranger(), {"auth": auth})).status == 429


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"expires_in": 0}, "expires_in"),
        ({"expires_in": -1}, "expires_in"),
        ({"expires_in": "soon"}, "expires_in"),
        ({"note": "x" * 201}, "note"),
        ({"note": "a\u0000b"}, "note"),
        ({"scopes": "self"}, "scopes"),
        ({"scopes": ["x"]}, "scopes"),
        ({"roles": ["admin"]}, "roles"),
        ({"auth": {"username": "ada"}}, "auth.password"),
        ({"auth": {"username": "ada", "password": "p" * 5000}}, "auth.password"),
    ],
)
async def test_what_is_wrong_is_said(api, body, field):
    answer = await make(api.program("self"), body)

    assert (answer.status, list(answer.body["fields"])) == (400, [field])


async def test_who_is_not_admitted_gets_none(api):
    program = api.program("self")
    api.world.refused["ada"] = "in auth.deny_users"

    assert (await make(program)).status == 403
    assert api.world.tokens.records == []


async def test_last_use_is_shown(api):
    program = api.program("self")
    await make(program)
    (record,) = api.world.tokens.records
    api.world.tokens.records[:] = [record.__class__(**{**record.__dict__, "last_used_at": NOW - 60})]
    (shown,) = (await program.ask("GET", "/users/ada/tokens")).body["api_tokens"]

    assert shown["last_activity"] == "2027-01-15T07:59:00Z"


def test_a_password_is_in_no_repr():
    wish = NewToken(auth=Credentials(username="ada", password="correct horse"))

    assert "ada" in repr(wish)
    assert "horse" not in repr(wish)
