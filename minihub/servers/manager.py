"""The service that pages, API, command line and proxy use: start, stop, look, wait. Implements `service.Servers`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets as random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any, Protocol

from minihub.clock import Clock
from minihub.config import Settings
from minihub.errors import Conflict, HubError, SchedulerUnavailable
from minihub.schedulers.base import Estimate, JobRequest, Scheduler
from minihub.servers import lifecycle as life
from minihub.servers.explain import hindrance, requeued
from minihub.servers.listing import ListingLoop
from minihub.servers.matching import build_tag
from minihub.servers.model import NO_SECRETS, Attempt, Route, Secrets, ServerOptions, State, StopCause
from minihub.servers.options import build_form, parse_options
from minihub.servers.records import parse_row, parse_stored_options
from minihub.servers.service import OptionsForm, Progress, SchedulerHealth
from minihub.servers.supervisor import AttemptStore, Supervisor
from minihub.store.rows import AttemptRow, HistoryQuery

log = logging.getLogger(__name__)

_OUTAGE_GRACE_S = 10
_SILENT_PATIENCE_S = 1.0
_DOUBT_PAUSE_S = 10
_PROGRESS_LOOK_S = 5.0
_MANY_ROWS = 200
"""More are read in a thread: their JSON takes 20 us each."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What one attempt's job is made of."""

    secrets: Secrets
    script: str
    home: str
    log_path: str


@dataclass(frozen=True, slots=True, eq=False)
class StopWish:
    """The last wish for the end of a user's server. Each is itself only: a start looks whether another has come."""

    cause: StopCause
    by: str


class ManagerStore(AttemptStore, Protocol):
    """What this service needs of the store."""

    async def newest_per_user(self) -> list[AttemptRow]:
        """The newest attempt of every user."""
        ...

    async def find(self, query: HistoryQuery) -> tuple[list[AttemptRow], int]:
        """Attempts, newest first, and how many there are without limit and offset."""
        ...


class UserStore(Protocol):
    """Where the last choice of options is kept."""

    async def last_options(self, user: str) -> dict[str, Any] | None:
        """What the user asked for last."""
        ...

    async def set_last_options(self, user: str, options: dict[str, Any]) -> None:
        """Remember it."""
        ...


