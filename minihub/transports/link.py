"""One identity's kept-alive connection: made on demand by one task for all who wait, re-made with backoff, closed when idle."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import asyncssh

from minihub.clock import Clock
from minihub.errors import ConnectFailed
from minihub.tasks import TaskKeeper

log = logging.getLogger(__name__)

FIRST_RETRY_S = 0.25
LONGEST_RETRY_S = 60.0
CLOSE_PATIENCE_S = 2.0
SHUTTING_DOWN = "The hub is shutting down."

Dial = Callable[[str, Callable[[], None]], Awaitable[asyncssh.SSHClientConnection]]


@dataclass(slots=True, eq=False)
class Live:
    """One connection and what hangs on it."""

    connection: asyncssh.SSHClientConnection | None = None
    users: int = 0
    """Commands and forwards on it now."""
    lost: bool = False
    retired: bool = False
    """No new commands (sshd refuses channels, say); closed when the last user leaves."""
    on_lost: list[Callable[[], None]] = field(default_factory=list)

    def is_usable(self) -> bool:
        """Whether new commands may go there."""
        return self.connection is not None and not self.lost and not self.retired


def backoff_s(failures: int, jitter: float) -> float:
    """Seconds to wait after that many failures in a row: a quick first retry, then doubling up to a minute.

    Args:
        failures: At least one.
        jitter: 0 to 1, random: hubs and users that failed together do not come back together.
    """
    plain = FIRST_RETRY_S if failures == 1 else min(LONGEST_RETRY_S, 2.0 ** (failures - 2))
    return plain * (0.5 + jitter)


class Link:
    """The way to the login node as one user."""

    def __init__(
        self,
        user: str,
        dial: Dial,
        *,
        clock: Clock,
        keeper: TaskKeeper,
        max_commands: int,
        idle_close_s: float,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.user = user
        self.slots = asyncio.Semaphore(max_commands)
        self._dial = dial
        self._clock = clock
        self._keeper = keeper
        self._idle_close_s = idle_close_s
        self._jitter = jitter
        self._live: Live | None = None
        self._all: set[Live] = set()
        self._connecting: asyncio.Task[Live | ConnectFailed] | None = None
        self._failures = 0
        self._retry_at = 0.0
        self._last_failure: ConnectFailed | None = None
        self._idle_timer: asyncio.TimerHandle | None = None
        self._idle_since = 0.0
        self._closed = False

    @property
    def live(self) -> Live | None:
        """The connection that the next command would use; None if one has to be made."""
        return self._live

    @asynccontextmanager
    async def use(self) -> AsyncIterator[Live]:
        """Hold the connection open while something runs on it.

        Raises:
            ConnectFailed: There is none, and none can be made now.
        """
        live = await self.acquire()
        try:
            yield live
        finally:
            self.release(live)

    async def acquire(self) -> Live:
        """Return a usable connection and count as its user until `release`.

        Raises:
            ConnectFailed: There is none, and none can be made now; at once while a failure is fresh.
        """
        while True:
            live = self._live
            if live is None or not live.is_usable():
                live = await self._connect()
            # Whoever made it may have lost it again before we got our turn.
            if live.is_usable():
                live.users += 1
                return live

    def release(self, live: Live) -> None:
        """Leave the connection; the last one out starts the idle clock."""
        live.users -= 1
        if live.users:
            return
        if live.retired:
            self._drop(live)
        elif live is self._live:
            self._watch_idle()

    def retire(self, live: Live) -> None:
        """Send no new commands there: the next one connects anew."""
        live.retired = True
        if self._live is live:
            self._live = None
        if not live.users:
            self._drop(live)

    @property
    def idle_since(self) -> float | None:
        """Since when its connection has been open for nobody: monotonic seconds; None if it is not, or there is none."""
        live = self._live
        return self._idle_since if live is not None and not live.users else None

    def close_idle(self) -> None:
        """Close the connection if nobody uses it."""
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        self._close_idle()

    def retry_in_s(self) -> float:
        """Seconds until connecting may be tried again."""
        return max(0.0, self._retry_at - self._clock.monotonic())

    async def _connect(self) -> Live:
        if self._closed:
            raise ConnectFailed(SHUTTING_DOWN)
        if self._connecting is None:
            if self._last_failure is not None and self.retry_in_s() > 0:
                last = self._last_failure
                raise type(last)(last.user_message, f"{last.detail}; next try in {self.retry_in_s():.1f} s")
            self._connecting = self._keeper.start(self._make(), name=f"ssh connect as {self.user}")
        # Shielded: the connection is for everybody, whoever gives up waiting.
        outcome = await asyncio.shield(self._connecting)
        if isinstance(outcome, ConnectFailed):
            raise type(outcome)(outcome.user_message, outcome.detail)
        return outcome

    async def _make(self) -> Live | ConnectFailed:
        live = Live()
        try:
            live.connection = await self._dial(self.user, lambda: self._on_lost(live))
        except ConnectFailed as error:
            self._failures += 1
            self._retry_at = self._clock.monotonic() + backoff_s(self._failures, self._jitter())
            self._last_failure = error
            return error
        except asyncio.CancelledError:
            # Only `close` cancels us; those who wait are not cancelled and must hear a reason.
            return ConnectFailed(SHUTTING_DOWN)
        finally:
            self._connecting = None
        if self._closed:
            live.connection.close()
            return ConnectFailed(SHUTTING_DOWN)
        self._failures = 0
        self._last_failure = None
        self._all.add(live)
        self._live = live
        self._watch_idle()
        return live

    def _on_lost(self, live: Live) -> None:
        live.lost = True
        self._all.discard(live)
        if self._live is live:
            self._live = None
            log.info("ssh as %s: connection ended", self.user)
        for callback in tuple(live.on_lost):
            callback()

    def _watch_idle(self) -> None:
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        self._idle_since = self._clock.monotonic()
        self._idle_timer = asyncio.get_running_loop().call_later(self._idle_close_s, self._close_idle)

    def _close_idle(self) -> None:
        self._idle_timer = None
        live = self._live
        if live is not None and not live.users:
            self._live = None
            self._drop(live)

    def _drop(self, live: Live) -> None:
        if live.connection is not None and not live.lost:
            live.connection.close()

    async def close(self) -> None:
        """End all connections and wait for it, but not for ever."""
        self._closed = True
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        ending = [live.connection for live in self._all if live.connection is not None]
        for connection in ending:
            connection.close()
        try:
            async with asyncio.timeout(CLOSE_PATIENCE_S):
                await asyncio.gather(*(connection.wait_closed() for connection in ending))
        except TimeoutError:
            for connection in ending:
                connection.abort()
