"""One command on one ssh channel: the handshake of `framing`, its time limits, and what its end means.

Every way to fail is one of three: it certainly did not run (`NotStarted`, before the arguments were sent), it may have
run (ConnectionLost, CommandTimedOut), or it ended and has an exit status.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import signal
from dataclasses import dataclass

import asyncssh

from minihub.errors import CommandTimedOut, ConnectFailed, ConnectionLost
from minihub.tasks import TaskKeeper
from minihub.transports.framing import (
    KILL_AFTER_S,
    REMOTE_COMMAND,
    AfterMarker,
    build_header,
    build_marker,
    build_words,
)

log = logging.getLogger(__name__)

GRACE_S = 5.0
"""How much longer than the remote limits we wait for the answer to arrive."""
MAX_OUTPUT_BYTES = 64 << 20
START_UP = "The start-up files of your account on the cluster (such as ~/.bashrc) are the likely cause"


class NotStarted(Exception):
    """The command certainly did not run, and another connection may do better."""


class ChannelRefused(NotStarted):
    """sshd takes no more commands on this connection (MaxSessions)."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How the remote side ended, before anybody interprets it."""

    exit_status: int
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True)
class Limits:
    """How long the phases of one command may take, in seconds."""

    open_s: float
    """Until sshd has started the login shell; longer means a dead connection."""
    start_up_s: float
    """Until the login shell has come to our command."""
    command_s: float
    """Until the remote timeout(1) ends it."""


class CommandChannel(asyncssh.SSHClientSession[bytes]):
    """Our end of the channel. asyncssh calls it; `ready` and `ended` tell what happened."""

    def __init__(self, words: list[str], stdin: bytes) -> None:
        nonce = secrets.token_hex(12)
        marker = build_marker(nonce)
        self._header = build_header(nonce, words)
        self._payload = build_words(words) + stdin
        self._channel: asyncssh.SSHClientChannel[bytes] | None = None
        self.out = AfterMarker(marker)
        self.err = AfterMarker(marker)
        self.sent = False
        """True from the moment at which the command may run."""
        self.overflow = False
        self.abandoned = False
        """Nobody waits for it any more: the arguments are not sent."""
        self.exit_status: int | None = None
        self.error: Exception | None = None
        loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[None] = loop.create_future()

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        """Remember the channel."""
        self._channel = chan

    def session_started(self) -> None:
        """Ask for the marker: the login shell is being started."""
        self._write(self._header)

    def data_received(self, data: bytes, datatype: int | None) -> None:
        """Collect output; the marker on stdout lets the arguments go."""
        stream = self.out if datatype is None else self.err
        stream.feed(data)
        if self.out.size + self.err.size > MAX_OUTPUT_BYTES:
            self.overflow = True
            self.abort()
        if self.out.seen and not self.sent and not self.abandoned:
            self.sent = True
            self._write(self._payload, last=True)
            self._payload = b""
            if not self.ready.done():
                self.ready.set_result(None)

    def exit_status_received(self, status: int) -> None:
        """Note the exit status."""
        self.exit_status = status

    def exit_signal_received(
        self,
        signal: str,
        core_dumped: bool,  # noqa: ARG002 - asyncssh's signature
        msg: str,  # noqa: ARG002
        lang: str,  # noqa: ARG002
    ) -> None:
        """Note a signal as a shell would."""
        self.exit_status = 128 + _signal_number(signal)

    def connection_lost(self, exc: Exception | None) -> None:
        """Note the end of the channel or of the whole connection."""
        self.error = exc
        if not self.ended.done():
            self.ended.set_result(None)

    def _write(self, data: bytes, *, last: bool = False) -> None:
        assert self._channel is not None
        try:
            self._channel.write(data)
            if last:
                self._channel.write_eof()
        except OSError:
            # The other side has closed the channel; connection_lost says the rest.
            log.debug("the channel closed before its input was written")

    def abort(self) -> None:
        """Close the channel and forget what was not sent yet; the connection lives on."""
        self.abandoned = True
        if self._channel is not None:
            self._channel.abort()


