"""The hub's end: asks the helper, any number of questions at once, from the event loop."""

from __future__ import annotations

import asyncio
import base64
import itertools
import logging
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, cast

from minihub.errors import (
    AuthError,
    BadCredentials,
    CommandTimedOut,
    ConnectionLost,
    HelperError,
    HubError,
    NotAllowed,
    TooManyAttempts,
)
from minihub.helper.parent import HelperHandle
from minihub.helper.wire import Unpacker, WireError, pack

log = logging.getLogger(__name__)

_GONE = "The hub's helper process has ended. The hub must be restarted."


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a command ended."""

    exit_status: int
    """Its own; 128+N after signal N."""
    stdout: str
    stderr: str
    elapsed_s: float


@dataclass(frozen=True, slots=True)
class LocalJob:
    """One local job as the helper knows it; times are wall seconds."""

    job_id: str
    user: str
    uid: int
    tag: str
    submitted_at: float
    limit_s: float
    log_path: str
    cancelled_at: float | None = None
    cancel_cause: str = ""
    """"cancel" or "time_limit"."""
    alive: bool = True
    ended_at: float | None = None
    exit: str = ""
    """The exit status that the job's wrapper wrote; "" while it runs, or if the wrapper was killed."""
    same_boot: bool = True
    """False: the machine was restarted under it."""


class HelperClient(asyncio.Protocol):
    """Asks the helper. Made by `connect`; one per hub."""

    def __init__(self) -> None:
        self._unpacker = Unpacker()
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._transport: asyncio.Transport | None = None
        self.pid = 0
        """The helper's process id, for measuring."""
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done once the helper is gone: nobody can log in any more, so the hub should end and be restarted."""

    @classmethod
    async def connect(cls, handle: HelperHandle) -> HelperClient:
        """Speak over `handle`'s socket, which is the event loop's from now on."""
        handle.sock.setblocking(False)
        _, client = await asyncio.get_running_loop().create_unix_connection(cls, sock=handle.sock)
        client.pid = handle.pid
        return client

    async def authenticate(self, username: str, password: str) -> str:
        """Ask PAM; return the canonical user name.

        Raises:
            BadCredentials: Name or password is wrong.
            NotAllowed: The password is right, but the account is expired, closed or not for this hub: PAM's words.
            TooManyAttempts: Too many questions wait.
            AuthError: PAM itself has trouble.
            HelperError: The PAM module hung or crashed, or the helper is gone.
        """
        answer = await self._ask("authenticate", username=username, password=password)
        if "error" in answer:
            raise _login_error(answer)
        return str(answer["user"])

    async def run(self, argv: Sequence[str], *, user: str, stdin: bytes = b"", timeout_s: float) -> RunResult:
        """Run one of a few programs (rules.PROGRAMS) as `user` in a minimal environment.

        Raises:
            HelperError: It certainly did not run: refused, not found, or the helper was gone already.
            ConnectionLost: The helper ended meanwhile; it may have run.
            CommandTimedOut: It was ended after `timeout_s`; it may have done its work.
        """
        answer = await self._ask(
            "run", argv=list(argv), user=user, stdin=base64.b64encode(stdin).decode(), timeout_s=timeout_s
        )
        _raise_error(answer)
        if answer["timed_out"]:
            raise CommandTimedOut(f"{argv[0]} took longer than {timeout_s:g} s.", answer["stderr"][-500:])
        return RunResult(answer["exit_status"], answer["stdout"], answer["stderr"], answer["elapsed_s"])

    async def prepare(self, user: str) -> tuple[int, str]:
        """Make the directory of `user`'s sockets; return uid and home directory."""
        answer = await self._ask("prepare", user=user)
        _raise_error(answer)
        return int(answer["uid"]), str(answer["home"])

    async def start_job(self, *, user: str, tag: str, script: str, log_path: str, limit_s: float) -> LocalJob:
        """Start `script` as `user`, in a session of its own, for `limit_s` seconds at most.

        `log_path` is opened as the user, %j in it is the job id; a log that cannot be written keeps nobody out.

        Raises:
            HelperError: There certainly is no job.
            ConnectionLost: There may be one; `jobs` tells, by tag.
        """
        answer = await self._ask(
            "start", user=user, tag=tag, script=script, log_path=log_path, limit_s=limit_s
        )
        _raise_error(answer)
        return _parse_job(answer)

    async def jobs(self) -> tuple[LocalJob, ...]:
        """Every job that was started and not forgotten."""
        answer = await self._ask("jobs")
        _raise_error(answer)
        return tuple(_parse_job(raw) for raw in answer["jobs"])

    async def kill_job(self, job_id: str, *, force: bool = False, cause: str = "cancel") -> float | None:
        """Ask a job to end (SIGTERM), or end everything in it (`force`, SIGKILL). One that is gone is no error.

        Returns:
            When its end was asked for first, wall seconds; None if it is not known.
        """
        answer = await self._ask("kill", job_id=job_id, force=force, cause=cause)
        _raise_error(answer)
        when = answer.get("cancelled_at")
        return None if when is None else float(when)

    async def forget_job(self, job_id: str) -> None:
        """Remove record, exit status and socket of an ended job."""
        _raise_error(await self._ask("forget", job_id=job_id))

    async def close(self) -> None:
        """Close our end: the helper ends, users' jobs go on."""
        if self._transport is not None:
            self._transport.close()
            await self.closed

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The event loop has taken the socket."""
        # Not an isinstance check: uvloop's transports are no subclasses.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Pass answers to those who wait for them."""
        try:
            answers = self._unpacker.feed(data)
        except WireError:
            log.error("the helper's answers cannot be read")
            if self._transport is not None:
                self._transport.abort()
            return
        for answer in answers:
            waiting = self._waiting.pop(int(answer.get("id", 0)), None)
            if waiting is not None and not waiting.done():
                waiting.set_result(answer)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """The helper is gone, or we closed."""
        self._transport = None
        if not self.closed.done():
            self.closed.set_result(None)
        waiting, self._waiting = self._waiting, {}
        for future in waiting.values():
            if not future.done():
                future.set_exception(ConnectionLost(_GONE))

    async def _ask(self, operation: str, **fields_: Any) -> dict[str, Any]:
        if self._transport is None or self._transport.is_closing():
            raise HelperError(_GONE)
        number = next(self._numbers)
        try:
            frame = pack({"id": number, "op": operation, **fields_})
        except WireError:
            raise HelperError("The request is too long.") from None
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        self._transport.write(frame)
        try:
            return await future
        finally:
            self._waiting.pop(number, None)


_JOB_FIELDS = frozenset(field.name for field in fields(LocalJob))


def _parse_job(raw: dict[str, Any]) -> LocalJob:
    return LocalJob(**{key: value for key, value in raw.items() if key in _JOB_FIELDS})


def _raise_error(answer: dict[str, Any]) -> None:
    if "error" in answer:
        message = str(answer.get("message") or "The hub's helper is busy.")
        raise HelperError(message, f"helper: {answer['error']}")


def _login_error(answer: dict[str, Any]) -> HubError:
    message = str(answer.get("message", ""))
    errors: dict[str, HubError] = {
        "bad_credentials": BadCredentials(),
        "not_allowed": NotAllowed(message),
        "busy": TooManyAttempts(),
        "timeout": HelperError(
            "The login service did not answer in time. Please try again.", "PAM hung; killed"
        ),
        "crashed": HelperError("The login service broke off. Please try again.", "a PAM process crashed"),
        "auth": AuthError(message),
    }
    trouble = AuthError("The password cannot be checked right now. Please try again later.", message)
    return errors.get(answer["error"], trouble)
