"""Why an attempt failed, in plain words for its user: what happened, why, what to do next. Pure.

The words are English sources of the translations; `templates/locale` has the others.
"""

from __future__ import annotations

from dataclasses import replace

from minihub.schedulers.base import JobEnding
from minihub.servers.model import Attempt, Failure, FailureKind, State

SIGKILL = 9
_SIGNALS = (6, 7, SIGKILL, 11, 15)
"""By which programs are ended: abort, bus error, kill, segmentation fault, terminate."""
_ASK_LESS = (
    "Ask for less time, fewer cores, less memory or no GPU: smaller jobs start sooner. "
    "If you have another interactive job on this cluster, end it first. Otherwise try again later."
)
_SEE_LOG = "Look at the end of the job's log below. If a start-up file or a full home directory is the cause, try a rescue start."


def rejected(message: str) -> Failure:
    """The scheduler said no."""
    return Failure(
        FailureKind.REJECTED, "The scheduler refused the job.", message, "Change the options and start again."
    )


def never_starts(attempt: Attempt) -> Failure:
    """The scheduler took the job, but says that it can never start."""
    return Failure(
        FailureKind.REJECTED,
        "The job could never have started, so it was cancelled.",
        attempt.job_reason_words or attempt.job_reason,
        "Change the options and start again.",
    )


def unavailable(message: str) -> Failure:
    """The scheduler, or the way to it, does not answer."""
    return Failure(
        FailureKind.UNAVAILABLE,
        "The scheduler is not responding.",
        message,
        "Nothing was started. Try again in a few minutes.",
    )


def doubtful() -> Failure:
    """No answer to the submission, and no job came of it."""
    return Failure(
        FailureKind.DOUBTFUL,
        "The scheduler did not answer, and no job came of it.",
        "The connection to the scheduler broke while the job was being submitted.",
        "Nothing is running. Please start again.",
    )


def unsafe(message: str) -> Failure:
    """What answered was not the user's protected server."""
    return Failure(
        FailureKind.UNSAFE,
        "The server was stopped because it could not be proved to be protected.",
        message,
        "Check your own Jupyter configuration (~/.jupyter), or try a rescue start.",
    )


def spawn_timeout(attempt: Attempt, timeout_s: float) -> Failure:
    """The job did not start in time. The first words are those that users of such hubs know."""
    if attempt.job_id is None:
        reason = "The scheduler did not answer the submission."
    elif not attempt.job_state:
        reason = "The scheduler has not been answering, so nothing is known of the job."
    else:
        reason = attempt.job_reason_words or attempt.job_reason or attempt.job_state
    limit = f"{timeout_s / 60:g} min" if timeout_s >= 60 else f"{timeout_s:g} s"
    return Failure(
        FailureKind.SPAWN_TIMEOUT,
        "Spawn failed: Timeout",
        f"The job did not start within {limit}. {reason}".strip(),
        _ASK_LESS,
    )


def start_timeout(attempt: Attempt, timeout_s: float) -> Failure:
    """The job ran, but Jupyter did not come up in time, or where the hub cannot reach it."""
    where = f" on {attempt.node}" if attempt.node else ""
    if attempt.port is not None:
        why = attempt.unreached or "The hub got no answer there."
        return Failure(
            FailureKind.START_TIMEOUT,
            "Jupyter came up, but the hub cannot reach it.",
            f"The job ran{where} for {timeout_s:g} s and said where Jupyter listens. {why}",
            "Try again. If it happens again, tell the people who run this hub: minihub check finds the broken hop.",
        )
    return Failure(
        FailureKind.START_TIMEOUT,
        "Jupyter did not come up in time.",
        f"The job ran{where} for {timeout_s:g} s, but Jupyter never said where it listens.",
        _SEE_LOG,
    )


def unknown_name(host: str | None) -> str:
    """Why a node cannot be reached whose name does not resolve."""
    return f"The hub's machine does not know the name {host}."


