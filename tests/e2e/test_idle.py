"""Real JupyterLabs side by side, of which one is left alone: by the hub's own idle stop, and by jupyterhub-idle-culler.

Three that work in the three ways that no open tab shows are never ended: a kernel that computes, a terminal that prints, an application
behind jupyter-server-proxy whose websocket carries data.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import sys
import time
from datetime import datetime
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from playwright.async_api import expect

from tests.e2e.browsing import log_in, take
from tests.e2e.kit import PATIENCE_S, fresh_home, local_settings, until, visitor

pytestmark = [pytest.mark.browser, pytest.mark.cluster, pytest.mark.asyncio(loop_scope="session")]

CLIENTS = Path(sys.prefix) / "clients" / "bin"
"""Made by scripts/setup."""
SCRIPT = Path(__file__).parent / "clients" / "run_in_kernel.py"
ECHO = Path(__file__).parent / "home" / "echo_app.py"
WORKING = ("bob", "carol", "dave")
AFTER_S, WARN_S, POSTPONE_S = 18, 12, 12
"""An idle tab asks most things every 10 s; on a busy machine a click and what comes of it may take some, too."""
CULLERS_SCOPES = ("list:users", "read:users:activity", "read:servers", "delete:servers")
CULL_S = 10
"""Far more than the second in which each server is asked, which on a busy machine takes longer."""


@pytest.fixture(scope="module")
def hub(make_hub):
    """On this machine; it begins with the idle stop off, and asks all servers what they do."""
    with make_hub(
        local_settings(), hub={"run_as": "minihub"}, auth={"admin_users": ["carol"]}, idle={"ask_every_s": 1}
    ) as hub:
        yield hub.start()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def everybody(hub, passwords):
    """All four with a server."""
    for name in ("alice", *WORKING):
        fresh_home(name)
    async with contextlib.AsyncExitStack() as stack:
        people = [await stack.enter_async_context(visitor(hub, name)) for name in ("alice", *WORKING)]
        for one in people:
            await one.log_in(passwords[one.name])
        await asyncio.gather(*(one.start_and_wait(time_hours="0.5") for one in people))
        yield {one.name: one for one in people}
        if hub.process.poll() is None:
            await asyncio.gather(*(one.stop() for one in people))
    for name in ("alice", *WORKING):
        fresh_home(name)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def talking(everybody):
    """The task in which dave's application is talked to."""
    port = await start_app(everybody["dave"])
    task = asyncio.get_running_loop().create_task(talk(everybody["dave"], port))
    yield task
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def working(everybody, talking):
    """Bob computes, carol's terminal prints with no tab open, dave's application talks."""
    await asyncio.gather(compute(everybody["bob"]), print_often(everybody["carol"]))
    assert not talking.done()
    return {name: everybody[name] for name in WORKING}


async def compute(bob):
    """A cell that runs for minutes, started from a tab that is closed at once."""
    kernel = await bob.new_kernel()
    url = f"{bob.server_url}/api/kernels/{kernel}/channels"
    header = {"msg_id": "1", "msg_type": "execute_request", "username": "", "version": "5.3", "session": "1"}
    content = {"code": "import time; time.sleep(600)", "silent": False}
    message = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}
    async with bob.client.ws_connect(url) as socket:
        await socket.send_str(json.dumps(message))
        async for answer in socket:
            if json.loads(answer.data)["content"].get("execution_state") == "busy":
                return


async def print_often(carol):
    async with carol.client.post(f"{carol.server_url}/api/terminals") as answer:
        name = (await answer.json())["name"]
    async with carol.client.ws_connect(f"{carol.server_url}/terminals/websocket/{name}") as socket:
        await socket.send_str(json.dumps(["stdin", "while sleep 1; do echo tick$((40+2)); done\r"]))
        async for answer in socket:
            if "tick42" in answer.data:
                return


async def start_app(dave):
    """An application of dave's own, behind jupyter-server-proxy; its kernel has nothing more to do. Returns its port."""
    port = 18_000 + os.getpid() % 1000
    program = [sys.executable, "-c", ECHO.read_text(), str(port)]
    await dave.run_cell(f"import subprocess; subprocess.Popen({program!r})")
    return port


async def talk(dave, port):
    """Its page is open somewhere, and connects again when the connection is lost."""
    while True:
        with contextlib.suppress(aiohttp.ClientError, TypeError, OSError):
            url = f"{dave.server_url}/proxy/{port}/socket"
            async with dave.client.ws_connect(url) as socket:
                while True:
                    await socket.send_str("x" * 400)
                    await socket.receive_str()  # TypeError: it was closed
                    await asyncio.sleep(0.5)
        await asyncio.sleep(0.3)


def idle_since(server):
    """From when its idle time counts: wall seconds."""
    return datetime.fromisoformat(server["idle"]["idle_since"]).timestamp()


