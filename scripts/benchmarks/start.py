"""One start at a time, each beside a bare one of the same user; then its stop, beside a bare scancel."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass

from .bare import Bare
from .figures import Section, interval, median, p95, spread
from .hub import Hub, wait_until
from .site import Site
from .slurm import wait_empty, watch_gone
from .visitor import Started, Visitor

PAUSE_S = (1.0, 2.5)
"""Random, before each job: right behind another job's end Slurm's scheduler is quicker than it is for anybody else."""
SETTLE_S = 0.7
STAGES = ("click -> sbatch answered", "Slurm's queue and start", "job's first line -> 200")


@dataclass(frozen=True, slots=True)
class Trip:
    """One job from click to gone, in seconds."""

    stages: tuple[float, float, float]
    total: float
    posted: float
    listening: float
    """From the job's first line until the stand-in listens."""
    gone: float = 0.0
    """From the click on Stop until squeue no longer lists the job."""
    seen_gone: float = 0.0
    """The same until the hub says so."""

    @property
    def own(self) -> float:
        """Without what Slurm takes to queue and start the job."""
        return self.stages[0] + self.stages[2]


async def read_trip(site: Site, started: Started, submitted: float) -> Trip:
    """Put the times together that page, hub and job noted."""
    first = await wait_until(lambda: site.note(started.user, started.job_id, "first"))
    listening = await wait_until(lambda: site.note(started.user, started.job_id, "listening"))
    return Trip(
        stages=(submitted - started.clicked, first - submitted, started.answered - first),
        total=started.answered - started.clicked,
        posted=started.posted - started.clicked,
        listening=listening - first,
    )


async def read_hub_trip(hub: Hub, started: Started) -> Trip:
    """The same; when sbatch had answered stands in the hub's log."""
    pattern = rf" {started.user}: SUBMITTING -> \w+ job={started.job_id}( |$)"
    return await read_trip(hub.site, started, await wait_until(lambda: hub.log_time(pattern)))


async def hub_trip(hub: Hub, visitor: Visitor) -> Trip:
    """Start and stop through the hub."""
    await visitor.open_form()
    await asyncio.sleep(random.uniform(*PAUSE_S))  # the user looks at the form
    started = await visitor.start()
    trip = await read_hub_trip(hub, started)
    await asyncio.sleep(SETTLE_S)
    clicked = time.time()
    gone, seen = await asyncio.gather(watch_gone(started.job_id), visitor.stop())
    return Trip(trip.stages, trip.total, trip.posted, trip.listening, gone - clicked, seen - clicked)


async def bare_trip(site: Site, user: str) -> Trip:
    """Start and stop by sbatch and scancel."""
    job = Bare(site, user)
    try:
        await asyncio.sleep(random.uniform(*PAUSE_S))
        started = await job.start()
        trip = await read_trip(site, started, started.posted)
        await asyncio.sleep(SETTLE_S)
        clicked = time.time()
        gone, _ = await asyncio.gather(watch_gone(started.job_id), job.stop(started.job_id))
    finally:
        job.clean()
    return Trip(trip.stages, trip.total, trip.posted, trip.listening, gone - clicked)


async def _pairs(hub: Hub, count: int) -> list[tuple[Trip, Trip]]:
    pairs = []
    async with AsyncExitStack() as stack:
        for number in range(count):
            user = hub.site.users[number % len(hub.site.users)]
            visitor = await stack.enter_async_context(Visitor(hub, user))
            await visitor.log_in()
            if random.random() < 0.5:
                ours = await hub_trip(hub, visitor)
                bare = await bare_trip(hub.site, user)
            else:
                bare = await bare_trip(hub.site, user)
                ours = await hub_trip(hub, visitor)
            pairs.append((ours, bare))
            print(
                f"  {number + 1:2d} own share {ours.own - bare.own:+.3f}  {_short(ours)}   bare {_short(bare)}",
                flush=True,
            )
    await wait_empty()
    return pairs


