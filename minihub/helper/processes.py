"""Processes as /proc shows them: is this still the one, what is below it, end it."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

_ROUNDS = 50
_DEAD = (b"Z", b"X", b"x")


def read_start_time(pid: int) -> int | None:
    """When process `pid` started, in clock ticks since boot (/proc/PID/stat, field 22).

    None if there is none or it is dead already: a zombie that nobody reaps is dead.
    """
    words = _stat(pid)
    return None if words is None else int(words[19])


def is_computing(pid: int) -> bool:
    """Whether process `pid` runs or could, rather than waiting for something."""
    words = _stat(pid)
    return words is not None and words[0] == b"R"


def signal_job(wrapper: int, start_time: int, number: signal.Signals) -> None:
    """Signal a job's processes; nothing happens if the wrapper is not the one that started at `start_time`.

    SIGTERM goes to the wrapper's children: `timeout` hands it to the launcher, which ends what it started. SIGKILL goes
    to everything below the wrapper until nothing is left, then to the wrapper.
    """
    if read_start_time(wrapper) != start_time:
        return
    if number != signal.SIGKILL:
        for pid in _children(wrapper):
            _kill(pid, number)
        return
    for _ in range(_ROUNDS):
        below = _descendants(wrapper)
        if not below:
            break
        for pid in below:
            _kill(pid, number)
        time.sleep(0.02)
    if read_start_time(wrapper) == start_time:
        _kill(wrapper, number)


def _children(parent: int) -> list[int]:
    return [pid for pid, above in _parents().items() if above == parent]


def _descendants(ancestor: int) -> list[int]:
    parents = _parents()
    found: list[int] = []
    layer = {ancestor}
    while layer:
        layer = {pid for pid, above in parents.items() if above in layer}
        found.extend(layer)
    return found


def _parents() -> dict[int, int]:
    """The parent of every live process that can be seen."""
    parents = {}
    for entry in os.listdir("/proc"):  # noqa: PTH208 - names, not paths
        if entry.isdigit() and (words := _stat(int(entry))) is not None:
            parents[int(entry)] = int(words[1])
    return parents


def _stat(pid: int) -> list[bytes] | None:
    """The fields of /proc/PID/stat from the third on; None for what is dead or not there."""
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    # The name in parentheses may hold anything, blanks and ")" included.
    words = text[text.rfind(b")") + 1 :].split()
    return words if len(words) >= 20 and words[0] not in _DEAD else None


def _kill(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)
