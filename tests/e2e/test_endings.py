"""How jobs end without the hub's doing: noticed by the next listing, and explained to the user from what Slurm says."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.kit import Hub, Person, busy_cluster, jobs, person, slurm, text_of, until

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="session")]

CONF = Path("/etc/slurm/slurm.conf")
NOTICED_S = 30
"""A listing comes every 2 seconds here; the rest is for a busy machine and for Slurm's own leisure."""
HANGS = "import time\nprint('reading a slow file system', flush=True)\ntime.sleep(600)\n"


@contextlib.contextmanager
def changed_conf(**lines: str) -> Iterator[None]:
    """Other settings of Slurm itself."""
    before = CONF.read_text()
    kept = [line for line in before.splitlines() if line.partition("=")[0] not in lines]
    CONF.write_text("\n".join([*kept, *(f"{key}={value}" for key, value in lines.items())]) + "\n")
    try:
        slurm("scontrol", "reconfigure")
        yield
    finally:
        CONF.write_text(before)
        slurm("scontrol", "reconfigure")


@pytest.fixture(scope="module")
def strict_slurm() -> Iterator[None]:
    """Slurm kills what needs more memory than it asked for, and gives a silent node up soon."""
    with changed_conf(JobAcctGatherParams="OverMemoryKill", SlurmdTimeout="10", MessageTimeout="10"):
        yield


@pytest.fixture(scope="module")
def hub(make_hub, strict_slurm) -> Iterator[Hub]:
    # The longest of the clocks: whatever is noticed sooner was noticed by a listing.
    with make_hub(
        slurm={"listing_quiet_s": 2, "extra_args": ["--acctg-freq=task=1"]},
        servers={"spawn_timeout_s": 900, "start_timeout_s": 900},
    ) as hub:
        yield hub.start()


async def told(one: Person) -> dict[str, Any]:
    """Wait until the hub knows that the server has ended; return what the API and the pages say."""

    async def over() -> dict[str, Any]:
        async with asyncio.timeout(NOTICED_S):
            while (server := await one.server())["state"] not in ("failed", "stopped"):
                await asyncio.sleep(0.1)
            return server

    server = await over()
    home = text_of((await one.get("/hub/home"))[1])
    status, page = await one.get(f"/user/{one.name}/lab", headers={"Sec-Fetch-Mode": "navigate"})
    assert status == 424
    log = re.search(r'(?s)<pre tabindex="0" data-f="log_tail">(.*?)</pre>', page)
    return {**server, "home": home, "page": text_of(page), "log": log[1] if log else ""}


def explained(end: dict[str, Any], kind: str, message: str, reason: str = "") -> None:
    """The API and both pages say the same, in these words."""
    assert end["state"] == "failed", end
    assert end["failure"]["kind"] == kind, end["failure"]
    assert end["failure"]["message"] == message
    assert reason in end["failure"]["reason"]
    assert end["failure"]["advice"].startswith(("Start again", "Look at the end"))
    for page in (end["home"], end["page"]):
        assert message in page
        assert "What to do:" in page


def pid_of(user: str, mark: bytes) -> int:
    """The process of `user` that has `mark` on its command line."""
    uid = pwd.getpwnam(user).pw_uid
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if process.stat().st_uid == uid and mark in (process / "cmdline").read_bytes():
                return int(process.name)
    return 0


# ---- ended from outside ---------------------------------------------------------------------------------------------


async def test_three_ways_out_at_once(hub, passwords):
    """Cancelled by its user on the login node, at its time limit, and Jupyter killed in a job that lives."""
    async with contextlib.AsyncExitStack() as stack:
        alice, bob, carol = [
            await stack.enter_async_context(person(hub, name, passwords[name]))
            for name in ("alice", "bob", "carol")
        ]
        mine, bobs, _ = await asyncio.gather(
            *(one.start_and_wait(time_hours="0.5") for one in (alice, bob, carol))
        )
        slurm("scontrol", "update", f"JobId={bobs['job']['id']}", "EndTime=now")
        slurm("setpriv", "--reuid=alice", "--regid=alice", "--init-groups", "scancel", mine["job"]["id"])
        os.kill(pid_of("carol", b"minihub_inside.py"), signal.SIGKILL)
        cancelled, timed_out, killed = await asyncio.gather(told(alice), told(bob), told(carol))

        explained(cancelled, "cancelled", "The job was cancelled outside the hub.", "cancelled by alice")
        assert "ServerApp" in cancelled["log"]
        explained(timed_out, "time_limit", "The job reached its time limit.", "TIMEOUT")
        assert "ServerApp" in timed_out["log"]
        explained(killed, "exited", "The Jupyter server ended unexpectedly.", "killed by signal 9")
        assert "Jupyter ended with exit status 137 (killed by signal 9)" in killed["log"]
        assert jobs(hub) == []


async def test_more_memory_than_it_asked_for(hub, passwords):
    """Slurm 22.05 without cgroups says FAILED and signal 9; that it was the memory, the peak tells."""
    async with person(hub, "alice", passwords["alice"]) as alice:
        await alice.start_and_wait(time_hours="0.5", memory_mb="600")
        greedy = asyncio.ensure_future(
            alice.run_cell("x = bytearray(900_000_000); import time; time.sleep(60)")
        )
        end = await told(alice)
        explained(
            end, "out_of_memory", "The job used more memory than it had asked for and was killed.", "MB used"
        )
        assert "ServerApp" in end["log"]
        with contextlib.suppress(Exception):
            await greedy


