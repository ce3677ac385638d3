"""States, sizes and durations in plain words. Pure.

`N_` marks texts for `scripts/messages`; they are translated where they are shown.
"""

from __future__ import annotations

from minihub.servers.model import Attempt, FailureKind, ServerOptions, State, StopCause
from minihub.web.i18n import Translator


def N_(text: str) -> str:  # noqa: N802 - gettext's own name for this
    """Mark a text as translatable without translating it."""
    return text


TIMES = "\N{MULTIPLICATION SIGN}"

STATE_LABELS = {
    State.SUBMITTING: N_("Asking the scheduler"),
    State.QUEUED: N_("Waiting in the queue"),
    State.STARTING: N_("Starting"),
    State.READY: N_("Running"),
    State.STOPPING: N_("Stopping"),
    State.STOPPED: N_("Stopped"),
    State.FAILED: N_("Failed"),
}

TONES = {
    State.SUBMITTING: "busy",
    State.QUEUED: "busy",
    State.STARTING: "busy",
    State.READY: "ready",
    State.STOPPING: "busy",
    State.STOPPED: "idle",
    State.FAILED: "failed",
}

STOP_CAUSES = {
    StopCause.USER: N_("Stopped by you."),
    StopCause.LOGOUT: N_("Stopped because you logged out."),
    StopCause.ADMIN: N_("Stopped by an administrator."),
    StopCause.API: N_("Stopped by a program with your token."),
    StopCause.IDLE: N_("Stopped because it was idle."),
    StopCause.AGE: N_("Stopped because it reached the greatest age that this hub allows."),
    StopCause.SPAWN_TIMEOUT: N_("Cancelled because the job did not start in time."),
    StopCause.START_TIMEOUT: N_("Cancelled because Jupyter did not come up in time."),
    StopCause.NEVER_STARTS: N_("Cancelled because the job could never have started."),
    StopCause.UNSAFE: N_("Stopped because it was not protected."),
    StopCause.SUPERSEDED: N_("Replaced by a newer one."),
}

STOP_CAUSES_TO_OTHERS = {
    StopCause.USER: N_("Stopped by its user."),
    StopCause.LOGOUT: N_("Stopped because its user logged out."),
    StopCause.API: N_("Stopped by a program with its user's token."),
}
"""As said to an admin, where that differs."""

FAILURES = {
    FailureKind.REJECTED: N_("Refused by the scheduler"),
    FailureKind.UNAVAILABLE: N_("Scheduler did not answer"),
    FailureKind.DOUBTFUL: N_("Submission without answer"),
    FailureKind.SPAWN_TIMEOUT: N_("Waited too long in the queue"),
    FailureKind.START_TIMEOUT: N_("Jupyter did not come up"),
    FailureKind.DIED: N_("Job ended while starting"),
    FailureKind.UNSAFE: N_("Not protected"),
    FailureKind.TIME_LIMIT: N_("Time limit"),
    FailureKind.OUT_OF_MEMORY: N_("Out of memory"),
    FailureKind.NODE_FAILED: N_("Node failed"),
    FailureKind.PREEMPTED: N_("Preempted"),
    FailureKind.CANCELLED: N_("Cancelled outside the hub"),
    FailureKind.EXITED: N_("Jupyter ended unexpectedly"),
    FailureKind.VANISHED: N_("Gone without a record"),
}
"""Causes in a few words, for figures."""

STOP_CAUSES_WITH_LIMIT = {
    StopCause.IDLE: N_("Stopped because nothing was done in it for %(limit)s."),
    StopCause.AGE: N_("Stopped because it reached the greatest age that this hub allows, %(limit)s."),
}

INTERFACES = {
    "lab": N_("JupyterLab"),
    "notebook": N_("Notebook"),
    "nbclassic": N_("Notebook (classic)"),
    "terminal": N_("Terminal"),
}


INTERFACE_HINTS = {
    "lab": N_("Notebooks, terminals and files in one window. Recommended."),
    "notebook": N_("One document at a time, with few controls."),
    "nbclassic": N_("The interface of the years before JupyterLab."),
    "terminal": N_("A single terminal on the compute node, as with ssh."),
}


def interface_name(interface: str, tr: Translator) -> str:
    """What people call an interface."""
    words = INTERFACES.get(interface)
    return tr(words) if words else interface


def interface_hint(interface: str, tr: Translator) -> str:
    """One sentence about an interface, "" where we know none."""
    words = INTERFACE_HINTS.get(interface)
    return tr(words) if words else ""


def size(memory_mib: int, tr: Translator) -> str:
    """Memory for people: "512 MB", "3.5 GB"."""
    if memory_mib < 1024:
        return tr("%(number)s MB", number=memory_mib)
    return tr("%(number)s GB", number=f"{memory_mib / 1024:.1f}".removesuffix(".0"))


def duration(seconds: float, tr: Translator) -> str:
    """A span of time in its two greatest units; seconds only below ten minutes."""
    whole = max(0, int(seconds))
    days, rest = divmod(whole, 86400)
    hour, rest = divmod(rest, 3600)
    minute, second = divmod(rest, 60)
    if days:
        return tr("%(days)d d %(hours)d h", days=days, hours=hour) if hour else tr("%(days)d d", days=days)
    if hour:
        return f"{hour} h {minute:02d} min" if minute else f"{hour} h"
    if minute >= 10 or (minute and not second):
        return f"{minute} min"
    return f"{minute} min {second:02d} s" if minute else f"{second} s"


def stop_cause(attempt: Attempt, tr: Translator) -> str:
    """Why the end was wanted, in a sentence; "" if nobody wanted it."""
    if attempt.stop_cause is None:
        return ""
    words = STOP_CAUSES_WITH_LIMIT.get(attempt.stop_cause)
    if words is not None and attempt.stop_limit_s is not None:
        return tr(words, limit=duration(attempt.stop_limit_s, tr))
    return tr(STOP_CAUSES[attempt.stop_cause])


def resources(options: ServerOptions, tr: Translator) -> str:
    """One line that says what was asked for."""
    parts = [
        tr.plural("%(count)d core", "%(count)d cores", options.cores),
        size(options.memory_mb, tr),
        duration(options.time_hours * 3600, tr),
    ]
    if options.gpu_count:
        parts.insert(2, gpus(options))
    return " · ".join(parts)


def gpus(options: ServerOptions) -> str:
    """The GPUs that were asked for, "" if none."""
    return f"{options.gpu_count} {TIMES} {options.gpu_type or 'GPU'}" if options.gpu_count else ""


def end_words(attempt: Attempt, tr: Translator) -> str:
    """Why a server ended, or is being ended, as said to an admin."""
    if attempt.failure:
        return tr.message(attempt.failure.message)
    if attempt.stop_cause in STOP_CAUSES_TO_OTHERS:
        return tr(STOP_CAUSES_TO_OTHERS[attempt.stop_cause])
    if attempt.stop_cause:
        return stop_cause(attempt, tr)
    return "" if attempt.is_live else tr("Ended by itself.")