_ENDINGS: dict[str, tuple[FailureKind, str, str]] = {
    "TIMEOUT": (
        FailureKind.TIME_LIMIT,
        "The job reached its time limit.",
        "Start again, with more time if you need it.",
    ),
    "DEADLINE": (FailureKind.TIME_LIMIT, "The job reached its deadline.", "Start again."),
    "OUT_OF_MEMORY": (
        FailureKind.OUT_OF_MEMORY,
        "The job used more memory than it had asked for and was killed.",
        "Start again with more memory, or load less data at a time.",
    ),
    "NODE_FAIL": (
        FailureKind.NODE_FAILED,
        "The compute node failed.",
        "Start again; the job will get another node.",
    ),
    "BOOT_FAIL": (
        FailureKind.NODE_FAILED,
        "The compute node did not boot.",
        "Start again; the job will get another node.",
    ),
    "PREEMPTED": (
        FailureKind.PREEMPTED,
        "The job had to make room for one of higher priority.",
        "Start again.",
    ),
    "REVOKED": (FailureKind.CANCELLED, "The job was withdrawn by the scheduler.", "Start again."),
}


def ending(attempt: Attempt, end: JobEnding | None) -> Failure | None:
    """Why a job ended that nobody here wanted to end; None if it simply finished."""
    starting = attempt.state is not State.READY
    if end is not None and _exceeded_memory(attempt, end):
        end = replace(end, state="OUT_OF_MEMORY")
    if end is None:
        return Failure(
            FailureKind.VANISHED,
            "The job is gone, and the scheduler has no record of how it ended.",
            "",
            "Start again. If it happens again, ask the people who run the cluster.",
        )
    if end.state in _ENDINGS:
        kind, message, advice = _ENDINGS[end.state]
        where = f" on {attempt.node}" if kind is FailureKind.NODE_FAILED and attempt.node else ""
        return Failure(kind, message, f"{end.state}{where}{_exit_words(end)}", advice)
    if end.state == "CANCELLED":
        by = f"It was cancelled by {end.cancelled_by}." if end.cancelled_by else ""
        return Failure(
            FailureKind.CANCELLED,
            "The job was cancelled outside the hub.",
            by,
            "Start again if you still need it.",
        )
    if starting:
        return Failure(
            FailureKind.DIED,
            "The job ended before Jupyter was ready.",
            end.state + _exit_words(end),
            _SEE_LOG,
        )
    if end.state == "COMPLETED" or (end.exit_status == 0 and not end.signal):
        return None
    return Failure(
        FailureKind.EXITED, "The Jupyter server ended unexpectedly.", end.state + _exit_words(end), _SEE_LOG
    )


def _exceeded_memory(attempt: Attempt, end: JobEnding) -> bool:
    """Whether a job that "failed" was killed for its memory.

    Where no cgroup holds the limit but Slurm itself does, the job is FAILED by signal 9 and nothing more is said; the peak
    that accounting saw tells. Source: slurm.conf(5), JobAcctGatherParams=OverMemoryKill; seen with 22.05.
    """
    killed = end.state == "FAILED" and SIGKILL in (end.signal, end.exit_status)
    return killed and (end.max_memory_mib or 0) > attempt.options.memory_mb


def _exit_words(end: JobEnding) -> str:
    words = ""
    if end.exit_status:
        words += f", exit status {end.exit_status}"
        if end.exit_status in _SIGNALS:
            # A launcher says 128 + N as shells do, and accounting takes the 128 off again.
            words += f" (mostly: killed by signal {end.exit_status})"
    if end.signal:
        words += f", signal {end.signal}"
    if end.max_memory_mib:
        words += f", {end.max_memory_mib} MB used at most"
    return words


def hindrance(attempt: Attempt) -> str:
    """Why a job that runs cannot serve now, as the scheduler shows it; "" if nothing is in the way."""
    return _HINDRANCES.get(attempt.job_state, "") if attempt.state in (State.STARTING, State.READY) else ""


_HINDRANCES = {
    "SUSPENDED": "The scheduler has suspended the job: it goes on where it was as soon as the scheduler lets it.",
    "STOPPED": "The job was halted by a signal: it goes on where it was when somebody continues it.",
    "COMPLETING": "The job is ending. How it ended is known in a moment.",
}


def requeued(attempt: Attempt) -> str:
    """Why a server that ran waits again; "" for a job that has not run yet."""
    if attempt.state is not State.QUEUED or attempt.started_at is None:
        return ""
    return "The scheduler put the job back into the queue, so the server will start anew."
