"""Forking the helper, as the command line does; with root and without."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.helper.machine import PASSWORD

pytestmark = pytest.mark.real

HUB = """
import os, sys, pwd
from minihub.helper.parent import fork_helper, HelperSettings
handle = fork_helper()
heavy = [m for m in ("asyncio", "aiohttp", "pydantic", "ssl", "pam") if m in sys.modules]
import asyncio, json
info = handle.configure(HelperSettings(runtime_dir=sys.argv[1]))
from minihub.helper.client import HelperClient
me = pwd.getpwuid(os.getuid()).pw_name

async def attempt(awaitable):
    try:
        return str(await awaitable)
    except Exception as error:
        return f"{type(error).__name__}: {error}"

async def main():
    client = await HelperClient.connect(handle)
    job = await client.start_job(user=me, tag="minihub-t-1", script="sleep 0.3; exit 4", log_path="/dev/null", limit_s=60)
    while (await client.jobs())[0].alive:
        await asyncio.sleep(0.05)
    print(json.dumps({
        "heavy": heavy, "root": info.root, "user": info.user, "me": me, "service": info.pam_service,
        "exit": (await client.jobs())[0].exit,
        "other": await attempt(client.run(["tail", "--version"], user="mh-alice", timeout_s=30)),
        "own": (await client.run(["tail", "--version"], user=me, timeout_s=30)).exit_status,
        "right": await attempt(client.authenticate(me, sys.argv[2])),
        "alices": await attempt(client.authenticate("mh-alice", sys.argv[2])) if me != "mh-alice" else "",
        "modes": [oct(os.stat(f"{sys.argv[1]}/{n}").st_mode & 0o7777) for n in ("jobs", "users", f"users/{me}")],
        "helper": handle.pid,
    }))
    sys.stdout.flush()
    os.kill(os.getpid(), 9)

asyncio.run(main())
"""


def test_an_ordinary_user_has_the_same_helper_for_himself(machine):
    home = machine.base / "home/mh-user8"
    who = ["setpriv", "--reuid", str(machine.uid(8)), "--regid", "100", "--clear-groups"]
    run = machine.enter(
        [*who, "env", f"PYTHONPATH={os.getcwd()}", sys.executable, "-c", HUB, str(home / "run"), PASSWORD],
        stdout=subprocess.PIPE,
    )
    output = run.communicate(timeout=60)[0]
    assert run.returncode == -9
    found = json.loads(output)
    helper = found.pop("helper")
    other = found.pop("other")
    assert "only as the user who started it" in other
    assert "BadCredentials" in found["alices"] or "AuthError" in found["alices"]
    del found["alices"]
    assert found == {
        "heavy": [],
        "root": False,
        "user": "mh-user8",
        "me": "mh-user8",
        "service": "login",
        "exit": "4",
        "own": 0,
        "right": "mh-user8",
        "modes": ["0o700", "0o700", "0o700"],
    }
    # The hub was killed by kill -9.
    deadline = time.monotonic() + 30
    while Path(f"/proc/{helper}").exists() and " Z " not in Path(f"/proc/{helper}/stat").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)
