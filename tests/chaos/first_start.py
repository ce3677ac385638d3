"""Kills a hub in the middle of its first start, when it makes its keys, its store and its certificate."""

from __future__ import annotations

import asyncio
import random
import shutil
import time

from tests.chaos.lane import PATIENCE_S, Case, Outcome, Point
from tests.cluster.conftest import Cluster
from tests.e2e.kit import Hub, cluster_settings, new_hub

FULL_S = 0.6
"""A first start takes at least that long; there is nothing to spoil in the first half of it."""


async def kill_first_starts(cluster: Cluster, seed: int, count: int) -> list[Outcome]:
    """Start with nothing there, kill, and start again: that must succeed, every time."""
    rng = random.Random(f"{seed} first start")
    with new_hub(cluster, cluster_settings(cluster)) as hub:
        return [await _kill_one(hub, rng.uniform(FULL_S / 2, FULL_S * 3)) for _ in range(count)]


async def _kill_one(hub: Hub, delay_s: float) -> Outcome:
    began = time.monotonic()
    outcome = Outcome(Case("new", "first-start", Point(delay_s=delay_s)), kills=1)
    shutil.rmtree(hub.directory / "state", ignore_errors=True)
    hub.launch()
    await asyncio.sleep(delay_s)
    hub.kill()
    try:
        await asyncio.to_thread(hub.start, PATIENCE_S)
    except AssertionError as error:
        outcome.broken.append(str(error)[-1500:])
    outcome.ended = f"store {'there' if hub.id else 'missing'}"
    hub.kill()
    outcome.took_s = time.monotonic() - began
    return outcome
