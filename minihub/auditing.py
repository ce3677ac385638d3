"""The audit log: who did what, from where, and what came of it. In the store, and as one JSON line each in a file.

Appended to, never changed. The file is for log shippers and logrotate: it may be moved away at any time.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from io import TextIOWrapper
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import NamedTuple, Protocol

from minihub.auth.lru import Lru
from minihub.clock import Clock
from minihub.errors import ConfigError, StoreError
from minihub.logs import request_id
from minihub.store.rows import AuditQuery, AuditRow
from minihub.tasks import TaskKeeper

log = logging.getLogger(__name__)


QUIET_S = 60.0
"""Between two lines about the same that nobody in particular did."""

TOKEN_QUIET_S = 3600.0
"""Between two lines about the use of one token from one address."""


class _Line(NamedTuple):
    at: float
    actor: str
    action: str
    target: str
    address: str
    outcome: str


@dataclass(slots=True)
class _Held:
    """What was done and not written down, since when."""

    since: float
    times: int


class AuditStore(Protocol):
    """Where the lines are kept."""

    async def append(
        self, at: float, actor: str, action: str, *, target: str = "", address: str = "", outcome: str = "ok"
    ) -> None:
        """Write one line."""
        ...

    async def find(self, query: AuditQuery) -> tuple[list[AuditRow], int]:
        """Lines that are asked for, newest first, and how many there are without limit and offset."""
        ...


class AuditLog:
    """Writes down what is done, and finds it again. A failing store or disk hinders nobody's login or stop."""

    def __init__(self, store: AuditStore, clock: Clock, file: Path | None) -> None:
        """Open the file; None: none is written.

        Raises:
            ConfigError: It cannot be written.
        """
        self._store = store
        self._clock = clock
        self._file = None if file is None else _File(file)
        self.counts: Counter[tuple[str, str]] = Counter()
        """What was done since the start, by action and outcome."""
        self._nobodys: Lru[_Held] = Lru(1_000)

    async def __call__(
        self, action: str, *, user: str, address: str, outcome: str = "ok", detail: str = ""
    ) -> None:
        """Write down that `user`, from `address`, did `action`; `detail` says to what, if not to his own things.

        What nobody in particular did (`user` is ""), such as a login that was refused, anybody can do any number of times:
        it is written at most once a minute for each address, with how many of it there were.
        """
        self.counts[action, outcome] += 1
        now = self._clock.wall()
        if not user:
            times = self._count_nobodys(f"{address} {action} {outcome}", now)
            if not times:
                return
            detail = f"{times} times" if times > 1 else ""
        log.info("%s user=%s address=%s outcome=%s %s", action, user, address, outcome, detail)
        line = _Line(now, user, action, detail or user, address, outcome)
        if self._file is not None:
            self._file.write(line)
        try:
            await self._store.append(*line[:3], target=line.target, address=address, outcome=outcome)
        except StoreError as error:
            log.error("a line of the audit log is not in the store: %s", error)

    def _count_nobodys(self, what: str, now: float) -> int:
        """How many of `what` there were since the last line about it; 0: it is not yet time for another line."""
        held = self._nobodys.get(what)
        if held is None:
            self._nobodys.put(what, _Held(now, 0))
            return 1
        held.times += 1
        if now - held.since < QUIET_S:
            return 0
        times, held.since, held.times = held.times, now, 0
        return times

    async def find(self, query: AuditQuery) -> tuple[list[AuditRow], int]:
        """Lines that are asked for, newest first, and how many there are without limit and offset.

        Raises:
            StoreError: The store cannot be read.
        """
        return await self._store.find(query)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            with contextlib.suppress(OSError):  # said when it was written
                self._file.close()


class TokenUses:
    """Has it written down that a token is used: once an hour for each address, not at each request."""

    def __init__(self, audit: AuditLog, clock: Clock, keeper: TaskKeeper) -> None:
        self._audit = audit
        self._clock = clock
        self._keeper = keeper
        self._noted: Lru[float] = Lru(10_000)

    def note(self, user: str, token_id: str, address: str) -> None:
        """A token of `user` opened something to somebody at `address`. Cheap; waits for nothing."""
        key, now = f"{token_id} {address}", self._clock.monotonic()
        noted = self._noted.get(key)
        if noted is None or now - noted >= TOKEN_QUIET_S:
            self._noted.put(key, now)
            writing = self._audit("token-use", user=user, address=address, detail=token_id)
            self._keeper.start(writing, name="audit of a token", user=user)


class _File(WatchedFileHandler):
    """One JSON line each; opened anew when it was moved away."""

    def __init__(self, path: Path) -> None:
        try:
            super().__init__(path, encoding="ascii")
        except OSError as error:
            raise ConfigError(f"hub.audit_log: {path} cannot be written: {error.strerror}") from error
        self.setFormatter(logging.Formatter("%(message)s"))

    def _open(self) -> TextIOWrapper:
        return open(
            self.baseFilename,
            "a",
            encoding="ascii",
            opener=lambda name, flags: os.open(name, flags, 0o640),
        )

    def write(self, line: _Line) -> None:
        """Append one line; json.dumps leaves neither line ends nor anything beyond ASCII in it."""
        time = datetime.fromtimestamp(line.at, UTC).isoformat(timespec="milliseconds")
        text = json.dumps(
            {
                "time": time,
                "actor": line.actor,
                "action": line.action,
                "target": line.target,
                "address": line.address,
                "outcome": line.outcome,
                "request": request_id.get(),
            }
        )
        try:
            self.reopenIfNeeded()
            self.emit(logging.LogRecord("audit", logging.INFO, "", 0, text, None, None))
        except OSError as error:
            log.error("a line of the audit log is not in %s: %s", self.baseFilename, error.strerror)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name is logging's
        """As the handler is told of what went wrong in writing, such as a full disk."""
        why = sys.exc_info()[1]
        log.error(
            "a line of the audit log is not in %s (%s): %s", self.baseFilename, why, record.getMessage()
        )
