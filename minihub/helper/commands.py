"""`run`: one command of the fixed list as a user, its output collected, its time limited."""

from __future__ import annotations

import os
import selectors
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from minihub.helper.children import (
    EXIT_REPORTED,
    SAFE_PATH,
    Guard,
    become_account,
    kill_group,
    look_up,
    memory_file,
    spawn,
    watch_reports,
)
from minihub.helper.loop import Loop, Timer
from minihub.helper.rules import Refused

MAX_OUTPUT = 4 * 1024 * 1024
"""Bytes of stdout and of stderr; more ends the command."""

KILL_AFTER_S = 2.0
"""Between SIGTERM and SIGKILL."""

Done = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Command:
    """What to run, checked."""

    argv: list[str]
    user: str
    stdin: bytes = field(repr=False)
    timeout_s: float


class Commands:
    """Runs commands, any number at once."""

    def __init__(self, loop: Loop, guard: Guard, *, bin_dir: str, env: dict[str, str]) -> None:
        self._loop = loop
        self._guard = guard
        self._path = f"{bin_dir}:{SAFE_PATH}" if bin_dir else SAFE_PATH
        self._env = env
        self.running = 0

    def run(self, command: Command, done: Done) -> None:
        """Start `command`; `done` gets exit_status, stdout, stderr, elapsed_s, timed_out, or an error.

        Raises:
            Refused: The program is not there.
        """
        program = self._find(command.argv[0])
        stdin = memory_file("stdin", command.stdin)
        out_read, out_write = os.pipe()
        err_read, err_write = os.pipe()

        def body(_report: object) -> None:
            account = look_up(command.user, self._guard)
            become_account(account)
            for source, target in ((stdin, 0), (out_write, 1), (err_write, 2)):
                os.dup2(source, target)
            env = {**account.environment(), "PATH": self._path, **self._env}
            os.execve(program, command.argv, env)  # noqa: S606 - no shell is the point

        pid, sock = spawn(body, keep=(stdin, out_write, err_write))
        for fd in (stdin, out_write, err_write):
            os.close(fd)
        self.running += 1
        _Running(self, self._loop, pid, command.timeout_s, done).collect(sock, out_read, err_read)

    def _find(self, name: str) -> str:
        for directory in self._path.split(":"):
            path = f"{directory}/{name}"
            if os.access(path, os.X_OK):
                return path
        msg = f"{name} was not found on the hub's machine (looked in {self._path})"
        raise Refused(msg)


class _Running:
    """One command that runs."""

    def __init__(self, owner: Commands, loop: Loop, pid: int, timeout_s: float, done: Done) -> None:
        self._owner = owner
        self._loop = loop
        self._pid = pid
        self._done = done
        self._began = time.monotonic()
        self._output: dict[int, bytearray] = {}
        self._fds: tuple[int, int] = (-1, -1)
        self._error: dict[str, Any] | None = None
        self._timed_out = False
        self._exit_status: int | None = None
        self._timer: Timer = loop.call_later(timeout_s, self._on_timeout)

    def collect(self, sock: Any, out: int, err: int) -> None:
        """Read what it writes, until it ends."""
        self._fds = (out, err)
        for fd in self._fds:
            os.set_blocking(fd, False)
            self._output[fd] = bytearray()
            self._loop.watch(fd, selectors.EVENT_READ, partial(self._read, fd))
        watch_reports(self._loop, sock, self._on_report)
        self._loop.on_exit(self._pid, self._on_exit)

    def _on_report(self, message: dict[str, Any] | None) -> None:
        if message is not None:
            self._error = message
        elif self._exit_status is not None:
            self._finish()

    def _read(self, fd: int) -> bool:
        """Take what is there; whether there may be more."""
        try:
            data = os.read(fd, 65536)
        except BlockingIOError:
            return False
        buffer = self._output[fd]
        if data and len(buffer) + len(data) <= MAX_OUTPUT:
            buffer += data
            return True
        self._loop.unwatch(fd)
        if data and self._error is None:
            self._error = {"error": "refused", "message": "The command wrote too much output."}
            kill_group(self._pid, signal.SIGKILL)
        return False

    def _on_timeout(self) -> None:
        self._timed_out = True
        kill_group(self._pid, signal.SIGTERM)
        self._timer = self._loop.call_later(KILL_AFTER_S, lambda: kill_group(self._pid, signal.SIGKILL))

    def _on_exit(self, status: int) -> None:
        self._exit_status = status
        self._timer.cancel()
        # Reports and output are in their sockets before the end is seen, so one more look finds them all; what
        # a left-behind grandchild writes later is nobody's business.
        if status != EXIT_REPORTED:
            self._finish()
        else:
            self._timer = self._loop.call_later(0.5, self._finish)

    def _finish(self) -> None:
        if self._exit_status is None or self._fds == (-1, -1):
            return
        self._timer.cancel()
        for fd in self._fds:
            while self._read(fd):
                pass
            self._loop.unwatch(fd)
            os.close(fd)
        out, err = (bytes(self._output[fd]).decode(errors="replace") for fd in self._fds)
        self._fds = (-1, -1)
        self._owner.running -= 1
        self._done(
            self._error
            or {
                "exit_status": self._exit_status,
                "stdout": out,
                "stderr": err,
                "elapsed_s": round(time.monotonic() - self._began, 4),
                "timed_out": self._timed_out,
            }
        )
