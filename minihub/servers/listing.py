"""One listing for everybody: asks the scheduler, and tells every attempt what it showed.

Adaptive: often while somebody waits, seldom when all is quiet, at once after a report, never sooner than five times
what the quickest of the last three took (a slow scheduler is slow each time; one slow answer is a busy login node's).
A listing that fails changes nothing but "scheduler last answered at"; the next one waits as long as it took.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from minihub.clock import Clock
from minihub.errors import HubError, SchedulerUnavailable, StoreError
from minihub.schedulers.base import Job, JobPhase, Listing
from minihub.servers import lifecycle as life
from minihub.servers.matching import find_job, index_jobs, is_foreign, parse_tag
from minihub.servers.model import Attempt, State
from minihub.servers.service import SchedulerHealth
from minihub.servers.supervisor import AttemptStore, Supervisor
from minihub.tasks import CRASHES, wait_for_event

log = logging.getLogger(__name__)

_HIDDEN = "The scheduler hides users' jobs from the hub, so it could not follow your server. The people who run the hub can change that."
_UNREADABLE = "The scheduler's answer could not be read."
_BROKEN_PAUSE_S = 10.0
"""So long the clock of an attempt is left alone after it failed."""
_HIDDEN_CURE = "sacctmgr modify user SERVICE_USER set adminlevel=Operator"
_PRESENT = (JobPhase.WAITING, JobPhase.RUNNING)
_RECOVERY_S = 5.0
"""After an outage, so long may a job still say what it could not say meanwhile, before its time is up."""
_PORT_CONFIRMATIONS_S = (0.03, 0.1, 0.3, 0.8)
"""Pauses before the listings that follow a cancel or report: most changes show at once, and the page waits for them."""


@dataclass(frozen=True, slots=True)
class ListingSettings:
    """How often to look, in seconds."""

    waiting_s: float = 2.5
    quiet_s: float = 30.0
    load_factor: float = 5.0


class ListingLoop:
    """Looks at the scheduler's jobs for all servers."""

    def __init__(
        self,
        supervisor: Supervisor,
        store: AttemptStore,
        hub_id: str,
        clock: Clock,
        settings: ListingSettings,
        parse_port: Callable[[str, str], int | None],
    ) -> None:
        self._supervisor = supervisor
        self._store = store
        self._hub_id = hub_id
        self._clock = clock
        self._settings = settings
        self._parse_port = parse_port
        self._retired: dict[str, str | None] = {}
        self._took_s: float | None = None
        self._recent_s: deque[float] = deque(maxlen=3)
        self._last_answer_at: float | None = None
        self._failing_since: float | None = None
        self._judging_from: float | None = None
        """Wall seconds from which deadlines count; None while nobody knows how the jobs are."""
        self._problem = ""
        self._detail = ""
        self._waiting_total = 0
        self._unknown: tuple[tuple[str, str, str], ...] = ()
        self._foreign: tuple[tuple[str, str, str], ...] = ()
        self._burst = 0
        self._ending = False
        self._broken: dict[str, float] = {}

    # ---- the loops --------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Look again and again; never returns."""
        while True:
            await self.look()
            await self._pause()

    async def run_clocks(self) -> None:
        """Let time pass for every attempt that waits for it; never returns.

        Deadlines wait for the first good listing: a restarted hub must not give up a job that has begun to run.
        """
        registry = self._supervisor.registry
        while True:
            registry.changed.clear()
            due = self._next_due()
            timeout_s = None if due is None else max(0.05, due - self._clock.wall())
            await wait_for_event(registry.changed, timeout_s)
            await self.tick()

    def _next_due(self) -> float | None:
        """When the next attempt needs its clock looked at: wall seconds, None if none does."""
        now = self._clock.wall()
        ticking = self._ticking()
        dues = list(self._broken.values())
        for attempt in ticking:
            if attempt.state is State.STOPPING:
                dues.append(now + 1)
                continue
            if attempt.state is State.STARTING and self._supervisor.registry.is_watched(attempt.user):
                dues.append(now + 2)
            if attempt.deadline is not None:
                dues.append(self._judged_at(attempt, attempt.deadline))
        return min(dues, default=None)

    def _judged_at(self, attempt: Attempt, deadline: float) -> float:
        """When it counts that the deadline has passed: wall seconds.

        Nobody knows how a job is while the scheduler does not answer or hides it, nor before a new hub's first listing:
        it may run by now, or have written its port into its comment.
        """
        if attempt.job_id is None and attempt.doubt_until is None:
            return deadline  # sbatch is at work
        if self._judging_from is None:
            return max(deadline, self._clock.wall() + 1)
        return max(deadline, self._judging_from)

    async def tick(self) -> None:
        """Let time pass for all live attempts now."""
        now = self._clock.wall()
        for attempt in self._ticking():
            try:
                await self._tick(attempt, now)
            except Exception as error:  # noqa: BLE001 - whatever it was: logged and counted
                self._pass_over(attempt, "clocks", error)
                self._broken[attempt.user] = now + _BROKEN_PAUSE_S

    def _ticking(self) -> list[Attempt]:
        """The live attempts but for those whose last tick failed just now."""
        now = self._clock.wall()
        self._broken = {user: until for user, until in self._broken.items() if until > now}
        return [attempt for attempt in self._supervisor.registry.live() if attempt.user not in self._broken]

    async def _tick(self, attempt: Attempt, now: float) -> None:
        is_due = attempt.deadline is not None and now >= self._judged_at(attempt, attempt.deadline)
        if attempt.state is State.STOPPING or is_due:
            await self._supervisor.feed(attempt.user, attempt.id, life.Ticked())
        elif (
            attempt.state is State.STARTING
            and self._supervisor.registry.is_watched(attempt.user)
            and now - attempt.changed_at > 4
        ):
            self._supervisor.read_log_soon(attempt)

    async def _pause(self) -> None:
        """Wait until the next listing is due, or wanted."""
        wanted = self._supervisor.list_now
        least_s = self._settings.load_factor * min(self._recent_s, default=0.0)
        failing = self._failing_since is not None
        if failing:
            # Commands that hang are ended before they are asked again; people wait for the first that does not.
            least_s = min(self._took_s or 0.0, self._settings.quiet_s)
        if self._burst > 0:
            pause_s = _PORT_CONFIRMATIONS_S[len(_PORT_CONFIRMATIONS_S) - self._burst]
            self._burst -= 1
        elif (
            failing
            or self._ending
            or any(attempt.state is not State.READY for attempt in self._supervisor.registry.live())
        ):
            pause_s = self._settings.waiting_s
        else:
            pause_s = self._settings.quiet_s
        if not wanted.is_set():
            await wait_for_event(wanted, max(pause_s, least_s))
        elif least_s:
            await asyncio.sleep(min(least_s, pause_s))
        if wanted.is_set():
            wanted.clear()
            self._burst = len(_PORT_CONFIRMATIONS_S)

    # ---- one listing ------------------------------------------------------------------------------------------------

    async def look(self) -> bool:
        """Ask for one listing and apply it; False if nothing could be concluded."""
        started = self._clock.monotonic()
        try:
            listing = await self._supervisor.scheduler.list_jobs()
        except HubError as error:
            self._note_failure(error)
            return False
        except Exception as error:
            # A bug of ours says as little about jobs as an outage does, and the next listing comes as soon.
            CRASHES["listing"] += 1
            if self._failing_since is None:
                log.exception("a listing could not be read")
            self._note_failure(SchedulerUnavailable(_UNREADABLE, repr(error)))
            return False
        finally:
            self._took_s = self._clock.monotonic() - started
        self._recent_s.append(self._took_s)
        self._note_answer(self._clock.wall(), is_whole=listing.sees_all_users)
        self._problem = "" if listing.sees_all_users else _HIDDEN
        self._detail = "" if listing.sees_all_users else _HIDDEN_CURE
        self._waiting_total = listing.waiting_total
        await self._apply(listing)
        return True

    def _note_answer(self, now: float, *, is_whole: bool) -> None:
        silent_s = now - self._failing_since if self._failing_since is not None else 0.0
        if self._failing_since is not None:
            log.warning("the scheduler answers again after %.0f s", silent_s)
        if not is_whole:
            self._judging_from = None
        elif self._judging_from is None:
            is_outage = self._last_answer_at is None or silent_s >= _RECOVERY_S
            self._judging_from = now + _RECOVERY_S if is_outage else now
        self._last_answer_at = now
        self._failing_since = None

    def _note_failure(self, error: HubError) -> None:
        self._judging_from = None
        if self._failing_since is None:
            self._failing_since = self._clock.wall()
            log.warning("the scheduler does not answer; running servers are left alone: %s", error)
        self._problem, self._detail = error.user_message, error.detail

    async def _apply(self, listing: Listing) -> None:
        by_id, by_name = index_jobs(listing.jobs, self._hub_id)
        # All at once: what the attempts write down shares a commit, and none waits for the others'.
        live = self._supervisor.registry.live()
        found = [find_job(attempt, by_id, by_name) for attempt in live]
        self._ending = any(job is not None and job.phase is JobPhase.ENDING for job in found)
        told = await asyncio.gather(
            *(self._tell(attempt, job, listing) for attempt, job in zip(live, found, strict=True)),
            return_exceptions=True,
        )
        for attempt, error in zip(live, told, strict=True):
            if error is not None:
                self._pass_over(attempt, "listing", error)
        await self._reap(by_name)
        self._foreign = tuple(
            (job.id, job.user, job.name)
            for job in listing.jobs
            if is_foreign(job.name, self._hub_id) and job.phase in _PRESENT
        )

    def _pass_over(self, attempt: Attempt, what: str, error: BaseException) -> None:
        """One server's trouble, a bug of ours that it meets, is not the others'."""
        if not isinstance(error, Exception):
            raise error
        CRASHES[what] += 1
        log.error("%s: %s passed over attempt %s", attempt.user, what, attempt.id, exc_info=error)

    async def _tell(self, attempt: Attempt, job: Job | None, listing: Listing) -> None:
        if job is not None:
            await self._tell_seen(attempt, job)
        elif listing.sees_all_users:
            await self._supervisor.feed(attempt.user, attempt.id, life.JobMissing(listing.asked_at))
        elif attempt.job_id is not None:
            await self._ask_ending(attempt, attempt.job_id)

    async def _tell_seen(self, attempt: Attempt, job: Job) -> None:
        after = await self._supervisor.feed(attempt.user, attempt.id, life.JobSeen(job))
        if after is not None and after.port is None and after.state in (State.QUEUED, State.STARTING):
            port = self._parse_port(job.comment, attempt.tag)
            if port is not None:
                await self._supervisor.feed(attempt.user, attempt.id, life.PortReported(port))

    async def _ask_ending(self, attempt: Attempt, job_id: str) -> None:
        """Where a listing may hide jobs, only a final state told by the scheduler itself counts."""
        ending = await self._supervisor.scheduler.ending(attempt.user, job_id)
        if ending is not None:
            tail = await self._supervisor.scheduler.log_tail(attempt.user, attempt.job_log_path)
            await self._supervisor.feed(attempt.user, attempt.id, life.JobEnded(ending, tail))

    async def _reap(self, by_name: dict[str, list[Job]]) -> None:
        """Cancel late jobs of attempts that are over; remember jobs with our tag that nobody knows."""
        unknown: list[tuple[str, str, str]] = []
        for name, jobs in by_name.items():
            attempt_id = parse_tag(name, self._hub_id)
            for job in jobs:
                if attempt_id is None or job.phase not in _PRESENT:
                    continue
                newest = self._supervisor.registry.get(job.user)
                if newest is not None and newest.id == attempt_id and newest.is_live:
                    continue
                if await self._owner_of_retired(attempt_id) == job.user:
                    await self._cancel_late(job)
                else:
                    unknown.append((job.id, job.user, job.name))
        if tuple(unknown) != self._unknown:
            self._unknown = tuple(unknown)
            for job_id, user, name in unknown:
                log.warning(
                    "job %s of %s carries our tag %s but is not in the records; left alone",
                    job_id,
                    user,
                    name,
                )

    async def _owner_of_retired(self, attempt_id: str) -> str | None:
        """Whose attempt this was, if the records hold it as ended; None also while they cannot be read."""
        if attempt_id not in self._retired:
            try:
                row = await self._store.get(attempt_id)
            except StoreError as error:
                log.warning("attempt %s cannot be looked up: %s", attempt_id, error)
                return None
            if row is not None and row.live:
                return None
            if len(self._retired) > 10_000:
                self._retired.clear()
            self._retired[attempt_id] = None if row is None else row.user
        return self._retired[attempt_id]

    async def _cancel_late(self, job: Job) -> None:
        log.warning("job %s of %s belongs to an attempt that is over: cancelling it", job.id, job.user)
        self._supervisor.measures.note_late_job(job.id)
        try:
            await self._supervisor.scheduler.cancel(job.user, job.id)
        except HubError as error:
            log.warning("job %s of %s could not be cancelled, will try again: %s", job.id, job.user, error)

    # ---- what is known ----------------------------------------------------------------------------------------------

    def health(self) -> SchedulerHealth:
        """How our view of the scheduler is."""
        return SchedulerHealth(
            name=self._supervisor.scheduler.name,
            last_answer_at=self._last_answer_at,
            failing_since=self._failing_since,
            problem=self._problem,
            detail=self._detail,
            hidden=self._detail == _HIDDEN_CURE,
            listing_took_s=self._took_s,
            waiting_total=self._waiting_total,
            unknown_jobs=self._unknown + self._foreign,
        )
