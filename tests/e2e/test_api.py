"""The REST API with tokens made on the command line, as a script of a user or an admin uses it."""

from __future__ import annotations

import asyncio
import contextlib
import json

import aiohttp
import pytest

from tests.e2e.kit import PATIENCE_S, insecure, jobs, text_of, until, visitor, xsrf_of

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


async def stop(script, user):
    """Stop the user's server and wait until the hub has heard of it: jobs leave squeue sooner."""
    async with asyncio.timeout(PATIENCE_S):
        while (status := (await script.ask("DELETE", f"/users/{user}/server"))[0]) != 204:
            assert status == 202
            await asyncio.sleep(0.1)


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

        await stop(bob, "bob")
        assert jobs(hub, "bob") == []
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
        await stop(carol, "alice")
        assert jobs(hub, "alice") == []


async def test_tokens_over_the_api(hub, passwords):
    """Made with a password, opens the server, shows its last use, ends at once."""
    await seen(hub, passwords, "bob", "carol")
    auth = {"username": "bob", "password": passwords["bob"]}
    async with script(hub, "") as nobody:
        nobody.headers = {}
        wrong = {"auth": {**auth, "password": "wrong"}}
        assert (await nobody.ask("POST", "/users/bob/tokens", json=wrong))[0] == 403
        wish = {"auth": auth, "scopes": ["servers!user", "access:servers!user", "tokens!user"]}
        status, made = await nobody.ask("POST", "/users/bob/tokens", json=wish)
        assert status == 201, made
    async with script(hub, made["token"]) as bob:
        assert (await bob.ask("POST", "/users/bob/server", json={"user_options": {"time_hours": 0.25}}))[
            0
        ] == 202
        assert [event async for event in bob.events("/users/bob/server/progress")][-1]["ready"] is True
        opened = f"{hub.url}/user/bob/api/status"
        async with bob.client.get(opened, headers=bob.headers) as answer:
            assert answer.status == 200
        _, listed = await bob.ask("GET", "/users/bob/tokens")
        (mine,) = [one for one in listed["api_tokens"] if one["id"] == made["id"]]
        assert mine["last_activity"] is not None
        assert "token" not in mine
        status, lesser = await bob.ask("POST", "/users/bob/tokens", json={"scopes": ["read:servers!user"]})
        assert status == 201
        assert (await bob.ask("POST", "/users/bob/tokens", json={"scopes": ["self"]}))[0] == 403
        async with script(hub, lesser["token"]) as reader:
            assert (await reader.ask("GET", "/users/bob/server"))[0] == 200
            assert (await reader.ask("DELETE", "/users/bob/server"))[0] == 403
            async with reader.client.get(opened, headers=reader.headers) as answer:
                assert answer.status == 403, "a token for looking opens nothing"
            assert (await bob.ask("DELETE", f"/users/bob/tokens/{lesser['id']}"))[0] == 204
            assert (await reader.ask("GET", "/users/bob/server"))[0] == 403, "at once"
        assert (await bob.ask("DELETE", f"/users/bob/tokens/{made['id']}"))[0] == 204
        async with bob.client.get(opened, headers=bob.headers) as answer:
            assert answer.status == 403
    async with script(hub, hub.token("bob", "self")) as bob:
        await stop(bob, "bob")
        assert jobs(hub, "bob") == []


