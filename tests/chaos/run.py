"""The command line of scripts/chaos: kills, prints a table, and says with exit status 1 that something did not hold."""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sys
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

from tests.chaos import cases
from tests.chaos.first_start import kill_first_starts
from tests.chaos.lane import KINDS, Case, Lane, Outcome, open_lane
from tests.cluster.conftest import Cluster

LANES = ("push", "pull", "late", "hung", "push")
"""Hubs at work at once; those of one kind share its cases."""
USERS_EACH = 2
FIRST_STARTS = 20

Collect = Callable[[Lane, random.Random], Awaitable[list[Case]]]
"""Finds the cases for a lane."""


class Run:
    """Shares the cases out among the lanes and keeps count."""

    def __init__(self, seed: int, collect: Collect) -> None:
        self.seed = seed
        self.outcomes: list[Outcome] = []
        self._collect = collect
        self._queues: dict[str, asyncio.Task[deque[Case]]] = {}

    async def work(self, lane: Lane) -> None:
        """Run cases of this lane's kind until there are none."""
        if lane.kind not in self._queues:
            self._queues[lane.kind] = asyncio.ensure_future(self._fill(lane))
        queue = await self._queues[lane.kind]
        while queue:
            outcome = await lane.run(queue.popleft())
            self.outcomes.append(outcome)
            print(describe(outcome), flush=True)

    async def _fill(self, lane: Lane) -> deque[Case]:
        return deque(await self._collect(lane, random.Random(f"{self.seed} {lane.kind}")))

    def report(self, took_s: float) -> str:
        """The sums."""
        kills = sum(outcome.kills for outcome in self.outcomes)
        lines = [f"{'scenario':28}{'cases':>7}{'kills':>7}{'broken':>8}"]
        by_name: dict[str, list[Outcome]] = {}
        for outcome in self.outcomes:
            by_name.setdefault(f"{outcome.case.kind}/{outcome.case.scenario}", []).append(outcome)
        for name, mine in sorted(by_name.items()):
            broken = sum(bool(outcome.broken) for outcome in mine)
            lines.append(f"{name:28}{len(mine):7}{sum(o.kills for o in mine):7}{broken:8}")
        points = Counter(
            "at a crossing" if outcome.case.point.delay_s is None else "by the clock"
            for outcome in self.outcomes
        )
        lines.append(
            f"{kills} kills in {len(self.outcomes)} cases (first kill {', '.join(f'{n} {how}' for how, n in points.items())}; "
            f"{sum(o.missed for o in self.outcomes)} crossings did not come, killed at rest instead), "
            f"{took_s:.0f} s, seed {self.seed}: {sum(bool(o.broken) for o in self.outcomes)} broken"
        )
        lines += [describe(outcome) for outcome in self.outcomes if outcome.broken]
        return "\n".join(lines)


def describe(outcome: Outcome) -> str:
    """One line of the table."""
    verdict = "BROKEN" if outcome.broken else "ok"
    missed = " (not crossed)" if outcome.missed else ""
    lines = [f"{verdict:7}{outcome.took_s:5.1f} s  {outcome.case}{missed} -> {outcome.ended}"]
    return "\n".join([*lines, *(f"        {sentence}" for sentence in outcome.broken)])


async def run_lanes(cluster: Cluster, users: list[str], kinds: tuple[str, ...], run: Run) -> None:
    """Open a lane of each kind and let them work side by side."""
    async with AsyncExitStack() as stack:
        opened = []
        for number, kind in enumerate(kinds):
            mine = users[number * USERS_EACH : (number + 1) * USERS_EACH]
            opened.append(await stack.enter_async_context(open_lane(cluster, kind, mine, run.seed)))
        async with asyncio.TaskGroup() as group:
            for lane in opened:
                group.create_task(run.work(lane))


def extra_users(cluster: Cluster) -> list[str]:
    """user01 and so on."""
    return sorted(name for name in cluster.passwords if name.startswith("user"))


def collect_as(options: argparse.Namespace) -> Collect:
    """The cases that the command line wants."""

    async def collect(lane: Lane, rng: random.Random) -> list[Case]:
        if "/" in options.only:
            return [Case.parse(options.only)] if options.only.startswith(f"{lane.kind}/") else []
        found = await cases.rehearsed(lane)
        found += await cases.rehearsed_again(lane, rng)
        found += cases.by_the_clock(lane.kind, options.clocked // len(KINDS), rng)
        rng.shuffle(found)
        print(f"{lane.kind}: {len(found)} cases known", flush=True)
        found = [case for case in found if options.only in str(case)]
        return found[: options.most] if options.most else found

    return collect


async def run_all(cluster: Cluster, kinds: tuple[str, ...], run: Run, *, firsts: int) -> None:
    """The lanes, and first starts beside them."""

    async def first_starts() -> None:
        for outcome in await kill_first_starts(cluster, run.seed, firsts):
            run.outcomes.append(outcome)
            print(describe(outcome), flush=True)

    async with asyncio.TaskGroup() as group:
        group.create_task(run_lanes(cluster, extra_users(cluster), kinds, run))
        if firsts:
            group.create_task(first_starts())


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/chaos", description=__doc__)
    parser.add_argument(
        "--seed", type=int, default=random.randrange(10**6), help="repeats the order and the times"
    )
    parser.add_argument(
        "--clocked", type=int, default=80, help="kills by the clock besides those at crossings"
    )
    parser.add_argument(
        "--most",
        type=int,
        default=80,
        help="cases of each kind of hub, chosen by the seed (0: all; default: 80)",
    )
    parser.add_argument("--only", default="", help="one case as the table names it, or part of such names")
    options = parser.parse_args()
    cluster = Cluster(os.environ["MINIHUB_CLUSTER_NAME"])
    kinds = tuple(kind for kind in LANES if "/" not in options.only or options.only.startswith(f"{kind}/"))
    run = Run(options.seed, collect_as(options))
    began = time.monotonic()
    print(f"seed {options.seed}", flush=True)
    asyncio.run(run_all(cluster, kinds, run, firsts=0 if options.only else FIRST_STARTS))
    print(run.report(time.monotonic() - began))
    return 1 if not run.outcomes or any(outcome.broken for outcome in run.outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