class Manager:
    """One user's Jupyter server, for every user."""

    def __init__(
        self,
        settings: Settings,
        hub_id: str,
        supervisor: Supervisor,
        listing: ListingLoop,
        scheduler: Scheduler,
        attempts: ManagerStore,
        users: UserStore,
        clock: Clock,
        prepare: Callable[[str, str, ServerOptions], Awaitable[Prepared]],
    ) -> None:
        self._settings = settings
        self._hub_id = hub_id
        self._supervisor = supervisor
        self._registry = supervisor.registry
        self._listing = listing
        self._scheduler = scheduler
        self._attempts = attempts
        self._users = users
        self._clock = clock
        self._prepare = prepare
        self._routes: dict[str, tuple[str, float | None, Route]] = {}
        self._activity: dict[str, float] = {}
        self._doubted: dict[str, float] = {}
        self._noticed: dict[str, str] = {}
        self._stops: dict[str, StopWish] = {}

    async def adopt_all(self) -> None:
        """Take over what an earlier hub process left; before the first listing."""
        for row in await self._attempts.newest_per_user():
            await self._supervisor.adopt(parse_row(row))

    # ---- looking ----------------------------------------------------------------------------------------------------

    def get(self, user: str) -> Attempt | None:
        """The user's newest attempt."""
        return self._registry.get(user)

    def all(self) -> list[Attempt]:
        """Every user's live attempt."""
        return self._registry.live()

    def route(self, user: str) -> Route | None:
        """Where to send `user`'s requests; None unless READY."""
        attempt = self._registry.get(user)
        if attempt is None or attempt.state is not State.READY:
            return None
        known = self._routes.get(user)
        # A requeued job becomes READY again elsewhere: same attempt, another moment.
        if known is not None and known[:2] == (attempt.id, attempt.ready_at):
            return known[2]
        route = self._supervisor.build_route(attempt)
        if route is not None:
            self._routes[user] = (attempt.id, attempt.ready_at, route)
        return route

    def touch(self, user: str) -> None:
        """`user`'s server is used now."""
        self._activity[user] = self._clock.wall()

    def doubt(self, user: str) -> None:
        """`user`'s READY server could not be reached: perhaps its job has ended."""
        now = self._clock.wall()
        # An open Lab asks again and again; a server that is merely busy must not cost a listing each time.
        if now - self._doubted.get(user, 0.0) >= _DOUBT_PAUSE_S:
            self._doubted[user] = now
            log.info("%s: the server cannot be reached; looking whether its job still runs", user)
            self._supervisor.list_now.set()

    def last_activity(self, user: str) -> float | None:
        """Wall seconds of the last use of `user`'s server that this process was told of."""
        return self._activity.get(user)

    def note_activity(self, user: str, at: float) -> None:
        """`user`'s server was used at `at`, says somebody else than the proxy."""
        self._activity[user] = max(self._activity.get(user, 0.0), min(at, self._clock.wall()))

    def health(self) -> SchedulerHealth:
        """How our view of the scheduler is."""
        return self._listing.health()

    async def history(self, user: str | None, *, limit: int = 50, offset: int = 0) -> list[Attempt]:
        """Past and present attempts, newest first."""
        attempts, _ = await self.past(HistoryQuery(user, limit=limit, offset=offset))
        return attempts

    async def past(self, query: HistoryQuery) -> tuple[list[Attempt], int]:
        """Past and present attempts that are asked for, newest first, and how many there are without limit and offset."""
        rows, total = await self._attempts.find(query)
        if len(rows) > _MANY_ROWS:
            return await asyncio.to_thread(lambda: [parse_row(row) for row in rows]), total
        return [parse_row(row) for row in rows], total

    async def last_options(self, user: str) -> ServerOptions | None:
        """What `user` asked for last."""
        stored = await self._users.last_options(user)
        return parse_stored_options(stored) if stored else None

    @property
    def unsaved(self) -> int:
        """How many servers' present state is not in the store, because that cannot be written."""
        return self._supervisor.unsaved

    # ---- options ----------------------------------------------------------------------------------------------------

    async def form(self, user: str, prefill: Mapping[str, Any] | None = None) -> OptionsForm:
        """What `user` may choose."""
        await self._scheduler.warm(user)
        limits, last, problem = None, None, ""
        is_silent = self._listing.health().failing_since is not None
        try:
            last = await self.last_options(user)
            # What was read before comes at once; a silent scheduler is not waited for.
            async with asyncio.timeout(_SILENT_PATIENCE_S if is_silent else None):
                limits = await self._scheduler.limits(user)
        except TimeoutError:
            problem = self._listing.health().problem
        except HubError as error:
            log.warning("%s: the form lacks something: %s", user, error)
            problem = error.user_message
        return build_form(
            limits,
            self._settings.options,
            last,
            prefill or {},
            self._outage() or problem,
        )

    def _outage(self) -> str:
        """Why nothing new can be started now; "" if it can."""
        health = self._listing.health()
        if health.failing_since is None:
            return health.problem
        if self._clock.wall() - health.failing_since < _OUTAGE_GRACE_S:
            return ""
        return f"The scheduler is not responding. {health.problem} Try again in a few minutes; if it lasts, tell the people who run this hub."

    async def _checked(self, user: str, raw: Mapping[str, Any] | None) -> ServerOptions:
        if raw is None:
            last = await self.last_options(user)
            raw = {k: v for k, v in asdict(last).items() if v is not None} if last else {}
        return parse_options(raw, self._settings.options, await self._scheduler.limits(user))

    async def estimate(self, user: str, raw: Mapping[str, Any]) -> Estimate:
        """When such a server would start."""
        options = await self._checked(user, raw)
        request = build_request(
            user,
            build_tag(self._hub_id, "0" * 12),
            options,
            Prepared(NO_SECRETS, _NO_SCRIPT, "/", "/dev/null"),
        )
        return await self._scheduler.estimate(request)

    # ---- starting and stopping --------------------------------------------------------------------------------------

    async def start(self, user: str, raw: Mapping[str, Any] | None, *, by: str) -> tuple[Attempt, bool]:
        """Start `user`'s server, or return the one there is."""
        present = self._registry.get(user)
        if present is not None and present.is_live:
            if present.state is State.STOPPING:
                raise Conflict("Your last server is still stopping. Wait a moment until its job is gone.")
            return present, False
        if problem := self._outage():
            raise SchedulerUnavailable(problem)
        last_stop = self._stops.get(user)
        options = await self._checked(user, raw)
        attempt_id = random.token_hex(6)
        tag = build_tag(self._hub_id, attempt_id)
        prepared = await self._prepare(user, tag, options)
        if self._stops.get(user) is not last_stop:
            raise Conflict("The start was cancelled before its job was submitted. Nothing was started.")
        now = self._clock.wall()
        attempt = Attempt(
            id=attempt_id,
            user=user,
            tag=tag,
            options=options,
            secrets=prepared.secrets,
            state=State.SUBMITTING,
            created_at=now,
            changed_at=now,
            deadline=now + self._settings.servers.spawn_timeout_s,
            log_path=prepared.log_path,
        )
        begun = await self._supervisor.begin(attempt, build_request(user, tag, options, prepared))
        if begun.id != attempt.id:
            return begun, False
        log.info("%s: start wanted by %s", user, by)
        if (stop := self._stops.get(user)) is not None and stop is not last_stop:
            # It came while the attempt was being written down, and met nothing that it could stop.
            begun = await self._stop(begun, stop)
        await self._remember(user, options)
        return begun, True

    async def _remember(self, user: str, options: ServerOptions) -> None:
        try:
            await self._users.set_last_options(user, asdict(options))
        except HubError as error:
            log.warning("%s: the choice of options could not be remembered: %s", user, error)

    async def stop(self, user: str, cause: StopCause, *, by: str) -> Attempt | None:
        """Want the end of `user`'s server, and of a start that has not come to an attempt yet."""
        wish = self._stops[user] = StopWish(cause, by)
        attempt = self._registry.get(user)
        if attempt is None or not attempt.is_live:
            return attempt
        return await self._stop(attempt, wish)

    async def _stop(self, attempt: Attempt, wish: StopWish) -> Attempt:
        log.info("%s: stop (%s) wanted by %s", attempt.user, wish.cause.value, wish.by)
        after = await self._supervisor.feed_for_request(attempt, life.StopWanted(wish.cause))
        return after or attempt

    async def postpone(self, user: str, *, by: str) -> tuple[Attempt, bool]:
        """Keep `user`'s idle server for a while more."""
        attempt = self._registry.get(user)
        if attempt is None or attempt.state is not State.READY:
            raise Conflict("You have no running server.")
        clock = attempt.clock
        if clock is None or not clock.is_warning:
            return attempt, False
        if clock.postpones_left == 0:
            raise Conflict("The stop of this server cannot be put off any more.")
        log.info("%s: its stop is put off by %s", user, by)
        until = max(clock.stops_at, self._clock.wall()) + clock.postpone_s
        return await self._supervisor.feed_for_request(attempt, life.Postponed(until)) or attempt, True

    async def wait_final(self, user: str, timeout_s: float) -> bool:
        """Wait until `user` has no live attempt."""
        with contextlib.suppress(TimeoutError), self._registry.watch(user) as watch:
            async with asyncio.timeout(timeout_s):
                while (attempt := self._registry.get(user)) is not None and attempt.is_live:
                    await watch.wait(None)
        attempt = self._registry.get(user)
        return attempt is None or not attempt.is_live

    async def report(self, secret: str, port: int | None) -> bool:
        """A launcher says where its Jupyter listens, or (None) that its job runs.

        Returns once the port is written down: a launcher that was answered does not say it again.
        """
        attempt = self._registry.waiting_for_report(secret)
        if attempt is None or (port is not None and not 0 <= port < 65536):
            return False
        if port is None:
            # Once: whoever knows the secret shall not make us ask the scheduler all the time.
            waits = attempt.state in (State.SUBMITTING, State.QUEUED)
            if waits and self._noticed.get(attempt.user) != attempt.id:
                self._noticed[attempt.user] = attempt.id
                self._supervisor.list_now.set()
            return True
        await self._supervisor.feed_for_request(attempt, life.PortReported(port))
        return True

    # ---- progress ---------------------------------------------------------------------------------------------------

    async def progress(self, user: str) -> AsyncIterator[Progress]:
        """Events from now until ready, failed or stopped."""
        percent, last = 0, None
        with self._registry.watch(user) as watch:
            while True:
                attempt = self._registry.get(user)
                if attempt is None:
                    yield Progress(100, "You have no server.", stopped=True)
                    return
                event = describe(attempt, self._listing.health(), percent)
                if event != last:
                    yield event
                percent, last = event.percent, event
                if event.ready or event.failed or event.stopped:
                    return
                await watch.wait(_PROGRESS_LOOK_S)


