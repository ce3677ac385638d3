"""Users: shown, let in, forgotten, revoked; and nobody learns more than he may."""

from __future__ import annotations

import pytest

from minihub.errors import StoreError
from minihub.servers.model import State, StopCause
from tests.web.fakes import NOW


@pytest.fixture
def admin(api):
    return api.program("admin", user="root-of-all")


async def test_users_sorted(api, admin):
    async def names(sort):
        return [user["name"] for user in (await admin.ask("GET", f"/users?sort={sort}")).body]

    assert await names("name") == ["ada", "bob", "root-of-all"]
    assert await names("-name") == ["root-of-all", "bob", "ada"]
    assert await names("id") == await names("last_activity") == await names("name")
    assert (await admin.ask("GET", "/users?sort=age")).body["fields"].keys() == {"sort"}


async def test_stopped_servers_are_shown_if_asked_for(api, admin):
    api.put("ada", State.STOPPED)

    for path in ("/users/ada", "/users?name_filter=ada"):
        mark = "&" if "?" in path else "?"
        for answer, shown in ((path, False), (f"{path}{mark}include_stopped_servers=True", True)):
            body = (await admin.ask("GET", answer)).body
            (user,) = body if isinstance(body, list) else [body]
            assert bool(user["servers"]) is shown
            assert not shown or user["servers"][""]["stopped"]


async def test_groups_are_looked_up_only_for_who_may_see_them(api, admin):
    assert (await admin.ask("GET", "/users/ada")).body["groups"] == ["ada", "people"]
    api.world.asked_groups.clear()

    assert "groups" not in (await api.program("read:users:name!user").ask("GET", "/users/ada")).body
    await api.program("self").ask("GET", "/users/bob")
    assert api.world.asked_groups == []


async def test_users_are_let_in_beforehand(api, admin):
    answer = await admin.ask("POST", "/users", {"usernames": ["carol", "ada", "carol", "dave"]})

    assert (answer.status, [user["name"] for user in answer.body]) == (201, ["carol", "dave"])
    assert api.world.audit_lines == [
        ("user-create", "root-of-all", "ok", "carol"),
        ("user-create", "root-of-all", "ok", "dave"),
    ]
    assert (await admin.ask("POST", "/users", {"usernames": ["carol", "ada"]})).status == 409
    assert (await admin.ask("POST", "/users/erin")).status == 201
    assert (await admin.ask("POST", "/users/erin")).status == 409


async def test_the_settings_denial_wins(api, admin):
    api.world.refused["mallory"] = "in auth.deny_users"
    answer = await admin.ask("POST", "/users", {"usernames": ["carol", "mallory"]})

    assert (answer.status, answer.body["fields"].keys()) == (400, {"usernames.1"})
    assert "auth.deny_users" in answer.body["fields"]["usernames.1"]
    assert (await admin.ask("POST", "/users/mallory")).body["fields"].keys() == {"name"}
    assert not api.world.users.names & {"carol", "mallory"}


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, {"usernames"}),
        ({"usernames": []}, {"usernames"}),
        ({"usernames": "ada"}, {"usernames"}),
        ({"usernames": [1]}, {"usernames.0"}),
        ({"usernames": ["x"], "admin": True}, {"admin"}),
        ({"usernames": ["x"], "nmae": 1}, {"nmae"}),
    ],
)
async def test_what_is_wrong_with_new_users_is_said(admin, body, fields):
    answer = await admin.ask("POST", "/users", body)

    assert (answer.status, set(answer.body["fields"])) == (400, fields)


async def test_a_user_is_forgotten(api, admin):
    api.put("bob", State.READY)
    bobs = api.program("self", user="bob")
    api.world.log_in("bob")
    answer = await admin.ask("DELETE", "/users/bob")

    assert answer.status == 204
    assert ("stop", "bob", StopCause.ADMIN) in api.world.servers.asked
    assert "bob" not in api.world.users.names
    assert (await bobs.ask("GET", "/user")).status == 403
    assert not [login for login in api.world.identity.logins.values() if login.user == "bob"]
    assert (await admin.ask("DELETE", "/users/bob")).status == 404
    assert (await admin.ask("DELETE", "/users/root-of-all")).status == 400
    assert api.world.audit_lines[-1] == ("user-delete", "root-of-all", "ok", "bob")


