"""One look a second at everybody's servers, for all admins who watch: nobody's page makes another look.

The loop runs only while somebody watches. It touches memory only (`Servers.all`), asks no scheduler and no store.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

from minihub.clock import Clock
from minihub.servers.model import Attempt
from minihub.servers.service import Servers
from minihub.tasks import TaskKeeper, wait_for_event
from minihub.web.overview import Entry

LOOK_S = 1.0
"""At most so often something new is sent, whatever happens in between."""
ACTIVITY_STEP_S = 60.0
"""How exactly the last activity is told."""


class Live:
    """What all live servers are now, and who waits for it to change."""

    def __init__(self, servers: Servers, clock: Clock, keeper: TaskKeeper, *, look_s: float = LOOK_S) -> None:
        self._servers = servers
        self._clock = clock
        self._keeper = keeper
        self._look_s = look_s
        self._entries: dict[str, Entry] = {}
        self._is_news = False
        self._is_silent = False
        """Whether the scheduler does not answer."""
        self._watchers: set[asyncio.Event] = set()
        self._task: asyncio.Task[None] | None = None

    @property
    def watchers(self) -> int:
        """How many watch now."""
        return len(self._watchers)

    def entries(self) -> list[Entry]:
        """All live servers as they are now. An entry that has not changed is the very object of the last time."""
        self._look()
        return list(self._entries.values())

    def seen(self) -> list[Entry]:
        """The same as of the last look that was shared."""
        return list(self._entries.values())

    @contextlib.contextmanager
    def watch(self) -> Iterator[Watcher]:
        """Be told of changes."""
        event = asyncio.Event()
        self._watchers.add(event)
        if self._task is None or self._task.done():
            self._task = self._keeper.keep(self._run, name="overview")
        try:
            yield Watcher(event)
        finally:
            self._watchers.discard(event)

    async def _run(self) -> None:
        while self._watchers:
            await asyncio.sleep(self._look_s)
            self._look()
            if self._is_news:
                self._is_news = False
                for event in self._watchers:
                    event.set()

    def _look(self) -> None:
        """Look, and note whether anything differs from before: by whichever look it was found, all are told."""
        before, was_silent = self._entries, self._is_silent
        self._is_silent = self._servers.health().failing_since is not None
        self._entries = {attempt.user: self._entry(attempt) for attempt in self._servers.all()}
        same = len(before) == len(self._entries) and was_silent == self._is_silent
        if not same or any(before.get(user) is not entry for user, entry in self._entries.items()):
            self._is_news = True

    def _entry(self, attempt: Attempt) -> Entry:
        activity = self._servers.last_activity(attempt.user)
        if activity is not None:
            activity -= activity % ACTIVITY_STEP_S
        known = self._entries.get(attempt.user)
        if known is not None and known.attempt is attempt and known.last_activity == activity:
            return known
        return Entry(attempt, activity)


class Watcher:
    """One of those who watch."""

    def __init__(self, event: asyncio.Event) -> None:
        self._event = event

    async def changed(self, timeout_s: float) -> bool:
        """Wait for the next change; False if there was none for so long."""
        found = await wait_for_event(self._event, timeout_s)
        self._event.clear()
        return found
