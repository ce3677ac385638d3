"""Running other programs, and saying clearly which one failed and what it said."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path


class ClusterError(Exception):
    """The cluster cannot be brought where it was asked to be; the text is for the developer."""


def run(argv: Sequence[str], *, stdin: str = "", timeout_s: float = 60) -> str:
    """Run a program to its end and return what it printed.

    Raises:
        ClusterError: It failed, was not found or took too long.
    """
    try:
        done = subprocess.run(
            argv, input=stdin, capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except FileNotFoundError as error:
        raise ClusterError(
            f"{argv[0]}: not found (scripts/install-test-packages installs what is needed)"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise ClusterError(f"{' '.join(argv)}: no end after {timeout_s:.0f} s") from error
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip())[-2000:]
        raise ClusterError(f"{' '.join(argv)}: exit status {done.returncode}: {said}")
    return done.stdout


def succeeds(argv: Sequence[str], *, timeout_s: float = 10) -> bool:
    """Say whether a program ends with status 0 in time."""
    try:
        run(argv, timeout_s=timeout_s)
    except ClusterError:
        return False
    return True


def start_daemon(argv: Sequence[str], log: Path) -> int:
    """Start a program that outlives us, detached from our terminal; return its pid."""
    with log.open("ab") as output:
        return subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, cwd="/"
        ).pid


def wait_until(condition: Callable[[], bool], *, timeout_s: float, what: str, pause_s: float = 0.1) -> None:
    """Ask again and again until the condition holds.

    Raises:
        ClusterError: It did not within the time.
    """
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise ClusterError(f"{what}: not so after {timeout_s:.0f} s")
        time.sleep(pause_s)
