"""Hubs, people and a browser for the end-to-end tests. All of it real; nothing is skipped."""

from __future__ import annotations

import contextlib
import pwd
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, async_playwright, expect

from tests.chaos.standin import install_jupyter
from tests.cluster.conftest import Cluster, cluster  # noqa: F401 - the fixture
from tests.e2e.browsing import CHROMIUM, CHROMIUM_ARGS, pictures_of
from tests.e2e.holds import PROLOGUE, Holds, make_holds
from tests.e2e.kit import Hub, cancel_jobs, cluster_settings, new_hub

StartHub = Callable[..., contextlib.AbstractContextManager[Hub]]

_hubs: list[Hub] = []
"""Those that have been started: their logs are shown when a test fails."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Show what the hub said during the test that failed."""
    report = yield
    if call.when == "setup":
        item.stash[_STARTS] = {id(hub): len(hub.log) for hub in _hubs}
    if report.failed:
        item.stash[_FAILED] = True
        starts = item.stash.get(_STARTS, {})
        for hub in _hubs:
            if said := hub.log[starts.get(id(hub), 0) :][-8000:]:
                report.sections.append((f"log of {hub.directory}", said))
    return report


_FAILED: pytest.StashKey[bool] = pytest.StashKey()
_STARTS: pytest.StashKey[dict[int, int]] = pytest.StashKey()


@pytest.fixture(scope="session", autouse=True)
def inside(cluster: Cluster) -> None:  # noqa: F811
    """These tests look at users, Slurm and processes where the hub runs."""
    try:
        assert pwd.getpwnam("alice").pw_dir == "/home/alice"
        assert str(cluster.directory) in Path("/proc/self/mountinfo").read_text()
    except (KeyError, AssertionError):
        pytest.exit("run these by scripts/test, or: scripts/dev-cluster exec hub -- python -m pytest", 4)


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """A test that failed half-way leaves no job in the way of the next one."""
    yield
    cancel_jobs(_hubs)


@pytest.fixture(scope="session")
def passwords(cluster: Cluster) -> dict[str, str]:  # noqa: F811
    return cluster.passwords


@pytest.fixture(scope="session")
def make_hub(cluster: Cluster) -> StartHub:  # noqa: F811
    """`with make_hub(servers={...}) as hub`: a hub of one's own, on the cluster's settings, not started yet."""

    @contextlib.contextmanager
    def make(settings: dict[str, Any] | None = None, user: str | None = None, **tables: Any) -> Iterator[Hub]:
        with new_hub(cluster, settings or cluster_settings(cluster), user, **tables) as hub:
            _hubs.append(hub)
            yield hub

    return make


@pytest.fixture(scope="session")
def hub(make_hub: StartHub) -> Iterator[Hub]:
    """The hub most tests share: certificates, direct mutual TLS, reports by push."""
    with make_hub(
        hub={"help_url": "https://help.example/jupyter", "status_page_url": "https://status.example/"}
    ) as hub:
        yield hub.start()


@pytest.fixture
def holds(cluster: Cluster) -> Iterator[Holds]:  # noqa: F811
    with make_holds(cluster) as holds:
        yield holds


@pytest.fixture
def held_hub(make_hub: StartHub, holds: Holds) -> Iterator[Hub]:
    """A hub whose users' commands and jobs can be held."""
    with make_hub(
        # The time limit holds for what is held, too.
        slurm={"bin_dir": str(holds.folder), "command_timeout_s": 40, "listing_quiet_s": 1},
        servers={"spawn_timeout_s": 120, "cancel_repeat_s": 1},
        jupyter={"prologue": PROLOGUE.format(holds=holds.folder)},
    ) as hub:
        yield hub.start()
        holds.release_all()


@pytest.fixture
def quick_hub(make_hub: StartHub, holds: Holds) -> Iterator[Hub]:
    """The same, not started yet, with a stand-in that is up sooner than Jupyter."""
    with make_hub(
        slurm={"bin_dir": str(holds.folder), "listing_quiet_s": 1},
        servers={"cancel_repeat_s": 1},
        options={"memory_mb": {"default": 256, "min": 64}},
    ) as hub:
        install_jupyter(hub.directory / "jupyter")
        hub.change(jupyter={"bin_dir": str(hub.directory / "jupyter")})
        yield hub
        holds.release_all()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """Debian's Chromium."""
    expect.set_options(timeout=30_000)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGS)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="session")
async def context(browser: Browser, request: pytest.FixtureRequest) -> AsyncIterator[BrowserContext]:
    """A browser profile of its own for each test; pictures of its pages if the test fails."""
    context = await browser.new_context(
        ignore_https_errors=True, viewport={"width": 1280, "height": 800}, locale="en-CA"
    )
    context.set_default_timeout(30_000)
    yield context
    if request.node.stash.get(_FAILED, False):
        await pictures_of(context, request.node.name)
    await context.close()


@pytest_asyncio.fixture(loop_scope="session")
async def page(context: BrowserContext) -> Page:
    return await context.new_page()
