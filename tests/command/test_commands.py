"""Each command: what it asks the API, what it shows, with which exit status it ends."""

from __future__ import annotations

import io
import json
import re

import pytest
from aiohttp import web

from minihub.command import records
from tests.command.conftest import server


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def typing(monkeypatch):
    """`typing("y\\n")`: somebody sits there and answers so."""
    return lambda text: monkeypatch.setattr("sys.stdin", Terminal(text))


@pytest.fixture
def nobody(monkeypatch):
    """No terminal: a script."""
    monkeypatch.setattr("sys.stdin", io.StringIO(""))


# ---- servers --------------------------------------------------------------------------------------------------------


async def test_servers_list_asks_with_all_filters(minihub, hub):
    hub.will("GET", "/servers", [])
    done = await minihub(
        "servers", "list", "--user", "alice", "--state", "ready", "--node", "node1", "--account", "def-prof1",
        "--partition", "cpu", "--older-than", "2h", "--idle-longer", "30m", "--sort=-created",
    )  # fmt: skip
    assert done.status == 0
    assert done.err == "minihub: no server matches\n"
    [asked] = hub.asked_for("GET", "/servers")
    assert asked == {
        "user": "alice", "state": "ready", "node": "node1", "account": "def-prof1", "partition": "cpu",
        "older_than_s": "7200.0", "idle_longer_s": "1800.0", "sort": "-created", "offset": "0", "limit": "200",
    }  # fmt: skip


async def test_servers_list_shows_all_pages(minihub, hub):
    waiting = {"state": "PENDING", "reason": "Priority", "node": None, "elapsed_s": None, "time_left_s": None}
    hub.will(
        "GET",
        "/servers",
        [server(f"u{number:03}") for number in range(450)] + [server("zoe", state="queued", job=waiting)],
    )
    done = await minihub("servers", "list")
    assert len(done.rows) == 452
    assert done.rows[0] == [
        "USER", "STATE", "JOB", "NODE", "PARTITION", "ACCOUNT", "RESOURCES", "ELAPSED", "LEFT", "IDLE", "REASON",
    ]  # fmt: skip
    assert done.rows[1][:9] == [
        "u000", "ready", "17", "node1", "cpu", "def-prof1", "2c 4G 1xa100", "1h 01m", "6h 58m",
    ]  # fmt: skip
    assert done.rows[-1][:2] == ["zoe", "queued"]
    assert done.rows[-1][-1] == "Priority"
    assert (await minihub("servers", "list", "--json")).json[450]["user"] == "zoe"


async def test_servers_show(minihub, hub):
    failed = server(
        "alice",
        state="failed",
        stopped=True,
        ended="2026-11-26T09:00:00Z",
        failure={
            "kind": "oom",
            "message": "It was out of memory.",
            "reason": "OUT_OF_MEMORY",
            "advice": "Ask for more.",
        },
    )
    hub.will("GET", "/users/alice/server", failed)
    done = await minihub("servers", "show", "alice")
    facts = dict(line.split(":", 1) for line in done.out.splitlines())
    assert {name: value.strip() for name, value in facts.items()} == {
        "user": "alice", "state": "failed", "job": "17", "job's state": "RUNNING", "node": "node1",
        "partition": "cpu", "account": "def-prof1", "resources": "2c 4G 1xa100", "interface": "lab",
        "submitted": "2026-11-26 08:00:00", "started": "2026-11-26 08:00:10", "elapsed": "1h 01m",
        "time left": "6h 58m", "last used": "2026-11-26 08:00:00", "ended": "2026-11-26 09:00:00",
        "what happened": "It was out of memory.", "why": "OUT_OF_MEMORY", "advice": "Ask for more.",
        "address": "/user/alice/",
    }  # fmt: skip
    assert (await minihub("servers", "show", "alice", "--json")).json == failed
    done = await minihub("servers", "show", "nobody")
    assert (done.status, done.out, done.err) == (4, "", "minihub: There is no such thing.\n")


