"""The ssh connection breaks while sbatch runs: nobody knows whether there is a job, and exactly one comes of it."""

from __future__ import annotations

import asyncio
import os
import pwd
import signal
import time
from pathlib import Path

import pytest

from tests.chaos.reading import newest, read_jobs, read_rows
from tests.e2e.kit import PATIENCE_S, jobs, until, visitor

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="session")]

# What a file of the user's name says: sbatch has done its work but its answer does not come back; or it has read the
# script and hangs, as it does where the controller hangs; or it hangs where no time limit reaches it, as on a login node
# that was suspended, and does its work once a file says so.
SBATCH = """\
#!/bin/sh
case $(cat "{holds}/mode-$(id -un)" 2>/dev/null) in
answered)
  answer=$(/usr/bin/sbatch "$@")
  while :; do sleep 0.1; done ;;
asleep)
  exec 3<&0
  setsid sh -c 'script=$(cat); touch "$HOME/asleep"; while [ ! -e "{holds}/wake-$(id -un)" ]; do sleep 0.1; done
    printf "%s\\n" "$script" | exec /usr/bin/sbatch "$@"' "{holds}/sbatch" "$@" <&3 &
  wait $! ;;
hung)
  script=$(cat)
  while :; do sleep 0.1; done ;;
*)
  exec /usr/bin/sbatch "$@" ;;
esac
"""


class Sbatch:
    """How the users' sbatch behaves."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "sbatch").write_text(SBATCH.format(holds=folder))
        for file in (*folder.glob("mode-*"), *folder.glob("wake-*"), *Path("/home").glob("*/asleep")):
            file.unlink()

    def behave(self, user: str, mode: str) -> None:
        (self.folder / f"mode-{user}").write_text(mode)

    def wake(self, user: str) -> None:
        (self.folder / f"wake-{user}").touch()


TIMEOUT_S, SETTLE_S = 10, 1


@pytest.fixture
def impatient_hub(quick_hub):
    """What did not answer for eleven seconds cannot become a job any more, as far as this hub knows."""
    quick_hub.change(slurm={"command_timeout_s": TIMEOUT_S, "settle_s": SETTLE_S})
    return quick_hub.start()


def cut(folder: Path, user: str) -> None:
    """Kill the sshd process behind the user's sbatch: the hub loses its connection in the middle of the command."""
    program, uid = f"{folder}/sbatch".encode(), pwd.getpwnam(user).pw_uid
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            if program not in words or process.stat().st_uid != uid:
                continue
            while not (process / "cmdline").read_bytes().startswith(b"sshd: "):
                parent = (process / "stat").read_text().rpartition(") ")[2].split()[1]
                process = Path("/proc", parent)  # noqa: PLW2901 - up the tree
        except FileNotFoundError:
            continue
        if process.name != "1":
            os.kill(int(process.name), signal.SIGKILL)
            return
    raise AssertionError(f"no sshd behind {user}'s sbatch")


def jobs_ever(hub, user):
    return [job for job in read_jobs(hub) if job.user == user]


async def lose_the_connection(hub, sbatch, holds, one, mode):
    """Start, and cut the connection once sbatch stands where `mode` says; returns when, in monotonic seconds."""
    sbatch.behave(one.name, mode)
    await one.start(time_hours="0.5")
    if mode == "answered":
        await until(lambda: jobs(hub, one.name), f"{one.name}'s job")
    elif mode == "asleep":
        await until(
            lambda: Path(f"/home/{one.name}/asleep").exists(), f"{one.name}'s sbatch has read its script"
        )
    else:
        await holds.reached("sbatch", one.name)
    # A listing may have found the job already, and the stand-in is quick.
    assert (await one.server())["state"] in ("submitting", "queued", "starting", "ready")
    began = time.monotonic()
    cut(holds.folder, one.name)
    (sbatch.folder / f"mode-{one.name}").unlink()
    return began


async def given_up(one):
    """Wait until the hub does not count on the user's job any more; returns when, in monotonic seconds."""
    async with asyncio.timeout(PATIENCE_S):
        while (state := (await one.server())["state"]) == "submitting":
            await asyncio.sleep(0.1)
    assert state == "failed"
    return time.monotonic()


async def test_one_job_comes_of_it_whether_sbatch_had_done_its_work_or_not(impatient_hub, passwords, holds):
    hub, sbatch = impatient_hub, Sbatch(holds.folder)
    async with visitor(hub, "alice") as alice, visitor(hub, "bob") as bob, visitor(hub, "carol") as carol:
        for one in (alice, bob, carol):
            await one.log_in(passwords[one.name])
        _, lost_at, _ = await asyncio.gather(
            lose_the_connection(hub, sbatch, holds, alice, "answered"),
            lose_the_connection(hub, sbatch, holds, bob, "hung"),
            lose_the_connection(hub, sbatch, holds, carol, "asleep"),
        )
        # Soon enough to be counted: its job is found by the tag.
        sbatch.wake("carol")
        given_up_at, *_ = await asyncio.gather(
            given_up(bob), alice.wait_state("ready"), carol.wait_state("ready")
        )
        assert given_up_at - lost_at > TIMEOUT_S + SETTLE_S, (
            "nothing is concluded while sbatch may be at work"
        )

        for one in (alice, carol):
            (job,) = jobs_ever(hub, one.name)
            assert (await one.server())["job"]["id"] == job.id
        assert jobs_ever(hub, "bob") == []
        assert (await bob.server())["failure"]["kind"] == "doubtful"
        await bob.start_and_wait(time_hours="0.5")
        assert len(jobs_ever(hub, "bob")) == 1
        await asyncio.gather(alice.stop(), bob.stop(), carol.stop())
        assert jobs(hub) == []


async def test_an_sbatch_that_comes_through_when_its_start_was_given_up_leaves_no_second_job(
    impatient_hub, passwords, holds
):
    """alice has started another server meanwhile, bob has stopped his, carol's hub is another one by then."""
    hub, sbatch = impatient_hub, Sbatch(holds.folder)
    async with visitor(hub, "alice") as alice, visitor(hub, "bob") as bob, visitor(hub, "carol") as carol:
        people = (alice, bob, carol)
        for one in people:
            await one.log_in(passwords[one.name])
        await asyncio.gather(*(lose_the_connection(hub, sbatch, holds, one, "asleep") for one in people))
        await bob.post("/hub/stop")
        assert (await bob.server())["state"] == "stopping", "a job may come yet"
        hub.kill()
        hub.start()
        await until(lambda: not any(row.live for row in read_rows(hub)), "all three are given up")
        ends = [newest(read_rows(hub), one.name) for one in people]
        assert [row.failure or row.state for row in ends] == ["doubtful", "stopped", "doubtful"]
        await alice.start_and_wait(time_hours="0.5")

        for one in people:
            sbatch.wake(one.name)
        late = {row.tag for row in ends}
        await until(lambda: {job.tag for job in read_jobs(hub)} >= late, "the late jobs")
        await until(lambda: [job.user for job in jobs(hub)] == ["alice"], "the late jobs are cancelled")
        assert (await alice.server())["state"] == "ready"
        (job,) = jobs(hub, "alice")
        assert (await alice.server())["job"]["id"] == job.id
        await alice.stop()
