"""Fixtures that several rooms share."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

from minihub.helper.client import HelperClient
from tests.helper.machine import end_machine, make_machine, wait_end

# Property tests say what is right, not how long it takes on a busy machine.
settings.register_profile("minihub", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("minihub")


@pytest.fixture(scope="session")
def machine():
    """Real users and passwords in a private /etc."""
    made = make_machine()
    yield made
    end_machine(made)


@pytest.fixture
async def start_helper(machine):
    """Start helpers in `machine`: `client = await start_helper(pam_workers=2)`."""
    handles, clients = [], []

    async def start(program="minihub.helper", env=None, **settings):
        handle = machine.helper(program, env)
        handles.append(handle)
        handle.configure(machine.settings(**settings))
        clients.append(await HelperClient.connect(handle))
        return clients[-1]

    yield start
    for client in clients:
        await client.close()
    for handle in handles:
        wait_end(handle)
