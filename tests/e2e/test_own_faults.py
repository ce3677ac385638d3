"""Bugs of our own that strike a running hub: counted, logged with their server, and nobody else's business."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.kit import IS_INSTALLED, PATIENCE_S, ROOT, Hub, person, until, visitor

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="session")]

# Python imports this before anything else. A bug strikes as long as a file of its name is there.
BUGS = """\
import pathlib
import time

folder = pathlib.Path(__file__).parent

from minihub.proxy import prober
from minihub.schedulers.slurm import parsers
from minihub.servers import lifecycle

def with_bug(work, name_of):
    def buggy(*args, **more):
        name = folder / name_of(*args)
        if name.exists():
            raise ZeroDivisionError(name.name)
        if (folder / "stall").exists():
            time.sleep(0.5)
        return work(*args, **more)
    return buggy

lifecycle.step = with_bug(lifecycle.step, lambda attempt, *_: f"step-{attempt.user}")
parsers.parse_listing = with_bug(parsers.parse_listing, lambda *_: "listing")
prober.Prober.verify = with_bug(prober.Prober.verify, lambda _, route: f"prove-{route.user}")
"""


@pytest.fixture
def buggy(make_hub) -> Iterator[tuple[Hub, Path]]:
    """A hub, and the folder that says which bugs it has just now."""
    with make_hub(slurm={"listing_quiet_s": 1}) as hub:
        folder = hub.directory / "bugs"
        folder.mkdir(mode=0o755)
        (folder / "sitecustomize.py").write_text(BUGS)
        paths = [str(folder)] if IS_INSTALLED else [str(folder), str(ROOT)]
        hub.extra_env = {"PYTHONPATH": os.pathsep.join(paths)}
        yield hub.start(), folder


async def figure(hub: Hub, token: str, name: str) -> float:
    """What the hub counts; 0 where it has nothing to count yet."""
    async with visitor(hub) as monitor:
        _, text = await monitor.get("/hub/metrics", headers={"Authorization": f"token {token}"})
    found = re.search(rf"^minihub_{re.escape(name)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0


async def crashes(hub: Hub, token: str, kind: str) -> float:
    return await figure(hub, token, f'task_crashes_total{{task="{kind}"}}')


async def test_bugs_in_background_tasks(buggy, passwords):
    hub, folder = buggy
    token = hub.token("carol", "read:metrics")
    async with (
        person(hub, "alice", passwords["alice"]) as alice,
        person(hub, "bob", passwords["bob"]) as bob,
        person(hub, "carol", passwords["carol"]) as carol,
    ):
        # Proving bob's server dies, and is begun anew until it comes to its end.
        (folder / "prove-bob").touch()
        await asyncio.gather(alice.start_and_wait(time_hours="0.5"), bob.start(time_hours="0.5"))
        await bob.wait_state("starting")
        await until(lambda: "background task prove minihub-" in hub.log, "the log tells of it")
        [line] = [line for line in hub.log.splitlines() if "task prove minihub-" in line][:1]
        assert "died, begun anew in 1 s user=bob" in line
        (folder / "prove-bob").unlink()
        await bob.wait_state("ready")
        assert await crashes(hub, token, "prove") >= 1

        # No listing can be read: nobody is declared gone, and the page says so.
        (folder / "listing").touch()
        await until(lambda: "a listing could not be read" in hub.log, "the log tells of it")
        status, page = await alice.get("/hub/home")
        assert status == 200
        assert "Slurm has not answered since" in page
        assert (await alice.run_cell("print(6*7)")).strip() == "42"
        (folder / "listing").unlink()
        assert await crashes(hub, token, "listing") >= 1

        # Whatever happens to bob's server strikes a bug; the others' start and stop.
        (folder / "step-bob").touch()
        before = await crashes(hub, token, "listing")
        await carol.start(time_hours="0.5")
        await carol.wait_state("starting", "ready")
        await alice.stop()
        async with asyncio.timeout(PATIENCE_S):
            while await crashes(hub, token, "listing") == before:
                await asyncio.sleep(0.1)
        status, _, _ = await bob.post("/hub/stop")
        assert status == 500
        assert (await bob.get("/hub/home"))[0] == 200
        (folder / "step-bob").unlink()
        await bob.stop()
        await carol.stop()

        # And what only takes long: nobody else is served meanwhile, so it is counted.
        # On a busy machine there have been lesser ones before, and the log tells of them once a minute.
        (folder / "stall").touch()
        async with asyncio.timeout(PATIENCE_S):
            while await figure(hub, token, "loop_stall_longest_seconds") <= 0.3:
                await asyncio.sleep(0.1)
        (folder / "stall").unlink()
        assert await figure(hub, token, "loop_stalls_total") >= 1
        await until(lambda: "stalls of the event loop: " in hub.log, "the log tells of it")
    assert hub.process is not None
    assert hub.process.poll() is None
