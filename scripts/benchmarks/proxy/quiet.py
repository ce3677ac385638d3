"""Was the machine ours? How much others were in the way while something was measured. Touches /proc and a lock file."""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .cpu import times
from .stage import Cores

_LOCK = Path(tempfile.gettempdir()) / "minihub-bench.lock"
_TICKS = os.sysconf("SC_CLK_TCK")
_IDLE = (3, 4)  # idle and iowait; time stolen by the machine's host counts as others'. Source: proc_stat(5).


@contextlib.contextmanager
def our_turn() -> Iterator[None]:
    """Keep other runs of this benchmark on the same machine waiting; they keep us waiting in turn."""
    try:
        file = _LOCK.open("a")
    except OSError:  # Somebody else's.
        yield
        return
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@dataclass(frozen=True, slots=True)
class _Look:
    """All in seconds up to now."""

    at: float
    proxy_core: float
    load_core: float
    """Busy, whoever it was."""
    proxy: float
    proxy_waited: float
    ours: float
    """On the load tool's core: this process, the load tools that it has run, the backend."""
    backend_waited: float


class Watch:
    """Looks twice."""

    def __init__(self, cores: Cores, proxy: Sequence[int], backend: Sequence[int]) -> None:
        self._cores = cores
        self._proxy = proxy
        self._backend = backend
        self._before = self._look()

    def _look(self) -> _Look:
        mine = resource.getrusage(resource.RUSAGE_SELF)
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        ours = mine.ru_utime + mine.ru_stime + children.ru_utime + children.ru_stime
        proxy, backend = times(self._proxy), times(self._backend)
        return _Look(
            time.perf_counter(),
            _busy(self._cores.proxy),
            _busy(self._cores.load),
            proxy.ran / 1e9,
            proxy.waited / 1e9,
            ours + backend.ran / 1e9,
            backend.waited / 1e9,
        )

    def others(self, tool_waited_s: float) -> float:
        """Share of the time in which others were in the way, on the core where they were more.

        They were when they had the core, and one of ours waited for it (for one of them, or for another one of ours):
        it is no more than either.
        """
        was, now = self._before, self._look()
        on_proxy = min(
            (now.proxy_core - was.proxy_core) - (now.proxy - was.proxy), now.proxy_waited - was.proxy_waited
        )
        on_load = min(
            (now.load_core - was.load_core) - (now.ours - was.ours),
            now.backend_waited - was.backend_waited + tool_waited_s,
        )
        return max(on_proxy, on_load, 0.0) / (now.at - was.at)


def _busy(core: int) -> float:
    for line in Path("/proc/stat").read_text().splitlines():
        name, *words = line.split()
        if name == f"cpu{core}":
            return sum(int(word) for place, word in enumerate(words[:8]) if place not in _IDLE) / _TICKS
    raise RuntimeError(f"no core {core}")
