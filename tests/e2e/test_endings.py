"""How jobs end without the hub's doing: noticed by the next listing, and explained to the user from what Slurm says."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import re
import signal
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.conftest import Cluster
from tests.e2e.holds import COMMANDS
from tests.e2e.kit import Hub, Person, busy_cluster, jobs, person, slurm, text_of, until

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="session")]

CONF = Path("/etc/slurm/slurm.conf")
NOTICED_S = 90
"""A listing comes every second here; the rest is for a busy machine and for Slurm's own leisure: it looks for jobs beyond
their time limit twice a minute."""
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
    with changed_conf(JobAcctGatherParams="OverMemoryKill", SlurmdTimeout="6", MessageTimeout="10"):
        yield


@pytest.fixture(scope="module")
def hub(make_hub, strict_slurm) -> Iterator[Hub]:
    # The longest of the clocks: whatever is noticed sooner was noticed by a listing.
    with make_hub(
        slurm={"listing_quiet_s": 1, "extra_args": ["--acctg-freq=task=1"]},
        servers={"spawn_timeout_s": 900, "start_timeout_s": 900},
    ) as hub:
        yield hub.start()


async def told(one: Person, within_s: float = NOTICED_S) -> dict[str, Any]:
    """Wait until the hub knows that the server has ended; return what the API and the pages say."""
    async with asyncio.timeout(within_s):
        while (server := await one.server())["state"] not in ("failed", "stopped"):
            await asyncio.sleep(0.1)
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
    raise AssertionError(f"{user} has no process {mark!r}")


# The listing that shows the end of the job named in the file is the last one that is answered until accounting is asked.
SQUEUE = """\
#!/bin/sh
[ ! -e "{folder}/shown" ] || while [ ! -e "{folder}/asked" ]; do sleep 0.1; done
text=$(/usr/bin/squeue "$@"; echo .)
case $text in *">$(cat "{folder}/job")|alice|CANCELLED|"*) touch "{folder}/shown" ;; esac
printf %s "${{text%.}}"
"""
SACCT = """\
#!/bin/sh
touch "{folder}/asked"
exec /usr/bin/sacct "$@"
"""


async def test_an_end_is_noticed_by_the_next_listing(make_hub, passwords):
    """One that shows it is enough, whatever others would show."""
    with make_hub(slurm={"listing_quiet_s": 1}) as hub:
        folder = hub.directory / "bin"
        folder.mkdir()
        folder.chmod(0o777)
        (folder / "job").write_text("none")
        for command, text in (("squeue", SQUEUE), ("sacct", SACCT)):
            (folder / command).write_text(text.format(folder=folder))
            (folder / command).chmod(0o755)
        for command in {*COMMANDS, "sbatch", "scancel"} - {"squeue", "sacct"}:
            (folder / command).symlink_to(f"/usr/bin/{command}")
        hub.change(slurm={"bin_dir": str(folder)})
        hub.start()
        async with person(hub, "alice", passwords["alice"]) as alice:
            job = (await alice.start_and_wait(time_hours="0.5"))["job"]["id"]
            (folder / "job").write_text(job)
            slurm("scancel", job)
            explained(await told(alice), "cancelled", "The job was cancelled outside the hub.", "by root")
            assert (folder / "shown").exists()


# ---- ended from outside ---------------------------------------------------------------------------------------------


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


async def test_a_node_is_set_down(hub, passwords):
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


async def back(node: str) -> None:
    """Wait until Slurm takes jobs for the node again; it returns by itself, or has to be told."""

    def is_back() -> bool:
        if slurm("sinfo", "-h", "-N", "-n", node, "-p", "compute", "-o", "%T") in ("idle", "mixed"):
            return True
        with contextlib.suppress(AssertionError):
            slurm("scontrol", "update", f"NodeName={node}", "State=RESUME")
        return False

    await until(is_back, f"{node} is back")


# ---- while it waits -------------------------------------------------------------------------------------------------


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


# ---- side by side, since Slurm takes half a minute to give a silent node up -----------------------------------------

NODE1 = {"time_hours": "0.5", "gpu_type": "v100", "gpu_count": "1"}
NODE2 = {"time_hours": "0.5", "gpu_type": "a100", "gpu_count": "1"}


@pytest.mark.timeout(420)
async def test_a_cable_is_pulled_while_other_jobs_end_in_every_way(hub, passwords, cluster):
    async with contextlib.AsyncExitStack() as stack:
        alice, bob, carol = [
            await stack.enter_async_context(person(hub, name, passwords[name]))
            for name in ("alice", "bob", "carol")
        ]
        await asyncio.gather(
            cut_off(alice, cluster),
            in_turn(bob, suspended_and_requeued, at_its_time_limit),
            in_turn(carol, hanging_and_killed, killed_when_ready, cancelled_by_its_user, greedy),
        )
    assert jobs(hub) == []


async def in_turn(one: Person, *scenes: Callable[[Person], Awaitable[None]]) -> None:
    for scene in scenes:
        await scene(one)


async def cut_off(one: Person, cluster: Cluster) -> None:
    """The node's network is gone: the page says that the server does not answer, until Slurm gives the node up."""
    await one.start_and_wait(**NODE2)
    try:
        cluster.output(["ip", "link", "set", "eth0", "down"], host="node2")
        end = await told(one, within_s=120)
    finally:
        cluster.output(["ip", "link", "set", "eth0", "up"], host="node2")
        await back("node2")
    explained(end, "node_failed", "The compute node failed.", "NODE_FAIL on node2")
    assert "ServerApp" in end["log"]


