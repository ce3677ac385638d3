"""The command line on a real hub of this machine: as root, as the hub's user, as nobody in particular, and by URL."""

from __future__ import annotations

import csv
import io
import json
import re
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass

import pytest

from tests.e2e.kit import IS_INSTALLED, ROOT, local_settings

pytestmark = [pytest.mark.cluster]


@dataclass
class Done:
    status: int
    out: str
    err: str

    @property
    def json(self):
        assert self.status == 0, self.err
        return json.loads(self.out)


def minihub(hub, *words, user=None, stdin="", **env):
    """One command on the hub's settings, as root or as `user`."""
    become = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"] if user else []
    done = subprocess.run(
        [*become, sys.executable, *hub.program, *words, "--config", str(hub.config)],
        input=stdin,
        capture_output=True,
        text=True,
        cwd="/" if IS_INSTALLED else ROOT,
        env=hub.environment() | env,
        timeout=60,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def hub(make_hub):
    """Started by root, runs as minihub."""
    with make_hub(local_settings(), hub={"run_as": "minihub"}) as hub:
        yield hub.start()


def socket_of(hub):
    return hub.directory / "state" / "admin.sock"


def ask(hub, method, path, token, body=None):
    """The API as a script of a user's asks it; returns JSON, or lines of an event stream."""
    headers = {"Authorization": f"token {token}", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{hub.url}/hub/api{path}", data, headers, method=method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.read().decode()


def test_root_and_the_hubs_user_need_no_token_and_nobody_else_gets_in(hub):
    assert minihub(hub, "servers", "list", "--json").json == []
    assert minihub(hub, "users", "admit", "alice", "bob").out == "alice: admitted\nbob: admitted\n"
    known = minihub(hub, "users", "list", "--json", user="minihub").json
    assert [user["name"] for user in known] == ["alice", "bob"]
    refused = minihub(hub, "users", "list", user="bob")
    assert (refused.status, refused.out) == (5, "")
    assert "Only root and the hub's own user may use" in refused.err
    assert "you are bob" in refused.err
    audit = minihub(hub, "audit", "--action", "user-create", "--json").json
    assert {(line["actor"], line["address"]) for line in audit} == {("root (local)", "local")}
    # Neither the file's mode nor its directory's decides alone.
    path = socket_of(hub)
    assert (stat.S_IMODE(path.stat().st_mode), path.owner()) == (0o600, "minihub")
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    path.parent.chmod(0o711)
    path.chmod(0o666)
    try:
        refused = minihub(hub, "users", "list", user="bob")
    finally:
        path.chmod(0o600)
        path.parent.chmod(0o700)
    assert (refused.status, refused.out) == (5, "")
    assert "This socket is for minihub and root only." in refused.err


def test_one_server_from_start_to_history(hub):
    made = minihub(hub, "tokens", "create", "--user", "alice", "--note", "a script", "--json").json
    token = made["token"]
    listed = minihub(hub, "tokens", "list")
    assert made["id"] in listed.out
    assert token not in listed.out
    ask(hub, "POST", "/users/alice/server", token, {})
    assert '"ready": true' in ask(hub, "GET", "/users/alice/server/progress", token)
    [server] = minihub(hub, "servers", "list", "--state", "ready", "--json").json
    assert server["user"] == "alice"
    assert re.search(r"(?m)^user: +alice$", minihub(hub, "servers", "show", "alice").out)
    stopped = minihub(hub, "servers", "stop", "--all", "--yes", "--wait", "1m")
    assert (stopped.status, "ended: 1 of 1" in stopped.err) == (0, True), stopped.err
    assert json.loads(ask(hub, "GET", "/users/alice/server", token))["stopped"]
    assert minihub(hub, "servers", "stop", "alice", "--yes").status == 4
    [past] = minihub(hub, "history", "--since", "1h", "--user", "alice", "--json").json
    assert (past["user"], past["job"]["outcome"]) == ("alice", "admin")
    [row] = csv.DictReader(io.StringIO(minihub(hub, "history", "--csv").out))
    assert row["user"] == "alice"
    lines = minihub(hub, "audit", "--about", "alice", "--json").json
    assert ("root (local)", "stop") in {(line["actor"], line["action"]) for line in lines}
    assert minihub(hub, "tokens", "revoke", "--user", "alice", made["id"]).status == 0
    # At once: the running hub was asked, not its store.
    with pytest.raises(urllib.error.HTTPError, match="403"):
        ask(hub, "GET", "/user", token)


def test_by_url_a_token_opens_what_its_scopes_say(hub):
    file = hub.directory / "token"
    file.write_text(minihub(hub, "tokens", "create", "--user", "bob").out)
    file.chmod(0o600)
    by_url = ["--url", hub.url, "--token-file", str(file)]
    assert minihub(hub, "users", "show", "bob", *by_url, "--json").json["name"] == "bob"
    # Others' things are not there; lists of everybody are not his.
    assert minihub(hub, "users", "show", "alice", *by_url).status == 4
    refused = minihub(hub, "servers", "list", *by_url)
    assert (refused.status, "scope read:servers" in refused.err) == (5, True)
    assert [t["user"] for t in minihub(hub, "tokens", "list", *by_url, "--json").json] == ["bob"]
    assert minihub(hub, "users", "revoke", "bob", "--yes", "--json").json == [
        {"user": "bob", "done": True, "logins": 0, "tokens": 1}
    ]
    assert minihub(hub, "users", "show", "bob", *by_url).status == 5


def test_announcements_and_the_scheduler(hub):
    said = minihub(hub, "announce", "--level", "warning", "--for", "2h", stdin="Down at noon.\n")
    assert said.status == 0, said.err
    [one] = minihub(hub, "announce", "--list", "--json").json
    assert (one["text"], one["level"], one["by"]) == ("Down at noon.", "warning", "root (local)")
    assert minihub(hub, "announce", "--delete", str(one["id"])).status == 0
    scheduler = minihub(hub, "scheduler")
    assert re.search(r"(?m)^scheduler: +local$", scheduler.out), scheduler
    assert re.search(r"(?m)^answers: +yes$", scheduler.out)


def test_forgetting_a_user(hub):
    assert minihub(hub, "users", "forget", "bob", "nobody-there", "--yes").status == 4
    refused = minihub(hub, "users", "admit", "no-such-account")
    assert (refused.status, "no such account" in refused.err) == (1, True)


def test_when_the_hub_is_down(hub):
    token_id = minihub(hub, "tokens", "create", "--user", "alice", "--json").json["id"]
    shown = minihub(hub, "tokens", "list", "--user", "alice")
    hub.end()
    assert not socket_of(hub).exists()
    down = minihub(hub, "servers", "list")
    assert (down.status, down.out) == (3, "")
    assert "No hub runs here" in down.err
    # The same words work on the store, and say so.
    beside = minihub(hub, "tokens", "list", "--user", "alice")
    assert (beside.status, beside.out) == (0, shown.out)
    assert "no hub runs here: working on its store" in beside.err
    made = minihub(hub, "tokens", "create", "--user", "alice", "--note", "beside").out.strip()
    assert minihub(hub, "tokens", "revoke", "--user", "alice", token_id).status == 0
    assert minihub(hub, "tokens", "create", "--user", "root").status == 5
    hub.start()
    assert json.loads(ask(hub, "GET", "/user", made))["name"] == "alice"
    assert [t["note"] for t in minihub(hub, "tokens", "list", "--json").json] == ["beside"]


def test_a_hub_that_was_killed_leaves_a_socket_that_the_next_one_takes_over(hub):
    hub.kill()
    assert socket_of(hub).exists()
    assert minihub(hub, "servers", "list").status == 3
    hub.start()
    # Not taken from a living one.
    second = subprocess.run(
        hub.argv("serve"),
        capture_output=True,
        text=True,
        cwd="/",
        env=hub.environment(),
        timeout=60,
        check=False,
    )
    assert second.returncode == 1
    assert minihub(hub, "servers", "list").status == 0
