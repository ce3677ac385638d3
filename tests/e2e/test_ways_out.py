"""Cancel and Log Out at every moment of a start, with Slurm and ssh really standing at that place."""

from __future__ import annotations

import asyncio

import pytest

from tests.e2e.kit import jobs, slurm, text_of, until, visitor

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="session")]

CLICK = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}


async def cancels(user):
    status, where, page = await user.post("/hub/stop")
    assert (status, where) == (303, f"/hub/spawn-pending/{user.name}"), text_of(page)
    # A pending job may be gone before anybody looks.
    assert (await user.server())["state"] in ("stopping", "stopped")


async def logs_out(user):
    status, page = await user.get("/hub/logout", headers=CLICK)
    assert status == 200
    assert "You are logged out" in page
    assert (await user.get("/hub/home", allow_redirects=False))[0] in (302, 303)


@pytest.mark.parametrize("leave", [cancels, logs_out])
async def test_while_submitting_queued_and_starting(held_hub, passwords, holds, leave):
    hub = held_hub
    async with visitor(hub, "alice") as alice, visitor(hub, "bob") as bob, visitor(hub, "carol") as carol:
        for one in (alice, bob, carol):
            await one.log_in(passwords[one.name])
        # Closed only after the hub has read that it is open: the form would refuse it.
        await bob.get("/hub/spawn")
        slurm("scontrol", "update", "PartitionName=gpu", "State=DOWN")
        try:
            holds.hold("sbatch", "alice")
            holds.hold("jupyter", "carol")
            await alice.start(time_hours="0.5")
            await bob.start(time_hours="0.5", partition="gpu")
            await carol.start(time_hours="0.5")
            await bob.wait_state("queued")
            await carol.wait_state("starting")
            await holds.reached("sbatch", "alice")
            assert (await alice.server())["state"] == "submitting"
            assert sorted(job.user for job in jobs(hub)) == ["bob", "carol"]

            await asyncio.gather(leave(alice), leave(bob), leave(carol))
            await until(lambda: jobs(hub) == [], "the two jobs are gone")
            # sbatch comes through only now: its job is not wanted any more.
            holds.release("sbatch", "alice")
            for name in ("alice", "bob", "carol"):
                await until(lambda end=f"{name}: STOPPING -> STOPPED": end in hub.log, f"{name} is settled")
            assert jobs(hub) == []
        finally:
            slurm("scontrol", "update", "PartitionName=gpu", "State=UP")