def _short(trip: Trip) -> str:
    parts = " + ".join(f"{stage:.3f}" for stage in trip.stages)
    return f"{trip.total:.3f} = {parts} (listens {trip.listening:.3f}), gone {trip.gone:.3f} seen {trip.seen_gone:.3f}"


def measure(site: Site, *, pairs: int = 30, pulls: int = 10) -> Section:
    """Measure starts with push and with pull, and stops."""
    section = Section("start", "Start and stop, one at a time")
    with Hub(site, name="start") as hub:
        pushed = asyncio.run(_pairs(hub, pairs))
    _report_start(section, pushed)
    _report_stop(section, pushed)
    if pulls:
        print(" pull", flush=True)
        with Hub(site, name="pull", pull=True) as hub:
            pulled = asyncio.run(_pairs(hub, pulls))
        _report_pull(section, pushed, pulled)
    return section


def _report_start(section: Section, pairs: list[tuple[Trip, Trip]]) -> None:
    own = [ours.own - bare.own for ours, bare in pairs]
    low, high = interval(own)
    section.verdict(
        "the hub's own share of click Start -> first 200",
        "0.10 s",
        f"**{median(own):.3f} s** (p95 {p95(own):.3f}, n={len(own)}; true median in {low:.3f} ... {high:.3f})",
        "0.61 s",
        met=median(own) <= 0.10,
    )
    ours, bare = [o for o, _ in pairs], [b for _, b in pairs]
    rows = [
        (STAGES[i], spread([t.stages[i] for t in ours]), spread([t.stages[i] for t in bare]), _diff(pairs, i))
        for i in range(3)
    ]
    rows.insert(0, ("(click -> POST answered)", spread([t.posted for t in ours]), "", ""))
    rows.insert(3, ("(of the next: first line -> stand-in listens)", *_two(ours, bare, "listening")))
    totals = [o.total - b.total for o, b in pairs]
    rows.append(("click -> first 200", *_two(ours, bare, "total")[:2], f"{median(totals):+.3f}"))
    section.table(("stage, median (p95) in s", "hub", "bare sbatch", "difference, median of pairs"), rows)


def _two(ours: list[Trip], bare: list[Trip], name: str) -> tuple[str, str, str]:
    mine, theirs = [getattr(t, name) for t in ours], [getattr(t, name) for t in bare]
    return spread(mine), spread(theirs), f"{median(mine) - median(theirs):+.3f}"


def _diff(pairs: list[tuple[Trip, Trip]], stage: int) -> str:
    return f"{median([o.stages[stage] - b.stages[stage] for o, b in pairs]):+.3f}"


def _report_stop(section: Section, pairs: list[tuple[Trip, Trip]]) -> None:
    more = [ours.gone - bare.gone for ours, bare in pairs]
    section.verdict(
        "stop -> job gone, more than bare scancel",
        "0.1 s",
        f"**{median(more):.3f} s** (p95 {p95(more):.3f}, n={len(more)})",
        "1.1 s",
        met=median(more) <= 0.1,
    )
    section.table(
        ("stop, median (p95) in s", "hub", "bare scancel"),
        [
            (
                "click -> squeue no longer lists the job",
                spread([o.gone for o, _ in pairs]),
                spread([b.gone for _, b in pairs]),
            ),
            ("click -> the hub's page says so", spread([o.seen_gone for o, _ in pairs]), ""),
        ],
    )


def _report_pull(section: Section, pushed: list[tuple[Trip, Trip]], pulled: list[tuple[Trip, Trip]]) -> None:
    own = [ours.own - bare.own for ours, bare in pulled]
    more = median(own) - median([ours.own - bare.own for ours, bare in pushed])
    section.verdict(
        "with pull instead of push (callback_url = 'none'), more",
        "one listing interval (2 s)",
        f"**{more:.3f} s** (share {median(own):.3f}, p95 {p95(own):.3f}, n={len(own)})",
        "-",
        met=more <= 2.0,
    )
