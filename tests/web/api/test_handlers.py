"""Every endpoint: what it answers, and what it does."""

from __future__ import annotations

import json

import pytest

from minihub.errors import Conflict, OptionsError, SchedulerUnavailable
from minihub.servers.model import Failure, FailureKind, State, StopCause
from minihub.servers.service import Progress
from tests.web.fakes import NOW, make_attempt


async def test_anybody_may_ask_for_the_version(api):
    for path in ("", "/"):
        answer = await api.stranger().ask("GET", path)
        assert (answer.status, answer.body["version"]) == (200, "5.0.0")


async def test_who_am_i(api):
    body = (await api.program("self").ask("GET", "/user")).body
    assert (body["name"], body["admin"], body["scopes"]) == ("ada", False, ["self"])
    assert body["token_id"] == "id-of-token-0"

    api.world.users.names.add("root-of-all")
    api.browser.log_in("root-of-all")
    body = (await api.stranger().ask("GET", "/user")).body
    assert (body["name"], body["admin"], body["scopes"], body["token_id"]) == (
        "root-of-all",
        True,
        ["self", "admin"],
        None,
    )


# -- users -----------------------------------------------------------------------------------------------------


@pytest.fixture
def admin(api):
    api.world.users.names.update({f"user{number}" for number in range(5)})
    return api.program("admin", user="root-of-all")


async def test_users_in_pages(api, admin):
    everybody = [user["name"] for user in (await admin.ask("GET", "/users")).body]
    assert everybody == ["ada", "bob", "root-of-all", *[f"user{number}" for number in range(5)]]

    accept = {"Accept": "application/jupyterhub-pagination+json"}
    seen, path = [], "/users?limit=3"
    while path:
        body = (await admin.ask("GET", path, **accept)).body
        assert len(body["items"]) <= 3
        assert (body["_pagination"]["total"], body["_pagination"]["limit"]) == (8, 3)
        assert body["_pagination"]["offset"] == len(seen)
        seen += [user["name"] for user in body["items"]]
        following = body["_pagination"]["next"]
        path = following and "/users" + following["url"].partition("/hub/api/users")[2]
    assert seen == everybody


async def test_users_by_name_and_state(api, admin):
    api.put("ada", State.READY)
    api.put("bob", State.QUEUED)
    api.put("user1", State.STOPPED)

    async def names(query):
        return [user["name"] for user in (await admin.ask("GET", f"/users?{query}")).body]

    assert await names("name_filter=b") == ["bob"]
    assert await names("state=ready") == ["ada"]
    assert await names("state=active") == ["ada", "bob"]
    assert await names("state=inactive&limit=2&offset=1") == ["user0", "user1"]


@pytest.mark.parametrize(
    "query", ["limit=x", "limit=-1", "offset=1.5", "offset=9999999999", "state=running", "limit=²"]
)
async def test_a_wrong_query_is_said(admin, query):
    answer = await admin.ask("GET", f"/users?{query}")
    assert (answer.status, answer.body["status"]) == (400, 400)
    assert answer.body["message"]


async def test_one_user(api):
    api.put("ada", State.READY)
    body = (await api.program("self").ask("GET", "/users/ada")).body

    assert (body["kind"], body["server"], body["pending"]) == ("user", "/user/ada/", None)
    assert (body["created"], body["last_activity"]) == ("2027-01-15T07:43:20Z", "2027-01-15T07:59:50Z")
    assert body["servers"][""]["job"]["id"] == "4242"
    api.put("ada", State.STOPPED)
    assert (await api.program("self").ask("GET", "/users/ada")).body["servers"] == {}


async def test_an_unknown_user_is_not_found_by_an_admin_either(admin):
    for method, path in (("GET", "/users/x"), ("GET", "/users/x/server"), ("POST", "/users/x/server")):
        assert (await admin.ask(method, path)).status == 404
    assert (await admin.ask("GET", "/users/x/server/progress")).status == 400


