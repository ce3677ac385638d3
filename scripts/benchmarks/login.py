"""A right password beside wrong ones, and a class that logs in behind one address; real PAM."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack

from .figures import Section, median, p95
from .hub import Hub
from .site import Site
from .visitor import Visitor

WRONG = 40
CLASS = 30
CLASS_WITHIN_S = 10.0
HEAD_START_S = 0.3
"""How long the wrong passwords are on their way before the right one comes."""


async def _log_in_timed(visitor: Visitor) -> tuple[int, float]:
    await visitor.open_login()
    began = time.monotonic()
    status = await visitor.send_login(visitor._hub.site.password(visitor.user))  # noqa: SLF001
    return status, time.monotonic() - began


async def _beside_wrong(hub: Hub, stack: AsyncExitStack, victim: str, names: list[str]) -> float:
    """Send all wrong ones at once, then a right one; return its seconds."""
    wrong = [await stack.enter_async_context(Visitor(hub, name)) for name in names]
    right = await stack.enter_async_context(Visitor(hub, victim))
    for visitor in (*wrong, right):
        await visitor.open_login()
    attempts = asyncio.gather(*(visitor.send_login("certainly wrong") for visitor in wrong))
    await asyncio.sleep(HEAD_START_S)
    began = time.monotonic()
    status = await right.send_login(hub.site.password(victim))
    took_s = time.monotonic() - began
    answers = await attempts
    if status != 303 or any(answer == 303 for answer in answers):
        raise RuntimeError(f"right: {status}; wrong: {answers}")
    return took_s


async def _all(hub: Hub, rounds: int) -> dict[str, list]:
    users = hub.site.users
    found: dict[str, list] = {"single": [], "others": [], "own": [], "class": []}
    async with AsyncExitStack() as stack:
        for user in users[:10]:
            visitor = await stack.enter_async_context(Visitor(hub, user))
            status, took_s = await _log_in_timed(visitor)
            assert status == 303, status
            found["single"].append(took_s)
        visitors = [await stack.enter_async_context(Visitor(hub, user)) for user in users[:CLASS]]

        async def later(number: int, visitor: Visitor) -> tuple[int, float]:
            await asyncio.sleep(number * CLASS_WITHIN_S / CLASS)
            return await _log_in_timed(visitor)

        found["class"] = await asyncio.gather(*(later(n, v) for n, v in enumerate(visitors)))
        for number in range(rounds):
            # 40 names that exist or not, as a scan tries them; the victim is not among them.
            victim = users[number]
            others = [name for name in users if name != victim] + [f"nobody{n:02d}" for n in range(WRONG)]
            found["others"].append(await _beside_wrong(hub, stack, victim, others[:WRONG]))
        for number in range(rounds):
            # The worst case: all of them with the victim's own name.
            victim = users[10 + number]
            found["own"].append(await _beside_wrong(hub, stack, victim, [victim] * WRONG))
    return found


def measure(site: Site, *, rounds: int = 3) -> Section:
    """Measure it."""
    section = Section("login", "Logins")
    with Hub(site, name="login") as hub:
        found = asyncio.run(_all(hub, rounds))
    for key, values in found.items():
        shown = [v[1] for v in values] if key == "class" else values
        print(f"  {key}: " + " ".join(f"{v:.2f}" for v in shown), flush=True)
    for key, what in (("others", "names of others"), ("own", "the same name")):
        times = found[key]
        section.verdict(
            f"a right password beside {WRONG} wrong ones ({what}, same address)",
            "under 0.5 s",
            f"**{median(times):.3f} s** (worst {max(times):.3f}, n={len(times)})",
            "30.4 s",
            met=max(times) < 0.5,
        )
    statuses = [status for status, _ in found["class"]]
    times = [took_s for _, took_s in found["class"]]
    section.verdict(
        f"{CLASS} people behind one address within {CLASS_WITHIN_S:.0f} s",
        "all get in",
        f"**{statuses.count(303)} of {CLASS}** (median {median(times):.3f} s, worst {max(times):.3f})",
        "-",
        met=statuses.count(303) == CLASS,
    )
    alone = found["single"]
    section.notes.append(
        f"One login at a time: {median(alone):.3f} s (p95 {p95(alone):.3f}, n={len(alone)}); JupyterHub 0.149."
    )
    section.notes.append(f"The wrong ones are sent {HEAD_START_S} s before the right one.")
    return section