async def test_a_user_whose_server_cannot_be_stopped_is_not_forgotten(api, admin):
    api.put("bob", State.READY)
    api.world.servers.stop_error = StoreError()

    assert (await admin.ask("DELETE", "/users/bob")).status == 503
    assert "bob" in api.world.users.names


async def test_names_and_admins_are_not_changed_here(api, admin):
    for body in ({"name": "b"}, {"admin": True}, {"auth_state": {"a": 1}}):
        answer = await admin.ask("PATCH", "/users/bob", body)
        assert (answer.status, set(answer.body["fields"])) == (400, set(body))
    assert (await admin.ask("PATCH", "/users/bob", {"name": "bob", "admin": False})).status == 200
    assert (await admin.ask("PATCH", "/users/nobody-here", {"name": "x"})).status == 404


async def test_all_logins_and_tokens_of_a_user_end(api, admin):
    bobs = api.program("self", user="bob")
    api.world.log_in("bob")
    answer = await admin.ask("DELETE", "/users/bob/logins")

    assert (answer.status, answer.body) == (200, {"logins": 1, "tokens": 1})
    assert (await bobs.ask("GET", "/user")).status == 403
    assert (await admin.ask("DELETE", "/users/bob/logins")).body == {"logins": 0, "tokens": 0}
    assert (await api.program("self").ask("DELETE", "/users/ada/logins")).status == 403


async def test_activity_is_noted(api):
    program = api.program("users:activity!user")
    for at, seen in ((NOW - 5, NOW - 5), ("2027-01-15T07:59:58Z", NOW - 2), (NOW + 60, NOW)):
        body = {"last_activity": at, "servers": {"": {"last_activity": at}}}
        assert (await program.ask("POST", "/users/ada/activity", body)).status == 200
        assert api.world.users.seen["ada"] == seen
    given = [asked for asked in api.world.servers.asked if asked[0] == "note_activity"]
    assert given == [("note_activity", "ada", at) for at in (NOW - 5, NOW - 2, NOW + 60)]
    await program.ask("POST", "/users/ada/activity", {"last_activity": NOW})
    other = {"servers": {"other": {"last_activity": NOW}}}
    assert (await program.ask("POST", "/users/ada/activity", other)).body["fields"].keys() == {"servers"}
    assert len([asked for asked in api.world.servers.asked if asked[0] == "note_activity"]) == len(given)

    for at in (NOW + 3600, "yesterday", "2027-13-01", -1, 1e300, "9d"):
        answer = await program.ask("POST", "/users/ada/activity", {"last_activity": at})
        assert (answer.status, set(answer.body["fields"])) == (400, {"last_activity"}), at
    assert (await program.ask("POST", "/users/ada/activity")).status == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", ""),
        ("PATCH", ""),
        ("DELETE", ""),
        ("DELETE", "/logins"),
        ("POST", "/activity"),
        ("GET", "/tokens"),
        ("POST", "/tokens"),
        ("GET", "/tokens/t1"),
        ("DELETE", "/tokens/t1"),
        ("GET", "/servers/x"),
        ("POST", "/servers/x"),
        ("DELETE", "/servers/x"),
        ("GET", "/servers/"),
        ("GET", "/servers/x/progress"),
    ],
)
async def test_nobody_learns_who_exists(api, method, path):
    """The same answer, and nothing is asked that could take longer for one than for the other."""
    api.put("bob", State.READY)
    program = api.program("self")
    asked = [await program.ask(method, f"/users/{name}{path}") for name in ("bob", "no-such-user")]

    assert [answer.status for answer in asked] == [404, 404]
    assert asked[0].body == asked[1].body
    assert api.world.servers.asked == api.world.asked_groups == api.world.admitted == []


async def test_everybodys_lists_are_not_for_users(api):
    program = api.program("self")
    for method, path, body in (
        ("GET", "/users", None),
        ("POST", "/users", {"usernames": ["bob"]}),
        ("GET", "/groups", None),
        ("GET", "/groups/people", None),
        ("GET", "/servers", None),
        ("POST", "/servers/stop", {"users": ["bob"], "dry_run": False}),
        ("GET", "/history?user=bob", None),
        ("GET", "/audit", None),
        ("GET", "/proxy", None),
        ("GET", "/scheduler", None),
        ("GET", "/info", None),
        ("POST", "/shutdown", None),
        ("POST", "/announcements", {"text": "x"}),
        ("DELETE", "/announcements/1", None),
    ):
        assert (await program.ask(method, path, body)).status == 403, path
    assert api.world.servers.asked == api.world.asked_groups == []
