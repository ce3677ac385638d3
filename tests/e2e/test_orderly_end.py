"""SIGTERM: no more work is taken, what is on its way is finished or stays on record, and no job is cancelled."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from tests.chaos.reading import newest, read_rows
from tests.e2e.kit import PATIENCE_S, jobs, until, visitor

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="session")]


async def refuses(hub):
    """Wait until nobody is let in any more."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                async with visitor(hub) as stranger:
                    await stranger.get("/hub/health")
            except aiohttp.ClientConnectionError:
                return


async def ended(hub) -> int:
    return await asyncio.to_thread(hub.process.wait, PATIENCE_S)


async def test_the_answer_of_sbatch_is_awaited_and_written_down(quick_hub, passwords, holds):
    hub = quick_hub.start()
    async with visitor(hub, "alice") as alice, visitor(hub, "bob") as bob:
        for one in (alice, bob):
            await one.log_in(passwords[one.name])
        running = await bob.start_and_wait(time_hours="0.5")
        # No listing tells of the job.
        holds.hold("squeue", "minihub")
        await holds.reached("squeue", "minihub")
        holds.hold_answer("sbatch", "alice")
        await alice.start(time_hours="0.5")
        # The hub waits for 5 s: enough for an answer that is let go, not always for a job that is still to be made.
        [job] = await until(lambda: jobs(hub, "alice"), "alice's job")

        hub.process.terminate()
        await refuses(hub)
        assert hub.process.poll() is None, "it ended without sbatch's answer"
        holds.release("sbatch", "alice")
        assert await ended(hub) == 0
        holds.release_all()

        row = newest(read_rows(hub), "alice")
        assert (row.state, row.job_id) == ("queued", job.id)
        assert [one.id for one in jobs(hub, "alice")] == [job.id]
        assert [one.id for one in jobs(hub, "bob")] == [running["job"]["id"]]
        hub.start()
        assert (await alice.wait_state("ready"))["job"]["id"] == job.id
        assert (await bob.server())["state"] == "ready"
        await asyncio.gather(alice.stop(), bob.stop())


async def test_what_does_not_answer_is_not_awaited_for_ever(quick_hub, passwords, holds):
    """The record of before does for the next hub: a submission without an answer, a stop without a confirmation."""
    quick_hub.change(slurm={"command_timeout_s": 2 * PATIENCE_S})
    hub = quick_hub.start()
    async with visitor(hub, "alice") as alice, visitor(hub, "bob") as bob:
        for one in (alice, bob):
            await one.log_in(passwords[one.name])
        await bob.start_and_wait(time_hours="0.5")
        for command, user in (("sbatch", "alice"), ("scancel", "bob"), ("scancel", "minihub")):
            holds.hold(command, user)
        await alice.start(time_hours="0.5")
        await bob.post("/hub/stop")
        await holds.reached("sbatch", "alice")
        await holds.reached("scancel", "minihub")

        hub.process.terminate()
        assert await ended(hub) == 0
        rows = read_rows(hub)
        assert (newest(rows, "alice").state, newest(rows, "bob").state) == ("submitting", "stopping")
        holds.release_all()
        await until(lambda: len(jobs(hub, "alice")) == 1, "sbatch outlives the hub")
        hub.start()
        await asyncio.gather(alice.wait_state("ready"), bob.wait_state("stopped"))
        assert [job.user for job in jobs(hub)] == ["alice"]
        await alice.stop()
