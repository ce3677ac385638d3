"""Was the machine ours? What others used of the two cores while something was measured. Touches /proc only."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .cpu import used_ns
from .stage import Cores

_TICKS = os.sysconf("SC_CLK_TCK")
_IDLE = (3, 4)  # idle and iowait; time stolen by the machine's host counts as others'. Source: proc_stat(5).


@dataclass(frozen=True, slots=True)
class _Seconds:
    """CPU time up to now."""

    at: float
    proxy_core: float
    load_core: float
    proxy: float
    ours: float
    """Of this process, the load tools that it has run, and the backend."""


class Watch:
    """Looks twice."""

    def __init__(self, cores: Cores, proxy: Sequence[int], backend: Sequence[int]) -> None:
        self._cores = cores
        self._proxy = proxy
        self._backend = backend
        self._before = self._look()

    def _look(self) -> _Seconds:
        mine = resource.getrusage(resource.RUSAGE_SELF)
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        ours = mine.ru_utime + mine.ru_stime + children.ru_utime + children.ru_stime
        return _Seconds(
            time.perf_counter(),
            _busy(self._cores.proxy),
            _busy(self._cores.load),
            used_ns(self._proxy) / 1e9,
            ours + used_ns(self._backend) / 1e9,
        )

    def others(self) -> float:
        """Share of time that others had since the beginning, on the core where they had more."""
        before, after = self._before, self._look()
        on_proxy = (after.proxy_core - before.proxy_core) - (after.proxy - before.proxy)
        on_load = (after.load_core - before.load_core) - (after.ours - before.ours)
        return max(on_proxy, on_load, 0.0) / (after.at - before.at)


def _busy(core: int) -> float:
    for line in Path("/proc/stat").read_text().splitlines():
        name, *words = line.split()
        if name == f"cpu{core}":
            return sum(int(word) for place, word in enumerate(words[:8]) if place not in _IDLE) / _TICKS
    raise RuntimeError(f"no core {core}")
