"""The embedded scheduler: servers are detached processes on this very machine. Speaks to the helper only.

The helper starts, lists and ends the processes and keeps their records; here is what makes a scheduler of that: words as
Slurm has them, limits, the time limit's second line of defence (the first is each job's own `timeout`), and tidying up.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Protocol

from minihub.clock import Clock
from minihub.config import Settings
from minihub.errors import (
    ConnectionLost,
    HelperError,
    HubError,
    SchedulerUnavailable,
    SubmitDoubtful,
    SubmitRejected,
)
from minihub.helper.client import LocalJob, RunResult
from minihub.helper.rules import Refused, socket_path
from minihub.schedulers.base import (
    Endpoint,
    Estimate,
    Job,
    JobEnding,
    JobPhase,
    JobRequest,
    Limits,
    Listing,
    Partition,
)
from minihub.schedulers.measures import CommandMeasures

log = logging.getLogger(__name__)

KILL_AFTER_S = 10.0
"""Between SIGTERM and SIGKILL of a cancelled job."""

OVERDUE_S = 15.0
"""After its time limit (and the grace its own `timeout` gives) a job is ended from here."""

KEEP_S = 300.0
"""Ended jobs stay in the listing for this long, as Slurm's MinJobAge has it."""

_LOG_TIMEOUT_S = 10.0
_TIMEOUT_STATUS = 124
_CLOCK_SLACK_S = 0.5
"""A file's time, which tells the end, lags behind the clock, which told the beginning."""
_MAX_SOCKET_PATH = 107


class Helper(Protocol):
    """What is needed of `minihub.helper.client.HelperClient`."""

    async def start_job(self, *, user: str, tag: str, script: str, log_path: str, limit_s: float) -> LocalJob:
        """Start a detached job."""
        ...

    async def jobs(self) -> Sequence[LocalJob]:
        """Every job with a record."""
        ...

    async def kill_job(self, job_id: str, *, force: bool = False, cause: str = "cancel") -> float | None:
        """Signal a job; return when its end was asked for first."""
        ...

    async def forget_job(self, job_id: str) -> None:
        """Remove what is left of an ended job."""
        ...

    async def prepare(self, user: str) -> tuple[int, str]:
        """Make the directory of the user's sockets."""
        ...

    async def run(self, argv: Sequence[str], *, user: str, stdin: bytes = b"", timeout_s: float) -> RunResult:
        """Run a program as a user."""
        ...


