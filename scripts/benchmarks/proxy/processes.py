"""Programs of one run: each on its core, waited for until it listens, ended by its pid, and with us if we are killed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

SCRIPTS = Path(__file__).resolve().parents[2]
_START_S = 20.0
_END_S = 5.0


@contextlib.contextmanager
def on_core(core: int) -> Iterator[None]:
    """What is started in here runs on that core alone."""
    mine = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, mine)


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def apply_niceness(pid: int) -> None:
    """Make our niceness count for `pid`, which leads a session: the kernel shares cores among sessions first.

    Source: sched(7), autogroup. Nothing happens where we have none, or the kernel does not do that.
    """
    niceness = os.getpriority(os.PRIO_PROCESS, 0)
    if niceness:
        with contextlib.suppress(OSError):
            Path(f"/proc/{pid}/autogroup").write_text(str(niceness))


class Program:
    """One program."""

    def __init__(
        self, argv: Sequence[str | Path], *, core: int, log: Path, env: Mapping[str, str] | None = None
    ) -> None:
        self._log = log
        self._name = Path(argv[0]).name
        # In a session of its own: Ctrl-C is for us, who end it. If we cannot, the kernel does.
        command = ["setpriv", "--pdeathsig", "TERM", "--", *argv]
        with on_core(core), log.open("wb") as out:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=out,
                env={**os.environ, **(env or {})},
                start_new_session=True,
            )
        apply_niceness(self._process.pid)

    @property
    def pid(self) -> int:
        """Of the program."""
        return self._process.pid

    def wait_port(self, port: int) -> None:
        """Wait until it listens."""
        until = time.monotonic() + _START_S
        while time.monotonic() < until and self._process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                return
            time.sleep(0.02)
        raise self._failure()

    def read_line(self) -> dict[str, Any]:
        """What it says, as JSON, when it listens."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            raise self._failure()
        said: dict[str, Any] = json.loads(line)
        return said

    def _failure(self) -> RuntimeError:
        said = self._log.read_text(errors="replace")[-2000:]
        return RuntimeError(f"{self._name} did not start (status {self._process.poll()}):\n{said}")

    def end(self) -> None:
        """End it, by all means."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self._process.poll() is not None:
                break
            self._process.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_END_S)
        if self._process.stdout is not None:
            self._process.stdout.close()


def python(module: str, *arguments: str) -> list[str]:
    """How a module of this package is run."""
    return [sys.executable, "-m", f"benchmarks.proxy.{module}", *arguments]
