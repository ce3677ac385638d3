"""Carries out what the lifecycle decides: writes the attempt down, runs the commands, feeds results back as events.

The only writer of the registry. One lock a user makes steps sequential; commands run as tasks of their own, so that a
slow scheduler delays nobody else. An error of the store never stops the life of a server that was acknowledged: the
new state is kept in memory and written down again later.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import defaultdict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from minihub.clock import Clock
from minihub.errors import (
    HubError,
    SubmitDoubtful,
    SubmitRejected,
    UpstreamError,
    UpstreamUnsafe,
)
from minihub.schedulers.base import Job, JobEnding, JobPhase, JobRequest, Scheduler
from minihub.servers import explain
from minihub.servers import lifecycle as life
from minihub.servers.measures import Measures
from minihub.servers.model import Attempt, Route, State
from minihub.servers.records import build_row, is_worth_saving
from minihub.servers.registry import Registry
from minihub.store.rows import AttemptRow
from minihub.tasks import TaskKeeper

log = logging.getLogger(__name__)

_HARMLESS = (life.ListNow, life.Prove)
_EXPLAIN_TRIES = 5
_PROVE_FIRST_S = 0.02
_PROVE_PATIENT_S = 0.1
"""So long a pause says that several tries were in vain."""
_PROVE_SLOWEST_S = 1.0
_RESAVE_S = 5.0
_FINISH_S = 5.0
"""How long the end of the hub waits for what is on its way to the scheduler: sbatch takes a fraction of a second."""


class AttemptStore(Protocol):
    """What this room needs of the store."""

    async def save(self, row: AttemptRow) -> None:
        """Write the row down; durable when it returns. Raises StoreError."""
        ...

    async def get(self, attempt_id: str) -> AttemptRow | None:
        """One attempt."""
        ...


class Prover(Protocol):
    """Finds out whether the user's protected Jupyter answers."""

    async def verify(self, route: Route) -> None:
        """Return if it does; raises UpstreamError (not yet) or UpstreamUnsafe (never)."""
        ...


@dataclass(frozen=True, slots=True)
class SupervisorSettings:
    """What the supervisor needs to know of the settings."""

    clocks: life.Clocks
    doubt_s: float = 40
    """After a crash in the middle of a submission: how long sbatch may still be at work."""
    via_ssh: bool = False


