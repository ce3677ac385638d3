from __future__ import annotations

from dataclasses import replace

import pytest

from minihub.clock import ManualClock
from minihub.store.rows import AttemptRow
from minihub.store.store import Store


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def state_dir(tmp_path):
    return tmp_path / "state"


@pytest.fixture
async def store(state_dir, clock):
    opened = await Store.open(state_dir, clock)
    yield opened
    await opened.close()


@pytest.fixture
def attempt():
    """Makes attempt rows."""

    def make(number: int = 1, user: str = "ada", **changes) -> AttemptRow:
        row = AttemptRow(
            id=f"{number:012x}",
            user=user,
            tag=f"mh-0a0b0c0d-{number:012x}",
            state="queued",
            live=True,
            created_at=1000.0 + number,
            changed_at=1000.0 + number,
            ended_at=None,
            job_id=None,
            data='{"cores": 2}',
            secrets='{"token": "geheim"}',
        )
        return replace(row, **changes)

    return make
