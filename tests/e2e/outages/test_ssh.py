"""Login nodes go down, come back as somebody else, are crowded or hang; the hub goes to the next one, and comes back by itself."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from tests.e2e.kit import PATIENCE_S, jobs, person, until

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="session")]


def said(hub, since: int) -> str:
    return hub.log[since:]


async def test_login_nodes_reboot(hub, alice, bob, login_nodes, moods, undisturbed, page_says, is_over):
    first, second = login_nodes
    async with undisturbed(alice):
        # Connections are cut in the middle of whatever runs; the other node does it all, and bob notices nothing.
        with contextlib.ExitStack() as first_is_down:
            first_is_down.enter_context(first.down())
            await moods.wait_asked("squeue", 2)
            await bob.start(time_hours="0.5")
            await bob.wait_state("starting", "ready")
            with second.down():
                await page_says(alice, "/hub/home", 'id="outage"', "login node cannot be reached right now")
                await bob.post("/hub/stop")
                assert (await bob.server())["state"] == "stopping"
                first_is_down.close()
                await bob.wait_state("stopped")
                await is_over(alice)
                assert jobs(hub, "bob") == []


async def test_another_host_key(hub, alice, carol, login_nodes, undisturbed, page_says, is_over):
    first, second = login_nodes
    since = len(hub.log)
    async with undisturbed(alice):
        with second.down():
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


async def test_few_channels_and_few_places(hub, alice, bob, carol, login_nodes, undisturbed):
    """MaxSessions far below what the hub uses, and MaxStartups full when people come."""
    first, second = login_nodes
    since = len(hub.log)
    async with undisturbed(alice):
        with second.down(), first.rebooted_as("MaxSessions=1", "MaxStartups=2:100:2"):
            crowd = first.crowd(2)
            for one in (bob, carol):
                await one.start(time_hours="0.5")
            await until(lambda: "took the connection and dropped it" in said(hub, since), "a drop")
            for place in crowd:
                place.close()
            for one in (bob, carol):
                await one.wait_state("queued", "starting", "ready")
                await one.stop()


async def test_a_login_node_that_hangs(hub, alice, login_nodes, moods, undisturbed, is_over):
    first, second = login_nodes
    since = len(hub.log)
    async with undisturbed(alice):
        with first.frozen():
            await until(lambda: f"{second.node} as minihub: connected" in said(hub, since), "the next one")
            await is_over(alice)
            await moods.wait_asked("squeue", 2)


async def test_a_server_behind_the_login_node(make_hub, login_nodes, passwords):
    """With via = "ssh" the way to the nodes is cut too; the next login node takes it over, at the same place."""
    first, nodes = login_nodes[0], [node.node for node in login_nodes]
    known_hosts = str(first.folder / "known_hosts")
    with make_hub(servers={"via": "ssh"}, ssh={"login_nodes": nodes, "known_hosts": known_hosts}) as hub:
        hub.start()
        async with person(hub, "bob", passwords["bob"]) as bob:
            before = await bob.start_and_wait(time_hours="0.5")
            kernel = await bob.new_kernel()
            await bob.run_cell("kept = 6 * 7", kernel)
            with first.down():
                async with asyncio.timeout(PATIENCE_S):
                    while (await bob.get("/user/bob/api/status", headers={"Accept": "*/*"}))[0] != 200:
                        await asyncio.sleep(0.1)
                assert (await bob.run_cell("print(kept)", kernel)).strip() == "42"
                after = await bob.server()
                assert (after["state"], after["job"]["id"]) == ("ready", before["job"]["id"])
