"""Watches over the use of all servers: tells each attempt what is known of it, warns, and stops what is idle or too old.

Runs beside the listing. Where nothing is ever stopped it only carries the last use that the front door saw into the attempts.
Otherwise `idle.judge` decides; the servers themselves are asked by few at once, and only those whose time may be nearly up.
What it knows is lost with the process: after a restart of the hub everybody's idle time begins anew.
"""

from __future__ import annotations

import asyncio
import logging
import math
import zlib
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from minihub.clock import Clock
from minihub.errors import UpstreamError
from minihub.idle_settings import IdleSettings
from minihub.servers import lifecycle as life
from minihub.servers.idle import Act, Outages, Seen, Verdict, judge
from minihub.servers.model import Attempt, Route, State, StopCause, StopClock
from minihub.servers.service import SchedulerHealth
from minihub.servers.supervisor import Supervisor
from minihub.servers.usage import Usage
from minihub.tasks import CRASHES, TaskKeeper

log = logging.getLogger(__name__)

RESOLUTION_S = 30.0
"""How exactly the last use of a server is known, and how often all are looked at at least."""
_AT_ONCE = 50
"""Servers; between so many others have their turn: a judgement takes some 50 us."""
_ASK_AT_ONCE = 4
_SPREAD_S = 60.0
"""Over so long the first questions after a restart of the hub are spread."""
_LEAST_PAUSE_S = 0.05


class UsageReader(Protocol):
    """Asks a server what it does."""

    async def read(self, route: Route) -> Usage:
        """Return what it says; raises UpstreamError where it says nothing, or nothing that can be Jupyter's."""
        ...


class Watched(Protocol):
    """The part of the manager that is needed."""

    def last_activity(self, user: str) -> float | None:
        """Wall seconds of the last use of `user`'s server that the hub was told of."""
        ...

    def route(self, user: str) -> Route | None:
        """Where `user`'s server is."""
        ...

    def health(self) -> SchedulerHealth:
        """How the scheduler is."""
        ...


Record = Callable[[Attempt, StopCause], Awaitable[None]]
"""Writes down that this attempt was stopped, and why."""


@dataclass(slots=True)
class _Watch:
    """What is remembered of one server between two looks."""

    key: tuple[str, float | None]
    """Attempt and when it became READY: a requeued job is another server."""
    limits: IdleSettings
    since: float
    spread_s: float
    used_at: float = 0.0
    asked_at: float | None = None
    told: float | None = None
    """`Usage.last_activity` of the last answer."""
    doubted_at: float | None = None
    idle_warned_at: float | None = None
    age_warned_at: float | None = None
    is_asking: bool = False
    ask_next: float = math.inf
    """When it is asked whether or not a limit is near."""


