"""Fixtures of the proxy's tests; what they are made of is in kit.py."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path

import aiohttp
import pytest
import uvloop

from tests.proxy.kit import Backend, run_hub, serve


def pytest_asyncio_loop_factories(config, item):
    """Sites run on uvloop, and on asyncio where it is not there: what passes must pass on both."""
    both = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
    # A thousand rows about bytes, which the loop does not see.
    return {"uvloop": uvloop.new_event_loop} if "conformance" in item.path.parts else both


@pytest.fixture
def short_dir():
    """A directory with a path short enough for unix sockets, which other users may enter."""
    path = Path(tempfile.mkdtemp(prefix="mhp-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
async def hub():
    async with run_hub() as running:
        yield running


@pytest.fixture
async def backend():
    return Backend()


@pytest.fixture
async def served(hub, backend):
    """The hub with alice's server behind it."""
    async with serve(backend) as endpoint:
        hub.route_to(endpoint)
        yield hub


@pytest.fixture
async def browser():
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False) as client:
        yield client
