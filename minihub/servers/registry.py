"""Every user's newest attempt, in memory: the route table, and who waits for changes.

Called by the supervisor (writes) and by everybody else in this room (reads). Nothing here awaits I/O.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Self

from minihub.servers.model import Attempt, State
from minihub.tasks import wait_for_event


class Registry:
    """User -> newest attempt. A state READY *is* the route: there is nothing to synchronise."""

    def __init__(self) -> None:
        self._attempts: dict[str, Attempt] = {}
        self._by_report: dict[str, str] = {}
        self._watchers: dict[str, set[asyncio.Event]] = {}
        self.changed = asyncio.Event()
        """Set at every change; whoever waits for it clears it."""

    def get(self, user: str) -> Attempt | None:
        """The user's newest attempt."""
        return self._attempts.get(user)

    def live(self) -> list[Attempt]:
        """All attempts whose job exists or may exist."""
        return [attempt for attempt in self._attempts.values() if attempt.is_live]

    def put(self, attempt: Attempt) -> None:
        """Make `attempt` its user's newest and wake who watches it."""
        old = self._attempts.get(attempt.user)
        if old is not None:
            self._by_report.pop(old.secrets.report, None)
        self._attempts[attempt.user] = attempt
        if attempt.port is None and attempt.state in (State.SUBMITTING, State.QUEUED, State.STARTING):
            self._by_report[attempt.secrets.report] = attempt.user
        self.changed.set()
        for event in self._watchers.get(attempt.user, ()):
            event.set()

    def waiting_for_report(self, secret: str) -> Attempt | None:
        """The attempt whose launcher may report with `secret`, None if there is none (any more)."""
        user = self._by_report.get(secret) if secret else None
        return self._attempts.get(user) if user is not None else None

    def is_watched(self, user: str) -> bool:
        """Whether somebody looks at this server's progress now."""
        return bool(self._watchers.get(user))

    def watch(self, user: str) -> Watch:
        """Be told of changes of `user`'s server; use as a context manager."""
        return Watch(self._watchers, user)

    def __iter__(self) -> Iterator[Attempt]:
        return iter(list(self._attempts.values()))


class Watch:
    """One watcher of one user's server."""

    def __init__(self, watchers: dict[str, set[asyncio.Event]], user: str) -> None:
        self._watchers = watchers
        self._user = user
        self._event = asyncio.Event()

    def __enter__(self) -> Self:
        self._watchers.setdefault(self._user, set()).add(self._event)
        return self

    def __exit__(self, *_: object) -> None:
        events = self._watchers[self._user]
        events.discard(self._event)
        if not events:
            del self._watchers[self._user]

    async def wait(self, timeout_s: float | None) -> None:
        """Return at the next change, at once if there was one since the last call, or after `timeout_s`."""
        await wait_for_event(self._event, timeout_s)
        self._event.clear()