async def test_a_name_cannot_lead_elsewhere(minihub, hub):
    for words in (
        ["servers", "show", "a/b?c"],
        ["servers", "stop", "a/b?c", "--yes"],
        ["users", "show", "a/b?c"],
        ["users", "forget", "a/b?c", "--yes"],
        ["users", "revoke", "a/b?c", "--yes"],
        ["tokens", "list", "--user", "a/b?c"],
        ["tokens", "revoke", "--user", "alice", "a/b?c"],
    ):
        hub.paths.clear()
        await minihub(*words)
        assert hub.paths
        assert [path for path in hub.paths if "a%2Fb%3Fc" not in path] == []
        hub.paths.clear()
        for no_name in ("..", ".", ""):
            done = await minihub(*[no_name if word == "a/b?c" else word for word in words])
            assert (done.status, hub.paths) == (2, []), words


def bulk(servers, stopped=None):
    """POST /servers/stop."""

    def answer(body):
        chosen = [row for row in servers if row["user"] in body.get("users", [row["user"]])]
        done = 0 if body["dry_run"] else (len(chosen) if stopped is None else stopped)
        return {"dry_run": body["dry_run"], "servers": chosen, "stopped": done}

    return answer


ROWS = [
    {"user": "alice", "state": "ready", "job_id": "17", "node": "node1"},
    {"user": "bob", "state": "queued", "job_id": "18", "node": None},
]


async def test_stopping_a_node_shows_asks_and_stops_exactly_what_was_shown(minihub, hub, typing):
    hub.will("POST", "/servers/stop", bulk(ROWS))
    typing("y\n")
    done = await minihub("servers", "stop", "--node", "node1", "--older-than", "1h")
    assert done.rows == [
        ["USER", "STATE", "JOB", "NODE"],
        ["alice", "ready", "17", "node1"],
        ["bob", "queued", "18"],
    ]
    assert "Stop these 2 servers?" in done.err
    assert "stopping 2 of 2" in done.err
    assert done.status == 0
    choice = {"node": "node1", "older_than_s": 3600.0}
    assert hub.asked_for("POST", "/servers/stop") == [
        {**choice, "dry_run": True},
        {**choice, "users": ["alice", "bob"], "dry_run": False},
    ]


async def test_a_no_stops_nothing(minihub, hub, typing):
    hub.will("POST", "/servers/stop", bulk(ROWS))
    typing("\n")
    done = await minihub("servers", "stop", "--all")
    assert (done.status, "nothing was stopped" in done.err) == (1, True)
    assert [body["dry_run"] for body in hub.asked_for("POST", "/servers/stop")] == [True]


async def test_a_script_must_say_yes(minihub, hub, nobody):
    hub.will("POST", "/servers/stop", bulk(ROWS))
    done = await minihub("servers", "stop", "--all")
    assert (done.status, "say --yes" in done.err) == (2, True)
    assert [body["dry_run"] for body in hub.asked_for("POST", "/servers/stop")] == [True]
    done = await minihub("servers", "stop", "--all", "--json")
    assert (done.status, "--json asks nobody" in done.err) == (2, True)
    done = await minihub("servers", "stop", "--all", "--json", "--yes")
    assert done.json == {"dry_run": False, "servers": ROWS, "stopped": 2, "missing": []}


async def test_a_dry_run_only_shows(minihub, hub, nobody):
    hub.will("POST", "/servers/stop", bulk(ROWS))
    done = await minihub("servers", "stop", "--state", "ready", "--dry-run")
    assert (done.status, len(done.rows)) == (0, 3)
    assert [body["dry_run"] for body in hub.asked_for("POST", "/servers/stop")] == [True]
    hub.will("POST", "/servers/stop", bulk([]))
    done = await minihub("servers", "stop", "--all", "--yes")
    assert (done.status, done.err) == (0, "minihub: nothing to stop\n")


