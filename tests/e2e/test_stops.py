"""Stop always works: in every state, by everybody at once, while Slurm is silent and across a hub that is killed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.e2e.holds import PROLOGUE
from tests.e2e.kit import Hub, Person, jobs, signal_daemon, slurm, text_of, until, visitor

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="session")]

HALF_AN_HOUR = {"time_hours": "0.5"}


@contextlib.asynccontextmanager
async def logged_in(hub: Hub, passwords: dict[str, str], *names: str) -> AsyncIterator[list[Person]]:
    async with contextlib.AsyncExitStack() as stack:
        people = [await stack.enter_async_context(visitor(hub, name)) for name in names]
        for one in people:
            await one.log_in(passwords[one.name])
        yield people


class Admin:
    """What an admin's script sees and does: it outlives everybody's login."""

    def __init__(self, hub: Hub, one: Person) -> None:
        self.hub = hub
        self.client = one.client
        self.token = hub.token("carol", "admin")

    async def ask(self, method: str, name: str) -> tuple[int, str]:
        url = f"{self.hub.url}/hub/api/users/{name}/server"
        headers = {"Authorization": f"token {self.token}"}
        async with self.client.request(method, url, headers=headers) as answer:
            return answer.status, await answer.text()

    async def over(self, name: str, timeout_s: float = 60) -> dict[str, Any]:
        """Wait until the user's server is over."""
        async with asyncio.timeout(timeout_s):
            while not (server := json.loads((await self.ask("GET", name))[1]))["stopped"]:
                await asyncio.sleep(0.1)
            return server


async def everybody_stops(one: Person, admin: Admin) -> None:
    """The user in two tabs, by a page's script, by Log Out, and an admin: all at the same moment."""
    form = {"_xsrf": await one.xsrf()}
    api = f"{one.hub.url}/hub/api/users/{one.name}/server"

    async def post(path: str) -> int:
        async with one.client.post(one.hub.url + path, data=form, allow_redirects=False) as answer:
            return answer.status

    async def delete() -> int:
        async with one.client.delete(api, headers={"X-XSRFToken": form["_xsrf"]}) as answer:
            return answer.status

    *posted, deleted, (by_admin, _) = await asyncio.gather(
        post("/hub/stop"), post("/hub/stop"), post("/hub/logout"), delete(), admin.ask("DELETE", one.name)
    )
    # Who comes after Log Out is led to the login page, and a script is told so.
    assert set(posted) <= {200, 303}
    assert deleted in (202, 204, 401)
    assert by_admin in (202, 204)


def nothing_died(hub: Hub) -> None:
    assert "Traceback" not in hub.log
    assert " died" not in hub.log


async def test_everybody_at_once_before_the_server_is_ready(held_hub, passwords, holds):
    """SUBMITTING, QUEUED, STARTING; and STOPPING, since nobody's scancel gets through at first."""
    hub = held_hub
    async with logged_in(hub, passwords, "alice", "bob", "carol") as (alice, bob, carol):
        admin = Admin(hub, carol)
        await bob.get("/hub/spawn")
        holds.hold("sbatch", "alice")
        holds.hold("jupyter", "carol")
        slurm("scontrol", "update", "PartitionName=gpu", "State=DOWN")
        try:
            await asyncio.gather(
                carol.start(**HALF_AN_HOUR),
                bob.start(**HALF_AN_HOUR, partition="gpu"),
                alice.start(**HALF_AN_HOUR),
            )
            await asyncio.gather(bob.wait_state("queued"), carol.wait_state("starting"))
            await holds.reached("sbatch", "alice")
            assert (await alice.server())["state"] == "submitting"
            for user in ("bob", "minihub"):
                holds.hold("scancel", user)
            await asyncio.gather(*(everybody_stops(one, admin) for one in (alice, bob, carol)))
            await holds.reached("scancel", "minihub")
            await bob.log_in(passwords["bob"])
            await everybody_stops(bob, admin)
            assert len(jobs(hub)) == 2
            # Nobody knows of alice's job yet; when it comes, it is cancelled.
            holds.release_all()
            ends = await asyncio.gather(*(admin.over(name) for name in ("alice", "bob", "carol")))
        finally:
            slurm("scontrol", "update", "PartitionName=gpu", "State=UP")
            holds.release_all()
        assert [(end["state"], end["failure"]) for end in ends] == 3 * [("stopped", None)]
        await until(lambda: jobs(hub) == [], "no job is left")
        # And where there is nothing to stop any more.
        assert (await admin.ask("DELETE", "bob"))[0] == 204
    nothing_died(hub)