def _signal_number(name: str) -> int:
    try:
        return signal.Signals[f"SIG{name}"].value
    except KeyError:
        return 127


async def run_command(
    connection: asyncssh.SSHClientConnection,
    words: list[str],
    stdin: bytes,
    limits: Limits,
    keeper: TaskKeeper,
) -> Ended:
    """Run `words` on an open connection.

    Raises:
        NotStarted: It did not run; the connection or the channel is to blame.
        ConnectFailed: It did not run; the account's start-up files are to blame.
        ConnectionLost: It may have run.
        CommandTimedOut: It may have run.
    """
    command = CommandChannel(words, stdin)
    # A task of its own: a channel whose opening is cancelled half way would keep one of sshd's MaxSessions for ever.
    opening = keeper.start(_open(connection, command, limits.open_s), name="ssh channel")
    try:
        problem = await asyncio.shield(opening)
        if problem is not None:
            raise problem
        return await _talk(command, limits)
    finally:
        command.abort()
        if not opening.done():
            opening.add_done_callback(lambda _: command.abort())


async def _open(
    connection: asyncssh.SSHClientConnection, command: CommandChannel, open_s: float
) -> NotStarted | None:
    """Open the channel; returns what went wrong."""
    try:
        async with asyncio.timeout(open_s):
            await connection.create_session(lambda: command, REMOTE_COMMAND, encoding=None)
    except asyncio.CancelledError:
        # Only the transport's close cancels this task; those who wait must hear a reason.
        return NotStarted("the hub is shutting down")
    except TimeoutError:
        # Neither yes nor no: the path is dead and keep-alive has not noticed yet.
        connection.abort()
        return NotStarted(f"no answer to a new channel within {open_s:g} s")
    except asyncssh.ChannelOpenError as error:
        return ChannelRefused(f"no more commands on this connection: {error}")
    except (asyncssh.Error, OSError) as error:
        return NotStarted(f"{type(error).__name__}: {error}")
    return None


async def _talk(command: CommandChannel, limits: Limits) -> Ended:
    await asyncio.wait(
        (command.ready, command.ended), timeout=limits.start_up_s, return_when=asyncio.FIRST_COMPLETED
    )
    if not command.sent:
        raise _not_ready(command, limits)
    patience_s = limits.command_s + KILL_AFTER_S + GRACE_S
    await asyncio.wait((command.ended,), timeout=patience_s)
    if not command.ended.done():
        raise CommandTimedOut(
            "The cluster's login node did not finish a command in time.", f"no end after {patience_s:g} s"
        )
    if command.overflow:
        raise ConnectionLost(
            "A command on the login node printed too much.", f"over {MAX_OUTPUT_BYTES} bytes"
        )
    if command.exit_status is None:
        raise ConnectionLost(
            "The connection to the cluster's login node broke while a command ran.",
            str(command.error or "channel closed"),
        )
    return Ended(command.exit_status, command.out.text(), command.err.text())


def _not_ready(command: CommandChannel, limits: Limits) -> Exception:
    """Explain why our program never spoke. The arguments were never sent: nothing ran."""
    noise = (command.err.noise + b" " + command.out.noise).decode("utf-8", "replace").strip()
    said = f"; it said: {noise[-300:]!r}" if noise else ""
    if not command.ended.done():
        return ConnectFailed(
            f"Your account on the cluster takes longer than {limits.start_up_s:g} s to start a command. {START_UP}.",
            f"no marker: a slow start-up file, or one that reads its input{said}",
        )
    if command.exit_status is None:
        return NotStarted(str(command.error or "the channel closed before the command started"))
    return ConnectFailed(
        f"Your account on the cluster ended before the hub's command could start. {START_UP}.",
        f"login shell's exit status {command.exit_status} before the marker{said}",
    )
