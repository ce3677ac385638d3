"""Runs Slurm's commands on this very host, without a shell: as the hub's own user, through sudo, or the root helper.

This is the edge where asyncio's subprocesses are used; their errors become `TransportError`s here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import pwd
import signal
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

from minihub.clock import Clock
from minihub.config import SlurmSettings
from minihub.errors import CommandTimedOut, ConnectFailed, HelperError
from minihub.helper.client import HelperClient
from minihub.tasks import TaskKeeper
from minihub.transports.base import CommandResult
from minihub.transports.framing import KILL_AFTER_S, build_sudo, is_overdue, split_wrapper

log = logging.getLogger(__name__)

RunAs = Callable[[Sequence[str], str, bytes, float], Awaitable[CommandResult]]
"""`(argv, user, stdin, timeout_s)`: what the root helper offers. It raises TransportError as `Transport.run` does."""

STANDARD_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
TERM_GRACE_S = 2.0
"""Between SIGTERM and SIGKILL, and how long the end of a killed process is waited for."""


class LocalTransport:
    """Implements `transports.base.Transport` with processes of this host."""

    def __init__(self, settings: SlurmSettings, clock: Clock, *, run_as: RunAs | None = None) -> None:
        self._settings = settings
        self._clock = clock
        self._run_as = run_as
        self._keeper = TaskKeeper()
        own = pwd.getpwuid(os.geteuid())
        self._own_user = own.pw_name
        self._environment = build_environment(settings, own.pw_name, own.pw_dir)

    async def run(
        self, argv: Sequence[str], *, user: str | None, stdin: bytes = b"", timeout_s: float
    ) -> CommandResult:
        """Run `argv` as `user`; as `Transport.run`. Without `user` it is `slurm.service_user` or the hub's own user."""
        who = user or self._settings.service_user or self._own_user
        if who == self._own_user:
            return await self._run_here(argv, stdin, timeout_s)
        if self._settings.identity == "sudo":
            return await self._run_sudo(argv, who, stdin, timeout_s)
        if self._run_as is not None:
            return await self._run_as(argv, who, stdin, timeout_s)
        raise ConnectFailed(
            "The hub cannot act for you on this host.",
            f"running as {self._own_user} with neither the root helper nor slurm.identity = 'sudo', asked to be {who}",
        )

    async def _run_sudo(self, argv: Sequence[str], who: str, stdin: bytes, timeout_s: float) -> CommandResult:
        """Run through the wrapper, which limits the time itself: sudo is root's, so we could not end it."""
        try:
            sudo = build_sudo(self._settings.wrapper, who, argv, timeout_s)
        except ValueError as error:
            raise ConnectFailed("The hub does not run such a command.", f"{argv[0]}: {error}") from error
        began = self._clock.monotonic()
        result = await self._run_here(sudo, stdin, timeout_s + 1 + KILL_AFTER_S + TERM_GRACE_S)
        ran, stderr = split_wrapper(result.stderr)
        if not ran:
            raise ConnectFailed("The hub may not act for you on this host.", stderr.strip()[-300:])
        if is_overdue(result.exit_status, self._clock.monotonic() - began, timeout_s):
            raise CommandTimedOut(f"{argv[0]} did not end within {timeout_s:g} s.")
        return replace(result, stderr=stderr)

    async def _run_here(self, argv: Sequence[str], stdin: bytes, timeout_s: float) -> CommandResult:
        began = self._clock.monotonic()
        starting = self._keeper.start(self._start(argv), name="command start")
        try:
            started = await asyncio.shield(starting)
        except asyncio.CancelledError:
            # Cancelled itself, subprocess_exec would end the first process only, and wait until the last one of those
            # that it has started meanwhile lets go of the pipes.
            started = await starting
            if not isinstance(started, ConnectFailed):
                await _abandon(*started)
            raise
        if isinstance(started, ConnectFailed):
            raise started
        transport, process = started
        try:
            _feed(transport, stdin)
            async with asyncio.timeout(timeout_s):
                await process.closed.wait()
        except TimeoutError:
            await _end(transport, process, (signal.SIGTERM, signal.SIGKILL))
            message = f"{argv[0]} did not end within {timeout_s:g} s."
            raise CommandTimedOut(message) from None
        finally:
            await _abandon(transport, process)
        status = transport.get_returncode() or 0
        return CommandResult(
            exit_status=status if status >= 0 else 128 - status,
            stdout=b"".join(process.output[1]).decode("utf-8", "replace"),
            stderr=b"".join(process.output[2]).decode("utf-8", "replace"),
            elapsed_s=self._clock.monotonic() - began,
        )

    async def _start(
        self, argv: Sequence[str]
    ) -> tuple[asyncio.SubprocessTransport, _Process] | ConnectFailed:
        try:
            return await asyncio.get_running_loop().subprocess_exec(
                _Process,
                *argv,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=self._environment,
                cwd="/",
                start_new_session=True,  # a group of its own, so that all of it can be ended
            )
        except OSError as error:
            message = f"{argv[0]} cannot be run on the hub's host: {error.strerror}."
            return ConnectFailed(message, str(error))

    def avoid_host(self, user: str | None) -> bool:  # noqa: ARG002 - the protocol's arguments
        """There is no other host than this one."""
        return False

    async def open_forward(self, user: str, host: str, port: int) -> Path:  # noqa: ARG002 - the protocol's arguments
        """There is nothing to forward through here."""
        raise ConnectFailed(
            "There is no ssh here to reach the node through.",
            "servers.via = 'ssh' needs slurm.transport = 'ssh'",
        )

    async def close_forward(self, user: str, host: str, port: int) -> None:
        """Nothing is ever open."""

    async def warm(self, user: str) -> None:
        """A process needs no warming."""

    async def close(self) -> None:
        """Nothing is open: each command ends within its call."""


