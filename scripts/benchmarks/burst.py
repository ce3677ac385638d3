"""Sixteen at the same moment, beside sixteen bare ones."""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack

from .bare import Bare
from .figures import Section, median, p95, spread
from .hub import Hub
from .site import Site
from .slurm import wait_empty
from .start import PAUSE_S, STAGES, Trip, read_hub_trip, read_trip
from .visitor import Visitor

AT_ONCE = 16


async def _hub_round(hub: Hub, visitors: list[Visitor]) -> list[Trip]:
    for visitor in visitors:
        await visitor.open_form()
    await asyncio.sleep(random.uniform(*PAUSE_S))
    started = await asyncio.gather(*(visitor.start() for visitor in visitors))
    trips = [await read_hub_trip(hub, one) for one in started]
    await asyncio.sleep(1)
    await asyncio.gather(*(visitor.stop() for visitor in visitors))
    await wait_empty()
    return trips


async def _bare_round(site: Site, users: list[str]) -> list[Trip]:
    jobs = [Bare(site, user) for user in users]
    try:
        await asyncio.sleep(random.uniform(*PAUSE_S))
        started = await asyncio.gather(*(job.start() for job in jobs))
        trips = [await read_trip(site, one, one.posted) for one in started]
        await asyncio.sleep(1)
        await asyncio.gather(*(job.stop(one.job_id) for job, one in zip(jobs, started, strict=True)))
        await wait_empty()
    finally:
        for job in jobs:
            job.clean()
    return trips


async def _rounds(hub: Hub, rounds: int) -> tuple[list[list[Trip]], list[list[Trip]]]:
    ours, bare = [], []
    users = hub.site.users[:AT_ONCE]
    async with AsyncExitStack() as stack:
        visitors = [await stack.enter_async_context(Visitor(hub, user)) for user in users]
        for visitor in visitors:
            await visitor.log_in()
        for number in range(rounds):
            work = [lambda: _hub_round(hub, visitors), lambda: _bare_round(hub.site, users)]
            kinds = [ours, bare]
            order = (0, 1) if number % 2 == 0 else (1, 0)
            for which in order:
                kinds[which].append(await work[which]())
            print(f"  round {number + 1}: hub {_round(ours[-1])}   bare {_round(bare[-1])}", flush=True)
    return ours, bare


def _round(trips: list[Trip]) -> str:
    parts = " + ".join(f"{median([t.stages[i] for t in trips]):.3f}" for i in range(3))
    totals = [t.total for t in trips]
    return f"{median(totals):.3f} (p95 {p95(totals):.3f}) = {parts}"


def measure(site: Site, *, rounds: int = 5) -> Section:
    """Measure all rounds."""
    section = Section("burst", f"{AT_ONCE} started at the same moment")
    with Hub(site, name="burst") as hub:
        ours, bare = asyncio.run(_rounds(hub, rounds))
    mine, theirs = [t for r in ours for t in r], [t for r in bare for t in r]
    more = median([t.total for t in mine]) - median([t.total for t in theirs])
    own = median([t.own for t in mine]) - median([t.own for t in theirs])
    section.verdict(
        f"click -> first 200 for {AT_ONCE} at once, more than bare",
        "0.3 s",
        f"**{own:.3f} s** without Slurm's queue; {more:.3f} with it (medians of {len(mine)} starts each)",
        "2.2 s",
        met=own <= 0.3,
    )
    rows = [
        (STAGES[i], spread([t.stages[i] for t in mine]), spread([t.stages[i] for t in theirs]))
        for i in range(3)
    ]
    own_cpu = ([t.listening for t in mine], [t.listening for t in theirs])
    rows.insert(2, ("(of the next: first line -> stand-in listens)", spread(own_cpu[0]), spread(own_cpu[1])))
    rows.append(("click -> first 200", spread([t.total for t in mine]), spread([t.total for t in theirs])))
    rows.append(
        (
            "(the slowest of each round, median)",
            f"{median([max(t.total for t in r) for r in ours]):.3f}",
            f"{median([max(t.total for t in r) for r in bare]):.3f}",
        )
    )
    section.notes.append(
        "The jobs run on the hub's own two cores here, and 16 bare ones keep both busy already. The hub's way adds a "
        "launcher to each job (about 20 ms of a core) and 15 ms in the hub, so it is computing time that is measured; on "
        "a cluster the launchers run on the nodes. The row 'stand-in listens' is theirs, the rest is the hub's."
    )
    section.table(("stage, median (p95) in s", "hub", "bare sbatch"), rows)
    return section