# -- start -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "options"),
    [
        (None, None),
        (b" \n", None),
        ({}, None),
        ({"user_options": {}}, None),
        ({"user_options": None}, None),
        ({"user_options": {"cores": 2}}, {"cores": 2}),
        ({"cores": 2, "display_name": "x"}, {"cores": 2}),
    ],
)
async def test_a_start(api, body, options):
    answer = await api.program("self").ask("POST", "/users/ada/server", body)

    assert (answer.status, answer.body["pending"], answer.body["ready"]) == (202, "spawn", False)
    assert api.world.servers.asked == [("start", "ada", options)]
    assert api.world.audit_lines == [("start", "ada", "ok", "ada")]


@pytest.mark.parametrize(
    "body",
    [b"{", b"[]", b'"x"', b"7", b"\xff\xfe", b"cores=2", b"[" * 100_000, b'{"user_options": []}'],
    ids=lambda body: repr(body[:12]),
)
@pytest.mark.parametrize("kind", ["application/json", "text/plain; charset=no-such", "multipart/form-data"])
async def test_a_wrong_body_starts_nothing(api, body, kind):
    answer = await api.program("self").ask("POST", "/users/ada/server", body, **{"Content-Type": kind})

    assert answer.status == (400 if kind == "application/json" else 415)
    assert answer.body["message"]
    assert api.world.servers.asked == []


async def test_too_large_a_body_is_refused(api):
    answer = await api.program("self").ask("POST", "/users/ada/server", b" " * 300_000)

    assert answer.status == 413
    assert api.world.servers.asked == []


async def test_wrong_options_are_named(api):
    api.world.servers.start_error = OptionsError({"cores": "At most 8."})
    answer = await api.program("self").ask("POST", "/users/ada/server", {"cores": 99})

    assert (answer.status, answer.body["fields"]) == (400, {"cores": "At most 8."})


@pytest.mark.parametrize(
    ("error", "status"), [(Conflict("Wait."), 409), (SchedulerUnavailable("Slurm is silent."), 503)]
)
async def test_a_start_that_is_not_possible_now(api, error, status):
    api.world.servers.start_error = error
    answer = await api.program("self").ask("POST", "/users/ada/server")

    assert (answer.status, answer.body) == (status, {"status": status, "message": error.user_message})
    assert api.world.audit_lines == []


async def test_a_second_start_shows_the_one_there_is(api):
    program = api.program("self")
    api.put("ada", State.QUEUED)
    answer = await program.ask("POST", "/users/ada/server")
    assert (answer.status, answer.body["job"]["id"]) == (202, "4242")

    api.put("ada", State.READY)
    answer = await program.ask("POST", "/users/ada/server")
    assert (answer.status, answer.body["server"]["ready"]) == (400, True)
    assert api.world.audit_lines == []


async def test_an_admin_starts_and_stops_for_others(api, admin):
    assert (await admin.ask("POST", "/users/bob/server")).status == 202
    assert (await admin.ask("DELETE", "/users/bob/server")).status == 202

    assert api.world.servers.asked == [("start", "bob", None), ("stop", "bob", StopCause.ADMIN)]
    assert api.world.audit_lines == [
        ("start", "root-of-all", "ok", "bob"),
        ("stop", "root-of-all", "ok", "bob"),
    ]


# -- look and stop ---------------------------------------------------------------------------------------------


async def test_a_server_and_its_job(api):
    program = api.program("self")
    assert (await program.ask("GET", "/users/ada/server")).status == 404
    api.put("ada", State.READY)
    body = (await program.ask("GET", "/users/ada/server")).body

    assert (body["ready"], body["stopped"], body["url"]) == (True, False, "/user/ada/")
    assert (body["job"]["node"], body["job"]["time_left_s"]) == ("node7", 7260)
    assert body["user_options"]["cores"] == 2
    assert "secret-" not in json.dumps(body)


async def test_how_the_last_one_failed(api):
    failure = Failure(FailureKind.TIME_LIMIT, "The job reached its time limit.", "TIMEOUT", "Start again.")
    api.put("ada", State.FAILED, failure=failure, ended_at=NOW)
    body = (await api.program("self").ask("GET", "/users/ada/server")).body

    assert (body["stopped"], body["failure"]["kind"]) == (True, "time_limit")
    assert body["failure"]["advice"] == "Start again."


