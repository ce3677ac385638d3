"""Every identity, route and way to report, each by a user's whole way: login, start, cell, logout."""

from __future__ import annotations

import pytest

from minihub.verify import verify
from tests.e2e.kit import jobs, local_settings

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="session")]

OVER_SSH = {
    "certificate, direct, tls": {},
    "sudo, direct, tls": {"slurm": {"identity": "sudo"}},
    "certificate, direct, plain": {"servers": {"upstream": "plain"}},
    "sudo, direct, plain": {"slurm": {"identity": "sudo"}, "servers": {"upstream": "plain"}},
    "pull instead of push": {"hub": {"callback_url": "none"}},
}
ON_THE_SUBMIT_HOST = {
    "root helper": {"slurm": {"transport": "local", "identity": "helper"}},
    "sudo": {"slurm": {"transport": "local", "identity": "sudo"}},
}
WITHOUT_A_ROUTE = {
    "certificate, tls": {},
    "sudo, tls": {"slurm": {"identity": "sudo"}},
    "certificate, plain": {"servers": {"upstream": "plain"}},
}


async def go(hub, user, passwords):
    hub.start()
    said = []
    await verify(hub.url, user, passwords[user], insecure=True, say=said.append)
    assert any("42" in line for line in said), said
    assert said[-1] == "all is well"
    return said


@pytest.mark.parametrize("settings", OVER_SSH.values(), ids=OVER_SSH)
async def test_over_ssh(make_hub, passwords, settings):
    with make_hub(**settings) as hub:
        await go(hub, "alice", passwords)
        assert jobs(hub) == []


@pytest.mark.parametrize("settings", ON_THE_SUBMIT_HOST.values(), ids=ON_THE_SUBMIT_HOST)
async def test_on_a_submit_host(make_hub, passwords, settings):
    with make_hub(ssh={"login_nodes": []}, **settings) as hub:
        await go(hub, "bob", passwords)
        assert jobs(hub) == []


@pytest.fixture
def isolated(cluster):
    """No route from the hub to the nodes."""
    assert cluster.control("isolate-nodes", "on").returncode == 0
    yield
    assert cluster.control("isolate-nodes", "off").returncode == 0


@pytest.mark.parametrize("settings", WITHOUT_A_ROUTE.values(), ids=WITHOUT_A_ROUTE)
async def test_through_the_login_node(make_hub, passwords, isolated, settings):
    servers = {"via": "ssh", **settings.get("servers", {})}
    with make_hub(**{**settings, "servers": servers}) as hub:
        await go(hub, "carol", passwords)
        assert jobs(hub) == []


async def test_local_scheduler_as_root(make_hub, passwords):
    with make_hub(local_settings(), hub={"run_as": "minihub"}) as hub:
        hub.start()
        said = hub.command("verify", "--url", hub.url, "--user", "alice", stdin=f"{passwords['alice']}\n")
        assert said.endswith("all is well\n")


async def test_local_scheduler_as_an_ordinary_user(make_hub, passwords):
    with make_hub(local_settings(), user="alice") as hub:
        await go(hub, "alice", passwords)