async def test_an_admin_looks_around_and_forgets_a_user(hub, passwords):
    await seen(hub, passwords, "bob", "carol")
    async with script(hub, hub.token("carol", "admin")) as carol:
        assert (await carol.ask("POST", "/users/bob/server", json={"time_hours": 0.25}))[0] == 202
        assert [e async for e in carol.events("/users/bob/server/progress")][-1]["ready"] is True
        [job] = jobs(hub, "bob")
        _, servers = await carol.ask("GET", f"/servers?node={job.node}&state=ready")
        assert [(one["user"], one["job"]["id"]) for one in servers] == [("bob", job.id)]
        _, routes = await carol.ask("GET", "/proxy")
        assert job.node in routes["/user/bob/"]["target"]
        _, scheduler = await carol.ask("GET", "/scheduler")
        assert (scheduler["name"], scheduler["up"]) == ("slurm", True)
        _, groups = await carol.ask("GET", "/groups")
        assert any("bob" in group["users"] for group in groups)
        status, options = await carol.ask("GET", "/options/schema")
        assert (status, bool(options["properties"]["account"]["enum"])) == (200, True)
        status, estimate = await carol.ask("POST", "/options/estimate", json={"cores": 1})
        assert status == 200, estimate
        status, refused = await carol.ask("POST", "/users", json={"usernames": ["no-such-account"]})
        assert (status, list(refused["fields"])) == (400, ["usernames.0"])

        dry = await carol.ask("POST", "/servers/stop", json={"users": ["bob"]})
        assert (dry[1]["dry_run"], dry[1]["stopped"], len(dry[1]["servers"])) == (True, 0, 1)
        assert jobs(hub, "bob")
        assert (await carol.ask("DELETE", "/users/bob"))[0] == 204
        await until(lambda: not jobs(hub, "bob"), "the job is gone")
        assert (await carol.ask("GET", "/users?name_filter=bob"))[1] == []
        async with asyncio.timeout(PATIENCE_S):  # until a listing has confirmed it
            while (await carol.ask("GET", "/history?user=bob&limit=1"))[1][0]["job"]["outcome"] != "admin":
                await asyncio.sleep(0.2)
        _, lines = await carol.ask("GET", "/audit?about=bob&action=user-delete")
        assert lines[0]["actor"] == "carol"
    await seen(hub, passwords, "bob")  # who comes again is known again


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
        async with asyncio.timeout(PATIENCE_S):
            while (await bob.ask("GET", "/user"))[0] != 403:
                await asyncio.sleep(0.2)
    async with script(hub, "not-a-token") as nobody:
        assert (await nobody.ask("GET", "/user"))[0] == 403
    async with visitor(hub) as nobody:
        assert (await nobody.get("/hub/api/user"))[0] == 401
        assert (await nobody.get("/hub/api/"))[0] == 200


async def test_an_admin_admits_somebody_whom_the_settings_do_not_name(make_hub, passwords):
    """Beyond the allow list, not against a denial; taken back, he is out at once."""
    lists = {"allow_users": ["alice"], "allow_groups": [], "deny_users": ["dave"], "admin_users": ["carol"]}

    async def log_in(hub, name):
        async with visitor(hub, name) as someone:
            page = (await someone.get("/hub/login"))[1]
            form = {"_xsrf": xsrf_of(page), "username": name, "password": passwords[name], "next": ""}
            async with someone.client.post(
                f"{hub.url}/hub/login", data=form, allow_redirects=False
            ) as answer:
                return answer.status, text_of(await answer.text())

    with make_hub(auth=lists) as hub:
        hub.start()
        assert (await log_in(hub, "alice"))[0] == 303
        assert "not admitted to this hub" in (await log_in(hub, "bob"))[1]
        async with script(hub, hub.token("carol", "admin")) as carol, visitor(hub, "bob") as bob:
            status, answer = await carol.ask("POST", "/users", json={"usernames": ["bob", "dave"]})
            assert (status, list(answer["fields"])) == (400, ["usernames.1"])
            assert "not admitted to this hub" in (await log_in(hub, "bob"))[1], "all or none"
            assert (await carol.ask("POST", "/users/bob"))[0] == 201
            assert (await carol.ask("POST", "/users/bob"))[0] == 409
            await bob.log_in(passwords["bob"])
            assert (await bob.get("/hub/home"))[0] == 200
            assert "not admitted to this hub" in (await log_in(hub, "dave"))[1]

            assert (await carol.ask("DELETE", "/users/bob"))[0] == 204
            assert "/hub/login" in str((await bob.client.get(f"{hub.url}/hub/home")).url)
            assert "not admitted to this hub" in (await log_in(hub, "bob"))[1]
