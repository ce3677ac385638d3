"""All servers: listed, stopped together, and those of the past."""

from __future__ import annotations

import csv
import io
import threading

import pytest

from minihub.errors import StoreError
from minihub.servers.model import Failure, FailureKind, ServerOptions, State, StopCause
from minihub.web.api import running
from tests.web.fakes import NOW, make_attempt

MINUTE = 60


@pytest.fixture
def admin(api):
    options = ServerOptions(time_hours=1, cores=1, memory_mb=512, account="def-bob", partition="gpu")
    api.put("ada", State.READY, created_at=NOW - 60 * MINUTE)
    api.put("bob", State.QUEUED, created_at=NOW - 10 * MINUTE, options=options)
    api.put("eve", State.STARTING, created_at=NOW - MINUTE, node="node8")
    api.put("zoe", State.STOPPED)
    api.world.servers.active["ada"] = NOW - 30 * MINUTE
    return api.program("admin", user="root-of-all")


@pytest.mark.parametrize(
    ("query", "users"),
    [
        ("", ["ada", "bob", "eve"]),
        ("sort=-user", ["eve", "bob", "ada"]),
        ("sort=created", ["ada", "bob", "eve"]),
        ("sort=node", ["bob", "ada", "eve"]),
        ("sort=state", ["bob", "ada", "eve"]),
        ("sort=last_activity", ["bob", "eve", "ada"]),
        ("state=ready", ["ada"]),
        ("user=bob", ["bob"]),
        ("node=node8", ["eve"]),
        ("account=def-ada", ["ada", "eve"]),
        ("partition=gpu", ["bob"]),
        ("older_than_s=300", ["ada", "bob"]),
        ("idle_longer_s=45", ["ada", "bob", "eve"]),
        ("idle_longer_s=3000", []),
        ("older_than_s=300&account=def-ada", ["ada"]),
        ("offset=1&limit=1", ["bob"]),
    ],
)
async def test_live_servers(api, admin, query, users):
    for user in ("bob", "eve"):
        api.world.servers.attempts[user] = api.world.servers.attempts[user].with_(changed_at=NOW - 50)
    api.world.servers.active["ada"] = NOW - 46
    if "sort=last" in query:
        api.world.servers.active["ada"] = NOW
    answer = await admin.ask("GET", f"/servers?{query}")

    assert (answer.status, [server["user"] for server in answer.body]) == (200, users)


async def test_what_is_wrong_with_a_query_is_said(admin):
    for query, field in (
        ("state=pending", "state"),
        ("older_than_s=-1", "older_than_s"),
        ("older_than_s=nan", "older_than_s"),
        ("idle_longer_s=x", "idle_longer_s"),
        ("nodes=node7", "nodes"),
        ("state=ready&state=queued", "state"),
        ("user=%00", "user"),
        ("limit=0", "limit"),
    ):
        answer = await admin.ask("GET", f"/servers?{query}")
        assert (answer.status, list(answer.body["fields"])) == (400, [field]), query


async def test_a_bulk_stop_is_a_dry_run_first(api, admin):
    answer = await admin.ask("POST", "/servers/stop", {"node": "node7"})

    expected = {"user": "ada", "state": "ready", "job_id": "4242", "node": "node7"}
    assert answer.body == {"dry_run": True, "servers": [expected], "stopped": 0}
    assert api.world.servers.asked == api.world.audit_lines == []

    answer = await admin.ask("POST", "/servers/stop", {"node": "node7", "dry_run": False})

    assert answer.body == {"dry_run": False, "servers": [expected], "stopped": 1}
    assert api.world.servers.asked == [("stop", "ada", StopCause.ADMIN)]
    assert api.world.audit_lines == [("stop", "root-of-all", "ok", "ada")]


@pytest.mark.parametrize(
    ("body", "users"),
    [
        ({"users": ["ada", "eve", "nobody-here"]}, ["ada", "eve"]),
        ({"users": ["ada", "bob"], "state": "ready"}, ["ada"]),
        ({"account": "def-bob"}, ["bob"]),
        ({"partition": "gpu"}, ["bob"]),
        ({"older_than_s": 300}, ["ada", "bob"]),
        ({"state": "stopping"}, []),
    ],
)
async def test_all_conditions_hold(api, admin, body, users):
    answer = await admin.ask("POST", "/servers/stop", {**body, "dry_run": False})

    assert [server["user"] for server in answer.body["servers"]] == users
    assert [asked[1] for asked in api.world.servers.asked] == users


@pytest.mark.parametrize(
    "body", [{}, {"dry_run": False}, {"users": []}, {"node": None, "dry_run": False}, {"all": True}]
)
async def test_nothing_is_stopped_without_a_condition(api, admin, body):
    answer = await admin.ask("POST", "/servers/stop", body)

    assert answer.status == 400
    assert api.world.servers.asked == []


async def test_one_that_cannot_be_stopped_keeps_none_of_the_others(api, admin):
    api.world.servers.stop_error = StoreError()
    answer = await admin.ask("POST", "/servers/stop", {"older_than_s": 0, "dry_run": False})

    assert answer.status == 503
    assert len(api.world.servers.asked) == 3
    assert api.world.audit_lines == []


# -- history ---------------------------------------------------------------------------------------------------


@pytest.fixture
def past(api):
    failure = Failure(FailureKind.TIME_LIMIT, "=cmd|' /C calc'!A0", "TIMEOUT")
    api.world.servers.ended = [
        make_attempt(State.STOPPED, "bob", created_at=NOW - 60),
        make_attempt(
            State.FAILED, "ada", created_at=NOW - 3 * 86400, failure=failure, ended_at=NOW - 2 * 86400
        ),
        make_attempt(State.STOPPED, "ada", created_at=NOW - 30 * 86400),
    ]


