"""A hub that has nothing to do: what Slurm hears from it, what it holds in memory, what it computes."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from minihub.proxy.pool import IDLE_S

from .figures import Section
from .hub import Hub
from .site import Site
from .slurm import cancel, count_rpcs, fill, share_cores, wait_empty
from .visitor import Visitor

COUNTS = (0, 1, 4, 16, 30)
FULL = 16
"""The count of the targets. More show only what one more costs in memory, in a shorter window."""
WAITING = 6
QUIET_S = 5.0
"""After the last start, until the listings that confirm it are over."""
IDLE_CLOSE_S = 5.0
"""Idle ssh connections are closed after this, not after 5 minutes: a window shows what stays."""


@dataclass(frozen=True, slots=True)
class Window:
    """What one window showed."""

    count: int
    rpcs: dict[str, int]
    """Of the service user, by type where nobody else calls."""
    total: int
    seconds: float
    pss_mb: float
    alone_mb: float
    rss_mb: float
    cpu_percent: float
    processes: int

    @property
    def per_minute(self) -> float:
        return self.total * 60 / self.seconds


def memory(pids: list[int]) -> tuple[float, float, float]:
    """PSS, PSS as if no other process of the machine used the same files, RSS; in MB."""
    pss = anonymous = rss = 0
    files: dict[str, int] = {}
    for pid in pids:
        rollup = _kilobytes(f"/proc/{pid}/smaps_rollup")
        pss += rollup["Pss"]
        anonymous += rollup["Pss_Anon"] + rollup["Pss_Shmem"]
        rss += rollup["Rss"]
        for name, resident in _file_pages(pid).items():
            files[name] = max(files.get(name, 0), resident)
    return pss / 1024, (anonymous + sum(files.values())) / 1024, rss / 1024


def _kilobytes(path: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for line in Path(path).read_text().splitlines()[1:]:
        name, _, rest = line.partition(":")
        found[name] = int(rest.split()[0])
    return found


def _file_pages(pid: int) -> dict[str, int]:
    """Resident file pages of each mapping, by file and offset."""
    found: dict[str, int] = {}
    name = ""
    resident = anonymous = 0
    for line in [*Path(f"/proc/{pid}/smaps").read_text().splitlines(), "0-0 r 0 0 0"]:
        words = line.split()
        if words[0].endswith(":"):
            if words[0] == "Rss:":
                resident = int(words[1])
            elif words[0] == "Anonymous:":
                anonymous = int(words[1])
            continue
        if name:
            found[name] = resident - anonymous
        name = f"{words[5]} {words[2]}" if len(words) > 5 and words[5].startswith("/") else ""
        resident = anonymous = 0
    return found


def cpu_s(pids: list[int]) -> float:
    """Seconds on a core, to the nanosecond; ended threads and children are lost, of which an idle hub has none."""
    total = 0
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").iterdir():
            try:
                total += int((task / "schedstat").read_text().split()[0])
            except OSError:
                continue
    return total / 1e9


async def _look(hub: Hub, count: int, window_s: float) -> Window:
    pids = hub.pids()
    before, cpu, began = await count_rpcs(), cpu_s(pids), time.monotonic()
    await asyncio.sleep(window_s)
    seconds = time.monotonic() - began
    used = cpu_s(pids) - cpu
    rpcs = (await count_rpcs()).since(before)
    pss, alone, rss = memory(hub.pids())
    window = Window(
        count=count,
        rpcs={k: v for k, v in rpcs.by_type.items() if k in TYPES},
        total=rpcs.by_user.get(hub.site.facts["service_user"], 0),
        seconds=seconds,
        pss_mb=pss,
        alone_mb=alone,
        rss_mb=rss,
        cpu_percent=100 * used / seconds,
        processes=len(pids),
    )
    print(f"  {window}", flush=True)
    return window


TYPES = ("REQUEST_JOB_INFO", "REQUEST_PARTITION_INFO", "REQUEST_FED_INFO")


async def _waiting(hub: Hub, window_s: float) -> Window:
    """Several jobs wait in the queue."""
    blocker = await fill(hub.site.users[-1])
    try:
        async with AsyncExitStack() as stack:
            visitors = [await stack.enter_async_context(Visitor(hub, u)) for u in hub.site.users[:WAITING]]
            for visitor in visitors:
                await visitor.log_in()
                await visitor.open_form()
                await visitor.post_start()
            await asyncio.sleep(QUIET_S)
            window = await _look(hub, WAITING, window_s)
            await asyncio.gather(*(visitor.stop() for visitor in visitors))
    finally:
        await cancel(blocker)
    await wait_empty()
    return window


async def _ready(hub: Hub, window_s: float, counts: tuple[int, ...]) -> list[Window]:
    """More and more servers are up; no browser is open on them."""
    windows = []
    await share_cores(4)
    up = 0
    for count in counts:
        for user in hub.site.users[up:count]:
            async with Visitor(hub, user) as visitor:
                await visitor.log_in()
                await visitor.open_form()
                await visitor.start()
        up = count
        # Connections to servers nobody uses are closed after 30 s too.
        await asyncio.sleep(QUIET_S + (IDLE_S if count else 0))
        windows.append(await _look(hub, count, window_s if count <= FULL else window_s / 4))
    for user in hub.site.users[:up]:
        async with Visitor(hub, user) as visitor:
            await visitor.log_in()
            await visitor.open_home()
            await visitor.stop()
    await wait_empty()
    await share_cores(1)
    return windows


def measure(site: Site, *, window_s: float = 60.0) -> Section:
    """Measure it all on one hub process, from its start."""
    section = Section("idle", "RPCs, memory and CPU of an idle hub")
    with Hub(site, name="idle", idle_close_s=IDLE_CLOSE_S) as hub:
        ready = asyncio.run(_ready(hub, window_s, COUNTS))
        waiting = asyncio.run(_waiting(hub, window_s))
    _report(section, ready, waiting)
    return section


def _report(section: Section, ready: list[Window], waiting: Window) -> None:
    steady = [window for window in ready if window.count <= FULL]
    full, last = steady[-1], ready[-1]
    section.verdict(
        f"Slurm RPCs a minute while {waiting.count} jobs wait",
        "90",
        f"**{waiting.per_minute:.0f}**",
        f"339 for each = {339 * waiting.count}",
        met=waiting.per_minute <= 90,
    )
    most = max(window.per_minute for window in steady)
    section.verdict(
        "Slurm RPCs a minute in steady state",
        "6, whatever the number of servers",
        "**"
        + ", ".join(f"{w.per_minute:.1f}" for w in steady)
        + f"** with {', '.join(str(w.count) for w in steady)} servers",
        "5.9, 23.6, 94.4 with 1, 4, 16",
        met=most <= 6,
    )
    section.verdict(
        "memory (PSS) of the hub and its helpers, 16 idle servers",
        "110 MB",
        f"**{full.pss_mb:.1f} MB** ({full.alone_mb:.1f} counting shared libraries as ours alone)",
        "168 MB",
        met=full.pss_mb <= 110,
    )
    slope = (last.alone_mb - full.alone_mb) * 1024 / (last.count - full.count) if last is not full else 0.0
    section.verdict(
        f"more for each further idle server ({full.count} to {last.count})",
        "50 kB",
        f"**{slope:.0f} kB**",
        "about 0",
        met=slope <= 50,
    )
    section.verdict(
        "CPU of an idle hub, 16 servers",
        "0.3 % of a core",
        f"**{full.cpu_percent:.2f} %**",
        "1.2 %",
        met=full.cpu_percent <= 0.3,
    )
    section.table(
        (
            "servers",
            "RPCs/min",
            "PSS MB",
            "PSS MB, counting shared files as ours alone",
            "RSS MB",
            "CPU %",
            "processes",
        ),
        [
            (
                f"{w.count}{' waiting' if w is waiting else ''}",
                f"{w.per_minute:.1f} ({', '.join(f'{k[8:]} {v}' for k, v in sorted(w.rpcs.items()))})",
                f"{w.pss_mb:.1f}",
                f"{w.alone_mb:.1f}",
                f"{w.rss_mb:.1f}",
                f"{w.cpu_percent:.2f}",
                str(w.processes),
            )
            for w in (*ready, waiting)
        ],
    )
    section.notes.append(
        "RPCs: all of the service user's, from sdiag; the types are counted for the whole cluster. This Slurm counts two "
        "for one squeue; where it counts three, the numbers are half as much again (at most 30 listings a minute: 90)."
    )
    section.notes.append(
        "PSS divides what several processes map; the stand-ins and this program run the same Python on the same machine, as "
        "they did when JupyterHub was measured. The next column counts all files as if nobody else mapped them: what a "
        "machine with nothing but the hub would show."
    )
    section.notes.append(
        f"Nobody has a page open, and idle ssh connections are closed after {IDLE_CLOSE_S:.0f} s here instead of 5 minutes, "
        "so that a window shows what stays. With ssh and browser connections open it was 0.13 MB for each server."
    )
    section.notes.append(
        "CPU: hub and helpers, from schedstat; what sshd and squeue use on the login node is not in it."
    )
