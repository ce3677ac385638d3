"""Who is inside the cluster: found by what a process sees mounted, never by name."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from .layout import BASE_DIRECTORY, Layout
from .run import ClusterError


def members(layout: Layout) -> list[int]:
    """Return the pids of all living processes that see the cluster's private tmpfs.

    This holds for daemons, jobs, shells and hubs alike, whoever started them, and needs no pid file.
    """
    mark = f" {layout.private} "
    verdict: dict[str, bool] = {}
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            namespace = os.readlink(f"/proc/{entry}/ns/mnt")
            if namespace not in verdict:
                verdict[namespace] = mark in Path(f"/proc/{entry}/mountinfo").read_text()
            if verdict[namespace] and not is_zombie(int(entry)):
                found.append(int(entry))
        except OSError:
            continue  # it ended while we looked, or is a kernel thread
    return found


def is_member(layout: Layout, pid: int) -> bool:
    """Say whether a process is inside the cluster."""
    try:
        return f" {layout.private} " in Path(f"/proc/{pid}/mountinfo").read_text()
    except OSError:
        return False


def is_in_any_cluster(pid: int) -> bool:
    """Say whether a process is inside some cluster; True also where that cannot be told."""
    try:
        os.readlink(f"/proc/{pid}/ns/mnt")  # could we follow it there?
        return f" {BASE_DIRECTORY}/" in Path(f"/proc/{pid}/mountinfo").read_text()
    except OSError:
        return True


def ancestor_outside() -> int | None:
    """Return the nearest of our ancestors that is in no cluster, or None."""
    pid = os.getppid()
    while pid > 0 and is_in_any_cluster(pid):
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            return None
    return pid or None


def is_zombie(pid: int) -> bool:
    """Say whether the process has ended and only waits for its parent; True also when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def kill_members(layout: Layout, *, patience_s: float = 15) -> int:
    """End every process inside; return how many there were.

    TERM first, so that daemons and hubs may tidy up, then KILL; again and again, since jobs may fork meanwhile. The holders are
    killed with the others: the namespaces end with the last member.
    """
    seen: set[int] = set()
    start = time.monotonic()
    while pids := members(layout):
        waited = time.monotonic() - start
        if waited > patience_s:
            raise ClusterError(f"processes {pids} inside the cluster cannot be killed")
        for pid in pids:
            if pid == os.getpid():
                raise ClusterError("`down` was called from within the cluster: leave it first")
            if pid not in seen or waited > 2:
                _send(pid, signal.SIGKILL if waited > 2 else signal.SIGTERM)
        seen.update(pids)
        time.sleep(0.1)
    return len(seen)


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def holder_pid(layout: Layout, host: str) -> int | None:
    """Return the pid of the process that holds a host's namespaces, or None if there is none alive."""
    try:
        pid = int((layout.holders / host).read_text())
    except (OSError, ValueError):
        return None
    # A pid may have been given to a stranger after a crash; a stranger does not see our tmpfs.
    return pid if is_member(layout, pid) and not is_zombie(pid) else None