class LocalScheduler:
    """Runs users' jobs on this machine."""

    name = "local"

    def __init__(self, settings: Settings, helper: Helper, clock: Clock, runtime_dir: Path) -> None:
        """Use the helper's `runtime_dir` (HelperSettings.runtime_dir)."""
        self._settings = settings.local
        self._helper = helper
        self._clock = clock
        self._runtime_dir = runtime_dir
        self._node = os.uname().nodename
        self._uids: dict[str, int] = {}
        self.measures = CommandMeasures()

    async def start(self) -> None:
        """See that the helper answers."""
        await self.list_jobs()

    async def submit(self, request: JobRequest) -> str:
        """Start the job's processes; return its id."""
        self._check(request)
        try:
            job = await self._helper.start_job(
                user=request.user,
                tag=request.tag,
                script=request.script,
                log_path=request.log_path,
                limit_s=request.time_limit.total_seconds(),
            )
        except HelperError as error:
            raise SubmitRejected(error.user_message, error.detail) from error
        except ConnectionLost as error:
            # The helper writes the record before the job may run: either a listing shows it at once or there is none.
            raise SubmitDoubtful(error.user_message, error.detail, settles_after_s=1) from error
        self._uids[job.job_id] = job.uid
        log.info("%s: job %s started", request.user, job.job_id)
        return job.job_id

    async def cancel(self, user: str, job_id: str) -> None:  # noqa: ARG002 - the record knows whose it is
        """Ask for the job's end; asked again after a while, it is ended by force."""
        try:
            first_asked = await self._helper.kill_job(job_id)
            if first_asked is not None and self._clock.wall() - first_asked >= KILL_AFTER_S:
                await self._helper.kill_job(job_id, force=True)
        except HubError as error:
            raise SchedulerUnavailable(error.user_message, error.detail) from error

    async def list_jobs(self) -> Listing:
        """Look at everybody's jobs; end what is overdue, forget what ended long ago."""
        asked_at = self._clock.wall()
        began = self._clock.monotonic()
        known = await self._jobs()
        self._uids.update((job.job_id, job.uid) for job in known)
        for job in known:
            # The rest of the listing stands whatever becomes of this; the next one tries again.
            with contextlib.suppress(HubError):
                await self._tidy(job, asked_at)
        jobs = tuple(self._describe(job) for job in known)
        return Listing(asked_at=asked_at, took_s=self._clock.monotonic() - began, jobs=jobs)

    async def lives(self, user: str, job_id: str) -> bool | None:
        """Whether its process lives."""
        try:
            known = await self._jobs()
        except SchedulerUnavailable:
            return None
        return any(job.job_id == job_id and job.user == user and job.alive for job in known)

    async def ending(self, user: str, job_id: str) -> JobEnding | None:
        """How a job ended, from its record."""
        try:
            known = await self._jobs()
        except SchedulerUnavailable:
            return None
        for job in known:
            if job.job_id == job_id and job.user == user and not job.alive:
                status = int(job.exit) if job.exit else None
                return JobEnding(
                    state=final_state(job),
                    exit_status=status,
                    signal=status - 128 if status is not None and status > 128 else None,
                    elapsed_s=max((job.ended_at or job.submitted_at) - job.submitted_at, 0),
                    cancelled_by=job.user if job.cancel_cause == "cancel" else None,
                    node=self._node,
                )
        return None

    async def log_tail(self, user: str, path: str, *, max_bytes: int = 16384) -> str:
        """The end of a log, read by a process of the user's."""
        try:
            result = await self._helper.run(
                ["tail", "-c", str(max_bytes), "--", path], user=user, timeout_s=_LOG_TIMEOUT_S
            )
        except HubError as error:
            log.debug("no log tail: %s", error)
            return ""
        return result.stdout if result.exit_status == 0 else ""

    async def limits(self, user: str) -> Limits:  # noqa: ARG002 - the same for everybody
        """This machine's."""
        longest = timedelta(hours=self._settings.max_time_hours)
        machine = Partition(
            name="local",
            default=True,
            max_time=longest,
            max_cores=self._max_cores(),
            max_memory_mib=self._max_memory_mib(),
        )
        return Limits(
            partitions=(machine,), uses_accounts=False, read_at=self._clock.wall(), max_time=longest
        )

    async def estimate(self, request: JobRequest) -> Estimate:
        """At once, if at all."""
        self._check(request)
        return Estimate(starts_at=self._clock.wall(), message="Servers on this machine start at once.")

    def socket_path(self, user: str, tag: str) -> Path | None:
        """A socket in a directory that only the user and the hub may enter."""
        try:
            return socket_path(self._runtime_dir, user, tag)
        except Refused as refusal:
            raise SubmitRejected(str(refusal)) from refusal

    def endpoint(self, job: Job, port: int | None) -> Endpoint | None:
        """The socket, once the job's launcher has reported or the socket is there."""
        uid = self._uids.get(job.id)
        path = self.socket_path(job.user, job.name)
        if uid is None or path is None or job.phase is not JobPhase.RUNNING:
            return None
        return Endpoint(path=str(path), uid=uid) if port is not None or _is_socket(path) else None

    async def warm(self, user: str) -> None:
        """Have the directory of the user's sockets ready."""
        try:
            await self._helper.prepare(user)
        except HubError as error:
            log.debug("not prepared: %s", error)

    async def close(self) -> None:
        """Nothing is open here; jobs go on."""

    async def _jobs(self) -> Sequence[LocalJob]:
        try:
            return await self._helper.jobs()
        except HubError as error:
            raise SchedulerUnavailable(error.user_message, error.detail) from error

    async def _tidy(self, job: LocalJob, now: float) -> None:
        if not job.alive:
            if job.ended_at is not None and now - job.ended_at > KEEP_S:
                await self._helper.forget_job(job.job_id)
                self._uids.pop(job.job_id, None)
        elif job.cancelled_at is not None and now - job.cancelled_at >= KILL_AFTER_S:
            await self._helper.kill_job(job.job_id, force=True)
        elif now > job.submitted_at + job.limit_s + OVERDUE_S:
            log.warning("%s: job %s outlived its time limit and is ended", job.user, job.job_id)
            await self._helper.kill_job(job.job_id, cause="time_limit")

    def _describe(self, job: LocalJob) -> Job:
        if not job.alive:
            state, phase = final_state(job), JobPhase.ENDED
        elif job.cancelled_at is not None:
            state, phase = "COMPLETING", JobPhase.ENDING
        else:
            state, phase = "RUNNING", JobPhase.RUNNING
        return Job(
            id=job.job_id,
            user=job.user,
            name=job.tag,
            state=state,
            phase=phase,
            node=self._node,
            comment=job.tag,
            submitted_at=job.submitted_at,
            started_at=job.submitted_at,
            ends_at=job.submitted_at + job.limit_s,
            partition="local",
            exit_status=job.exit,
        )

    def _check(self, request: JobRequest) -> None:
        """Refuse what this machine does not have.

        Raises:
            SubmitRejected: With the bound.
        """
        if request.gpu_count:
            raise SubmitRejected("GPUs cannot be asked for on this machine.")
        if request.cores > self._max_cores():
            raise SubmitRejected(f"This machine offers at most {self._max_cores()} cores.")
        if request.memory_mib > self._max_memory_mib():
            raise SubmitRejected(f"This machine offers at most {self._max_memory_mib()} MB of memory.")
        if request.time_limit > timedelta(hours=self._settings.max_time_hours):
            raise SubmitRejected(f"The longest time limit is {self._settings.max_time_hours:g} hours.")
        path = self.socket_path(request.user, request.tag)
        if len(os.fsencode(str(path))) > _MAX_SOCKET_PATH:
            raise SubmitRejected("hub.runtime_dir is too long a path for sockets.", str(path))

    def _max_cores(self) -> int:
        here = len(os.sched_getaffinity(0))
        return min(self._settings.max_cores or here, here)

    def _max_memory_mib(self) -> int:
        here = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
        return min(self._settings.max_memory_mb or here, here)


def final_state(job: LocalJob) -> str:
    """Slurm's word for how an ended job came to its end."""
    if not job.same_boot:
        return "NODE_FAIL"
    if job.cancel_cause == "cancel":
        return "CANCELLED"
    ran_out = job.ended_at is not None and job.ended_at + _CLOCK_SLACK_S >= job.submitted_at + job.limit_s
    if job.cancel_cause == "time_limit" or (job.exit == str(_TIMEOUT_STATUS) and ran_out):
        return "TIMEOUT"
    if job.exit == "0":
        return "COMPLETED"
    # `timeout` itself ends by SIGKILL where the script did not heed SIGTERM.
    return "TIMEOUT" if ran_out and job.exit != "" else "FAILED"


def _is_socket(path: Path) -> bool:
    try:
        return path.is_socket()
    except OSError:
        return False