async def test_a_stop_that_does_not_get_all_is_a_failure(minihub, hub):
    hub.will("POST", "/servers/stop", bulk(ROWS, stopped=1))
    done = await minihub("servers", "stop", "--all", "--yes")
    assert (done.status, "stopping 1 of 2" in done.err) == (1, True)


async def test_a_stop_that_waits_for_the_ends(minihub, hub, monkeypatch):
    monkeypatch.setattr("minihub.command.servers.LOOK_EVERY_S", 0.01)
    looks = iter([server("alice", state="stopping")] * 3 + [server("alice", state="stopped", stopped=True)])
    hub.will("POST", "/servers/stop", bulk(ROWS))
    hub.will("GET", "/users/alice/server", lambda _: web.json_response(next(looks)))
    done = await minihub("servers", "stop", "--all", "--yes", "--wait", "1h", "--json")
    assert (done.status, done.json["living"]) == (0, [])
    assert "ended: 2 of 2" in done.err
    assert next(looks, None) is None, "asked until it had ended"


async def test_a_stop_that_waits_in_vain(minihub, hub):
    hub.will("POST", "/servers/stop", bulk(ROWS))
    hub.will("GET", "/users/alice/server", server("alice", state="stopping"))
    done = await minihub("servers", "stop", "--all", "--yes", "--wait", "0.1s", "--json")
    assert (done.status, done.json["living"]) == (1, ["alice"])
    assert "ended: 1 of 2\nminihub: alice: has not ended in 0s" in done.err


async def test_named_servers_are_stopped_with_no_right_but_on_them(minihub, hub):
    hub.will("GET", "/users/alice/server", server("alice"))
    hub.will("DELETE", "/users/alice/server", None, 204)
    hub.will("GET", "/users/bob/server", server("bob", state="stopped", stopped=True))
    done = await minihub("servers", "stop", "alice", "alice", "bob", "carol", "--yes")
    assert done.status == 4
    assert done.rows[1:] == [["alice", "ready", "17", "node1"]]
    assert "bob: no such server lives\nminihub: carol: no such server lives" in done.err
    assert "stopping 1 of 1" in done.err
    assert hub.asked_for("DELETE", "/users/alice/server") == [{}]
    assert (await minihub("servers", "stop", "alice", "--yes")).status == 0
    hub.will("DELETE", "/users/alice/server", {"status": 403, "message": "No."}, 403)
    done = await minihub("servers", "stop", "alice", "--yes")
    assert (done.status, "alice: No." in done.err) == (1, True)


@pytest.mark.parametrize(
    "words", [[], ["--all", "alice"], ["--all", "--node", "n"], ["--older-than", "5"], ["--state", "x"]]
)
async def test_a_stop_without_a_clear_choice(minihub, hub, words):
    assert (await minihub("servers", "stop", "--yes", *words)).status == 2
    assert hub.asked == []


# ---- users ----------------------------------------------------------------------------------------------------------

USER = {
    "kind": "user", "name": "alice", "admin": False, "groups": ["prof1", "users"], "server": "/user/alice/",
    "pending": None, "created": "2026-11-01T08:00:00Z", "last_activity": "2026-11-26T08:00:00Z",
    "servers": {"": server("alice")},
}  # fmt: skip


async def test_users_list_and_show(minihub, hub):
    hub.will("GET", "/users", [USER, {"kind": "user", "name": "bob"}])
    done = await minihub("users", "list", "--state", "active", "--filter", "li", "--sort", "name")
    assert done.rows == [
        ["USER", "ADMIN", "SERVER", "CREATED", "LAST SEEN"],
        ["alice", "no", "ready", "2026-11-01 08:00:00", "2026-11-26 08:00:00"],
        ["bob"],
    ]
    [asked] = hub.asked_for("GET", "/users")
    assert (asked["state"], asked["name_filter"], asked["sort"]) == ("active", "li", "name")
    assert (await minihub("users", "list", "--json")).json[0] == USER
    hub.will("GET", "/users/alice", USER)
    done = await minihub("users", "show", "alice")
    assert "groups:" in done.out
    assert "prof1, users" in done.out
    assert "node1" in done.out
    assert (await minihub("users", "show", "alice", "--json")).json == USER


