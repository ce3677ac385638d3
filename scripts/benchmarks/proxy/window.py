"""The measured time of one load: what was done in it, what the proxy used for it. In the load tool's process."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .cpu import times

PATIENCE_S = 15.0
"""How long after its window a load waits for what is under way."""


@dataclass(slots=True)
class Window:
    """Counts."""

    seconds: float
    warm_s: float
    pids: Sequence[int]
    """Of the proxy."""
    done: float = 0
    """Units that were right so far, also before and after the window."""
    errors: Counter[str] = field(default_factory=Counter)
    over: bool = False
    """Nothing new is to be begun."""
    latencies: list[float] = field(default_factory=list)
    """Seconds, where the load measures them."""
    more: dict[str, Any] = field(default_factory=dict)
    _began: tuple[float, float, int] | None = None
    _ended: tuple[float, float, int] | None = None

    def begin(self) -> None:
        """Warm enough."""
        self.latencies.clear()
        self._began = (time.perf_counter(), self.done, times(self.pids).ran)

    def end(self) -> None:
        """Enough."""
        self._ended = (time.perf_counter(), self.done, times(self.pids).ran)
        self.over = True

    async def pass_by(self) -> None:
        """Let warm-up and window pass."""
        await asyncio.sleep(self.warm_s)
        self.begin()
        await asyncio.sleep(self.seconds)
        self.end()

    def result(self) -> dict[str, Any]:
        """What is to be printed."""
        assert self._began is not None
        assert self._ended is not None
        (t0, done0, cpu0), (t1, done1, cpu1) = self._began, self._ended
        found: dict[str, Any] = {
            "seconds": t1 - t0,
            "done": done1 - done0,
            "ran_ns": cpu1 - cpu0,
            "errors": dict(self.errors),
            **self.more,
        }
        if self.latencies:
            ordered = sorted(self.latencies)
            found["p50_s"] = _rank(ordered, 0.50)
            found["p99_s"] = _rank(ordered, 0.99)
        return found


def _rank(ordered: Sequence[float], share: float) -> float:
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
