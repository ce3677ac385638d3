"""A full house: a thousand servers in the store and in Slurm, some of them running, and people who watch and work.

Slurm, ssh, launcher and proxy are real, as everywhere here; the running servers are stand-ins. They are started by an
admin through the REST API, since a thousand logins would measure PAM. Those who watch have logged in like anybody.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import math
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Self

import aiohttp

from .figures import Section, median, p95
from .hub import Hub
from .idle import cpu_s, memory
from .site import Site
from .slurm import count_rpcs, empty, share_cores, wait_empty
from .visitor import Visitor

CPUS = 16
"""Of the test cluster's two nodes together."""
AT_ONCE = 16
"""Requests that the admin's script has under way."""
MEMORY_MB = 64
SETTLE_S = 10.0
PATIENCE_S = 900.0

_SEEN = """
import asyncio, sys, time
from pathlib import Path
from minihub.clock import SystemClock
from minihub.store.store import Store
async def main(state, *users):
    store = await Store.open(Path(state), SystemClock(), exclusive=False)
    for user in users:
        await store.users.seen(user, time.time(), admin=False)
    await store.close()
asyncio.run(main(*sys.argv[1:]))
"""
"""Run as the hub's own user: puts users into its store as if they had logged in once."""


class Admin:
    """An admin's script: starts and stops servers, counts them, reads the metrics."""

    def __init__(self, hub: Hub, token: str) -> None:
        self._hub = hub
        self._token = token

    async def __aenter__(self) -> Self:
        self._client = aiohttp.ClientSession(
            headers={"Authorization": f"token {self._token}"},
            connector=aiohttp.TCPConnector(ssl=False, limit=AT_ONCE),
            timeout=aiohttp.ClientTimeout(total=120),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    async def start(self, user: str) -> None:
        """Start a server; it may have to wait."""
        async with self._client.post(
            f"{self._hub.url}/hub/api/users/{user}/server", json={"memory_mb": MEMORY_MB, "time_hours": 1}
        ) as answer:
            if answer.status not in (201, 202):
                raise RuntimeError(f"{user}: {answer.status}: {(await answer.text())[:500]}")

    async def stop(self, user: str) -> None:
        """Stop one; it may take a while."""
        async with self._client.delete(f"{self._hub.url}/hub/api/users/{user}/server") as answer:
            if answer.status not in (202, 204, 404):
                raise RuntimeError(f"{user}: {answer.status}: {(await answer.text())[:500]}")

    async def count(self, state: str) -> int:
        """How many servers are "ready" or "active"."""
        headers = {"Accept": "application/jupyterhub-pagination+json"}
        url = f"{self._hub.url}/hub/api/users?state={state}&limit=1"
        async with self._client.get(url, headers=headers) as answer:
            return (await answer.json())["_pagination"]["total"]

    async def ready(self) -> list[str]:
        """Whose servers are ready."""
        found: list[str] = []
        while True:
            url = f"{self._hub.url}/hub/api/users?state=ready&limit=200&offset={len(found)}"
            async with self._client.get(url) as answer:
                page = [user["name"] for user in await answer.json()]
            found += page
            if not page:
                return found

    async def see(self, path: str) -> int:
        """Look at any page; return the status."""
        async with self._client.get(f"{self._hub.url}{path}") as answer:
            await answer.read()
            return answer.status

    async def look_up(self, name: str) -> None:
        """Have the hub ask the system for an account that there is not."""
        async with self._client.post(f"{self._hub.url}/hub/api/users", json={"usernames": [name]}) as answer:
            if answer.status != 400:
                raise RuntimeError(f"{name}: {answer.status}: {(await answer.text())[:500]}")

    async def metrics(self) -> dict[str, float]:
        """The hub's own figures that have no labels."""
        async with self._client.get(f"{self._hub.url}/hub/metrics") as answer:
            text = await answer.text()
        return {name: float(value) for name, value in re.findall(r"^(\w+) (\S+)$", text, re.MULTILINE)}


@dataclass(slots=True)
class Looks:
    """How long pages took, in seconds, by kind."""

    took: dict[str, list[float]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    async def time(self, kind: str, look: Awaitable[int]) -> None:
        """Note how long `look` takes; it returns the status."""
        began = time.perf_counter()
        status = await look
        self.took.setdefault(kind, []).append(time.perf_counter() - began)
        if status != 200:
            self.wrong.append(f"{kind}: {status}")


async def _at_once(work: Callable[[str], Awaitable[None]], users: Iterable[str]) -> float:
    """Do `work` for each user, some at a time; returns the seconds."""
    waiting = list(reversed(list(users)))

    async def one() -> None:
        while waiting:
            await work(waiting.pop())

    began = time.monotonic()
    await asyncio.gather(*(one() for _ in range(AT_ONCE)))
    return time.monotonic() - began


async def _until(admin: Admin, state: str, count: int) -> float:
    began = time.monotonic()
    while (seen := await admin.count(state)) < count:
        if time.monotonic() - began > PATIENCE_S:
            raise TimeoutError(f"{seen} of {count} servers are {state}")
        await asyncio.sleep(1)
    return time.monotonic() - began


@contextlib.asynccontextmanager
async def open_house(hub: Hub, users: list[str]) -> AsyncIterator[Admin]:
    """An admin's token; the hub has seen all users."""
    python = functools.partial(
        subprocess.run, user="minihub", group="minihub", extra_groups=[], cwd="/", capture_output=True, text=True, check=True,
        env={"PYTHONPATH": str(hub.site.package), "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    python([sys.executable, "-c", _SEEN, str(hub.state), *users])
    create = [sys.executable, "-m", "minihub", "tokens", "create", "--config", str(hub.config)]
    done = python([*create, "--user", users[0], "--scope", "admin", "--scope", "access:servers"])
    async with Admin(hub, done.stdout.split()[-1]) as admin:
        yield admin


async def _watch(visitor: Visitor, told: Counter[str]) -> None:
    """A waiting page's event stream, as its browser keeps it open."""
    async for _ in visitor.events():
        told[visitor.user] += 1


async def _look_around(admin: Admin, visitors: list[Visitor], ready: list[str], seconds: float) -> Looks:
    """People open pages, one after the other; others use their servers; a monitor asks twenty times a second."""
    looks, ends = Looks(), time.monotonic() + seconds

    async def watchers() -> None:
        number = 0
        while time.monotonic() < ends:
            visitor = visitors[number % len(visitors)]
            number += 1
            await looks.time("waiting page", visitor.see(f"/hub/spawn-pending/{visitor.user}"))
            await looks.time("control panel", visitor.see("/hub/home"))
            await asyncio.sleep(0.02)

    async def monitor() -> None:
        while time.monotonic() < ends:
            await looks.time("health", visitors[0].see("/hub/health"))
            await asyncio.sleep(0.05)

    async def workers() -> None:
        number = 0
        while time.monotonic() < ends:
            user = ready[number % len(ready)]
            number += 1
            await looks.time("a running server", admin.see(f"/user/{user}/api/status"))
            await asyncio.sleep(0.02)

    await asyncio.gather(watchers(), monitor(), workers())
    return looks


async def _measure(
    hub: Hub,
    section: Section,
    admin: Admin,
    visitors: list[Visitor],
    ready: list[str],
    told: Counter[str],
    window_s: float,
) -> None:
    assert hub.process is not None
    pids = [hub.process.pid]
    before, figures, cpu, said = await count_rpcs(), await admin.metrics(), cpu_s(pids), told.total()
    looks = await _look_around(admin, visitors, ready, window_s)
    rpcs = (await count_rpcs()).since(before).by_user.get(hub.site.facts["service_user"], 0)
    used, after = cpu_s(pids) - cpu, await admin.metrics()
    pss, _, _ = memory(hub.pids())
    if looks.wrong:
        raise RuntimeError(f"{len(looks.wrong)} wrong answers, such as {looks.wrong[0]}")
    pages = looks.took["waiting page"] + looks.took["control panel"]
    section.verdict(
        "pages at the median, while all watch", "50 ms", f"**{median(pages) * 1000:.1f} ms** (p95 {p95(pages) * 1000:.0f})",
        "-", met=median(pages) < 0.05,
    )  # fmt: skip
    stalls, own = (
        after[name] - figures[name] for name in ("minihub_loop_stalls_total", "minihub_loop_stalls_own_total")
    )
    section.verdict(
        "stalls of the event loop over 100 ms of the hub's own making",
        "none",
        f"**{own:.0f}** in {window_s:.0f} s ({stalls:.0f} with those in which it did not get a core)",
        "-",
        met=own == 0,
    )
    per_minute = rpcs * 60 / window_s
    section.verdict(
        "listings (Slurm RPCs) a minute for all together",
        "one for everybody",
        f"**{per_minute:.0f}**",
        "-",
        met=per_minute < 120,
    )
    section.table(
        ("what people see, ms", "median", "p95", "longest", "looks"),
        [
            (
                kind,
                f"{median(took) * 1000:.1f}",
                f"{p95(took) * 1000:.1f}",
                f"{max(took) * 1000:.0f}",
                str(len(took)),
            )
            for kind, took in looks.took.items()
        ],
    )
    section.table(
        ("the hub", ""),
        [
            ("servers", f"{await admin.count('active')}, {len(ready)} of them run"),
            ("open waiting pages", f"{len(visitors)}; told {(told.total() - said) / window_s:.1f} times a second together"),
            ("memory (PSS) of the hub and its helpers", f"{pss:.0f} MB"),
            ("CPU", f"{100 * used / window_s:.0f} % of a core"),
            ("the last listing took", f"{after.get('minihub_listing_seconds', 0) * 1000:.0f} ms"),
            ("longest stall of the loop since the start", f"{after['minihub_loop_stall_longest_seconds'] * 1000:.0f} ms"),
            (
                "longest time that it computed without a break",
                f"{after['minihub_loop_stall_own_longest_seconds'] * 1000:.0f} ms" if after["minihub_loop_stalls_own_total"] else "under 100 ms",
            ),
        ],
    )  # fmt: skip


async def _run(
    hub: Hub, section: Section, *, servers: int, running: int, watching: int, window_s: float
) -> None:
    users = hub.site.users[:servers]
    await share_cores(math.ceil(running / CPUS))
    try:
        async with AsyncExitStack() as stack:
            admin = await stack.enter_async_context(open_house(hub, users))
            for user in users[:2]:  # Slurm's limits are asked for, the ssh connections opened
                await admin.start(user)
            took = await _at_once(admin.start, users[2:])
            print(f"  {servers} servers were asked for in {took:.0f} s", flush=True)
            started = await _until(admin, "ready", running)
            print(f"  {running} run {started:.0f} s later", flush=True)
            ready = await admin.ready()
            waiting = [user for user in users if user not in ready][:watching]
            visitors = [await stack.enter_async_context(Visitor(hub, user)) for user in waiting]
            logged_in = await _at_once(lambda user: visitors[waiting.index(user)].log_in(), waiting)
            print(f"  {len(waiting)} people logged in in {logged_in:.0f} s", flush=True)
            told: Counter[str] = Counter()
            streams = [asyncio.create_task(_watch(visitor, told)) for visitor in visitors]
            await asyncio.sleep(SETTLE_S)
            await _measure(hub, section, admin, visitors, ready, told, window_s)
            for stream in streams:
                stream.cancel()
            await asyncio.gather(*streams, return_exceptions=True)
            took = await _at_once(admin.stop, users)
            began = time.monotonic()
            await wait_empty(PATIENCE_S)
            print(
                f"  all were stopped in {took:.0f} s, and gone {time.monotonic() - began:.0f} s later",
                flush=True,
            )
    finally:
        await empty()
        await share_cores(1)


def measure(
    site: Site, *, servers: int = 1000, running: int = 200, watching: int = 200, window_s: float = 60.0
) -> Section:
    """Fill the house, look around for a while, and empty it again."""
    if len(site.users) < servers:
        raise SystemExit(f"{servers} users are needed: scripts/dev-cluster up --extra-users {servers}")
    section = Section(
        "load", f"{servers:,} servers, {running} of them running, {watching} people on waiting pages"
    )
    with Hub(site, name="load", admins=site.users[:1]) as hub:
        asyncio.run(
            _run(hub, section, servers=servers, running=running, watching=watching, window_s=window_s)
        )
    section.notes.append(
        "Everything is on this machine's two cores: slurmctld with its jobs, the stand-ins, the hub, and those who look."
    )
    return section