async def test_a_stop(api):
    program = api.program("self")
    assert (await program.ask("DELETE", "/users/ada/server")).status == 204
    api.put("ada", State.READY)
    answer = await program.ask("DELETE", "/users/ada/server")
    assert (answer.status, answer.body["pending"]) == (202, "stop")
    api.world.servers.stops_at_once = True
    answer = await program.ask("DELETE", "/users/ada/server")
    assert (answer.status, answer.body) == (204, None)
    assert (await program.ask("DELETE", "/users/ada/server")).status == 204

    assert {asked[2] for asked in api.world.servers.asked} == {StopCause.API}


# -- progress --------------------------------------------------------------------------------------------------


async def test_progress_as_events(api):
    starting = make_attempt(State.STARTING)
    api.put("ada", State.STARTING)
    api.world.servers.steps = [
        Progress(20, "The job is waiting in the queue.", attempt=make_attempt(State.QUEUED)),
        Progress(60, "The job is running; Jupyter is starting.", attempt=starting),
        Progress(100, "Your server is ready.", ready=True, attempt=make_attempt(State.READY)),
    ]
    token = api.world.give_token("self")
    answer = await api.browser.client.get(
        "/hub/api/users/ada/server/progress", headers={"Authorization": f"token {token}"}
    )
    text = await answer.text()

    assert (answer.status, answer.content_type) == (200, "text/event-stream")
    events = [json.loads(line.removeprefix("data: ")) for line in text.splitlines() if line]
    assert [event["progress"] for event in events] == [20, 60, 100]
    assert (events[0]["job_id"], events[0]["reason"]) == ("4242", "Priority")
    assert (events[-1]["ready"], events[-1]["url"]) == (True, "/user/ada/")
    assert api.world.servers.watching == 0


async def test_progress_of_a_failure_says_why_and_what_to_do(api):
    failure = Failure(
        FailureKind.REJECTED, "The scheduler refused the job.", "No such account.", "Change it."
    )
    failed = make_attempt(State.FAILED, failure=failure)
    api.world.servers.attempts["ada"] = failed
    api.world.servers.steps = [Progress(100, failure.message, failed=True, attempt=failed)]
    token = api.world.give_token("self")
    answer = await api.browser.client.get(
        "/hub/api/users/ada/server/progress",
        headers={"Authorization": f"token {token}", "Accept-Language": "fr"},
    )
    (line,) = [line for line in (await answer.text()).splitlines() if line]
    event = json.loads(line.removeprefix("data: "))

    assert (event["failed"], event["kind"], event["reason"]) == (True, "rejected", "No such account.")
    assert event["message"].startswith("L’ordonnanceur")  # noqa: RUF001 - French writes apostrophes so


async def test_there_is_no_progress_of_what_does_not_start(api):
    program = api.program("self")
    assert (await program.ask("GET", "/users/ada/server/progress")).status == 400
    api.put("ada", State.STOPPED)
    assert (await program.ask("GET", "/users/ada/server/progress")).status == 400


# -- a launcher's report ---------------------------------------------------------------------------------------


async def test_a_report_needs_no_token_but_its_secret(api):
    answer = await api.stranger().ask("POST", "/report", {"secret": "secret-report", "port": 4000})

    assert (answer.status, answer.body) == (204, None)
    assert api.world.servers.asked == [("report", "secret-report", 4000)]
    assert (await api.stranger().ask("POST", "/report", {"secret": "x", "port": 1})).status == 409


@pytest.mark.parametrize(
    "body",
    [
        None,
        {"secret": "secret-report"},
        {"port": 1},
        {"secret": "secret-report", "port": "1"},
        {"secret": "secret-report", "port": True},
        {"secret": "secret-report", "port": 1.0},
        {"secret": 7, "port": 1},
        {"secret": "secret-report", "port": 1, "host": "evil"},
    ],
)
async def test_a_wrong_report_is_not_passed_on(api, body):
    assert (await api.stranger().ask("POST", "/report", body)).status == 400
    assert api.world.servers.asked == []


async def test_what_does_not_exist(api):
    program = api.program("self")
    for method, path in (("GET", "/no/such"), ("PUT", "/user"), ("PUT", "/users/ada"), ("GET", "//")):
        answer = await program.ask(method, path)
        assert answer.status == (405 if method == "PUT" else 404)
        assert answer.body["status"] == answer.status
        assert method != "PUT" or {"GET", "HEAD"} <= set(answer.headers["Allow"].split(","))