class IdleLoop:
    """Judges every READY server again and again."""

    def __init__(
        self,
        watched: Watched,
        supervisor: Supervisor,
        reader: UsageReader,
        settings: IdleSettings,
        clock: Clock,
        record: Record,
    ) -> None:
        self._watched = watched
        self._supervisor = supervisor
        self._reader = reader
        self._settings = settings
        self._clock = clock
        self._record = record
        self._outages = Outages()
        self._watches: dict[str, _Watch] = {}
        self._few = asyncio.Semaphore(_ASK_AT_ONCE)
        self._tasks = TaskKeeper()
        self.resolution_s = min(RESOLUTION_S, (settings.shortest_s or math.inf) / 8)
        self._look_at = math.inf

    async def run(self) -> None:
        """Look again and again; never returns."""
        while True:
            await self.look()
            soon = self._look_at - self._clock.wall()
            await asyncio.sleep(max(_LEAST_PAUSE_S, min(soon, self.resolution_s)))

    async def close(self) -> None:
        """Ask nobody any more."""
        await self._tasks.close()

    async def look(self) -> None:
        """Look at every READY server once."""
        now = self._clock.wall()
        self._outages.note(self._watched.health().failing_since, now)
        self._look_at = math.inf
        ready = [one for one in self._supervisor.registry.live() if one.state is State.READY]
        present = {one.user for one in ready}
        self._watches = {user: watch for user, watch in self._watches.items() if user in present}
        for some in _batched(ready, _AT_ONCE):
            # What is written down shares a commit.
            done = await asyncio.gather(*(self._judge(attempt) for attempt in some), return_exceptions=True)
            for attempt, error in zip(some, done, strict=True):
                if error is not None:
                    self._pass_over(attempt, error)
            await asyncio.sleep(0)

    def _pass_over(self, attempt: Attempt, error: BaseException) -> None:
        """One server's trouble, a bug of ours that it meets, is not the others'."""
        if not isinstance(error, Exception):
            raise error
        CRASHES["idle"] += 1
        log.error("%s: attempt %s could not be judged", attempt.user, attempt.id, exc_info=error)

    # ---- one server -------------------------------------------------------------------------------------------------

    async def _judge(self, attempt: Attempt) -> None:
        now = self._clock.wall()
        watch = self._watch(attempt, now)
        used_at = max(
            attempt.last_activity or 0.0, watch.used_at, self._watched.last_activity(attempt.user) or 0.0
        )
        verdict = judge(self._seen(attempt, watch, used_at), watch.limits, self._outages, now)
        if verdict.idle_warned_at is not None and watch.idle_warned_at is None:
            log.info("%s: nothing is done in the server; its user is warned", attempt.user)
        watch.idle_warned_at, watch.age_warned_at = verdict.idle_warned_at, verdict.age_warned_at
        self._look_at = min(self._look_at, verdict.look_at)
        if self._is_news(attempt, used_at, verdict.clock):
            await self._supervisor.feed(attempt.user, attempt.id, life.Judged(used_at, verdict.clock))
        if verdict.act is Act.STOP:
            await self._stop(attempt, verdict)
        elif (verdict.act is Act.ASK or self._wants_news(watch, used_at, now)) and not watch.is_asking:
            watch.is_asking = True
            self._tasks.start(self._ask(attempt, watch), name=f"use of {attempt.user}", user=attempt.user)

    def _watch(self, attempt: Attempt, now: float) -> _Watch:
        key = attempt.id, attempt.ready_at
        watch = self._watches.get(attempt.user)
        if watch is None or watch.key != key:
            options = attempt.options
            limits = self._settings.limits_of(
                partition=options.partition, account=options.account, interface=options.interface
            )
            # Always the same for one attempt, and no two attempts alike.
            place = zlib.crc32(attempt.id.encode()) / 2**32
            watch = _Watch(key, limits, now, place * min(_SPREAD_S, limits.warn_s / 4))
            if limits.ask_every_s:
                watch.ask_next = now + place * limits.ask_every_s
                # Who reads last_activity must not take for idle what nobody looked at: while the hub was away, say.
                watch.used_at = now
            self._watches[attempt.user] = watch
        return watch

    def _seen(self, attempt: Attempt, watch: _Watch, used_at: float) -> Seen:
        return Seen(
            started_at=attempt.started_at or attempt.ready_at or attempt.created_at,
            watched_since=watch.since,
            used_at=used_at,
            asked_at=watch.asked_at,
            doubted_at=watch.doubted_at,
            postponed_until=attempt.postponed_until,
            postpones=attempt.postpones,
            idle_warned_at=watch.idle_warned_at,
            age_warned_at=watch.age_warned_at,
            spread_s=watch.spread_s,
        )

    def _is_news(self, attempt: Attempt, used_at: float, clock: StopClock | None) -> bool:
        """Whether the attempt should hear of it: not of every second's use."""
        if used_at - (attempt.last_activity or 0.0) >= self.resolution_s:
            return True
        old = attempt.clock
        if old is None or clock is None:
            return old is not clock
        moved_s = abs(clock.stops_at - old.stops_at)
        return moved_s >= self.resolution_s or _without_times(clock) != _without_times(old)

    def _wants_news(self, watch: _Watch, used_at: float, now: float) -> bool:
        """Whether the server is to be asked though no limit is near: not if its use was seen just now."""
        return now >= watch.ask_next and now - used_at >= watch.limits.ask_every_s

    async def _stop(self, attempt: Attempt, verdict: Verdict) -> None:
        assert verdict.clock is not None
        clock = verdict.clock
        log.info(
            "%s: stop (%s) of job %s: the limit is %g s, last use %.0f s ago",
            attempt.user,
            clock.cause.value,
            attempt.job_id,
            clock.limit_s,
            self._clock.wall() - clock.idle_since,
        )
        wish = life.StopWanted(clock.cause, clock.limit_s)
        after = await self._supervisor.feed(attempt.user, attempt.id, wish)
        if after is not None and after.stop_cause is clock.cause:
            await self._record(after, clock.cause)

    # ---- asking -----------------------------------------------------------------------------------------------------

    async def _ask(self, attempt: Attempt, watch: _Watch) -> None:
        try:
            async with self._few:
                await self._ask_now(attempt.user, watch)
        finally:
            watch.is_asking = False
            if watch.limits.ask_every_s:
                watch.ask_next = self._clock.wall() + watch.limits.ask_every_s
        present = self._supervisor.registry.get(attempt.user)
        if present is not None and present.state is State.READY and self._watches.get(attempt.user) is watch:
            await self._judge(present)

    async def _ask_now(self, user: str, watch: _Watch) -> None:
        asked_at = self._clock.wall()
        route = self._watched.route(user)
        try:
            if route is None:
                raise UpstreamError(None, "there is no way to it")
            usage = await self._reader.read(route)
        except UpstreamError as error:
            watch.doubted_at = self._clock.wall()
            log.info("%s: the server does not say what it does, so it is not idle: %s", user, error)
            return
        now = self._clock.wall()
        if usage.busy:
            watch.used_at = now
        elif usage.last_activity is not None:
            watch.used_at = max(watch.used_at, min(usage.last_activity, now))
            if watch.told is not None and usage.last_activity > watch.told and watch.asked_at is not None:
                # Whatever the node's clock says: since the last answer something was done.
                watch.used_at = max(watch.used_at, watch.asked_at)
        watch.asked_at, watch.told = asked_at, usage.last_activity


def _batched(attempts: list[Attempt], size: int) -> Iterator[list[Attempt]]:
    """Cut a list into pieces."""
    return (attempts[start : start + size] for start in range(0, len(attempts), size))


def _without_times(clock: StopClock) -> tuple[StopCause, float, bool, int]:
    return clock.cause, clock.limit_s, clock.is_warning, clock.postpones_left