def build_environment(settings: SlurmSettings, user: str, home: str) -> dict[str, str]:
    """Build the whole environment of a command. sbatch hands it to the job, so nothing of the hub's own may be in it."""
    path = f"{settings.bin_dir}:{STANDARD_PATH}" if settings.bin_dir else STANDARD_PATH
    environment = {"PATH": path, "HOME": home, "USER": user, "LOGNAME": user, "LANG": "C.UTF-8"}
    if settings.conf:
        environment["SLURM_CONF"] = settings.conf
    return environment


class _Process(asyncio.SubprocessProtocol):
    """Collects what a process says.

    asyncio's own Process hides its transport, which must be closed where a runaway grandchild holds the pipes open.
    """

    def __init__(self) -> None:
        self.output: dict[int, list[bytes]] = {1: [], 2: []}
        self.exited = asyncio.Event()
        self.closed = asyncio.Event()
        """Exited, and all that it said has been read."""

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        self.output[fd].append(data)

    def process_exited(self) -> None:
        self.exited.set()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the protocol's argument
        self.closed.set()


def _feed(transport: asyncio.SubprocessTransport, stdin: bytes) -> None:
    # Not checked: uvloop's pipe transports are no subclass of asyncio's.
    pipe = cast("asyncio.WriteTransport", transport.get_pipe_transport(0))
    if stdin:
        pipe.write(stdin)
    pipe.close()  # after what was written


async def _abandon(transport: asyncio.SubprocessTransport, process: _Process) -> None:
    """Let go of a process that has ended, or for which nobody waits any more: then it ends without grace."""
    if not process.exited.is_set():
        await _end(transport, process, (signal.SIGKILL,))
    transport.close()


async def _end(
    transport: asyncio.SubprocessTransport, process: _Process, ways: Sequence[signal.Signals]
) -> None:
    """End the whole process group, trying one way after the other, and wait until its first process is gone."""
    for number in ways:
        _kill(transport.get_pid(), number)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(TERM_GRACE_S):
                await process.exited.wait()
                break
    _kill(transport.get_pid(), signal.SIGKILL)  # those of the group who outlived its first process


def _kill(group: int, number: signal.Signals) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        pass
    except PermissionError:
        log.warning("process %d is another user's and ends only by its own time limit", group)


def build_run_as(helper: HelperClient) -> RunAs:
    """Have the root helper run commands as their users."""

    async def run_as(argv: Sequence[str], user: str, stdin: bytes, timeout_s: float) -> CommandResult:
        try:
            result = await helper.run(argv, user=user, stdin=stdin, timeout_s=timeout_s)
        except HelperError as error:
            raise ConnectFailed("The hub cannot act for you on this host.", str(error)) from error
        return CommandResult(result.exit_status, result.stdout, result.stderr, result.elapsed_s)

    return run_as
