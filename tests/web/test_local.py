"""The admin socket: whom it lets in, what it does with what lies in its place, and that nothing else is taken for it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from minihub.errors import ConfigError
from minihub.places import admin_socket as socket_path
from minihub.places import short_path
from minihub.proxy.hub_app import RUNNER_OPTIONS
from minihub.web.api.tables import ENDPOINTS
from minihub.web.local import admin_socket
from tests.web.fakes import make_app, make_attempt, make_world


@pytest.fixture
def folder():
    path = Path(tempfile.mkdtemp(prefix="mhl-"))
    yield path
    shutil.rmtree(path)


@contextlib.asynccontextmanager
async def serving(path, world=None):
    runner = web.AppRunner(make_app(world or make_world()), shutdown_timeout=1, **RUNNER_OPTIONS)
    await runner.setup()
    try:
        async with admin_socket(path, runner.server):
            yield
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def asking(path):
    with short_path(path) as name:
        async with aiohttp.ClientSession("http://localhost", connector=aiohttp.UnixConnector(name)) as client:
            yield client


async def test_root_and_the_hubs_own_user_are_admins_without_login_token_or_form(folder):
    world = make_world()
    world.users.names.update({"ada", "bob"})
    world.servers.attempts["ada"] = make_attempt(user="ada")
    path = socket_path(folder)
    async with serving(path, world), asking(path) as client:
        async with client.get("/hub/api/users") as answer:
            assert [user["name"] for user in await answer.json()] == ["ada", "bob"]
        async with client.delete("/hub/api/users/ada/server") as answer:
            assert answer.status in (202, 204)
    [line] = [line for line in world.audit_lines if line[0] == "stop"]
    assert "root (local)" in line


async def test_a_token_that_is_sent_is_meant(folder):
    world = make_world()
    path = socket_path(folder)
    token = world.give_token("self")
    async with serving(path, world), asking(path) as client:
        for sent, status in ((token, 403), ("mh_wrong", 403)):
            async with client.get("/hub/api/users", headers={"Authorization": f"token {sent}"}) as answer:
                assert answer.status == status


async def test_nobody_else_gets_in_even_where_the_file_lets_him(folder):
    path = socket_path(folder)
    async with serving(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        path.chmod(0o666)
        folder.chmod(0o755)
        program = (
            "import os, socket, sys; os.setgid(65534); os.setuid(65534)\n"
            "s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])\n"
            "s.sendall(b'GET /hub/api/users HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n')\n"
            "print(s.makefile().read())"
        )
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", program, str(path)],
            capture_output=True,
            text=True,
            timeout=30,
        )
    assert done.stdout.startswith("HTTP/1.1 403 "), done.stdout + done.stderr
    assert "This socket is for root only." in done.stdout


async def test_over_tcp_nothing_looks_like_it(folder, aiohttp_client):
    client = await aiohttp_client(make_app(make_world({"hub": {"trusted_proxies": ["127.0.0.1"]}})))
    for headers in (
        {},
        {"X-Forwarded-For": "local"},
        {"X-Forwarded-For": "", "Host": "localhost", "X-Minihub-Local": "0"},
        {"X-Forwarded-For": "unix:", "X-Forwarded-Proto": "unix"},
        {"Authorization": "local root"},
    ):
        assert (await client.get("/hub/api/users", headers=headers)).status == 401


async def test_a_dead_hubs_socket_is_replaced_and_ours_removed(folder):
    path = socket_path(folder)
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(path))
    dead.listen()
    dead.close()
    async with serving(path), asking(path) as client, client.get("/hub/health") as answer:
        assert answer.status == 200
    assert list(folder.iterdir()) == []


async def test_a_living_hubs_socket_is_never_taken(folder):
    path = socket_path(folder)
    async with serving(path), asking(path) as client:
        with pytest.raises(ConfigError, match="another hub answers there"):
            async with serving(path):
                pass
        async with client.get("/hub/health") as answer:
            assert answer.status == 200


async def test_another_hubs_socket_is_not_removed(folder):
    path = socket_path(folder)
    async with serving(path):
        path.unlink()
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(path))
    assert path.exists()


async def test_what_is_no_socket_stays(folder):
    path = socket_path(folder)
    path.symlink_to("/dev/null")
    with pytest.raises(ConfigError, match="move it away"):
        async with serving(path):
            pass
    assert path.is_symlink()


async def test_a_path_of_any_length(folder):
    deep = folder / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    path = socket_path(deep)
    async with serving(path), asking(path) as client, client.get("/hub/api/users") as answer:
        assert answer.status == 200
    assert list(deep.iterdir()) == []
    assert not [name for name in os.listdir("/proc/self/fd") if "/eee" in _target(name)]


def _target(name):
    try:
        return os.readlink(f"/proc/self/fd/{name}")
    except OSError:
        return ""


async def test_without_a_place_the_hub_goes_on_and_says_so(folder, caplog):
    async with serving(folder / "no" / "admin.sock"):
        pass
    assert "there is no admin socket, so commands need --url" in caplog.text


async def test_every_endpoint_has_an_answer_for_somebody_who_is_no_user(folder):
    """Those about the asker's own things too: he has no server, no limits and no tokens."""
    world = make_world()
    world.users.names.add("ada")
    world.servers.attempts["ada"] = make_attempt(user="ada")
    path = socket_path(folder)
    bodies = {
        "/servers/stop": {"older_than_s": 0},
        "/announcements": {"text": "Hello."},
        "/users": {"usernames": ["ada"]},
    }
    async with serving(path, world), asking(path) as client:
        for endpoint in ENDPOINTS:
            where = re.sub(r"{(\w+)[^}]*}", lambda found: {"name": "ada"}.get(found[1], "1"), endpoint.path)
            if where.endswith("/progress"):
                continue  # which lasts
            body = bodies.get(where, {}) if endpoint.method in ("POST", "PATCH") else None
            async with client.request(endpoint.method, f"/hub/api{where}", json=body) as answer:
                said = f"{endpoint.method} {where}: {answer.status} {await answer.text()}"
                assert (answer.status == 403) == where.startswith("/options/"), said
                assert answer.status != 401, said
                assert answer.status < 500, said
        async with client.get("/hub/api/user") as answer:
            me = await answer.json()
        assert (me["name"], me["admin"], me["scopes"]) == ("root (local)", True, ["access:servers", "admin"])
        world.users.names.add("ada")  # whom the round through the table has forgotten
        async with client.post("/hub/api/users/ada/tokens", json={"scopes": ["self"]}) as answer:
            assert answer.status == 201, await answer.text()
