"""The only place where an attempt's state changes. Pure and total: every (state, event) pair has an answer.

`step(attempt, event, now, clocks)` returns the attempt as it is from now on and the commands to be carried out. The
supervisor writes the attempt down first, then carries the commands out, and feeds what comes of them back as events.
This file does not know who asks, what Slurm is, or where Jupyter runs.

The rules:

- An attempt is written down before the scheduler is asked, so a job without a record cannot be.
- Only a good listing says that a job is gone: it shows a final state, or lacks the job twice in a row.
- An end that is wanted (STOPPING) stays wanted: the cancel is repeated until the listing confirms it, and an answer of
  sbatch that comes late is cancelled then.
- A submission nobody answered is in doubt until it can no longer be running anywhere; meanwhile the tag is looked for.
- A job that can never start is not waited for.
- FAILED always has a Failure. Final states never change again, and hold no secrets.

What it does not handle: which job in a listing belongs to the attempt (`servers/matching.py`), and words
(`servers/explain.py` makes the Failure).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import assert_never

from minihub.schedulers.base import Job, JobEnding, JobPhase
from minihub.servers import explain
from minihub.servers.events import (
    Adopted,
    Cancel,
    CloseConnections,
    Command,
    Event,
    Explain,
    FoundUnsafe,
    JobEnded,
    JobMissing,
    JobSeen,
    Judged,
    ListNow,
    LogRead,
    NotReached,
    PortReported,
    Postponed,
    Prove,
    Proved,
    StopWanted,
    SubmitDoubted,
    SubmitFailed,
    Submitted,
    Ticked,
)
from minihub.servers.model import NO_SECRETS, Attempt, Failure, State, StopCause, StopClock

__all__ = [
    "LONG_RUNNING_S",
    "MISSES_THAT_MEAN_GONE",
    "Adopted",
    "Cancel",
    "Clocks",
    "CloseConnections",
    "Command",
    "Event",
    "Explain",
    "FoundUnsafe",
    "JobEnded",
    "JobMissing",
    "JobSeen",
    "Judged",
    "ListNow",
    "LogRead",
    "NotReached",
    "PortReported",
    "Postponed",
    "Prove",
    "Proved",
    "Step",
    "StopWanted",
    "SubmitDoubted",
    "SubmitFailed",
    "Submitted",
    "Ticked",
    "step",
]  # fmt: skip

MISSES_THAT_MEAN_GONE = 2
LONG_RUNNING_S = 600
"""Who has run for so long before the hub saw it has probably reported to somebody, and maybe is at work."""

Step = tuple[Attempt, tuple[Command, ...]]


@dataclass(frozen=True, slots=True)
class Clocks:
    """The limits of waiting, in seconds."""

    spawn_timeout_s: float = 300
    start_timeout_s: float = 120
    cancel_repeat_s: float = 5


def step(attempt: Attempt, event: Event, now: float, clocks: Clocks) -> Step:  # noqa: PLR0911, PLR0912, C901 - one arm an event
    """Answer one event.

    Args:
        attempt: As it is.
        event: What has happened.
        now: Wall seconds.
        clocks: The limits of waiting.

    Returns:
        The attempt as it is from now on (the same object if nothing changed) and what is to be done, in order.
    """
    if attempt.state.is_final:
        return attempt, ()
    match event:
        case Submitted(job_id):
            return _submitted(attempt, job_id, now)
        case SubmitFailed(failure):
            return _submit_failed(attempt, failure, now)
        case SubmitDoubted(settles_at):
            return _submit_doubted(attempt, settles_at)
        case JobSeen(job):
            return _job_seen(attempt, job, now, clocks)
        case JobMissing(asked_at):
            return _job_missing(attempt, asked_at, now)
        case JobEnded(ending, log_tail):
            return _job_ended(attempt, ending, log_tail, now)
        case PortReported(port):
            return _port_reported(attempt, port)
        case Proved():
            return _proved(attempt, now)
        case NotReached(why):
            return (attempt.with_(unreached=why) if attempt.state is State.STARTING else attempt), ()
        case FoundUnsafe(message):
            return _found_unsafe(attempt, message, now)
        case StopWanted(cause, limit_s):
            return _stop_wanted(attempt, cause, None, now, limit_s)
        case LogRead(tail):
            return attempt.with_(log_tail=tail), ()
        case Adopted():
            return _adopted(attempt, now, clocks)
        case Judged(used_at, clock):
            return _judged(attempt, used_at, clock), ()
        case Postponed(until):
            return _postponed(attempt, until), ()
        case Ticked():
            return _ticked(attempt, now, clocks)
        case _:
            assert_never(event)


# ---- the submission -------------------------------------------------------------------------------------------------


def _submitted(attempt: Attempt, job_id: str, now: float) -> Step:
    known = attempt.with_(job_id=attempt.job_id or job_id, doubt_until=None, misses=0)
    if attempt.state is State.SUBMITTING:
        return _to(known, State.QUEUED, now), (ListNow(),)
    if attempt.state is State.STOPPING and attempt.job_id is None:
        # Stop won the race against sbatch: the job exists now, and nobody else knows its id yet.
        return known.with_(cancel_asked_at=now), (Cancel(job_id),)
    return known, ()


def _submit_failed(attempt: Attempt, failure: Failure, now: float) -> Step:
    if attempt.job_id is not None:
        return attempt, ()  # a listing knew better
    if attempt.state is State.STOPPING:
        return _final(attempt, now)
    return _final(attempt.with_(failure=failure), now)


def _submit_doubted(attempt: Attempt, settles_at: float) -> Step:
    if attempt.job_id is not None:
        return attempt, ()
    return attempt.with_(doubt_until=settles_at), (ListNow(),)


# ---- what listings show ---------------------------------------------------------------------------------------------


def _job_seen(attempt: Attempt, job: Job, now: float, clocks: Clocks) -> Step:
    seen = attempt.with_(
        job_id=job.id,
        submitted_at=job.submitted_at or attempt.submitted_at,
        job_state=job.state,
        job_reason=job.reason,
        job_reason_words=job.reason_words,
        misses=0,
        doubt_until=None,
    )
    if seen.state is State.STOPPING:
        return _seen_while_stopping(seen, job, now, clocks)
    if seen.state is State.SUBMITTING:
        seen = _to(seen, State.QUEUED, now)
    match job.phase:
        case JobPhase.WAITING:
            return _seen_waiting(seen, job, now, clocks)
        case JobPhase.RUNNING:
            return _seen_running(seen, job, now, clocks)
        case JobPhase.ENDED:
            return seen, (Explain(job.id, job.state),)
        case JobPhase.ENDING:
            # Most are gone in a moment; an epilog, or a node that hangs, may keep one so for minutes.
            return seen, () if attempt.job_state == job.state else (ListNow(),)
        case JobPhase.UNKNOWN:
            return seen, ()
        case _:
            assert_never(job.phase)


def _seen_while_stopping(seen: Attempt, job: Job, now: float, clocks: Clocks) -> Step:
    if job.phase in (JobPhase.ENDED, JobPhase.ENDING):
        return _final(seen, now)
    return _cancel_again(seen, now, clocks)


def _seen_waiting(seen: Attempt, job: Job, now: float, clocks: Clocks) -> Step:
    waiting = seen.with_(expected_start=job.started_at)
    if job.hopeless:
        return _stop_wanted(waiting, StopCause.NEVER_STARTS, explain.never_starts(waiting), now)
    if seen.state is State.QUEUED:
        return waiting, ()
    # Requeued by an admin or by Slurm itself: it waits anew, and what it reported is void.
    again = waiting.with_(port=None, node=None, ends_at=None, deadline=now + clocks.spawn_timeout_s)
    return _to(again, State.QUEUED, now), (CloseConnections(),)


def _seen_running(seen: Attempt, job: Job, now: float, clocks: Clocks) -> Step:
    running = seen.with_(node=job.node, started_at=job.started_at, ends_at=job.ends_at)
    if seen.state is State.QUEUED:
        started = _to(running.with_(deadline=_start_deadline(job, now, clocks)), State.STARTING, now)
        return started, (Prove(),) if started.port is not None else ()
    return running, ()


def _start_deadline(job: Job, now: float, clocks: Clocks) -> float:
    """When Jupyter must have answered.

    A job that was running long before anybody looked may have reported to an earlier life of these records: a restored
    store knows no port of it, and that is no reason to cancel it.
    """
    in_time = now + clocks.start_timeout_s
    long_s = max(clocks.start_timeout_s, LONG_RUNNING_S)
    if job.started_at is None or job.ends_at is None or now - job.started_at < long_s:
        return in_time
    return max(in_time, job.ends_at)


def _job_missing(attempt: Attempt, asked_at: float, now: float) -> Step:
    if attempt.job_id is None:
        return _tag_missing(attempt, asked_at, now)
    if attempt.submitted_at is None and asked_at <= attempt.changed_at:
        return attempt, ()  # asked before sbatch answered: proves nothing
    missed = attempt.with_(misses=attempt.misses + 1)
    if missed.misses < MISSES_THAT_MEAN_GONE:
        return missed, (ListNow(),)
    if attempt.state is State.STOPPING:
        return _final(missed, now)
    return missed, (Explain(attempt.job_id),)


def _tag_missing(attempt: Attempt, asked_at: float, now: float) -> Step:
    if attempt.doubt_until is None or asked_at <= attempt.doubt_until:
        return attempt, ()  # sbatch may still be at work
    missed = attempt.with_(misses=attempt.misses + 1)
    if missed.misses < MISSES_THAT_MEAN_GONE:
        return missed, (ListNow(),)
    if attempt.state is State.STOPPING:
        return _final(missed, now)
    return _final(missed.with_(failure=explain.doubtful()), now)


def _job_ended(attempt: Attempt, ending: JobEnding | None, log_tail: str, now: float) -> Step:
    ended = attempt.with_(log_tail=log_tail or attempt.log_tail)
    if ended.state is not State.STOPPING:
        ended = ended.with_(
            failure=explain.ending(ended, ending), job_state=ending.state if ending else ended.job_state
        )
    closed, commands = _final(ended, now)
    return closed, commands


# ---- Jupyter comes up -----------------------------------------------------------------------------------------------


def _port_reported(attempt: Attempt, port: int) -> Step:
    if attempt.port is not None or attempt.state not in (State.SUBMITTING, State.QUEUED, State.STARTING):
        return attempt, ()
    reported = attempt.with_(port=port)
    if attempt.state is State.STARTING:
        return reported, (Prove(),)
    return reported, (ListNow(),)


def _proved(attempt: Attempt, now: float) -> Step:
    if attempt.state is not State.STARTING:
        return attempt, ()
    return _to(attempt.with_(deadline=None, ready_at=now, last_activity=now), State.READY, now), ()


def _found_unsafe(attempt: Attempt, message: str, now: float) -> Step:
    if attempt.state is not State.STARTING:
        return attempt, ()
    return _stop_wanted(attempt, StopCause.UNSAFE, explain.unsafe(message), now)


def _adopted(attempt: Attempt, now: float, clocks: Clocks) -> Step:
    if attempt.state is State.STOPPING:
        return _cancel_again(attempt, now, clocks)
    if attempt.state is not State.STARTING:
        return attempt, ()
    # Jupyter may have come up long ago, with no hub there to see it: the wait for it begins anew.
    waiting = attempt.with_(deadline=now + clocks.start_timeout_s)
    return waiting, (Prove(),) if attempt.port is not None else ()


# ---- use --------------------------------------------------------------------------------------------------------------


def _judged(attempt: Attempt, used_at: float, clock: StopClock | None) -> Attempt:
    if attempt.state is not State.READY:
        return attempt
    return attempt.with_(last_activity=max(used_at, attempt.last_activity or 0.0), clock=clock)


def _postponed(attempt: Attempt, until: float) -> Attempt:
    if attempt.state is not State.READY:
        return attempt
    clock = attempt.clock
    if clock is not None:
        clock = replace(
            clock,
            warns_at=clock.warns_at + max(0.0, until - clock.stops_at),
            stops_at=max(until, clock.stops_at),
            is_warning=False,
            postpones_left=max(0, clock.postpones_left - 1),
        )
    until = max(until, attempt.postponed_until or 0.0)
    return attempt.with_(postponed_until=until, postpones=attempt.postpones + 1, clock=clock)


# ---- the end --------------------------------------------------------------------------------------------------------


def _stop_wanted(
    attempt: Attempt, cause: StopCause, failure: Failure | None, now: float, limit_s: float | None = None
) -> Step:
    if attempt.state is State.STOPPING:
        return attempt, ()
    if cause in (StopCause.IDLE, StopCause.AGE) and attempt.state is not State.READY:
        return attempt, ()  # judged while it was: its job has been put back into the queue since
    wanted = attempt.with_(stop_cause=cause, stop_limit_s=limit_s, failure=failure, deadline=None, misses=0)
    stopping = _to(wanted, State.STOPPING, now)
    if attempt.job_id is None:
        # sbatch is at work: its answer, or the listing, brings the id to be cancelled.
        return stopping, (ListNow(),)
    cancel = Cancel(attempt.job_id, read_log_first=failure is not None and attempt.state is State.STARTING)
    return stopping.with_(cancel_asked_at=now), (CloseConnections(), cancel)


def _ticked(attempt: Attempt, now: float, clocks: Clocks) -> Step:
    if attempt.state is State.STOPPING:
        return _cancel_again(attempt, now, clocks)
    if attempt.deadline is None or now < attempt.deadline:
        return attempt, ()
    if attempt.state is State.STARTING:
        return _stop_wanted(
            attempt, StopCause.START_TIMEOUT, explain.start_timeout(attempt, clocks.start_timeout_s), now
        )
    return _stop_wanted(
        attempt, StopCause.SPAWN_TIMEOUT, explain.spawn_timeout(attempt, clocks.spawn_timeout_s), now
    )


def _cancel_again(attempt: Attempt, now: float, clocks: Clocks) -> Step:
    if attempt.job_id is None:
        return attempt, ()
    if attempt.cancel_asked_at is not None and now - attempt.cancel_asked_at < clocks.cancel_repeat_s:
        return attempt, ()
    return attempt.with_(cancel_asked_at=now), (Cancel(attempt.job_id),)


def _final(attempt: Attempt, now: float) -> Step:
    # Nobody is let in with its secrets any more: what is written down from now on holds none.
    state = State.FAILED if attempt.failure is not None else State.STOPPED
    return _to(attempt.with_(deadline=None, ended_at=now, secrets=NO_SECRETS), state, now), (
        CloseConnections(),
    )


def _to(attempt: Attempt, state: State, now: float) -> Attempt:
    return attempt.with_(state=state, changed_at=now, clock=None)
