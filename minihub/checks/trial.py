"""The test job: a real server of the test user, by the code of a real start. Cancelled at the end whatever happens."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import secrets as random
from dataclasses import dataclass, replace

from minihub.checks.bench import Bench
from minihub.checks.model import CheckFailed, Found, NotTested
from minihub.checks.report import ReportListener
from minihub.errors import HubError, OptionsError, SubmitDoubtful
from minihub.launching import Preparer
from minihub.schedulers.base import Job, JobPhase, parse_port
from minihub.schedulers.slurm.reasons import explain_reason
from minihub.servers.manager import Prepared, build_request
from minihub.servers.matching import build_tag
from minihub.servers.model import ServerOptions
from minihub.servers.options import filter_accounts, parse_options
from minihub.tls import load_front_tls

log = logging.getLogger(__name__)

LOOK_S = 0.5
LEAST_LIMIT_S = 60.0
CANCEL_PATIENCE_S = 45.0
MENTION_AFTER_S = 5.0
"""A person wants to know what is being waited for."""
_HUB_ID = "check"
"""No hub's: a hub that sees the job in its listing leaves it alone."""
_OVER = (JobPhase.ENDING, JobPhase.ENDED)


@dataclass(slots=True)
class Trial:
    """One test job, as far as it came."""

    tag: str
    options: ServerOptions
    prepared: Prepared
    listener: ReportListener
    job_id: str = ""
    job: Job | None = None
    """As last seen."""
    port: int | None = None
    pushed: bool = False
    """The node itself told the port."""
    log: str = ""
    settles_at: float = 0.0
    """Monotonic seconds until which a submission without an answer may still make a job."""

    @property
    def log_path(self) -> str:
        """Of the job that was made."""
        return self.prepared.log_path.replace("%j", self.job_id)

    @property
    def is_over(self) -> bool:
        """The job serves no more."""
        return self.job is not None and self.job.phase in _OVER


async def prepare(bench: Bench) -> Trial:
    """Make everything of a server but its job.

    Raises:
        NotTested: No job is wanted.
        HubError: The site's defaults do not suit this user, or the job cannot be made.
    """
    if not bench.wish.with_job:
        raise NotTested("not wanted (--no-job)")
    settings = bench.settings
    limits = filter_accounts(await bench.scheduler.limits(bench.user), settings.slurm.accounts)
    try:
        options = parse_options({}, settings.options, limits)
    except OptionsError as error:
        told = "; ".join(f"{name}: {text}" for name, text in error.fields.items())
        raise CheckFailed(
            f"what the form offers first cannot be had: {told}", "Change the defaults in [options.NAME]."
        ) from error
    limit_s = max(LEAST_LIMIT_S, settings.servers.start_timeout_s)
    options = replace(options, time_hours=math.ceil(limit_s / 60) / 60, rescue=False)
    tls = load_front_tls(settings, bench.ground.state_dir, bench.clock)
    listener = ReportListener(settings, tls, local=bench.is_local)
    await listener.start()
    bench.stack.push_async_callback(listener.close)
    scheduler = bench.scheduler
    preparer = Preparer(settings, bench.clock, scheduler.name, scheduler.socket_path, listener.pin)
    preparer.report_url = listener.url
    tag = build_tag(_HUB_ID, random.token_hex(6))
    prepared = await preparer.prepare(bench.user, tag, options)
    listener.expect(prepared.secrets.report)
    return Trial(tag, options, prepared, listener)