async def test_revoke_admit_forget(minihub, hub, nobody):
    hub.will("DELETE", "/users/alice/logins", {"logins": 2, "tokens": 1})
    hub.will("POST", "/users/alice", USER, 201)
    hub.will("DELETE", "/users/alice", None, 204)
    assert (await minihub("users", "revoke", "alice")).status == 2
    assert (await minihub("users", "forget", "alice")).status == 2
    assert hub.asked == []
    done = await minihub("users", "revoke", "alice", "--yes")
    assert (done.status, done.out) == (0, "alice: ended 2 logins and 1 tokens\n")
    assert (await minihub("users", "admit", "alice")).out == "alice: admitted\n"
    assert (await minihub("users", "forget", "alice", "-y")).out == "alice: forgotten\n"


async def test_one_user_that_fails_does_not_keep_the_others(minihub, hub):
    hub.will("POST", "/users/bob", {"status": 409, "message": "bob is admitted already."}, 409)
    hub.will("POST", "/users/alice", USER, 201)
    done = await minihub("users", "admit", "bob", "nobody", "alice", "--json")
    assert done.status == 1
    assert done.json == [
        {"user": "bob", "done": False, "message": "bob is admitted already."},
        {"user": "nobody", "done": False, "message": "There is no such thing."},
        {"user": "alice", "done": True},
    ]
    assert (await minihub("users", "admit", "alice", "nobody")).status == 4


# ---- tokens ---------------------------------------------------------------------------------------------------------

TOKEN = {
    "kind": "api_token", "user": "alice", "id": "3f9c", "roles": [], "scopes": ["self"], "note": "a script",
    "created": "2026-11-01T08:00:00Z", "last_activity": None, "expires_at": "2026-12-01T08:00:00Z",
    "session_id": None, "oauth_client": None,
}  # fmt: skip


async def test_a_new_token_is_all_that_stdout_gets(minihub, hub):
    hub.will("POST", "/users/alice/tokens", {**TOKEN, "token": "mh_secret"}, 201)
    done = await minihub(
        "tokens", "create", "--user", "alice", "--note", "a script", "--days", "0.5", "--scope", "read:users"
    )
    assert (done.status, done.out) == (0, "mh_secret\n")
    assert "3f9c of alice, valid until 2026-12-01 08:00:00 UTC" in done.err
    [body] = hub.asked_for("POST", "/users/alice/tokens")
    assert body == {"note": "a script", "scopes": ["read:users"], "expires_in": 43200}
    done = await minihub("tokens", "create", "--user", "alice", "--json")
    assert (done.json["token"], done.err) == ("mh_secret", "")
    assert hub.asked_for("POST", "/users/alice/tokens")[1] == {"note": "", "scopes": ["self"]}


async def test_whose_token_is_known_by_the_token_that_asks(minihub, hub, monkeypatch):
    monkeypatch.setenv("MINIHUB_TOKEN", "mh_secret")
    hub.will("GET", "/user", USER)
    hub.will("POST", "/users/alice/tokens", {**TOKEN, "token": "mh_new"}, 201)
    assert (await minihub("tokens", "create", "--url", hub.url)).out == "mh_new\n"
    assert (await minihub("tokens", "create")).status == 2
    for days in ("0", "-1", "nan", "1e9"):
        assert (await minihub("tokens", "create", "--user", "alice", f"--days={days}")).status == 2