async def suspended_and_requeued(one: Person) -> None:
    """Neither is the end."""
    server = await one.start_and_wait(**NODE1)
    job = server["job"]["id"]
    slurm("scontrol", "suspend", job)
    try:
        async with asyncio.timeout(NOTICED_S):
            while "has suspended the job" not in text_of((await one.get("/hub/home"))[1]):
                await asyncio.sleep(0.1)
        assert (await one.server())["state"] == "ready"
    finally:
        slurm("scontrol", "resume", job)

    slurm("scontrol", "update", f"JobId={job}", "Requeue=1")
    slurm("scontrol", "requeue", job)
    await one.wait_state("queued")
    for path in ("/hub/home", f"/hub/spawn-pending/{one.name}"):
        assert "put the job back into the queue" in text_of((await one.get(path))[1]), path
    # Slurm itself waits for two minutes.
    slurm("scontrol", "update", f"JobId={job}", "StartTime=now")
    again = await one.wait_state("ready")
    assert again["job"]["id"] == job
    assert (await one.run_cell("print(6*7)")).strip() == "42"


async def hanging_and_killed(one: Person) -> None:
    """Jupyter hangs in its user's own configuration: the waiting page shows the log, and its death ends the wait."""
    folder = Path(f"/home/{one.name}/.jupyter")
    slurm("install", "-d", "-o", one.name, "-g", one.name, str(folder))
    config = folder / "jupyter_server_config.py"
    config.write_text(HANGS)
    try:
        await one.start(**NODE1)
        await one.wait_state("starting")
        url = f"{one.hub.url}/hub/spawn-pending/{one.name}/events"
        async with one.client.get(url) as events, asyncio.timeout(NOTICED_S):
            async for line in events.content:
                if b"reading a slow file system" in line:
                    break
        os.kill(pid_of(one.name, b"minihub_inside.py"), signal.SIGKILL)
        end = await told(one)
        explained(end, "died", "The job ended before Jupyter was ready.", "killed by signal 9")
        assert "reading a slow file system" in end["log"]
    finally:
        config.unlink()


async def at_its_time_limit(one: Person) -> None:
    job = (await one.server())["job"]["id"]
    slurm("scontrol", "update", f"JobId={job}", "EndTime=now")
    end = await told(one)
    explained(end, "time_limit", "The job reached its time limit.", "TIMEOUT")
    assert "ServerApp" in end["log"]


async def killed_when_ready(one: Person) -> None:
    """Jupyter is killed, and the job ends with it."""
    await one.start_and_wait(**NODE1)
    os.kill(pid_of(one.name, b"minihub_inside.py"), signal.SIGKILL)
    end = await told(one)
    explained(end, "exited", "The Jupyter server ended unexpectedly.", "killed by signal 9")
    assert "Jupyter ended with exit status 137 (killed by signal 9)" in end["log"]


async def cancelled_by_its_user(one: Person) -> None:
    """On the login node, behind the hub's back."""
    job = (await one.start_and_wait(**NODE1))["job"]["id"]
    become = ["setpriv", f"--reuid={one.name}", f"--regid={one.name}", "--init-groups"]
    slurm(*become, "scancel", job)
    end = await told(one)
    explained(end, "cancelled", "The job was cancelled outside the hub.", f"cancelled by {one.name}")
    assert "ServerApp" in end["log"]


async def greedy(one: Person) -> None:
    """Slurm 22.05 without cgroups says FAILED and signal 9; that it was the memory, the peak tells."""
    await one.start_and_wait(**NODE1, memory_mb="600")
    eating = asyncio.ensure_future(one.run_cell("x = bytearray(900_000_000); import time; time.sleep(60)"))
    end = await told(one)
    explained(
        end, "out_of_memory", "The job used more memory than it had asked for and was killed.", "MB used"
    )
    assert "ServerApp" in end["log"]
    # Its websocket was closed under it.
    await asyncio.gather(eating, return_exceptions=True)