async def run(bench: Bench, trial: Trial) -> Found:
    """Submit the job and wait until it runs."""
    bench.stack.push_async_callback(end, bench, trial)
    request = build_request(bench.user, trial.tag, trial.options, trial.prepared)
    began = bench.clock.monotonic()
    # If we are interrupted meanwhile, nobody knows.
    trial.settles_at = began + bench.settings.slurm.command_timeout_s
    try:
        trial.job_id = await bench.scheduler.submit(request)
        trial.settles_at = 0.0
    except SubmitDoubtful as error:
        trial.settles_at = bench.clock.monotonic() + error.settles_after_s
        raise CheckFailed(
            f"{error.user_message} {error.detail}",
            "Is slurmctld overloaded or its network slow? See slurm.command_timeout_s.",
        ) from error
    except HubError:
        trial.settles_at = 0.0
        raise
    submitted = bench.clock.monotonic()
    job = await _until_runs(bench, trial)
    waited_s = bench.clock.monotonic() - submitted
    where = f" on {job.node}" if job.node else ""
    return Found(
        f"job {trial.job_id} submitted in {submitted - began:.2f} s, runs{where} after {waited_s:.1f} s"
    )


async def _until_runs(bench: Bench, trial: Trial) -> Job:
    patience_s = bench.settings.servers.spawn_timeout_s
    began, mentioned = bench.clock.monotonic(), False
    while True:
        job = await look(bench, trial)
        if job is not None and job.phase is not JobPhase.WAITING and job.phase is not JobPhase.UNKNOWN:
            return job
        waited_s = bench.clock.monotonic() - began
        if waited_s > patience_s:
            raise CheckFailed(
                f"job {trial.job_id} does not run after {patience_s:g} s: {_reason(job)}",
                "Try when the queue is shorter, with a user and defaults ([options]) that start soon, or a "
                "reservation.",
            )
        if waited_s > MENTION_AFTER_S and not mentioned:
            mentioned = True
            bench.mention(f"job {trial.job_id} waits in the queue: {_reason(job)} (up to {patience_s:g} s)")
        await asyncio.sleep(LOOK_S)


def _reason(job: Job | None) -> str:
    if job is None:
        return "it is in no listing yet"
    return explain_reason(job.reason) if job.reason else job.state


async def look(bench: Bench, trial: Trial) -> Job | None:
    """See what became of the job; its port too, if it told it in its comment.

    Raises:
        CheckFailed: It is another user's, or it is gone.
    """
    listing = await bench.scheduler.list_jobs()
    found = next((job for job in listing.jobs if job.id == trial.job_id), None)
    if found is None:
        return None
    if found.user != bench.user:
        raise CheckFailed(
            f"job {trial.job_id} belongs to {found.user}, not to {bench.user}",
            "The hub acts as the wrong user: look at slurm.identity and at sudo's or sshd's set-up.",
        )
    trial.job = found
    if trial.port is None and found.comment:
        trial.port = parse_port(found.comment, trial.tag)
    return found


async def end(bench: Bench, trial: Trial) -> None:
    """Cancel the job and wait until the scheduler confirms its end. Raises no error: it runs at every end."""
    with contextlib.suppress(TimeoutError):
        settling_s = max(0.0, trial.settles_at - bench.clock.monotonic())
        async with asyncio.timeout(CANCEL_PATIENCE_S + settling_s):
            while True:
                if await _is_gone(bench, trial):
                    return
                await asyncio.sleep(LOOK_S)
    name = trial.job_id or f"of the name {trial.tag}"
    bench.mention(
        f"WARNING: the test job {name} could not be seen to end; please cancel it by hand (scancel)"
    )


async def _is_gone(bench: Bench, trial: Trial) -> bool:
    try:
        if trial.job_id:
            await bench.scheduler.cancel(bench.user, trial.job_id)
        listing = await bench.scheduler.list_jobs()
        ours = [job for job in listing.jobs if trial.tag == job.name and job.user == bench.user]
        live = [job for job in ours if job.phase is not JobPhase.ENDED]
        for job in live:
            # After a doubtful submission only the name tells.
            await bench.scheduler.cancel(job.user, job.id)
    except HubError as error:
        log.warning("the test job is not cancelled yet: %s", error)
        return False
    return not live and bench.clock.monotonic() >= trial.settles_at
