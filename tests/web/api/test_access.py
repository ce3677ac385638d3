"""Who asks, and what it may do: every endpoint with every kind of token, and with logins."""

from __future__ import annotations

import pytest

from minihub.servers.model import State

OWN = [
    ("GET", "/user"),
    ("GET", "/users/ada"),
    ("GET", "/users/ada/server"),
    ("POST", "/users/ada/server"),
    ("DELETE", "/users/ada/server"),
    ("GET", "/users/ada/server/progress"),
]
OTHERS = [(method, path.replace("ada", "bob")) for method, path in OWN[1:]]
ALL = [*OWN, *OTHERS, ("GET", "/users"), ("GET", "/no/such/thing")]
STATES = {"GET": State.FAILED, "POST": State.SUBMITTING, "DELETE": State.STOPPED}


def put_servers(api, method):
    for user in ("ada", "bob"):
        api.put(user, STATES[method])
    if method == "GET":
        # The only state whose progress ends by itself, and which every GET can show.
        for user in ("ada", "bob"):
            api.put(user, State.READY)
        api.world.servers.hold.set()


async def statuses(api, program, requests):
    found = {}
    for method, path in requests:
        put_servers(api, method)
        found[method, path] = (await program.ask(method, path)).status
    return found


GOOD = {"GET": 200, "POST": 202, "DELETE": 204}


def expect(requests, allowed=lambda _method, _path: True, otherwise=403):
    return {(m, p): GOOD[m] if allowed(m, p) else otherwise for m, p in requests}


@pytest.mark.parametrize("token", ["", "no-such-token"])
async def test_strangers_get_nothing(api, token):
    status = 403 if token else 401
    assert await statuses(api, api.stranger(token), ALL) == dict.fromkeys(ALL, status)
    assert api.world.servers.asked == []


@pytest.mark.parametrize("scope", ["self", "inherit"])
async def test_a_token_for_ones_own_things(api, scope):
    program = api.program(scope)

    assert await statuses(api, program, OWN) == expect(OWN)
    assert await statuses(api, program, OTHERS) == dict.fromkeys(OTHERS, 404)
    assert (await program.ask("GET", "/users")).status == 403
    assert not [asked for asked in api.world.servers.asked if "bob" in asked]


async def test_a_reading_token_neither_starts_nor_stops(api):
    program = api.program("read:servers!user", "read:users!user")

    assert await statuses(api, program, OWN) == expect(OWN, lambda method, _: method == "GET")
    assert await statuses(api, program, OTHERS) == dict.fromkeys(OTHERS, 404)
    assert api.world.servers.asked == []


@pytest.mark.parametrize(
    ("scope", "methods"), [("start:servers", {"GET", "POST"}), ("delete:servers", {"GET", "DELETE"})]
)
async def test_starting_and_stopping_are_two_rights(api, scope, methods):
    program = api.program(f"{scope}!user")

    assert await statuses(api, program, OWN) == expect(OWN, lambda method, _: method in methods)


async def test_a_token_without_servers_sees_its_user_only(api):
    program = api.program("read:users:name!user")

    found = await statuses(api, program, OWN)
    assert found == expect(OWN, lambda _, path: path in ("/user", "/users/ada"))
    assert (await program.ask("GET", "/users/ada")).body == {"kind": "user", "name": "ada", "admin": False}


@pytest.mark.parametrize("scopes", [("admin",), ("inherit",), ("admin:servers", "admin:users")])
async def test_an_admins_token_reaches_others(api, scopes):
    program = api.program(*scopes, user="root-of-all")

    assert await statuses(api, program, OTHERS) == expect(OTHERS)
    assert (await program.ask("GET", "/users")).status == 200


async def test_an_admins_token_for_his_own_things_reaches_nobody_else(api):
    program = api.program("self", user="root-of-all")

    assert await statuses(api, program, OTHERS) == dict.fromkeys(OTHERS, 404)
    assert (await program.ask("GET", "/users")).status == 403


async def test_a_token_for_one_other_users_servers(api):
    program = api.program("servers!user=bob", user="root-of-all")

    assert await statuses(api, program, OTHERS) == expect(OTHERS)
    assert (await program.ask("GET", "/users/ada/server")).status == 404
    assert (await program.ask("GET", "/users")).status == 403


async def test_what_the_idle_culler_is_given_is_enough_and_no_more(api):
    program = api.program(
        "list:users", "read:users:activity", "read:servers", "delete:servers", user="root-of-all"
    )
    put_servers(api, "GET")
    (ada, *_) = (await program.ask("GET", "/users?state=ready")).body

    assert {"name", "admin", "last_activity", "servers"} <= set(ada)
    assert ada["servers"][""]["ready"]
    assert "created" not in ada
    assert (await program.ask("DELETE", "/users/ada/server")).status in (202, 204)
    assert (await program.ask("POST", "/users/ada/server")).status == 403


async def test_nobody_learns_who_exists(api):
    program = api.program("self")
    known = await program.ask("GET", "/users/bob")
    unknown = await program.ask("GET", "/users/nobody-of-this-name")

    assert (known.status, known.body) == (unknown.status, unknown.body) == (404, known.body)


async def test_a_login_has_all_rights_of_its_user(api):
    api.browser.log_in()
    api.put("ada")
    api.put("bob")
    program = api.stranger()

    assert (await program.ask("GET", "/users/ada/server")).status == 200
    assert (await program.ask("GET", "/users/bob/server")).status == 404
    assert (await program.ask("GET", "/users")).status == 403


async def test_an_admins_login_manages_others(api):
    api.browser.log_in("root-of-all")
    api.world.servers.stops_at_once = True
    api.put("bob")
    program = api.stranger()

    assert (await program.ask("GET", "/users")).status == 200
    sent = {"Sec-Fetch-Site": "same-origin", "X-XSRFToken": api.world.xsrf("root-of-all")}
    assert (await program.ask("DELETE", "/users/bob/server", **sent)).status == 204


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "cross-site", "X-XSRFToken": "right"},
        {"Sec-Fetch-Site": "same-origin", "X-XSRFToken": "wrong"},
    ],
)
@pytest.mark.parametrize("method", ["POST", "DELETE"])
async def test_a_login_changes_nothing_without_its_pages_token(api, method, headers):
    api.browser.log_in()
    if headers.get("X-XSRFToken") == "right":
        headers = {**headers, "X-XSRFToken": api.world.xsrf()}
    answer = await api.stranger().ask(method, "/users/ada/server", **headers)

    assert answer.status == 403
    assert api.world.servers.asked == []


async def test_a_token_wins_over_a_login(api):
    api.browser.log_in("root-of-all")

    assert (await api.program("self").ask("GET", "/user")).body["name"] == "ada"
    assert (await api.stranger("no-such-token").ask("GET", "/user")).status == 403


async def test_the_audit_log_is_told_whose_token_is_used(api):
    api.browser.log_in("ada")
    await api.stranger().ask("GET", "/user")
    await api.stranger("no-such-token").ask("GET", "/user")
    assert api.world.tokens_used == []
    await api.program("self").ask("GET", "/user")
    assert api.world.tokens_used == [("ada", "id-of-token-0", "127.0.0.1")]


async def test_bearer_is_a_word_for_token(api):
    token = api.world.give_token("self")
    answer = await api.stranger().ask("GET", "/user", Authorization=f"Bearer {token}")

    assert answer.body["name"] == "ada"
