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
from pathlib import Path

from minihub.clock import Clock
from minihub.config import SlurmSettings
from minihub.errors import CommandTimedOut, ConnectFailed
from minihub.transports.base import CommandResult

log = logging.getLogger(__name__)

RunAs = Callable[[Sequence[str], str, bytes, float], Awaitable[CommandResult]]
"""`(argv, user, stdin, timeout_s)`: what the root helper offers. It raises TransportError as `Transport.run` does."""

STANDARD_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
TERM_GRACE_S = 2.0
"""Between SIGTERM and SIGKILL."""


class LocalTransport:
    """Implements `transports.base.Transport` with processes of this host."""

    def __init__(self, settings: SlurmSettings, clock: Clock, *, run_as: RunAs | None = None) -> None:
        self._settings = settings
        self._clock = clock
        self._run_as = run_as
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
            return await self._run_here(build_sudo(who, self._settings.wrapper, argv), stdin, timeout_s)
        if self._run_as is not None:
            return await self._run_as(argv, who, stdin, timeout_s)
        raise ConnectFailed(
            "The hub cannot act for you on this host.",
            f"running as {self._own_user} with neither the root helper nor slurm.identity = 'sudo', asked to be {who}",
        )

    async def _run_here(self, argv: Sequence[str], stdin: bytes, timeout_s: float) -> CommandResult:
        began = self._clock.monotonic()
        try:
            process = await asyncio.create_subprocess_exec(
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
            raise ConnectFailed(message, str(error)) from error
        try:
            async with asyncio.timeout(timeout_s):
                stdout, stderr = await process.communicate(stdin)
        except TimeoutError:
            await _end(process, TERM_GRACE_S)
            message = f"{argv[0]} did not end within {timeout_s:g} s."
            raise CommandTimedOut(message) from None
        except BaseException:  # cancelled: nobody waits any more, so it ends without grace
            await asyncio.shield(_end(process, 0))
            raise
        status = process.returncode if process.returncode is not None else -signal.SIGKILL
        return CommandResult(
            exit_status=status if status >= 0 else 128 - status,
            stdout=stdout.decode("utf-8", "replace"),
            stderr=stderr.decode("utf-8", "replace"),
            elapsed_s=self._clock.monotonic() - began,
        )

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


def build_sudo(user: str, wrapper: str, argv: Sequence[str]) -> tuple[str, ...]:
    """Build the call of the root-owned wrapper that configs/sudoers.d admits."""
    return ("sudo", "-n", "-u", user, "--", wrapper, *argv)


async def _end(process: asyncio.subprocess.Process, grace_s: float) -> None:
    """End the whole process group and wait for it."""
    ways = ((signal.SIGTERM, grace_s), (signal.SIGKILL, 5.0)) if grace_s else ((signal.SIGKILL, 5.0),)
    for number, patience_s in ways:
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            pass
        except PermissionError:
            # sudo is root's. The wrapper limits its own time; closing stdin and the pipes is all that can be done here.
            log.warning(
                "process %d may not be ended by this user; it ends by its own time limit", process.pid
            )
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                await process.wait()
                return