async def test_tokens_list_and_revoke(minihub, hub):
    hub.will("GET", "/users", [USER, {"name": "bob"}])
    hub.will("GET", "/users/alice/tokens", {"api_tokens": [TOKEN]})
    hub.will("GET", "/users/bob/tokens", {"api_tokens": [{**TOKEN, "user": "bob"}]})
    done = await minihub("tokens", "list")
    assert done.rows == [
        ["ID", "USER", "SCOPES", "EXPIRES", "LAST USED", "NOTE"],
        ["3f9c", "alice", "self", "2026-12-01 08:00:00", "never", "a script"],
        ["3f9c", "bob", "self", "2026-12-01 08:00:00", "never", "a script"],
    ]
    assert (await minihub("tokens", "list", "--user", "alice", "--json")).json == [TOKEN]
    hub.will("DELETE", "/users/alice/tokens/3f9c", None, 204)
    done = await minihub("tokens", "revoke", "--user", "alice", "3f9c")
    assert (done.status, done.out) == (0, "revoked token 3f9c of alice\n")
    assert (await minihub("tokens", "revoke", "--user", "alice", "other")).status == 4


async def test_by_url_a_user_sees_his_own_tokens(minihub, hub, monkeypatch):
    monkeypatch.setenv("MINIHUB_TOKEN", "mh_secret")
    hub.will("GET", "/users", {"status": 403, "message": "This needs the scope list:users."}, 403)
    hub.will("GET", "/user", USER)
    hub.will("GET", "/users/alice/tokens", {"api_tokens": [TOKEN]})
    assert (await minihub("tokens", "list", "--url", hub.url, "--json")).json == [TOKEN]


# ---- history and audit ----------------------------------------------------------------------------------------------


async def test_history(minihub, hub):
    ended = server("alice", state="stopped", ended="2026-11-26T09:00:00Z", job={"outcome": "logout"})
    hub.will("GET", "/history", [ended] * 250)
    done = await minihub("history", "--user", "alice", "--since", "7d", "--until", "2026-11-27")
    assert len(done.rows) == 101
    assert done.rows[1] == [
        "2026-11-26 08:00:00", "alice", "17", "node1", "cpu", "def-prof1", "2c 4G 1xa100", "1h 01m",
        "2026-11-26 09:00:00", "log-out",
    ]  # fmt: skip
    assert done.err == "minihub: the newest 100 of 250; --limit 0 shows all\n"
    [asked] = hub.asked_for("GET", "/history")
    assert asked == {"user": "alice", "since": "7d", "until": "2026-11-27", "offset": "0", "limit": "100"}
    assert len((await minihub("history", "--json")).json) == 250
    assert len((await minihub("history", "--json", "--limit", "7")).json) == 7


async def test_history_as_csv_is_the_hubs_page_by_page(minihub, hub, monkeypatch):
    monkeypatch.setattr(records, "CSV_PAGE", 2)
    lines = [f'u{number},"a\r\nb"\r\n' for number in range(5)]

    def csv(query):
        offset, limit = int(query["offset"]), int(query["limit"])
        text = "user,note\r\n" + "".join(lines[offset : offset + limit])
        return web.Response(text=text, content_type="text/csv")

    hub.will("GET", "/history", csv)
    done = await minihub("history", "--csv", "--since", "24h")
    assert done.out == "user,note\r\n" + "".join(lines)
    first, *_ = hub.asked_for("GET", "/history")
    assert first == {"format": "csv", "since": "24h", "offset": "0", "limit": "2"}
    done = await minihub("history", "--csv", "--limit", "3")
    assert done.out == "user,note\r\n" + "".join(lines[:3])
    assert (await minihub("history", "--csv", "--json")).status == 2


async def test_audit(minihub, hub):
    line = {
        "id": 1, "time": "2026-11-26T08:00:00Z", "actor": "root (local)", "action": "stop", "target": "alice",
        "address": "local", "outcome": "ok", "detail": {"a": 1},
    }  # fmt: skip
    hub.will("GET", "/audit", [line])
    done = await minihub(
        "audit", "--about", "alice", "--actor", "root (local)", "--action", "stop", "--limit", "5"
    )
    assert done.rows[1] == ["2026-11-26 08:00:00", "root (local)", "stop", "alice", "local", "ok", "a=1"]
    [asked] = hub.asked_for("GET", "/audit")
    assert asked == {"about": "alice", "actor": "root (local)", "action": "stop", "offset": "0", "limit": "5"}


