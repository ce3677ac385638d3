"""Which kills there are: all crossings of a rehearsal, kills of the hub that takes over, and kills by the clock."""

from __future__ import annotations

import random
from collections.abc import Iterable

from tests.chaos.lane import Case, Lane, Point
from tests.chaos.scenarios import SCENARIOS, Scenario

MOST_ALIKE = 3
"""So many of the listings and the like, whose number depends on the time."""
ONCE_A_MINUTE = ("store.Logins.touch", "store.Logins.purge_expired", "store.Tokens.purge_expired")
"""What happened to be due in the rehearsal, and would not be in the case."""
LONGEST_S = 2.5
"""By then every scenario has come to rest."""


def scenarios_of(kind: str) -> list[Scenario]:
    return [scenario for scenario in SCENARIOS.values() if kind in scenario.hubs]


def distinct(points: Iterable[Point]) -> list[Point]:
    """Each point once, and of those that recur by the clock only the first few."""
    kept = [p for p in points if (p.number <= MOST_ALIKE or p.user == "USER") and p.name not in ONCE_A_MINUTE]
    return list(dict.fromkeys(kept))


async def rehearsed(lane: Lane) -> list[Case]:
    """Every crossing of every scenario of this lane's kind."""
    return [
        Case(lane.kind, scenario.name, point)
        for scenario in scenarios_of(lane.kind)
        for point in distinct(await lane.rehearse(scenario))
    ]


async def rehearsed_again(lane: Lane, rng: random.Random) -> list[Case]:
    """Every crossing of the hub that takes over, after a first kill by the clock."""
    return [
        Case(lane.kind, scenario.name, Point(delay_s=rng.uniform(0.05, LONGEST_S)), point)
        for scenario in scenarios_of(lane.kind)
        for point in distinct(await lane.rehearse_again(scenario))
        if point.number == 1
    ]


def by_the_clock(kind: str, count: int, rng: random.Random) -> list[Case]:
    """Kills at random times, every other one followed by a second."""
    return [
        Case(
            kind,
            rng.choice(scenarios_of(kind)).name,
            Point(delay_s=rng.uniform(0, LONGEST_S)),
            Point(delay_s=rng.uniform(0.2, LONGEST_S)) if number % 2 else None,
        )
        for number in range(count)
    ]
