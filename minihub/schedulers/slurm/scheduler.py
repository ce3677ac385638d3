"""The Slurm scheduler: commands out through a transport, answers in through the parsers. Holds no job's state."""

from __future__ import annotations

import asyncio
import logging
import secrets
from dataclasses import replace
from datetime import UTC, timedelta, timezone, tzinfo
from pathlib import Path

from minihub.clock import Clock
from minihub.config import Settings
from minihub.errors import (
    CommandTimedOut,
    ConnectFailed,
    ConnectionLost,
    HubError,
    SchedulerError,
    SchedulerUnavailable,
    SubmitDoubtful,
    TransportError,
)
from minihub.schedulers.base import (
    Endpoint,
    Estimate,
    Job,
    JobEnding,
    JobPhase,
    JobRequest,
    Limits,
    Listing,
)
from minihub.schedulers.measures import CommandMeasures
from minihub.schedulers.slurm import answers, commands, parsers
from minihub.schedulers.slurm.limits import LimitsCache
from minihub.schedulers.slurm.proof import Proof
from minihub.schedulers.slurm.runner import CommandRunner
from minihub.tasks import TaskKeeper
from minihub.transports.base import CommandResult, Transport

log = logging.getLogger(__name__)

_LIVE = (JobPhase.WAITING, JobPhase.RUNNING, JobPhase.ENDING, JobPhase.UNKNOWN)
_LARGE = 200_000
"""Characters from which on a listing is read in a thread."""


