"""Slurm is down, dumb, or lies: who has a server does not notice, nothing is lost, and pages say what goes on.

MINIHUB_OUTAGE_S makes the real outages last longer than it takes to see everything.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.kit import jobs, slurm, until
from tests.e2e.outages.conf import slurm_conf

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="session")]

OUTAGE_S = float(os.environ.get("MINIHUB_OUTAGE_S", "0"))


def end_daemon(pid_file: str) -> None:
    pid = int(Path(pid_file).read_text())
    os.kill(pid, signal.SIGTERM)
    end = time.monotonic() + 30
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < end
        time.sleep(0.05)


@contextlib.contextmanager
def no_slurmctld(cluster) -> Iterator[None]:
    end_daemon("/run/slurm/slurmctld.pid")
    try:
        yield
    finally:
        cluster.output(["slurmctld"], host="ctl")


@contextlib.contextmanager
def no_munge() -> Iterator[None]:
    """Authentication errors everywhere: in the clients, in the daemons."""
    with contextlib.ExitStack() as stack:
        if OUTAGE_S:
            # The test cluster gives a node up after a minute without an answer; Slurm's default is five.
            stack.enter_context(slurm_conf("SlurmdTimeout=300"))
        end_daemon("/run/munge/munged.pid")
        stack.callback(slurm, "sh", "-c", "exec runuser -u munge -- munged --force")
        yield


async def test_slurmctld_stopped(hub, alice, carol, cluster, undisturbed, page_says, is_over):
    kernel = await alice.new_kernel()
    await alice.run_cell("kept = 6 * 7", kernel)
    await carol.start(time_hours="0.5")
    await carol.wait_state("starting", "ready")
    async with undisturbed(alice):
        with no_slurmctld(cluster):
            began = time.monotonic()
            await page_says(
                alice, "/hub/home", "Slurm has not answered since", "Running servers are untouched"
            )
            await page_says(alice, "/hub/home", "As Slurm said")
            assert (await alice.run_cell("print(kept)", kernel)).strip() == "42"
            # Wanted now, carried out as soon as somebody hears it.
            await carol.post("/hub/stop")
            assert (await carol.server())["state"] == "stopping"
            # That nothing new is begun is tested in test_waiting.py: the hub is sure only after a while.
            await asyncio.sleep(OUTAGE_S - (time.monotonic() - began))
            assert (await carol.server())["state"] == "stopping"
        await carol.wait_state("stopped")
        assert jobs(hub, "carol") == []
        await is_over(carol)


async def test_munge_stopped(hub, alice, carol, undisturbed, page_says, is_over):
    await carol.start(time_hours="0.5")
    await carol.wait_state("starting", "ready")
    async with undisturbed(alice):
        with no_munge():
            began = time.monotonic()
            await page_says(alice, "/hub/home", "Slurm has not answered since")
            await carol.post("/hub/stop")
            assert (await carol.server())["state"] == "stopping"
            await asyncio.sleep(OUTAGE_S - (time.monotonic() - began))
            assert (await carol.server())["state"] == "stopping"
        await carol.wait_state("stopped")
        assert jobs(hub, "carol") == []
        await is_over(carol)


async def test_squeue_that_lies(hub, alice, moods, undisturbed, page_says, is_over):
    """No answer, nonsense, and good listings that lack jobs: none says that a server is gone."""
    async with undisturbed(alice):
        for mood in ("hang", "nonsense", "silence", "half"):
            with moods.being(squeue=mood):
                await moods.wait_asked("squeue", 2)
                await page_says(alice, "/hub/home", 'id="outage"', "Slurm has not answered since")
        with moods.being(squeue="heading"):
            # Nothing is wrong with that listing, except that it is not true.
            since = len(hub.log)
            await until(lambda: hub.log[since:].count("listings lack job") >= 3, "the second opinion")
        await is_over(alice)


async def test_sbatch_and_scancel_that_fail(hub, alice, bob, carol, moods, undisturbed):
    await carol.start(time_hours="0.5")
    await carol.wait_state("starting", "ready")
    async with undisturbed(alice):
        with moods.being(sbatch="auth", scancel="refuse"):
            await bob.start(time_hours="0.5")
            failed = await bob.wait_state("failed")
            assert failed["failure"]["message"] == "The scheduler is not responding."
            assert "Try again" in failed["failure"]["advice"]
            await carol.post("/hub/stop")
            await moods.wait_asked("scancel", 3)
            assert (await carol.server())["state"] == "stopping"
        await carol.wait_state("stopped")
        assert jobs(hub, "carol") == jobs(hub, "bob") == []
