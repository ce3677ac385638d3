"""Fixtures that several rooms share."""

from __future__ import annotations

import pytest

from minihub.helper.client import HelperClient
from tests.helper.machine import end_machine, make_machine, wait_end


@pytest.fixture(scope="session")
def machine():
    """Real users and passwords in a private /etc."""
    made = make_machine()
    yield made
    end_machine(made)


@pytest.fixture
async def start_helper(machine):
    """Start helpers in `machine`: `client = await start_helper(pam_workers=2)`."""
    handles = []

    async def start(program="minihub.helper", env=None, **settings):
        handle = machine.helper(program, env)
        handles.append(handle)
        handle.configure(machine.settings(**settings))
        return await HelperClient.connect(handle)

    yield start
    for handle in handles:
        wait_end(handle)
