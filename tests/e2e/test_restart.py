"""kill -9 in every state, and what the next start makes of it; and that only one hub runs on a store."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess

import pytest

from tests.e2e.kit import Hub, cancel_jobs, jobs, slurm, until, visitor

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="session")]


@contextlib.asynccontextmanager
async def people(hub, passwords):
    async with visitor(hub, "alice") as alice, visitor(hub, "bob") as bob, visitor(hub, "carol") as carol:
        for one in (alice, bob, carol):
            await one.log_in(passwords[one.name])
        yield alice, bob, carol
        cancel_jobs([hub])


async def still_logged_in(*users):
    for user in users:
        status, _ = await user.get("/hub/home", allow_redirects=False)
        assert status == 200, f"{user.name}'s login is gone"


def records_match(hub: Hub, *servers) -> None:
    """squeue holds exactly the jobs that the hub knows."""
    assert sorted(job.id for job in jobs(hub)) == sorted(server["job"]["id"] for server in servers)


async def test_killed_while_servers_start(held_hub, passwords, holds):
    """SUBMITTING, QUEUED and STARTING at once."""
    hub = held_hub
    holds.hold("sbatch", "alice")
    holds.hold("jupyter", "carol")
    try:
        async with people(hub, passwords) as (alice, bob, carol):
            # Closed only after the hub has read that it is open: the form would refuse it.
            await bob.get("/hub/spawn")
            slurm("scontrol", "update", "PartitionName=gpu", "State=DOWN")
            await carol.start(time_hours="0.5")
            await bob.start(time_hours="0.5", partition="gpu")
            await alice.start(time_hours="0.5")
            await carol.wait_state("starting")
            queued = await bob.wait_state("queued")
            assert (await alice.server())["state"] == "submitting"
            await until(lambda: len(jobs(hub)) == 2, "two jobs")
            await holds.reached("sbatch", "alice")

            hub.kill()
            assert len(jobs(hub)) == 2, "jobs do not die with the hub"
            hub.start()

            await still_logged_in(alice, bob, carol)
            assert (await alice.server())["state"] == "submitting", "nobody knows yet whether there is a job"
            assert (await bob.server())["job"]["id"] == queued["job"]["id"]
            assert (await bob.server())["state"] == "queued"
            assert (await carol.server())["state"] == "starting"

            # sbatch of the killed hub comes through only now: its job is found by the tag and adopted.
            holds.release("sbatch", "alice")
            holds.release("jupyter", "carol")
            slurm("scontrol", "update", "PartitionName=gpu", "State=UP")
            servers = await asyncio.gather(*(one.wait_state("ready") for one in (alice, bob, carol)))
            records_match(hub, *servers)
            for one in (alice, bob, carol):
                status, _ = await one.get(f"/user/{one.name}/api/status", headers={"Accept": "*/*"})
                assert status == 200, f"{one.name}'s server, with the TLS identity of before"
    finally:
        slurm("scontrol", "update", "PartitionName=gpu", "State=UP")


async def test_killed_while_servers_run_and_stop(held_hub, passwords, holds):
    """READY and STOPPING, and a start that was cancelled while SUBMITTING."""
    hub = held_hub
    async with people(hub, passwords) as (alice, bob, carol):
        await asyncio.gather(alice.start(time_hours="0.5"), bob.start(time_hours="0.5"))
        running, _ = await asyncio.gather(alice.wait_state("ready"), bob.wait_state("ready"))
        kernel = await alice.new_kernel()
        await alice.run_cell("kept = 6 * 7", kernel)
        holds.hold("scancel", "bob")
        holds.hold("scancel", "minihub")
        holds.hold("sbatch", "carol")
        await carol.start(time_hours="0.5")
        await bob.post("/hub/stop")
        await carol.post("/hub/stop")
        assert (await bob.server())["state"] == "stopping"
        assert (await carol.server())["state"] == "stopping"
        await holds.reached("sbatch", "carol")
        await holds.reached("scancel", "minihub")

        hub.kill()
        assert len(jobs(hub)) == 2
        hub.start()

        await still_logged_in(alice, bob, carol)
        assert (await alice.server())["state"] == "ready"
        assert (await alice.server())["job"]["id"] == running["job"]["id"]
        assert (await alice.run_cell("print(kept)", kernel)).strip() == "42", "the kernel lives on"
        assert (await bob.server())["state"] == "stopping"
        holds.release_all()
        # A job that the late sbatch makes was not wanted any more.
        await asyncio.gather(bob.wait_state("stopped"), carol.wait_state("stopped", timeout_s=90))
        records_match(hub, running)
        await alice.stop()
        assert jobs(hub) == []


async def test_a_second_hub_on_the_same_store_refuses(hub):
    done = subprocess.run(
        hub.argv("serve"),
        capture_output=True,
        text=True,
        env={**hub.environment(), "MINIHUB_HUB__PORT": "0"},
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    said = done.stderr.strip().splitlines()
    assert "another hub" in said[-1] or "already" in said[-1], done.stderr
    assert "Traceback" not in done.stderr
