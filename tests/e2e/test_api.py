"""The REST API with tokens made on the command line, as a script of a user or an admin uses it."""

from __future__ import annotations

import asyncio
import contextlib
import json

import aiohttp
import pytest

from tests.e2e.kit import insecure, jobs, until, visitor

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="session")]


class Script:
    """A program with a token."""

    def __init__(self, hub, token, client):
        self.base = f"{hub.url}/hub/api"
        self.client = client
        self.headers = {"Authorization": f"token {token}"}

    async def ask(self, method, path, **more):
        async with self.client.request(method, self.base + path, headers=self.headers, **more) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if text else None

    async def events(self, path):
        async with self.client.get(self.base + path, headers=self.headers) as answer:
            assert answer.status == 200, await answer.text()
            assert answer.content_type == "text/event-stream"
            async for line in answer.content:
                if line.startswith(b"data:"):
                    yield json.loads(line[5:])


@contextlib.asynccontextmanager
async def script(hub, token):
    connector = aiohttp.TCPConnector(ssl=insecure())
    async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as client:
        yield Script(hub, token, client)


async def seen(hub, passwords, *names):
    for name in names:
        async with visitor(hub, name) as someone:
            await someone.log_in(passwords[name])


async def test_a_users_script(hub, passwords):
    await seen(hub, passwords, "bob", "alice")
    async with script(hub, hub.token("bob", "self")) as bob:
        assert (await bob.ask("GET", "/"))[1]["version"] == "5.0.0"
        status, me = await bob.ask("GET", "/user")
        assert (status, me["name"], me["admin"], me["servers"]) == (200, "bob", False, {})
        assert me["scopes"] == ["self"]

        status, refused = await bob.ask(
            "POST", "/users/bob/server", json={"user_options": {"time_hours": 99}}
        )
        assert status == 400
        assert "time_hours" in json.dumps(refused)
        status, refused = await bob.ask("POST", "/users/bob/server", json={"no_such_option": 1})
        assert status == 400
        assert "no_such_option" in json.dumps(refused)

        options = {"time_hours": 0.25, "cores": 1, "memory_mb": 700, "interface": "notebook"}
        status, server = await bob.ask("POST", "/users/bob/server", json={"user_options": options})
        assert status == 202
        assert server["pending"] == "spawn"
        events = [event async for event in bob.events("/users/bob/server/progress")]
        assert events[-1]["ready"] is True
        assert events[-1]["url"] == "/user/bob/"
        percents = [event["progress"] for event in events]
        assert percents == sorted(percents)
        assert len(events) > 1

        status, server = await bob.ask("GET", "/users/bob/server")
        [job] = jobs(hub, "bob")
        assert status == 200
        assert (server["ready"], server["state"], server["url"]) == (True, "ready", "/user/bob/")
        assert (server["job"]["id"], server["job"]["node"], server["job"]["state"]) == (
            job.id,
            job.node,
            "RUNNING",
        )
        assert server["user_options"]["memory_mb"] == 700
        assert 0 < server["job"]["time_left_s"] <= 900
        status, me = await bob.ask("GET", "/users/bob")
        assert me["server"] == "/user/bob/"
        assert me["servers"][""]["ready"] is True

        # The same token opens the server itself.
        async with bob.client.get(f"{hub.url}/user/bob/api/status", headers=bob.headers) as answer:
            assert answer.status == 200
        async with bob.client.post(f"{hub.url}/user/bob/api/kernels", json={}, headers=bob.headers) as answer:
            assert answer.status == 201

        # Others' things are not there, whether or not they exist.
        for method, path in (
            ("GET", "/users/alice"),
            ("GET", "/users/nobody-there"),
            ("GET", "/users/alice/server"),
            ("POST", "/users/alice/server"),
            ("DELETE", "/users/alice/server"),
            ("GET", "/users/alice/server/progress"),
            ("GET", "/no/such/endpoint"),
        ):
            assert (await bob.ask(method, path))[0] == 404, f"{method} {path}"
        assert (await bob.ask("GET", "/users"))[0] == 403
        async with bob.client.get(f"{hub.url}/user/alice/api/status", headers=bob.headers) as answer:
            assert answer.status == 403

        status, _ = await bob.ask("DELETE", "/users/bob/server")
        assert status in (202, 204)
        await until(lambda: not jobs(hub, "bob"), "the job is gone")
        assert (await bob.ask("DELETE", "/users/bob/server"))[0] == 204, "again is no error"
        assert (await bob.ask("GET", "/users/bob"))[1]["servers"] == {}


async def test_an_admins_script(hub, passwords):
    await seen(hub, passwords, "alice", "carol")
    async with script(hub, hub.token("carol", "admin")) as carol:
        status, users = await carol.ask("GET", "/users")
        assert status == 200
        assert {"alice", "carol"} <= {user["name"] for user in users}
        status, _ = await carol.ask("POST", "/users/alice/server", json={"time_hours": 0.25})
        assert status == 202
        assert [e async for e in carol.events("/users/alice/server/progress")][-1]["ready"] is True
        [job] = jobs(hub, "alice")
        assert job.user == "alice", "it runs as its owner"
        assert [u["name"] for u in (await carol.ask("GET", "/users?state=ready"))[1]] == ["alice"]
        status, _ = await carol.ask("DELETE", "/users/alice/server")
        assert status in (202, 204)
        await until(lambda: not jobs(hub, "alice"), "the job is gone")


async def test_tokens_end(hub, passwords):
    await seen(hub, passwords, "bob")
    token = hub.token("bob", "self")
    async with script(hub, token) as bob:
        status, me = await bob.ask("GET", "/user")
        assert status == 200
        listed = hub.command("tokens", "list", "--user", "bob")
        assert me["token_id"] in listed
        assert token not in listed
        hub.command("tokens", "revoke", "--user", "bob", me["token_id"])
        # The running hub learns of it within seconds.
        async with asyncio.timeout(15):
            while (await bob.ask("GET", "/user"))[0] != 403:
                await asyncio.sleep(0.2)
    async with script(hub, "not-a-token") as nobody:
        assert (await nobody.ask("GET", "/user"))[0] == 403
    async with visitor(hub) as nobody:
        assert (await nobody.get("/hub/api/user"))[0] == 401
        assert (await nobody.get("/hub/api/"))[0] == 200