def build_request(user: str, tag: str, options: ServerOptions, prepared: Prepared) -> JobRequest:
    """What the scheduler is asked for."""
    return JobRequest(
        user=user,
        home=prepared.home,
        tag=tag,
        script=prepared.script,
        time_limit=timedelta(hours=options.time_hours),
        cores=options.cores,
        memory_mib=options.memory_mb,
        account=options.account,
        qos=options.qos,
        partition=options.partition,
        reservation=options.reservation,
        gpu_type=options.gpu_type,
        gpu_count=options.gpu_count,
        log_path=prepared.log_path or "/dev/null",
    )


_NO_SCRIPT = "#!/bin/sh\ntrue\n"

_PERCENT = {State.SUBMITTING: 5, State.QUEUED: 20, State.STARTING: 60}


def describe(attempt: Attempt, health: SchedulerHealth, at_least: int = 0) -> Progress:
    """Put one attempt's present into words."""
    percent = max(
        at_least,
        _PERCENT.get(attempt.state, 100)
        + (20 if attempt.port is not None and attempt.state is State.STARTING else 0),
    )
    match attempt.state:
        case State.READY:
            return Progress(100, "Your server is ready.", ready=True, attempt=attempt)
        case State.FAILED:
            assert attempt.failure is not None
            return Progress(100, attempt.failure.message, failed=True, attempt=attempt)
        case State.STOPPED:
            return Progress(100, "Your server has stopped.", stopped=True, attempt=attempt)
        case State.STOPPING:
            return Progress(
                percent,
                "Stopping: waiting until the scheduler confirms that the job is gone.",
                attempt=attempt,
            )
    if health.failing_since is not None:
        return Progress(percent, "The scheduler is not responding; still waiting for it.", attempt=attempt)
    if attempt.state is State.SUBMITTING:
        message = (
            "Submitting the job." if attempt.doubt_until is None else "Looking whether the job was submitted."
        )
    elif attempt.state is State.QUEUED:
        message = requeued(attempt) or "The job is waiting in the queue."
    elif problem := hindrance(attempt):
        message = problem
    elif attempt.port is None:
        message = "The job is running; Jupyter is starting."
    else:
        message = "Jupyter is up; connecting to it."
    return Progress(percent, message, attempt=attempt)