class Supervisor:
    """Runs every user's server."""

    def __init__(
        self,
        registry: Registry,
        store: AttemptStore,
        scheduler: Scheduler,
        prover: Prover,
        clock: Clock,
        settings: SupervisorSettings,
        close_connections: Callable[[str], None],
    ) -> None:
        self.registry = registry
        self.scheduler = scheduler
        self.measures = Measures()
        self.list_now = asyncio.Event()
        """Set when a listing is wanted soon."""
        self._store = store
        self._prover = prover
        self._clock = clock
        self._settings = settings
        self._close_connections = close_connections
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._tasks = TaskKeeper()
        self._errands = TaskKeeper()
        """Short, and worth waiting for at the end of the hub."""
        self._running: set[tuple[str, str]] = set()
        self._unsaved: set[str] = set()

    # ---- events -----------------------------------------------------------------------------------------------------

    async def begin(self, attempt: Attempt, request: JobRequest) -> Attempt:
        """Write a new attempt down, then submit its job in the background.

        Returns:
            `attempt`, or the live one that another call made in the meantime.

        Raises:
            StoreError: It could not be written down: nothing was begun.
        """
        beginning = self._begin(attempt, request)
        return await self._errands.carry_through(beginning, name=f"begin {attempt.tag}", user=attempt.user)

    async def _begin(self, attempt: Attempt, request: JobRequest) -> Attempt:
        async with self._locks[attempt.user]:
            present = self.registry.get(attempt.user)
            if present is not None and present.is_live:
                return present
            if present is not None and attempt.user in self._unsaved:
                # The store still has the last one as live, and would take no second.
                await self._store.save(build_row(present))
                self._unsaved.discard(attempt.user)
            await self._store.save(build_row(attempt))
            self.registry.put(attempt)
        self.measures.begun += 1
        log.info("%s: starting attempt %s", attempt.user, attempt.id)
        self._errands.start(self._submit(attempt, request), name=f"submit {attempt.tag}", user=attempt.user)
        return attempt

    async def feed(self, user: str, attempt_id: str, event: life.Event) -> Attempt | None:
        """Let one thing happen to the attempt; nothing if it is no longer its user's newest.

        Returns:
            The attempt afterwards.
        """
        async with self._locks[user]:
            old = self.registry.get(user)
            if old is None or old.id != attempt_id:
                return None
            new, commands = life.step(old, event, self._clock.wall(), self._settings.clocks)
            if new is not old:
                self._show(old, new)
                # To look and to ask changes nothing: that need not wait for the disk.
                for command in commands:
                    if isinstance(command, _HARMLESS):
                        self._carry_out(new, command)
                if is_worth_saving(old, new):
                    await self._save(new)
        for command in commands:
            if new is old or not isinstance(command, _HARMLESS):
                self._carry_out(new, command)
        return new

    async def feed_for_request(self, attempt: Attempt, event: life.Event) -> Attempt | None:
        """The same on behalf of a request, whose handler is cancelled when its browser goes away: carried through."""
        feeding = self.feed(attempt.user, attempt.id, event)
        return await self._errands.carry_through(feeding, name=f"feed {attempt.tag}", user=attempt.user)

    def _show(self, old: Attempt, new: Attempt) -> None:
        if new.state is not old.state:
            log.info("%s: %s -> %s job=%s", new.user, old.state.name, new.state.name, new.job_id)
            self.measures.note_change(old, new)
        self.registry.put(new)

    async def _save(self, attempt: Attempt) -> None:
        try:
            await self._store.save(build_row(attempt))
        except Exception as error:
            # A bug is as good as a broken store: what was decided is carried out.
            log.error(
                "%s: attempt %s could not be written down, will try again: %s",
                attempt.user,
                attempt.id,
                error,
                exc_info=not isinstance(error, HubError),
            )
            if attempt.user not in self._unsaved:
                self._unsaved.add(attempt.user)
                again = partial(self._save_again, attempt.user)
                self._tasks.keep(again, name=f"save {attempt.tag}", user=attempt.user)

    async def _save_again(self, user: str) -> None:
        while True:
            await asyncio.sleep(_RESAVE_S)
            async with self._locks[user]:
                attempt = self.registry.get(user)
                assert attempt is not None
                try:
                    await self._store.save(build_row(attempt))
                except HubError:
                    continue
                self._unsaved.discard(user)
                return

    @property
    def unsaved(self) -> int:
        """How many servers' present state is not in the store, because that cannot be written."""
        return len(self._unsaved)

    # ---- after a restart --------------------------------------------------------------------------------------------

    async def adopt(self, attempt: Attempt) -> None:
        """Take over an attempt that an earlier hub process left; call once for each, before the first listing."""
        self.registry.put(attempt)
        if not attempt.is_live:
            return
        log.info(
            "%s: adopting attempt %s in state %s job=%s",
            attempt.user,
            attempt.id,
            attempt.state.name,
            attempt.job_id,
        )
        if attempt.job_id is None and attempt.doubt_until is None:
            settles_at = self._clock.wall() + self._settings.doubt_s
            await self.feed(attempt.user, attempt.id, life.SubmitDoubted(settles_at))
        else:
            await self.feed(attempt.user, attempt.id, life.Adopted())

    # ---- commands ---------------------------------------------------------------------------------------------------

    def _carry_out(self, attempt: Attempt, command: life.Command) -> None:
        match command:
            case life.ListNow():
                self.list_now.set()
            case life.CloseConnections():
                self._close_connections(attempt.user)
            case life.Cancel():
                self._once(self._errands, attempt, "cancel", lambda: self._cancel(attempt, command))
            case life.Prove():
                self._once(self._tasks, attempt, "prove", lambda: self._prove(attempt))
            case life.Explain():
                self._once(self._tasks, attempt, "explain", lambda: self._explain(attempt, command))

    def _once(
        self, keeper: TaskKeeper, attempt: Attempt, what: str, work: Callable[[], Coroutine[Any, Any, None]]
    ) -> None:
        """Run `work` unless it is running for this attempt already."""
        key = (attempt.id, what)
        if key in self._running:
            return
        self._running.add(key)
        # Whoever proves has nobody to ask him again, so he is begun anew; a cancel and an explanation are asked for
        # again by the clock and by the next listing.
        name = f"{what} {attempt.tag}"
        if what == "prove":
            task = keeper.keep(work, name=name, user=attempt.user)
        else:
            task = keeper.start(work(), name=name, user=attempt.user)
        task.add_done_callback(lambda _: self._running.discard(key))

    async def _submit(self, attempt: Attempt, request: JobRequest) -> None:
        event: life.Event
        try:
            event = life.Submitted(await self.scheduler.submit(request))
        except SubmitRejected as error:
            event = life.SubmitFailed(explain.rejected(error.user_message))
        except SubmitDoubtful as error:
            log.warning("%s: no answer to the submission of %s: %s", attempt.user, attempt.tag, error)
            event = life.SubmitDoubted(self._clock.wall() + error.settles_after_s)
        except HubError as error:
            log.warning("%s: %s could not be submitted: %s", attempt.user, attempt.tag, error)
            event = life.SubmitFailed(explain.unavailable(error.user_message))
        except Exception:
            # A bug of ours may have struck after the job was made.
            log.exception("%s: submitting %s crashed", attempt.user, attempt.tag)
            event = life.SubmitDoubted(self._clock.wall() + self._settings.doubt_s)
        await self.feed(attempt.user, attempt.id, event)

    async def _cancel(self, attempt: Attempt, command: life.Cancel) -> None:
        if command.read_log_first and attempt.log_path:
            await self.read_log(attempt)
        try:
            await self.scheduler.cancel(attempt.user, command.job_id)
        except HubError as error:
            # The lifecycle asks again until a listing confirms the end.
            log.warning(
                "%s: job %s could not be cancelled, will try again: %s", attempt.user, command.job_id, error
            )
        self.list_now.set()

    async def read_log(self, attempt: Attempt) -> None:
        """Read the end of the job's log, as its owner, into the attempt."""
        tail = await self.scheduler.log_tail(attempt.user, attempt.job_log_path)
        if tail:
            await self.feed(attempt.user, attempt.id, life.LogRead(tail))

    def read_log_soon(self, attempt: Attempt) -> None:
        """The same in the background: a user's slow login shell is not the others' business."""
        self._once(self._tasks, attempt, "log", lambda: self.read_log(attempt))

    async def _explain(self, attempt: Attempt, command: life.Explain) -> None:
        if not command.shown_state and not await self._is_gone(attempt, command.job_id):
            return
        tail = await self.scheduler.log_tail(attempt.user, attempt.job_log_path) if attempt.log_path else ""
        ending = None
        for attempt_no in range(_EXPLAIN_TRIES):
            # Accounting hears of the end a moment after the controller.
            await asyncio.sleep(0.3 * attempt_no)
            ending = await self.scheduler.ending(attempt.user, command.job_id) or ending
            if ending is not None and ending.is_whole:
                break
        if ending is None and command.shown_state:
            ending = JobEnding(command.shown_state)
        await self.feed(attempt.user, attempt.id, life.JobEnded(ending, tail))

    async def _is_gone(self, attempt: Attempt, job_id: str) -> bool:
        """Whether a job that listings lack is gone. If not, or if nobody knows, the next listing that lacks it asks again."""
        lives = await self.scheduler.lives(attempt.user, job_id)
        if lives:
            log.error("%s: listings lack job %s, but it lives; left alone", attempt.user, job_id)
        return lives is False

    async def _prove(self, attempt: Attempt) -> None:
        pause_s = _PROVE_FIRST_S
        while True:
            now = self.registry.get(attempt.user)
            if now is None or now.id != attempt.id or now.state is not State.STARTING:
                return
            route = self.build_route(now)
            if route is not None:
                event, detail = await self._try_route(route)
                if not isinstance(event, life.NotReached):
                    await self.feed(attempt.user, attempt.id, event)
                    return
                if event.why != now.unreached and pause_s >= _PROVE_PATIENT_S:
                    log.warning("%s: job %s runs, but %s", now.user, now.job_id, detail)
                    await self.feed(attempt.user, attempt.id, event)
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 1.6, _PROVE_SLOWEST_S)

    async def _try_route(self, route: Route) -> tuple[life.Event, str]:
        """What came of it, and for the log why."""
        try:
            await self._prover.verify(route)
        except UpstreamUnsafe as error:
            log.error("%s: %s", route.user, error)
            return life.FoundUnsafe(error.user_message), str(error)
        except UpstreamError as error:
            unknown = isinstance(error.__cause__, socket.gaierror)
            why = explain.unknown_name(route.endpoint.host) if unknown else error.user_message
            return life.NotReached(why), str(error)
        return life.Proved(), ""

    # ---- routes -----------------------------------------------------------------------------------------------------

    def build_route(self, attempt: Attempt) -> Route | None:
        """Where the attempt's Jupyter listens, None while that is unknown."""
        if attempt.job_id is None:
            return None
        job = Job(
            attempt.job_id, attempt.user, attempt.tag, attempt.job_state, JobPhase.RUNNING, node=attempt.node
        )
        endpoint = self.scheduler.endpoint(job, attempt.port)
        if endpoint is None:
            return None
        return Route(
            attempt.user,
            attempt.id,
            endpoint,
            attempt.secrets,
            self._settings.via_ssh and endpoint.host is not None,
        )

    async def close(self) -> None:
        """Stop all work; touches no job.

        What is on its way to the scheduler has a moment to come back and be written down; the rest is finished by the
        next start. To be called when nobody feeds events any more, with the store still open.
        """
        await self._errands.finish(_FINISH_S)
        await self._errands.close()
        await self._tasks.close()
        # One last time, all in one commit. What stays unwritten is found out again by the next start's listing.
        late = [attempt for user in self._unsaved if (attempt := self.registry.get(user)) is not None]
        saved = await asyncio.gather(
            *(self._store.save(build_row(attempt)) for attempt in late), return_exceptions=True
        )
        for attempt, error in zip(late, saved, strict=True):
            if error is not None:
                log.error("%s: attempt %s stays unwritten: %s", attempt.user, attempt.id, error)