async def test_everybody_at_once_while_slurm_is_silent_and_the_hub_is_killed(held_hub, passwords, holds):
    """READY and STARTING: remembered, and carried out when Slurm is back."""
    hub = held_hub
    async with logged_in(hub, passwords, "alice", "bob", "carol") as (alice, bob, carol):
        admin = Admin(hub, carol)
        holds.hold("jupyter", "bob")
        await asyncio.gather(alice.start_and_wait(**HALF_AN_HOUR), bob.start(**HALF_AN_HOUR))
        await bob.wait_state("starting")
        signal_daemon("slurmctld", signal.SIGSTOP)
        try:
            began = time.monotonic()
            await asyncio.gather(everybody_stops(alice, admin), bob.post("/hub/stop"))
            assert time.monotonic() - began < 30, "nobody waits for Slurm"
            hub.kill()
            hub.start()
            for name in ("alice", "bob"):
                assert json.loads((await admin.ask("GET", name))[1])["state"] == "stopping"
            page = text_of((await bob.get("/hub/spawn-pending/bob"))[1])
            assert "Your server is stopping" in page
        finally:
            signal_daemon("slurmctld", signal.SIGCONT)
        ends = await asyncio.gather(admin.over("alice"), admin.over("bob"))
        assert [(end["state"], end["failure"]) for end in ends] == 2 * [("stopped", None)]
        await until(lambda: jobs(hub) == [], "no job is left")
    nothing_died(hub)


async def test_everybody_at_the_very_moment_of_the_time_out(make_hub, passwords, holds):
    """Before or after: one end, one reason, no job."""
    wait_s = 4
    with make_hub(
        slurm={"bin_dir": str(holds.folder), "command_timeout_s": 20, "listing_quiet_s": 1},
        servers={"spawn_timeout_s": wait_s, "start_timeout_s": wait_s, "cancel_repeat_s": 1},
        jupyter={"prologue": PROLOGUE.format(holds=holds.folder)},
    ) as hub:
        hub.start()
        async with logged_in(hub, passwords, "alice", "bob", "carol") as (alice, bob, carol):
            admin = Admin(hub, carol)
            holds.hold("jupyter", "bob")
            holds.hold("sbatch", "carol")
            await alice.get("/hub/spawn")
            slurm("scontrol", "update", "PartitionName=gpu", "State=DOWN")
            try:
                await asyncio.gather(
                    bob.start(**HALF_AN_HOUR),
                    alice.start(**HALF_AN_HOUR, partition="gpu"),
                    carol.start(**HALF_AN_HOUR),
                )
                # Each draws a page before it sends its wishes.
                await asyncio.sleep(wait_s - 0.1)
                await asyncio.gather(*(everybody_stops(one, admin) for one in (alice, bob, carol)))
                holds.release_all()
                ends = await asyncio.gather(*(admin.over(one) for one in ("alice", "bob", "carol")))
            finally:
                slurm("scontrol", "update", "PartitionName=gpu", "State=UP")
            for end in ends:
                kind = (end["failure"] or {}).get("kind")
                assert (end["state"], kind) in (
                    ("stopped", None), ("failed", "spawn_timeout"), ("failed", "start_timeout")
                ), end  # fmt: skip
            await until(lambda: jobs(hub) == [], "no job is left")
        nothing_died(hub)
