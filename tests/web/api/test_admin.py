"""The hub's own endpoints: scheduler, audit, groups, routes, announcements, its end."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from minihub.schedulers.base import Endpoint
from minihub.servers.model import Route, Secrets, State, StopCause
from minihub.servers.service import SchedulerHealth
from minihub.store.rows import AuditRow
from tests.web.fakes import NOW


@pytest.fixture
def admin(api):
    return api.program("admin", user="root-of-all")


async def test_health_info_and_the_version_on_every_answer(api, admin):
    assert (await api.stranger().ask("GET", "/health")).body == "ok\n"
    info = (await admin.ask("GET", "/info")).body
    assert info["spawner"]["class"] == "minihub.schedulers.slurm"
    for program, path in (
        (api.stranger(), "/"),
        (api.stranger(), "/user"),
        (admin, "/no/such"),
        (admin, "/users"),
    ):
        assert (await program.ask("GET", path)).headers["X-JupyterHub-Version"] == "5.0.0"
    answer = await api.browser.client.head(
        "/hub/api/users", headers={"Authorization": f"token {admin.token}"}
    )
    assert (answer.status, await answer.read()) == (200, b"")


async def test_the_scheduler(api, admin):
    unknown = (("7", "eve", "minihub-x"),)
    api.world.servers.scheduler_health = SchedulerHealth(
        "slurm",
        last_answer_at=NOW - 40,
        failing_since=NOW - 30,
        problem="It is silent.",
        listing_took_s=0.2,
        hidden=True,
        unknown_jobs=unknown,
    )
    body = (await admin.ask("GET", "/scheduler")).body

    assert (body["up"], body["age_s"], body["failing_since"]) == (False, 40, "2027-01-15T07:59:30Z")
    assert (body["hidden"], body["unknown_jobs"]) == (True, [{"id": "7", "user": "eve", "name": "minihub-x"}])
    assert body["limits_age_s"] == 42
    api.world.servers.scheduler_health = SchedulerHealth("slurm", last_answer_at=None)
    body = (await admin.ask("GET", "/scheduler")).body
    assert (body["up"], body["last_answer"], body["age_s"]) == (False, None, None)


async def test_nobody_waits_for_a_scheduler_that_is_slow_with_its_limits(api, admin, monkeypatch):
    async def never(user, prefill=None):
        await asyncio.Event().wait()

    monkeypatch.setattr("minihub.web.api.admin.LIMITS_PATIENCE_S", 0.01)
    api.world.servers.form = never

    assert (await admin.ask("GET", "/scheduler")).body["limits_age_s"] is None


async def test_the_audit_log(api):
    rows = [
        AuditRow(2, NOW - 60, "root", "stop", "ada", "10.0.0.1", "ok", '{"why": "idle"}'),
        AuditRow(1, NOW - 86400, "ada", "login", "ada", "10.0.0.2", "ok", ""),
    ]
    api.world.deps.audit_log.rows = rows
    program = api.program("read:audit", user="root-of-all")

    async def ids(query):
        return [line["id"] for line in (await program.ask("GET", f"/audit?{query}")).body]

    (newest, _) = (await program.ask("GET", "/audit")).body
    assert (newest["time"], newest["actor"], newest["detail"]) == (
        "2027-01-15T07:59:00Z",
        "root",
        {"why": "idle"},
    )
    assert await ids("about=ada") == [2, 1]
    assert await ids("actor=ada") == await ids("action=login") == await ids("until=1h") == [1]
    assert await ids("since=1h") == await ids("limit=1") == [2]
    assert (await program.ask("GET", "/audit?since=x")).body["fields"].keys() == {"since"}


async def test_groups_are_those_of_known_users(api, admin):
    body = (await admin.ask("GET", "/groups")).body
    assert [(group["name"], group["users"]) for group in body] == [
        ("ada", ["ada"]),
        ("bob", ["bob"]),
        ("people", ["ada", "bob", "root-of-all"]),
        ("root-of-all", ["root-of-all"]),
    ]
    assert api.world.asked_groups == [["ada", "bob", "root-of-all"]], "all in one go"
    assert (await admin.ask("GET", "/groups/people")).body["users"] == ["ada", "bob", "root-of-all"]
    assert (await admin.ask("GET", "/groups/wheel")).status == 404
    (first, *_) = (await api.program("list:groups", user="root-of-all").ask("GET", "/groups")).body
    assert "users" not in first
    assert (await admin.ask("POST", "/groups/people")).status == 405


async def test_routes_without_secrets(api, admin):
    secrets = Secrets("the-token", "the-report", server_cert="cert")
    api.put("ada", State.READY)
    api.put("bob", State.READY)
    api.put("eve", State.QUEUED)
    routes = {
        "ada": Route("ada", "a1", Endpoint(host="node7", port=4000), secrets),
        "bob": Route("bob", "b1", Endpoint(path="/run/bob/socket", uid=1001), Secrets("t", "r")),
    }
    api.world.servers.route = routes.get
    body = (await admin.ask("GET", "/proxy")).body

    assert {path: route["target"] for path, route in body.items()} == {
        "/": "hub",
        "/user/ada/": "https://node7:4000",
        "/user/bob/": "unix:/run/bob/socket",
    }
    assert body["/user/ada/"]["data"]["user"] == "ada"
    accept = {"Accept": "application/jupyterhub-pagination+json"}
    page = (await admin.ask("GET", "/proxy?limit=1&offset=1", **accept)).body
    assert (list(page["items"]), page["_pagination"]["total"]) == (["/user/ada/"], 3)
    assert "the-" not in str(body)


async def test_announcements(api, admin):
    answer = await admin.ask(
        "POST", "/announcements", {"text": " Maintenance. ", "level": "warning", "expires_in": 60}
    )
    assert (answer.status, answer.body["text"], answer.body["by"]) == (201, "Maintenance.", "root-of-all")
    assert answer.body["expires"] == "2027-01-15T08:01:00Z"
    reader = api.program("read:users:name!user")
    assert (await reader.ask("GET", "/announcements")).body == [answer.body]
    assert (await api.stranger().ask("GET", "/announcements")).status == 401
    api.world.clock.advance(61)
    assert (await reader.ask("GET", "/announcements")).body == []
    assert (await admin.ask("DELETE", "/announcements/1")).status == 204
    for number in ("1", "0", "-1", "x", "²", "9" * 30):
        assert (await admin.ask("DELETE", f"/announcements/{number}")).status == 404
    assert [line[0] for line in api.world.audit_lines] == ["announce", "announce-end"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "text"),
        ({"text": "  "}, "text"),
        ({"text": "x" * 1001}, "text"),
        ({"text": "x", "level": "bad"}, "level"),
        ({"text": "x", "expires_in": 0}, "expires_in"),
        ({"text": "x", "expires_in": True}, "expires_in"),
    ],
)
async def test_what_is_wrong_with_an_announcement_is_said(admin, body, field):
    answer = await admin.ask("POST", "/announcements", body)

    assert (answer.status, list(answer.body["fields"])) == (400, [field])


async def test_the_end_of_the_hub(api):
    program = api.program("shutdown", user="root-of-all")
    api.put("ada", State.READY)
    answer = await program.ask("POST", "/shutdown", {"proxy": True})
    assert (answer.status, "stay up" in answer.body["message"]) == (202, True)
    assert api.world.servers.asked == [("shut down",)]

    answer = await program.ask("POST", "/shutdown", {"servers": True})
    assert (answer.status, "stay up" in answer.body["message"]) == (202, False)
    assert api.world.servers.asked[1:] == [("stop", "ada", StopCause.ADMIN), ("shut down",)]
    assert ("shutdown", "root-of-all", "ok", "with servers") in api.world.audit_lines


# -- options ---------------------------------------------------------------------------------------------------


async def test_what_may_be_asked_for(api):
    body = (await api.program("self").ask("GET", "/options/schema")).body

    assert body["additionalProperties"] is False
    assert body["properties"]["cores"] == {"type": "integer", "default": 1, "minimum": 1, "maximum": 64}
    assert body["properties"]["account"]["enum"] == ["def-ada", "rrg-prof"]
    assert body["properties"]["gpu_type"]["enum"] == ["a100", "t4"]
    assert body["properties"]["time_hours"]["maximum"] == 72
    assert not {"qos", "reservation"} & set(body["properties"])
    assert (await api.program("read:servers!user").ask("GET", "/options/schema")).status == 403


async def test_what_may_be_asked_for_while_the_scheduler_is_silent(api):
    api.world.servers.form_now = replace(api.world.servers.form_now, limits=None, problem="It is silent.")
    body = (await api.program("self").ask("GET", "/options/schema")).body

    assert body["description"] == "It is silent."
    assert "maximum" in body["properties"]["cores"]


async def test_an_estimate(api):
    program = api.program("self")
    answer = await program.ask("POST", "/options/estimate", {"cores": 2})

    assert answer.body == {"expected_start": "2027-01-15T08:10:00Z", "wait_s": 600, "message": ""}
    assert api.world.servers.asked == [("estimate", "ada", {"cores": 2})]
    assert (await program.ask("POST", "/options/estimate", {"core": 2})).body["fields"].keys() == {"core"}


async def test_estimates_come_one_at_a_time(api):
    program = api.program("self")
    api.world.servers.estimate_gate = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        first = group.create_task(program.ask("POST", "/options/estimate"))
        async with asyncio.timeout(30):
            while not api.world.servers.asked:
                await asyncio.sleep(0)
        assert (await program.ask("POST", "/options/estimate")).status == 429
        api.world.servers.estimate_gate.set()
    assert first.result().status == 200
