"""What every transport can do: run one command as a user, and open a path to a node."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class CommandResult:
    """How a command ended."""

    exit_status: int
    """The command's own exit status; 128+N after signal N."""
    stdout: str
    stderr: str
    elapsed_s: float = 0.0


class Transport(Protocol):
    """Runs commands where Slurm's commands are."""

    async def run(
        self, argv: Sequence[str], *, user: str | None, stdin: bytes = b"", timeout_s: float
    ) -> CommandResult:
        """Run `argv` as `user`, or as the service account where `user` is None.

        argv[0] is a bare program name ("sbatch", "squeue", "tail" ...); the transport finds it. No argument holds a
        newline or NUL. `stdin` may hold secrets: it is never logged and never part of a command line. The command
        runs in a minimal explicit environment. It is ended by a remote `timeout -k` after `timeout_s`, since a
        remote command outlives a dropped connection.

        Raises:
            ConnectFailed: It certainly did not run (HostKeyMismatch among them).
            ConnectionLost: The connection broke; it may have run.
            CommandTimedOut: No end within `timeout_s` (plus grace); it may have run.
        """
        ...

    def avoid_host(self, user: str | None) -> bool:
        """The host where `user`'s commands run could not do what was wanted: use another from now on.

        Returns:
            False if there is no other, or all others have failed just now.
        """
        ...

    async def open_forward(self, user: str, host: str, port: int) -> Path:
        """Return a 0600 local unix socket whose connections end at `host`:`port` as seen from the login node.

        Asking again for the same three gives the same path while it lives.

        Raises:
            ConnectFailed: The login node cannot be reached.
        """
        ...

    async def close_forward(self, user: str, host: str, port: int) -> None:
        """Close what `open_forward` opened; nothing happens if it is gone already."""
        ...

    async def warm(self, user: str) -> None:
        """Have a connection ready for `user` soon; never raises, may do nothing."""
        ...

    async def close(self) -> None:
        """End all connections."""
        ...