class SlurmScheduler:
    """Implements `schedulers.base.Scheduler` on Slurm's commands.

    The transport belongs to whoever made it; `close` leaves it open.
    """

    name = "slurm"

    def __init__(self, settings: Settings, transport: Transport, clock: Clock) -> None:
        commands.verify_extra_args(settings.slurm.extra_args)
        self._settings = settings.slurm
        self._clock = clock
        self._transport = transport
        self._runner = CommandRunner(transport, settings.slurm.command_timeout_s)
        self._tasks = TaskKeeper()
        self._proof = Proof(settings.slurm, self._runner, clock)
        self._limits = LimitsCache(settings.slurm, self._runner, self._proof, clock, self._tasks)
        self._live: frozenset[str] = frozenset()
        self._zone: tzinfo | None = None

    @property
    def measures(self) -> CommandMeasures:
        """What its commands cost."""
        return self._runner.measures

    async def start(self) -> None:
        """Prove what the listing sees, begin to read limits. A silent Slurm is no reason not to start."""
        try:
            await self._proof.renew()
        except SchedulerError as error:
            log.warning("Slurm does not answer at start: %s", error)
        self._limits.refresh_cluster()

    async def submit(self, request: JobRequest) -> str:
        """Submit as the user; as `Scheduler.submit`."""
        result = await self._sbatch(request)
        try:
            return answers.parse_submitted(result, self._settings.settle_s)
        except SchedulerUnavailable:
            # There is certainly no job, and perhaps it is only this login node that cannot ask Slurm.
            if not self._transport.avoid_host(request.user):
                raise
        return answers.parse_submitted(await self._sbatch(request), self._settings.settle_s)

    async def _sbatch(self, request: JobRequest) -> CommandResult:
        argv = commands.build_sbatch(request, extra_args=self._settings.extra_args)
        settle_s = self._settings.settle_s
        try:
            return await self._runner.run(argv, user=request.user, stdin=request.script.encode())
        except ConnectFailed as error:
            raise SchedulerUnavailable(error.user_message, error.detail) from error
        except (ConnectionLost, CommandTimedOut, TransportError) as error:
            self._proof.forget()  # soon a listing without the tag will mean that there is no job
            message = "Slurm did not say whether it took the job."
            settles_after_s = self._settings.command_timeout_s + settle_s
            raise SubmitDoubtful(message, str(error), settles_after_s=settles_after_s) from error

    async def cancel(self, user: str, job_id: str) -> None:
        """Cancel one way, and if that fails the other; as `Scheduler.cancel`.

        The service account needs nothing of the user's shell, so it goes first where it may cancel others' jobs.
        """
        argv = commands.build_scancel(job_id, user)
        ways: tuple[str | None, ...] = (None, user) if self._proof.is_operator else (user, None)
        failures = []
        for way in ways:
            try:
                answers.verify_cancelled(await self._runner.ask(argv, user=way))
            except SchedulerUnavailable as error:
                log.warning("scancel %s as %s failed: %s", job_id, way or "service", error)
                failures.append(error)
            else:
                return
        raise SchedulerUnavailable(failures[0].user_message, "; ".join(str(error) for error in failures))

    async def list_jobs(self) -> Listing:
        """List everybody's jobs as the service account; as `Scheduler.list_jobs`."""
        if not self._proof.sees_all_users:
            await self._proof.renew_if_old()
        try:
            listing = await self._list()
        except SchedulerError:
            # Its munge may be what is down, or its network: another login node may do better next time.
            self._transport.avoid_host(None)
            raise
        live = frozenset(job.id for job in listing.jobs if job.phase in _LIVE)
        if self._live - {job.id for job in listing.jobs}:
            # Ended jobs stay listed for MinJobAge. One that is gone without that may have been hidden from us: was
            # PrivateData switched on meanwhile? Costs one command, and only then.
            await self._proof.renew()
        self._live = live
        return replace(listing, sees_all_users=self._proof.sees_all_users)

    async def _list(self) -> Listing:
        separator = f"<{secrets.token_hex(6)}>"
        asked_at, began = self._clock.wall(), self._clock.monotonic()
        result = await self._runner.ask(commands.build_squeue(separator))
        took_s = self._clock.monotonic() - began
        if len(result.stdout) < _LARGE:
            jobs = parsers.parse_listing(result, separator)
        else:  # 20 000 jobs take 0.25 s, in which the hub must serve its users
            jobs = await asyncio.to_thread(parsers.parse_listing, result, separator)
        waiting = sum(job.phase is JobPhase.WAITING for job in jobs)
        return Listing(asked_at, took_s, jobs, waiting_total=waiting)

    async def ending(self, user: str, job_id: str) -> JobEnding | None:
        """Ask accounting, then the controller; as `Scheduler.ending`.

        Where other users' jobs are hidden from the service account, the owner asks too.
        """
        ending = await self._ending_as(None, user, job_id)
        if ending is None and not self._proof.sees_all_users:
            ending = await self._ending_as(user, user, job_id)
        if ending is not None and ending.cancelled_by is not None:
            return replace(ending, cancelled_by=await self._name_of(ending.cancelled_by))
        return ending

    async def _ending_as(self, asker: str | None, user: str, job_id: str) -> JobEnding | None:
        may_tell_more = True
        try:
            result = await self._runner.ask(commands.build_sacct(job_id), user=asker)
            ending = parsers.parse_sacct(result, job_id, user)
            if ending is not None:
                return ending
        except SchedulerError as error:
            log.info("sacct does not tell how job %s ended: %s", job_id, error)
            may_tell_more = False
        try:
            result = await self._runner.ask(commands.build_show_job(job_id), user=asker)
            ending = parsers.parse_show_job(result, user)
            return ending and replace(ending, is_whole=not may_tell_more)
        except SchedulerError as error:
            log.info("the controller does not tell how job %s ended: %s", job_id, error)
            return None

    async def lives(self, user: str, job_id: str) -> bool | None:
        """Ask the controller as the service account and as the owner, from whom nothing is hidden; as `Scheduler.lives`."""
        answers_given = []
        for asker in (None, user):
            try:
                shown = await self._runner.ask(commands.build_show_job(job_id), user=asker)
                answers_given.append(parsers.parse_lives(shown, user))
            except SchedulerError as error:
                log.info("the controller does not tell %s of job %s: %s", asker or "service", job_id, error)
                continue
            if answers_given[-1]:
                self._proof.forget()
                return True
        return False if answers_given else None

    async def _name_of(self, uid: str) -> str:
        """The name behind a uid where Slurm runs; the uid itself if nobody knows."""
        try:
            named = await self._runner.ask(commands.build_user_name(int(uid)))
        except SchedulerError:
            return uid
        return named.stdout.strip() if named.exit_status == 0 and named.stdout.strip() else uid

    async def log_tail(self, user: str, path: str, *, max_bytes: int = 16384) -> str:
        """Read a log's end as its owner; as `Scheduler.log_tail`."""
        try:
            result = await self._runner.ask(commands.build_tail(path, max_bytes), user=user)
        except HubError as error:
            log.info("the log of %s could not be read: %s", user, error)
            return ""
        return result.stdout if result.exit_status == 0 else ""

    async def limits(self, user: str) -> Limits:
        """What `user` may ask for; as `Scheduler.limits`."""
        return await self._limits.get(user)

    async def estimate(self, request: JobRequest) -> Estimate:
        """Ask sbatch --test-only as the user; as `Scheduler.estimate`."""
        argv = commands.build_sbatch(request, extra_args=self._settings.extra_args, test_only=True)
        zone = await self._time_zone()
        try:
            result = await self._runner.run(argv, user=request.user, stdin=request.script.encode())
        except TransportError as error:
            raise SchedulerUnavailable(answers.SILENT, str(error)) from error
        return answers.parse_estimate(result, zone)

    async def _time_zone(self) -> tzinfo:
        """The offset of the login node's clock: sbatch --test-only prints its local time.

        It is not asked with TZ=UTC, as squeue is, because the sudo wrapper runs nothing but sbatch itself.
        """
        if self._zone is None:
            shown = (await self._runner.ask(("date", "+%z"))).stdout.strip()
            sign, hours, minutes = shown[:1], shown[1:3], shown[3:5]
            if sign not in ("+", "-") or not (hours + minutes).isdecimal():
                return UTC
            offset = timedelta(hours=int(hours), minutes=int(minutes))
            self._zone = timezone(-offset if sign == "-" else offset)
        return self._zone

    def socket_path(self, user: str, tag: str) -> Path | None:  # noqa: ARG002 - the protocol's arguments
        """None: a node's socket is out of the hub's reach, so servers listen on TCP."""
        return None

    def endpoint(self, job: Job, port: int | None) -> Endpoint | None:
        """The node that Slurm reports and the port that the job reports, once both are known."""
        if job.phase is not JobPhase.RUNNING or job.node is None or port is None:
            return None
        return Endpoint(host=job.node, port=port)

    async def warm(self, user: str) -> None:
        """Have a connection ready for `user`."""
        await self._transport.warm(user)

    async def close(self) -> None:
        """End what runs in the background; jobs stay as they are."""
        await self._tasks.close()
