"""One hub with two login nodes and moody commands for all tests here, and a server that nothing may disturb."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager

import pytest
import pytest_asyncio

from tests.e2e.kit import PATIENCE_S, Hub, Person, jobs, person
from tests.e2e.outages.login_nodes import LoginNode
from tests.e2e.outages.moods import Moods, make_moods

Undisturbed = Callable[[Person], AbstractAsyncContextManager[None]]


@pytest.fixture(autouse=True)
def nothing_left() -> None:
    """Unlike elsewhere: her server lives from test to test."""


@pytest.fixture(scope="package")
def moods(cluster) -> Iterator[Moods]:
    with make_moods(cluster) as moods:
        yield moods


@pytest.fixture(scope="package")
def login_nodes(cluster) -> Iterator[tuple[LoginNode, LoginNode]]:
    folder = cluster.directory / "e2e" / "login-nodes"
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    nodes = LoginNode(cluster, folder, "first"), LoginNode(cluster, folder, "second")
    (folder / "known_hosts").write_text("".join(node.known_hosts_line() for node in nodes))
    for node in nodes:
        node.start()
    yield nodes
    for node in nodes:
        node.stop()


@pytest.fixture(scope="package")
def hub(make_hub, moods, login_nodes) -> Iterator[Hub]:
    with make_hub(
        slurm={
            "bin_dir": str(moods.folder),
            "command_timeout_s": 4,
            "listing_waiting_s": 0.2,
            "listing_quiet_s": 0.2,
            "limits_refresh_s": 3,
            # One node, so that one user's Jupyter listens where another's might.
            "extra_args": ["--nodelist=node1"],
        },
        ssh={
            "login_nodes": [node.node for node in login_nodes],
            "known_hosts": str(login_nodes[0].folder / "known_hosts"),
            "connect_timeout_s": 4,
        },
        servers={"cancel_repeat_s": 1},
        jupyter={"prologue": f'while [ -e "{moods.folder}/hold-$USER" ]; do sleep 0.1; done\n'},
    ) as hub:
        yield hub.start()
        moods.mend()


@pytest_asyncio.fixture(loop_scope="session", scope="package")
async def alice(hub, passwords) -> AsyncIterator[Person]:
    """She has a server all the time."""
    async with person(hub, "alice", passwords["alice"]) as alice:
        await alice.start_and_wait(time_hours="0.5")
        yield alice


@pytest_asyncio.fixture(loop_scope="session", scope="package")
async def bob(hub, passwords) -> AsyncIterator[Person]:
    """The hub knows already what he may ask for."""
    async with person(hub, "bob", passwords["bob"]) as bob:
        await bob.get("/hub/spawn")
        yield bob


@pytest_asyncio.fixture(loop_scope="session", scope="package")
async def carol(hub, passwords) -> AsyncIterator[Person]:
    """An admin."""
    async with person(hub, "carol", passwords["carol"]) as carol:
        await carol.get("/hub/spawn")
        yield carol


@pytest.fixture(scope="package")
def undisturbed() -> Undisturbed:
    """`async with undisturbed(alice)`: the same server answers all the time, and stays ready."""

    @contextlib.asynccontextmanager
    async def undisturbed(someone: Person) -> AsyncIterator[None]:
        before = await someone.server()
        assert before["state"] == "ready"
        answers: list[int] = []

        async def ask() -> None:
            while True:
                status, _ = await someone.get(f"/user/{someone.name}/api/status", headers={"Accept": "*/*"})
                answers.append(status)
                await asyncio.sleep(0.1)

        asking = asyncio.ensure_future(ask())
        try:
            yield
        finally:
            asking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asking
        assert answers
        assert set(answers) == {200}
        after = await someone.server()
        assert (after["state"], after["job"]["id"]) == ("ready", before["job"]["id"])
        assert [job.id for job in jobs(someone.hub, someone.name)] == [before["job"]["id"]]

    return undisturbed


@pytest.fixture(scope="package")
def page_says():
    """Wait until a page says all of it, its banner included."""

    async def page_says(someone: Person, path: str, *words: str) -> None:
        end = time.monotonic() + PATIENCE_S
        while True:
            _, page = await someone.get(path)
            if all(word in page for word in words):
                return
            assert time.monotonic() < end, f"{words} not on {path}: {page}"
            await asyncio.sleep(0.1)

    return page_says


@pytest.fixture(scope="package")
def is_over():
    """Wait until pages show no outage any more."""

    async def is_over(someone: Person) -> None:
        end = time.monotonic() + PATIENCE_S
        while 'id="outage"' in (page := (await someone.get("/hub/home"))[1]):
            assert time.monotonic() < end, page
            await asyncio.sleep(0.1)

    return is_over