async def test_preempted(hub, passwords):
    slurm("scontrol", "create", "PartitionName=urgent", "Nodes=node[1-2]", "PriorityTier=10")
    try:
        async with person(hub, "alice", passwords["alice"]) as alice:
            server = await alice.start_and_wait(time_hours="0.5")
            vip = slurm("sbatch", "--parsable", "--uid=bob", "-A", "def-prof1", "-p", "urgent", "-D", "/",
                        "-o", "/dev/null", "-t", "10", "--exclusive", "--mem=0", "-w", server["job"]["node"],
                        stdin="#!/bin/sh\nsleep 600\n")  # fmt: skip
            end = await told(alice)
            explained(end, "preempted", "The job had to make room for one of higher priority.", "PREEMPTED")
            assert "ServerApp" in end["log"]
            slurm("scancel", vip)
            await until(lambda: not jobs(user="bob"), "the urgent job is gone")
    finally:
        slurm("scontrol", "delete", "PartitionName=urgent")


async def test_a_node_goes_down(hub, passwords, cluster):
    """By an admin's hand, and by its cable."""
    async with person(hub, "alice", passwords["alice"]) as alice:
        server = await alice.start_and_wait(time_hours="0.5")
        node = server["job"]["node"]
        try:
            slurm("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=test")
            end = await told(alice)
        finally:
            await back(node)
        explained(end, "node_failed", "The compute node failed.", f"NODE_FAIL on {node}")
        assert "ServerApp" in end["log"]

        server = await alice.start_and_wait(time_hours="0.5")
        node = server["job"]["node"]
        try:
            cluster.output(["ip", "link", "set", "eth0", "down"], host=node)
            end = await told(alice)
        finally:
            cluster.output(["ip", "link", "set", "eth0", "up"], host=node)
            await back(node)
        explained(end, "node_failed", "The compute node failed.", f"NODE_FAIL on {node}")
        assert "ServerApp" in end["log"]


async def back(node: str) -> None:
    """Wait until Slurm takes jobs for the node again; it returns by itself, or has to be told."""

    def is_back() -> bool:
        if slurm("sinfo", "-h", "-N", "-n", node, "-p", "compute", "-o", "%T") in ("idle", "mixed"):
            return True
        with contextlib.suppress(AssertionError):
            slurm("scontrol", "update", f"NodeName={node}", "State=RESUME")
        return False

    await until(is_back, f"{node} is back")


# ---- not ended ------------------------------------------------------------------------------------------------------


async def test_suspended_and_requeued_jobs_are_not_over(hub, passwords):
    async with person(hub, "alice", passwords["alice"]) as alice:
        server = await alice.start_and_wait(time_hours="0.5")
        job = server["job"]["id"]
        slurm("scontrol", "suspend", job)
        try:
            async with asyncio.timeout(NOTICED_S):
                while "has suspended the job" not in text_of((await alice.get("/hub/home"))[1]):
                    await asyncio.sleep(0.1)
            assert (await alice.server())["state"] == "ready"
        finally:
            slurm("scontrol", "resume", job)

        slurm("scontrol", "update", f"JobId={job}", "Requeue=1")
        slurm("scontrol", "requeue", job)
        await alice.wait_state("queued")
        for path in ("/hub/home", "/hub/spawn-pending/alice"):
            assert "put the job back into the queue" in text_of((await alice.get(path))[1]), path
        # Slurm itself waits for two minutes.
        slurm("scontrol", "update", f"JobId={job}", "StartTime=now")
        again = await alice.wait_state("ready")
        assert again["job"]["id"] == job
        assert (await alice.run_cell("print(6*7)")).strip() == "42"


async def test_a_job_on_hold_says_who_holds_it(hub, passwords):
    async with person(hub, "alice", passwords["alice"]) as alice:
        await alice.get("/hub/spawn")
        with busy_cluster():
            await alice.start(time_hours="0.5")
            job = (await alice.wait_state("queued"))["job"]["id"]
            slurm("scontrol", "hold", job)
            async with asyncio.timeout(NOTICED_S):
                while (await alice.server())["job"]["reason"] != "JobHeldAdmin":
                    await asyncio.sleep(0.1)
            page = text_of((await alice.get("/hub/spawn-pending/alice"))[1])
            assert "put on hold by an administrator of the cluster" in page
            # Somebody on the login node thinks better of it.
            slurm("scancel", job)
            end = await told(alice)
            explained(end, "cancelled", "The job was cancelled outside the hub.", "cancelled by root")


# ---- while it starts ------------------------------------------------------------------------------------------------


async def test_jupyter_that_hangs_shows_its_log_and_its_death_ends_the_wait(hub, passwords):
    """In the user's own configuration, which Jupyter reads before it listens."""
    folder = Path("/home/alice/.jupyter")
    slurm("install", "-d", "-o", "alice", "-g", "alice", str(folder))
    config = folder / "jupyter_server_config.py"
    config.write_text(HANGS)
    try:
        async with person(hub, "alice", passwords["alice"]) as alice:
            await alice.start(time_hours="0.5")
            server = await alice.wait_state("starting")
            async with alice.client.get(f"{hub.url}/hub/spawn-pending/alice/events") as events:
                async with asyncio.timeout(NOTICED_S):
                    async for line in events.content:
                        if b"reading a slow file system" in line:
                            break
            os.kill(pid_of("alice", b"minihub_inside.py"), signal.SIGKILL)
            end = await told(alice)
            explained(end, "died", "The job ended before Jupyter was ready.", "killed by signal 9")
            assert "reading a slow file system" in end["log"]
            assert server["job"]["id"] == end["job"]["id"]
    finally:
        config.unlink()
