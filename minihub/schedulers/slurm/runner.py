"""Runs Slurm's commands through a transport, counts them and takes their time. Knows no command by itself."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from minihub.errors import (
    CommandTimedOut,
    ConnectFailed,
    ConnectionLost,
    SchedulerUnavailable,
    TransportError,
)
from minihub.schedulers.measures import CommandMeasures
from minihub.schedulers.slurm.answers import SILENT
from minihub.transports.base import CommandResult, Transport

log = logging.getLogger(__name__)

_WHY: dict[type[Exception], str] = {
    ConnectFailed: "connect",
    ConnectionLost: "connection_lost",
    CommandTimedOut: "timeout",
}


class CommandRunner:
    """Runs commands."""

    def __init__(self, transport: Transport, timeout_s: float) -> None:
        self.transport = transport
        self.timeout_s = timeout_s
        self.measures = CommandMeasures()

    async def run(self, argv: Sequence[str], *, user: str | None, stdin: bytes = b"") -> CommandResult:
        """Run `argv` as `user` (None: the service account); raises what the transport raises."""
        program = argv[2] if argv[0] == "env" else argv[0]
        self.measures.run[program] += 1
        try:
            result = await self.transport.run(argv, user=user, stdin=stdin, timeout_s=self.timeout_s)
        except TransportError as error:
            self.measures.failed[program, _WHY.get(type(error), "transport")] += 1
            raise
        self.measures.seconds[program].observe(result.elapsed_s)
        if result.exit_status:
            self.measures.failed[program, "status"] += 1
        log.debug("%s as %s: %d in %.3f s", program, user or "service", result.exit_status, result.elapsed_s)
        return result

    async def ask(self, argv: Sequence[str], *, user: str | None = None) -> CommandResult:
        """Run a command that changes nothing, or whose repetition does no harm.

        Raises:
            SchedulerUnavailable: It could not be run to its end.
        """
        try:
            return await self.run(argv, user=user)
        except ConnectFailed as error:
            # Not Slurm is to blame: say who is.
            raise SchedulerUnavailable(error.user_message, error.detail) from error
        except TransportError as error:
            raise SchedulerUnavailable(SILENT, str(error)) from error
