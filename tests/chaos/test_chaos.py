"""A seeded part of scripts/chaos: at least forty kills, at crossings and by the clock, of four kinds of hub at once."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from tests.chaos import cases
from tests.chaos.lane import Case, Lane, Point
from tests.chaos.run import USERS_EACH, Run, describe, extra_users, run_lanes
from tests.cluster.conftest import Cluster, cluster  # noqa: F401 - the fixture

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

SEED = 4
SHARES = {"push": 6, "pull": 6, "late": 6, "hung": 4}
"""How many cases of each kind: as many as it runs in the same time."""
TAKING_OVER = (
    "before:store.Attempts._many:-:1",
    "after:store.Attempts._many:-:1",
    "before:slurm.start:-:1",
    "after:ssh.dial:minihub:1",
    "before:ssh.squeue:minihub:1",
    "during:ssh.squeue:minihub:1",
    "after:slurm.list_jobs:-:1",
    "before:slurm.list_jobs:-:2",
)
"""What every hub crosses when it takes over; not rehearsed here, for the time it takes."""


async def collect(lane: Lane, rng: random.Random) -> list[Case]:
    """Kills at crossings and one by the clock; most of them kill the next hub too."""
    count = SHARES[lane.kind]
    found = rng.sample(await cases.rehearsed(lane), count - 1) + cases.by_the_clock(lane.kind, 1, rng)
    return [
        case if number == 3 else replace(case, again=Point.parse(rng.choice(TAKING_OVER)))
        for number, case in enumerate(found)
    ]


async def test_a_hub_that_is_killed_loses_no_job_and_leaves_none(cluster: Cluster):  # noqa: F811
    users = len(SHARES) * USERS_EACH
    made = cluster.control("up", "--extra-users", str(users))
    assert made.returncode == 0, made.stderr
    run = Run(SEED, collect)

    await run_lanes(cluster, extra_users(cluster)[:users], tuple(SHARES), run)

    print(run.report(0))
    assert [describe(outcome) for outcome in run.outcomes if outcome.broken] == []
    assert sum(outcome.kills for outcome in run.outcomes) >= 40