# ---- announcements and scheduler ------------------------------------------------------------------------------------

MADE = {
    "id": 3, "text": "Slurm is down at noon.", "level": "warning", "by": "root (local)",
    "created": "2026-11-26T08:00:00Z",
    "expires": "2026-11-26T10:00:00Z",
}  # fmt: skip


async def test_announce(minihub, hub, monkeypatch):
    hub.will("POST", "/announcements", MADE, 201)
    done = await minihub("announce", "Slurm is down at noon.", "--level", "warning", "--for", "2h")
    assert done.out == "announcement 3 is on every page until 2026-11-26 10:00:00 UTC\n"
    monkeypatch.setattr("sys.stdin", io.StringIO("From a file.\n"))
    hub.will("POST", "/announcements", {**MADE, "expires": None}, 201)
    done = await minihub("announce")
    assert done.out == "announcement 3 is on every page\n"
    assert hub.asked_for("POST", "/announcements") == [
        {"text": "Slurm is down at noon.", "level": "warning", "expires_in": 7200},
        {"text": "From a file.", "level": "info"},
    ]


async def test_announcements_are_listed_and_taken_down(minihub, hub):
    hub.will("GET", "/announcements", [MADE])
    done = await minihub("announce", "--list")
    assert done.rows[1] == [
        "3", "warning", "root (local)", "2026-11-26 08:00:00", "2026-11-26 10:00:00", "Slurm is down at noon.",
    ]  # fmt: skip
    hub.will("DELETE", "/announcements/3", None, 204)
    assert (await minihub("announce", "--delete", "3")).out == "announcement 3 is down\n"
    assert (await minihub("announce", "--delete", "4")).status == 4


async def test_announce_does_one_thing(minihub, hub, typing):
    for words in (["text", "--list"], ["--list", "--delete", "3"], ["text", "--delete", "3"], ["  "]):
        assert (await minihub("announce", *words)).status == 2
    typing("")
    assert (await minihub("announce")).status == 2
    assert hub.asked == []


async def test_scheduler(minihub, hub):
    found = {
        "name": "slurm", "up": False, "last_answer": "2026-11-26T08:00:00Z", "age_s": 130.5, "listing_took_s": 0.21,
        "failing_since": "2026-11-26T08:00:30Z", "problem": "slurmctld does not answer.", "hidden": True,
        "unknown_jobs": [{"id": "99", "user": "bob", "name": "x"}], "waiting_total": 4, "detail": "connection refused", "limits_age_s": 20,
    }  # fmt: skip
    hub.will("GET", "/scheduler", found)
    done = await minihub("scheduler")
    assert re.search(r"(?m)^answers: +no$", done.out)
    assert re.search(r"(?m)^age: +2m$", done.out)
    assert re.search(r"(?m)^stray jobs: +99 \(bob\)$", done.out)
    assert "it leaves them alone" in done.err
    assert (await minihub("scheduler", "--json")).json == found


# ---- all of them ----------------------------------------------------------------------------------------------------


async def test_what_a_hub_says_never_steers_the_terminal(minihub, hub):
    hub.will("GET", "/users/alice/tokens", {"api_tokens": [{**TOKEN, "note": "\x1b]0;owned\x07 \x9b2J"}]})
    hub.will("GET", "/servers", {"status": 400, "message": "bad \x1b[2J", "fields": {"x\x1b": "\x07"}}, 400)
    for words in (
        ["tokens", "list", "--user", "alice"],
        ["tokens", "list", "--user", "alice", "--json"],
        ["servers", "list"],
    ):
        done = await minihub(*words)
        assert not [char for char in "\x1b\x07\x9b" if char in done.out + done.err]


async def test_json_is_json_and_nothing_else(minihub, hub):
    hub.will("GET", "/servers", [server("é")])
    done = await minihub("servers", "list", "--json")
    assert json.loads(done.out)[0]["user"] == "é"
    assert (done.out.isascii(), done.err) == (True, "")
