"""Starts, stops and traffic for a long time: does the hub end as it began?

Each of a few people does, over and over, what people do: logs in, starts a server, looks at pages, works on several
connections, opens a websocket, stops the server or not, logs out (some while it starts), and leaves for a while. When some minutes of it have made
all that is made once, the hub is counted: memory, file descriptors, sockets, threads, tasks. After the
last one, when all is quiet, it is counted again.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from minihub.proxy.pool import IDLE_S

from .figures import Section
from .hub import Hub
from .idle import memory
from .load import Admin, open_house
from .site import Site
from .slurm import empty, share_cores, wait_empty
from .visitor import Visitor

PEOPLE = 12
WARM_MINUTES = 6.0
"""Before the first count: caches of logins, heads and pages fill up, pools of threads and workers reach their size."""
LOOKS = 40
IDLE_CLOSE_S = 5.0
QUIET_S = IDLE_S + 75 + 25
"""Until idle connections are closed on either side, and the next tidying is over."""
MEMORY_MB = 3.0
"""How much more memory is no growth: the allocator's and SQLite's noise, measured over windows without any work."""


@dataclass(frozen=True, slots=True)
class Count:
    """What the hub's process holds."""

    memory_mb: float
    """Of the hub's own process; shared libraries count in full, however many other programs of the machine use them."""
    helpers_mb: float
    """Of its helper and the PAM workers, of which there are as many as people logged in at once of late."""
    processes: int
    files: int
    sockets: int
    threads: int
    tasks: int

    @property
    def row(self) -> tuple[str, ...]:
        counts = self.processes, self.files, self.sockets, self.threads, self.tasks
        return f"{self.memory_mb:.1f}", f"{self.helpers_mb:.1f}", *map(str, counts)


async def _count(hub: Hub, admin: Admin) -> Count:
    assert hub.process is not None
    process = Path(f"/proc/{hub.process.pid}")
    targets = []
    for entry in (process / "fd").iterdir():
        try:
            targets.append(str(entry.readlink()))
        except FileNotFoundError:
            continue
    sockets = sum(target.startswith("socket:") for target in targets)
    pids = hub.pids()
    _, own, _ = memory([hub.process.pid])
    _, helpers, _ = memory([pid for pid in pids if pid != hub.process.pid])
    threads = len(list((process / "task").iterdir()))
    metrics = await admin.metrics()
    return Count(own, helpers, len(pids), len(targets), sockets, threads, int(metrics["minihub_tasks"]))


async def _live(hub: Hub, user: str, done: Counter[str], rng: random.Random) -> None:
    """One person, once."""
    async with Visitor(hub, user) as visitor:
        await visitor.log_in()
        await visitor.open_form(patience_s=60)
        if rng.random() < 0.15:
            await visitor.post_start()
            await asyncio.sleep(rng.random())
            await visitor.log_out()
            done["logged out while it started"] += 1
            return
        await visitor.start()
        done["started"] += 1
        done["requests"] += await visitor.work(LOOKS)
        await visitor.open_websocket()
        done["websockets"] += 1
        if rng.random() < 0.5:
            await visitor.open_home()
            await visitor.stop()
            done["stopped"] += 1
            # A login that is left open is held for a week: that would be growth by right.
            await visitor.log_out()
        else:
            await visitor.log_out()
            done["logged out while it ran"] += 1


async def _person(hub: Hub, user: str, ends: float, done: Counter[str], rng: random.Random) -> None:
    while time.monotonic() < ends:
        await _live(hub, user, done, rng)
        await asyncio.sleep(rng.uniform(0.5, 5))


async def _watch_memory(hub: Hub, began: float, seconds: float, course: list[tuple[float, float]]) -> None:
    """Note the memory of the hub's own process on the way: minutes and MB."""
    assert hub.process is not None
    while True:
        await asyncio.sleep(seconds / 10)
        course.append(((time.monotonic() - began) / 60, memory([hub.process.pid])[1]))
        print(f"  {course[-1][0]:.1f} min: {course[-1][1]:.1f} MB", flush=True)


async def _quiet(admin: Admin) -> None:
    await wait_empty(120)
    while await admin.count("active"):
        await asyncio.sleep(1)
    # The pools of threads, for the store and for accounts, grow to their size whenever so many questions come at once;
    # here they do.
    await asyncio.gather(*(admin.count("active") for _ in range(50)))
    await asyncio.gather(*(admin.look_up(f"nobody-{number}") for number in range(50)))
    await asyncio.sleep(QUIET_S)


async def _run(hub: Hub, section: Section, minutes: float) -> None:
    people = hub.site.users[:PEOPLE]
    done: Counter[str] = Counter()
    course: list[tuple[float, float]] = []
    await share_cores(4)
    try:
        async with AsyncExitStack() as stack:
            admin = await stack.enter_async_context(open_house(hub, people))
            warm = time.monotonic() + WARM_MINUTES * 60
            await asyncio.gather(
                *(_person(hub, user, warm, Counter(), random.Random(f"warm {user}")) for user in people)
            )
            await _quiet(admin)
            before = await _count(hub, admin)
            print(f"  before {before}", flush=True)
            began = time.monotonic()
            ends = began + minutes * 60
            watch = asyncio.create_task(_watch_memory(hub, began, minutes * 60, course))
            await asyncio.gather(*(_person(hub, user, ends, done, random.Random(user)) for user in people))
            watch.cancel()
            took = time.monotonic() - began
            print(f"  {dict(done)} in {took / 60:.1f} min", flush=True)
            await _quiet(admin)
            after = await _count(hub, admin)
            metrics = await admin.metrics()
    finally:
        await empty()
        await share_cores(1)
    _judge(section, before, after)
    section.table(
        ("", "memory MB", "helpers' memory MB", "processes", "files", "sockets", "threads", "tasks"),
        [("before", *before.row), ("after", *after.row)],
    )
    section.notes.append(
        f"In {took / 60:.0f} minutes: {', '.join(f'{n:,} {what}' for what, n in done.items())}."
    )
    section.notes.append(
        f"The event loop stalled {metrics['minihub_loop_stalls_total']:.0f} times over 100 ms (the longest "
        f"{metrics['minihub_loop_stall_longest_seconds'] * 1000:.0f} ms), {metrics['minihub_loop_stalls_own_total']:.0f} "
        "times because the hub itself computed; jobs, Slurm and people share its two cores."
    )


def _judge(section: Section, before: Count, after: Count) -> None:
    grown = after.memory_mb - before.memory_mb
    section.verdict(
        "memory at the end, more than at the beginning", f"none (noise: {MEMORY_MB:g} MB)", f"**{grown:.1f} MB**", "-",
        met=grown <= MEMORY_MB,
    )  # fmt: skip
    for what in ("files", "sockets", "threads", "tasks"):
        more = getattr(after, what) - getattr(before, what)
        section.verdict(
            f"{what} at the end, more than at the beginning", "none", f"**{more}**", "-", met=more <= 0
        )


def measure(site: Site, *, minutes: float = 30.0) -> Section:
    """Soak the hub."""
    section = Section("soak", f"{minutes:g} minutes of starts, stops and traffic")
    with Hub(site, name="soak", admins=site.users[:1], idle_close_s=IDLE_CLOSE_S) as hub:
        asyncio.run(_run(hub, section, minutes))
    return section