@pytest.mark.usefixtures("past")
async def test_ones_own_history(api):
    program = api.program("read:servers!user")
    for query in ("", "?user=ada"):
        body = (await program.ask("GET", f"/history{query}")).body
        assert [server["user"] for server in body] == ["ada", "ada"]
        assert (body[0]["job"]["outcome"], body[1]["job"]["outcome"]) == ("time_limit", "user")
    assert (await program.ask("GET", "/history?user=bob")).status == 403
    assert (await api.program("read:users:name!user").ask("GET", "/history")).status == 403


@pytest.mark.usefixtures("past")
@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", 3),
        ("since=7d", 2),
        ("since=2m", 1),
        ("since=48h&until=1s", 1),
        ("until=7d", 1),
        ("since=2027-01-15T07:58:00Z", 1),
        ("since=2027-01-15T08:58:00%2B01:00", 1),
        ("since=2027-01-01&until=2027-01-14", 1),
        ("user=ada&limit=1&offset=1", 1),
    ],
)
async def test_everybodys_history(api, admin, query, found):
    answer = await admin.ask("GET", f"/history?{query}")

    assert (answer.status, len(answer.body)) == (200, found)


@pytest.mark.usefixtures("past")
async def test_history_in_pages(api, admin):
    accept = {"Accept": "application/jupyterhub-pagination+json"}
    body = (await admin.ask("GET", "/history?limit=2", **accept)).body

    assert (len(body["items"]), body["_pagination"]["total"]) == (2, 3)
    assert body["_pagination"]["next"]["url"].endswith("/hub/api/history?limit=2&offset=2")


@pytest.mark.usefixtures("past")
async def test_history_as_a_table(api, admin):
    for path, headers in (("/history?format=csv", {}), ("/history", {"Accept": "text/csv"})):
        answer = await admin.ask("GET", path, **headers)
        rows = list(csv.DictReader(io.StringIO(answer.body)))

        assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
        assert [(row["user"], row["outcome"]) for row in rows] == [
            ("bob", "user"),
            ("ada", "time_limit"),
            ("ada", "user"),
        ]
        assert rows[1]["message"].startswith("'="), "a spreadsheet must not take it for a formula"
        assert rows[0]["cores"] == "2"
    assert isinstance((await admin.ask("GET", "/history?format=json", Accept="text/csv")).body, list)


@pytest.mark.usefixtures("past")
async def test_a_long_table_is_not_written_in_the_event_loops_thread(admin, monkeypatch):
    threads, write = [], running._write_csv
    monkeypatch.setattr(
        running, "_write_csv", lambda rows: threads.append(threading.get_ident()) or write(rows)
    )
    assert (await admin.ask("GET", "/history?format=csv")).status == 200
    assert threads != [threading.get_ident()]
    assert len(threads) == 1


@pytest.mark.parametrize(
    "query", ["since=yesterday", "until=7y", "since=", "since=99999-01-01", "format=xml", "since=1e9"]
)
async def test_a_wrong_time_is_said(admin, query):
    answer = await admin.ask("GET", f"/history?{query}")

    assert (answer.status, list(answer.body["fields"])) == (400, [query.partition("=")[0]])


async def test_a_job_tells_how_long_it_ran_and_how_it_ended(api):
    program = api.program("self")
    api.put("ada", State.READY)
    job = (await program.ask("GET", "/users/ada/server")).body["job"]
    assert (job["elapsed_s"], job["time_left_s"], job["ended"], job["outcome"]) == (40, 7260, None, None)

    api.put("ada", State.STOPPED)
    job = (await program.ask("GET", "/users/ada/server")).body["job"]
    assert (job["elapsed_s"], job["time_left_s"], job["outcome"]) == (80, None, "user")
    assert job["ended"] == "2027-01-15T07:59:50Z"

    api.put("ada", State.QUEUED)
    job = (await program.ask("GET", "/users/ada/server")).body["job"]
    assert (job["elapsed_s"], job["expected_start"]) == (None, "2027-01-15T08:01:00Z")


async def test_last_activity_is_the_traffic_that_the_hub_saw(api):
    program = api.program("self")
    api.put("ada", State.READY)
    assert (await program.ask("GET", "/users/ada/server")).body["last_activity"] == "2027-01-15T07:59:10Z"
    api.world.servers.active["ada"] = NOW - 1
    assert (await program.ask("GET", "/users/ada/server")).body["last_activity"] == "2027-01-15T07:59:59Z"


async def test_the_default_server_by_its_empty_name(api):
    program = api.program("self")
    api.put("ada", State.QUEUED)

    assert (await program.ask("GET", "/users/ada/servers/")).body["name"] == ""
    assert (await program.ask("POST", "/users/ada/servers/")).status == 202
    assert (await program.ask("DELETE", "/users/ada/servers/")).status == 202


async def test_named_servers_are_off(api):
    program = api.program("self")
    api.put("ada", State.READY)

    assert (await program.ask("GET", "/users/ada/servers/x")).status == 404
    assert (await program.ask("GET", "/users/ada/servers/x/progress")).status == 404
    for method in ("POST", "DELETE"):
        answer = await program.ask(method, "/users/ada/servers/x")
        assert (answer.status, "not enabled" in answer.body["message"]) == (400, True)
    answer = await program.ask("PUT", "/users/ada/servers/x")
    assert (answer.status, answer.headers["Allow"]) == (405, "DELETE,GET,HEAD,POST")
    assert api.world.servers.asked == []
