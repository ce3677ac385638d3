"""Login nodes go down, come back as somebody else, are crowded or hang; the hub goes to the next one, and comes back by itself."""

from __future__ import annotations

import asyncio

import pytest

from tests.e2e.kit import jobs, until

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="session")]


def said(hub, since: int) -> str:
    return hub.log[since:]


async def test_login_nodes_reboot(hub, alice, bob, login_nodes, moods, undisturbed, page_says, is_over):
    first, second = login_nodes
    async with undisturbed(alice):
        # Connections are cut in the middle of whatever runs; the other node does it all, and bob notices nothing.
        first.stop()
        await moods.wait_asked("squeue", 2)
        await bob.start_and_wait(time_hours="0.5")
        # Both gone.
        second.stop()
        await page_says(alice, "/hub/home", 'id="outage"', "login node cannot be reached right now")
        await bob.post("/hub/stop")
        assert (await bob.server())["state"] == "stopping"
        first.start()
        await bob.wait_state("stopped")
        await is_over(alice)
        assert jobs(hub, "bob") == []
        second.start()


async def test_another_host_key(hub, alice, carol, login_nodes, undisturbed, page_says, is_over):
    first, second = login_nodes
    since = len(hub.log)
    async with undisturbed(alice):
        second.stop()
        with first.reinstalled():
            await page_says(alice, "/hub/home", 'id="outage"', "did not show the host key")
            # The cure is for those who can use it.
            await page_says(carol, "/hub/home", "ssh-keygen -R")
            assert "ssh-keygen -R" not in (await alice.get("/hub/home"))[1]
            loud = [line for line in said(hub, since).splitlines() if " ERROR " in line]
            assert any("did not show the host key" in line and "ssh-keygen -R" in line for line in loud)
            told = hub.check_fails("--no-job")
            assert "did not show the host key" in told
            assert "ssh-keygen -R" in told
        await is_over(alice)
        second.start()


async def test_few_channels_and_few_places(hub, alice, bob, carol, login_nodes, undisturbed):
    """MaxSessions far below what the hub uses, and MaxStartups full when people come."""
    first, second = login_nodes
    since = len(hub.log)
    second.stop()
    async with undisturbed(alice):
        with first.rebooted_as("MaxSessions=1", "MaxStartups=2:100:2"):
            crowd = first.crowd(2)
            for one in (bob, carol):
                await one.start(time_hours="0.5")
            await until(lambda: "took the connection and dropped it" in said(hub, since), "a drop")
            for place in crowd:
                place.close()
            for one in (bob, carol):
                await one.wait_state("ready")
                await one.stop()
    second.start()


async def test_a_login_node_that_hangs(hub, alice, login_nodes, moods, undisturbed, is_over):
    first, second = login_nodes
    since = len(hub.log)
    async with undisturbed(alice):
        with first.frozen():
            await until(lambda: f"{second.node} as minihub: connected" in said(hub, since), "the next one")
            await is_over(alice)
            await moods.wait_asked("squeue", 2)
