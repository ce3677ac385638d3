"""CPU and memory of a process and its children. Touches /proc only; the load tool uses it too."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple


def family(pid: int) -> list[int]:
    """A process and all its descendants."""
    found = [pid]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").iterdir():
            found += [int(word) for word in (task / "children").read_text().split()]
    return found


class Times(NamedTuple):
    """What the scheduler has counted so far, in ns."""

    ran: int
    waited: int
    """Could have run, but something else had the core: others, or their own threads."""


def times(pids: Iterable[int]) -> Times:
    """Times of all threads of these processes. What threads used that have ended is lost; proxies keep theirs.

    Kernels that count interrupts apart (CONFIG_IRQ_TIME_ACCOUNTING) leave out part of what the network costs.

    Source: Documentation/scheduler/sched-stats.rst, /proc/<pid>/schedstat.
    """
    ran = waited = 0
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                words = (task / "schedstat").read_text().split()
                ran += int(words[0])
                waited += int(words[1])
    return Times(ran, waited)


def pss_kb(pids: Iterable[int]) -> int:
    """Memory of these processes, what they share divided among them."""
    total = 0
    for pid in pids:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        found = re.search(r"^Pss:\s+(\d+) kB", rollup, re.MULTILINE)
        assert found is not None
        total += int(found[1])
    return total
