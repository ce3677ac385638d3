"""Users, one user, and the end of his logins and tokens."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from minihub.servers import explain
from minihub.servers.model import State, StopCause
from minihub.store.rows import AuditRow
from tests.web.fakes import NOW, FakeUserRecord, make_attempt
from tests.web.pages.admin.conftest import ADMIN


async def get(admin, path):
    answer = await admin.get(f"/hub/admin/users{path}")
    assert answer.status == 200
    return await answer.text()


async def test_the_list_has_server_and_tokens_of_each(admin):
    world = admin.world
    world.users.names |= {"ada", "bob"}
    world.servers.attempts["ada"] = make_attempt(State.QUEUED)
    world.servers.attempts["bob"] = make_attempt(State.STOPPED, "bob")
    for _ in range(3):
        await world.tokens.create("bob", lifetime_s=60)
    ada, bob = (row.split("</tr>")[0] for row in (await get(admin, "")).split("<tr>")[2:4])

    assert 'href="/hub/admin/users/ada"' in ada
    assert "Waiting in the queue" in ada
    assert "<div>3</div>" in bob
    assert "badge" not in bob


async def test_users_are_searched_and_come_in_pages(admin):
    admin.world.users.names |= {f"user{n:03d}" for n in range(120)} | {"bob"}

    assert re.findall(r"users/(user\d+)\"", await get(admin, "?name=user&page=3")) == [
        f"user{n}" for n in range(100, 120)
    ]
    assert "1 to 50 of 121" in await get(admin, "")
    assert "No user fits what you search for." in await get(admin, "?name=zzz")
    assert (await admin.get("/hub/admin/users?page=0")).status == 404


async def test_who_was_an_admin_at_the_last_login_is_marked(admin):
    admin.world.users.names.add("bob")

    async def get_one(user):
        return replace(FakeUserRecord(user), admin=True)

    admin.world.users.get = get_one
    assert '<span class="badge plain">admin</span>' in await get(admin, "/bob")


async def test_one_user_with_all_that_is_his(admin):
    world = admin.world
    world.users.names.add("ada")
    world.servers.attempts["ada"] = make_attempt(State.READY)
    world.servers.ended = [
        make_attempt(State.STOPPED, job_id="41", stop_cause=StopCause.USER, created_at=NOW - 5000, started_at=NOW - 4940,
                     ended_at=NOW - 1340),
        make_attempt(State.FAILED, job_id="40", failure=explain.spawn_timeout(make_attempt(State.QUEUED), 300),
                     created_at=NOW - 9000, ended_at=NOW - 8700),
        make_attempt(State.STOPPED, "bob", job_id="bobs-job"),
    ]  # fmt: skip
    world.deps.audit_log.rows = [
        AuditRow(1, NOW, "ada", "login", "ada", "192.0.2.7", "ok", "{}"),
        AuditRow(2, NOW, ADMIN, "stop", "ada", "192.0.2.8", "failed", '{"why": "<x>"}'),
        AuditRow(3, NOW, "bob", "bobs-act", "bob", "", "ok", "{}"),
    ]
    await world.tokens.create("ada", note="my <laptop>", scopes=["self"], lifetime_s=60)
    text = await get(admin, "/ada")

    for words in ("4242", "node7", "2 cores · 4 GB · 3 h", "def-ada", "Stopped by its user.", "1 min", "1 h",
                  "Spawn failed: Timeout", "Other jobs with a higher priority", "Login", "Stop of a server", "192.0.2.8",
                  "failed", "why: &lt;x&gt;", "my &lt;laptop&gt;", "token=t1"):  # fmt: skip
        assert words in text, words
    for words in ("bobs-job", "bobs-act", "secret", 'href="/user/', "<x>"):
        assert words not in text, words
    assert 'href="/hub/admin/stop?user=ada&amp;back=%2Fhub%2Fadmin%2Fusers%2Fada"' in text


async def test_a_user_without_anything(admin):
    admin.world.users.names.add("ada")
    text = await get(admin, "/ada")

    for words in ("This user has no server now.", "This user has had no server yet.", "This user has no tokens.",
                  "Nothing has been written down yet."):  # fmt: skip
        assert words in text


async def test_one_who_was_forgotten_has_a_history_still(admin):
    admin.world.servers.ended = [make_attempt(State.STOPPED)]
    text = await get(admin, "/ada")

    assert "The hub has forgotten this user" in text
    assert "revoke-all" not in text


@pytest.mark.parametrize("name", ["nobody", "x" * 300, "%2e%2e", "a%2Fb", "%00"])
@pytest.mark.parametrize("below", ["", "/revoke"])
async def test_one_whom_the_hub_does_not_know(admin, name, below):
    assert (await admin.get(f"/hub/admin/users/{name}{below}")).status == 404


async def test_his_history_comes_in_pages(admin):
    admin.world.users.names.add("ada")
    admin.world.servers.ended = [
        make_attempt(State.STOPPED, job_id=f"job-{n}-", created_at=NOW - n) for n in range(45)
    ]
    text = await get(admin, "/ada?page=2")

    assert "job-20-" in text
    assert "job-19-" not in text
    assert "21 to 40 of 45" in text
    assert 'rel="prev" href="/hub/admin/users/ada"' in text.replace("?page=1", "")


async def test_a_token_is_revoked_after_a_question(admin):
    world = admin.world
    world.users.names.add("ada")
    for _ in range(2):
        await world.tokens.create("ada", note="VS Code", lifetime_s=60)
    question = await get(admin, "/ada/revoke?token=t2")
    assert "VS Code" in question
    assert 'name="token" value="t2"' in question
    assert len(world.tokens.records) == 2

    answer = await admin.send("/hub/admin/users/ada/revoke", ADMIN, token="t2")

    assert (answer.status, answer.headers["Location"]) == (303, "/hub/admin/users/ada?revoked=token")
    assert [record.id for record in world.tokens.records] == ["t1"]
    assert world.audit_lines == [("token-revoke", ADMIN, "ok", "ada")]
    assert "The token was revoked." in await get(admin, "/ada?revoked=token")
    again = await admin.send("/hub/admin/users/ada/revoke", ADMIN, token="t2")
    assert again.headers["Location"] == "/hub/admin/users/ada?revoked=gone"
    assert len(world.audit_lines) == 1
    assert "This token is gone already" in await get(admin, "/ada/revoke?token=t2")


async def test_all_logins_and_tokens_end_after_a_question(admin):
    world = admin.world
    world.users.names.add("ada")
    cookie = world.log_in("ada")
    token = world.give_token("self", user="ada")
    other = world.log_in("bob")
    assert "Revoke all logins and tokens of ada?" in await get(admin, "/ada/revoke")
    assert cookie in world.identity.logins

    answer = await admin.send("/hub/admin/users/ada/revoke", ADMIN)

    assert answer.headers["Location"] == "/hub/admin/users/ada?revoked=all"
    assert cookie not in world.identity.logins
    assert token not in world.identity.tokens
    assert other in world.identity.logins
    assert world.audit_lines == [("user-revoke", ADMIN, "ok", "ada")]


async def test_an_admin_who_revokes_his_own_logs_in_again(admin):
    admin.world.users.names.add(ADMIN)
    assert "This is you" in await get(admin, f"/{ADMIN}/revoke")

    answer = await admin.send(f"/hub/admin/users/{ADMIN}/revoke", ADMIN)

    assert answer.headers["Location"] == "/hub/login"