async def run(hub, *argv, token):
    """Run somebody else's program to its end; returns what it says."""
    process = await asyncio.create_subprocess_exec(
        *map(str, argv),
        env={"PATH": "/usr/bin:/bin", "JUPYTERHUB_API_TOKEN": token, "MINIHUB_TOKEN": token},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(60):
        said = (await process.communicate())[0].decode()
    assert process.returncode == 0, said
    return said


@contextlib.asynccontextmanager
async def culler(hub, *options, scopes=CULLERS_SCOPES):
    """jupyterhub-idle-culler, unmodified, as an admin's service runs it; yields what it has said so far."""
    process = await asyncio.create_subprocess_exec(
        CLIENTS / "python", "-m", "jupyterhub_idle_culler", f"--url={hub.url}/hub/api", *options,
        env={"PATH": "/usr/bin:/bin", "JUPYTERHUB_API_TOKEN": hub.token("carol", *scopes)},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said = []

    async def listen():
        async for line in process.stdout:
            said.append(line.decode())  # noqa: PERF401 - while it runs

    listening = asyncio.get_running_loop().create_task(listen())
    try:
        yield said
        assert process.returncode is None, said
    except BaseException as error:
        error.add_note(f"jupyterhub-idle-culler said: {''.join(said)}")
        raise
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
        await listening
    assert not [line for line in said if "Traceback" in line or "HTTP 4" in line or "HTTP 5" in line], said


async def test_a_script_with_a_token_runs_code(hub, everybody):
    """With jupyter_client and websocket-client, through the hub."""
    code = "import os; print(6 * 7, os.environ['USER'])"
    token = hub.token("alice", "access:servers!user=alice")
    said = await run(hub, CLIENTS / "python", SCRIPT, f"{hub.url}/user/alice/", code, token=token)
    assert said == "42 alice\n"


async def test_a_lab_whose_tab_is_open_is_stopped_when_nobody_works_in_it(
    hub, working, passwords, context, page
):
    """Warned, kept for once, not forgotten by a restart of the hub, stopped; those that work go on."""
    async with visitor(hub, "alice") as alice:
        await alice.log_in(passwords["alice"])
        hub.end()
        hub.change(idle={"after_s": AFTER_S, "warn_s": WARN_S, "postpone_s": POSTPONE_S, "max_postpones": 1})
        hub.start()
        opened = time.time()
        await log_in(page, hub, "alice", passwords, "/user/alice/lab?reset")
        await expect(page.locator(".jp-LauncherCard").first).to_be_visible()
        # From now on nobody does anything in it, but its tab asks on.
        asked = []
        page.on("request", lambda request: asked.append((request.method, request.url)))
        home = await context.new_page()
        await home.goto(f"{hub.url}/hub/home")
        warning = home.locator("#stop-warning")
        await expect(warning).to_contain_text("Nothing has been done in this server since")
        server = await alice.server()
        assert idle_since(server) > opened, "from the last file that Lab loaded"
        assert time.time() - idle_since(server) >= AFTER_S - WARN_S
        warned = server["idle"]
        await take(home, "idle-warning")
        await home.locator("#postpone").click()
        await expect(warning).to_have_count(0)
        kept = (await alice.server())["idle"]
        assert (kept["postponed"], kept["postpones_left"], kept["warning"]) == (1, 0, False)
        assert kept["stops_at"] > warned["stops_at"]
        await take(home, "idle-postponed")

        # A restart stops nobody sooner.
        hub.end()
        ended = time.time()
        hub.start()
        restarted = time.time()
        asked.clear()
        await home.reload()
        await expect(warning).to_be_visible()
        await expect(home.locator("#postpone")).to_have_count(0)
        counted_from = idle_since(await alice.server())
        assert counted_from > ended
        server = await alice.wait_state("stopped")
        assert time.time() - counted_from >= AFTER_S
        assert server["stop_cause"] == "idle"
        assert [url for method, url in asked if method == "GET" and "/user/alice/api/" in url], asked
        why = f"Stopped because nothing was done in it for {AFTER_S} s."
        await expect(home.locator("main")).to_contain_text(why)
        await take(home, "idle-stopped")
        await alice.wait_page("/hub/history", why)
        await until(lambda: "stop user=(hub) address= outcome=idle alice" in hub.log, "the audit log's line")

    # The others' time is up as well by now, were they idle.
    await until(lambda: time.time() - restarted > AFTER_S + 2, "some more time")
    for one in working.values():
        server = await one.server()
        assert server["state"] == "ready", server
        assert not server["idle"]["warning"], server


async def test_jupyterhub_idle_culler_ends_what_is_idle_or_too_old(hub, working, talking):
    """Unmodified; it decides by last_activity, which counts a kernel that computes and a terminal that prints."""
    hub.end()
    hub.change(idle={"after_s": 0, "ask_every_s": 1})
    hub.start()
    await asyncio.gather(*(one.wait_state("ready") for one in working.values()))
    talking.cancel()
    async with culler(hub, f"--timeout={CULL_S}", "--cull-every=1") as said:
        server = await working["dave"].wait_state("stopped")
        assert server["stop_cause"] == "admin"
        await until(lambda: any("Culling server dave" in line for line in said), "the culler says so")
    assert not [line for line in said if re.search("Culling server (bob|carol)", line)], said
    for name in ("bob", "carol"):
        assert (await working[name].server())["state"] == "ready"

    async with culler(hub, "--timeout=100000", "--max-age=1", "--cull-every=1"):
        for name in ("bob", "carol"):
            await working[name].wait_state("stopped")

    # Everybody but admins is forgotten; which is JupyterHub's word for it.
    options = ("--timeout=1", "--cull-every=1", "--cull-users=True", "--cull-admin-users=False")
    async with culler(hub, *options, scopes=(*CULLERS_SCOPES, "admin:users")) as said:
        gone = [f"Culling user {name}" for name in ("alice", "bob", "dave")]
        await until(lambda: all(any(words in line for line in said) for words in gone), "users are culled")

        async def known():
            _, text = await working["carol"].get("/hub/api/users")
            return [user["name"] for user in json.loads(text)]

        async with asyncio.timeout(PATIENCE_S):
            while await known() != ["carol"]:
                await asyncio.sleep(0.2)
    assert (await working["bob"].get("/hub/api/user"))[0] == 401, "his login has ended with him"
