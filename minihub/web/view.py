"""One attempt in words: the same for the first drawing of a page, its event stream and its polling. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from minihub.config import ServersSettings
from minihub.servers import explain
from minihub.servers.model import Attempt, State
from minihub.servers.service import Progress, SchedulerHealth
from minihub.web import words
from minihub.web.i18n import Translator

LOG_LINES_SHOWN = 40


@dataclass(frozen=True, slots=True)
class WaitClock:
    """One of the two clocks of a start."""

    label: str
    since: float
    """Wall seconds when it began."""
    limit_s: float
    limit: str
    """The limit in words."""


@dataclass(frozen=True, slots=True)
class StopView:
    """When and why a running server will be stopped."""

    cause: str
    """"idle" or "age"."""
    warning: bool
    changes_at: float
    """When the page has to say something else: wall seconds."""
    stops_at: float
    idle_since: float
    limit: str
    """In words, as `postpone`."""
    postpone: str
    """For how long it may be kept; "" where it may not (any more)."""


@dataclass(frozen=True, slots=True)
class ServerView:
    """What a page shows of a server."""

    attempt_id: str
    state: str
    label: str
    tone: str
    """"busy", "ready", "idle" or "failed": picks a colour."""
    message: str
    percent: int
    ready: bool
    failed: bool
    stopped: bool
    resources: str
    interface: str
    account: str
    partition: str
    job_id: str
    job_state: str
    """Slurm's own words, such as "PENDING (Priority)"; for people who know them."""
    reason: str
    """The scheduler's reason in plain words, while it lets the job wait."""
    node: str
    created_at: float
    started_at: float | None
    ready_at: float | None
    ended_at: float | None
    ends_at: float | None
    expected_start: float | None
    clock: WaitClock | None
    stop: StopView | None
    """None: nothing but the time limit ends it."""
    log_tail: str
    ended: str
    """Why it ended, in a sentence; "" while it lives."""
    hindrance: str
    """Why a job that runs cannot serve now; "" if nothing is in the way."""
    failure_reason: str
    failure_advice: str

    def to_json(self) -> dict[str, Any]:
        """For events and polling."""
        return asdict(self)


class Viewer:
    """Puts attempts into words: one per request, since it knows the reader's language."""

    def __init__(self, tr: Translator, settings: ServersSettings) -> None:
        self._tr = tr
        self._settings = settings

    def view(self, attempt: Attempt, progress: Progress | None = None) -> ServerView:
        """Put an attempt (and the progress event it came with, if any) into words."""
        reason = attempt.job_reason_words if attempt.state is State.QUEUED else ""
        return _view_of(attempt, self._tr, self._settings, self._tr.message(reason), progress)


def _view_of(
    attempt: Attempt,
    tr: Translator,
    settings: ServersSettings,
    reason: str,
    progress: Progress | None,
) -> ServerView:
    failure = attempt.failure
    label = tr(words.STATE_LABELS[attempt.state])
    message = tr.message(progress.message) if progress else ""
    return ServerView(
        attempt_id=attempt.id,
        state=attempt.state.value,
        label=label,
        tone=words.TONES[attempt.state],
        message=message or _message(attempt, tr, reason),
        percent=progress.percent if progress else 0,
        ready=attempt.state is State.READY,
        failed=attempt.state is State.FAILED,
        stopped=attempt.state is State.STOPPED,
        resources=words.resources(attempt.options, tr),
        interface=words.interface_name(attempt.options.interface, tr),
        account=attempt.options.account or "",
        partition=attempt.options.partition or "",
        job_id=attempt.job_id or "",
        job_state=job_state_words(attempt),
        reason=reason,
        node=attempt.node or "",
        created_at=attempt.submitted_at or attempt.created_at,
        started_at=attempt.started_at,
        ready_at=attempt.ready_at,
        ended_at=attempt.ended_at,
        ends_at=attempt.ends_at if attempt.is_live else None,
        expected_start=attempt.expected_start if attempt.state is State.QUEUED else None,
        clock=_clock(attempt, tr, settings),
        stop=_stop(attempt, tr),
        log_tail=last_lines(attempt.log_tail),
        ended=_ended(attempt, tr),
        hindrance=tr.message(explain.hindrance(attempt)),
        failure_reason=tr.message(failure.reason) if failure else "",
        failure_advice=tr.message(failure.advice) if failure else "",
    )


def last_lines(text: str, count: int = LOG_LINES_SHOWN) -> str:
    """The end of a log as people want to read it: no colours, no control characters, no blank end."""
    clean = "".join(c for c in _without_escapes(text) if c in "\n\t" or c.isprintable())
    return "\n".join(clean.rstrip().splitlines()[-count:])


def scheduler_name(health: SchedulerHealth) -> str:
    """What people call the scheduler."""
    return "Slurm" if health.name == "slurm" else health.name


def _without_escapes(text: str) -> str:
    pieces = text.split("\x1b[")
    # A CSI sequence ends with a letter (ECMA-48 5.4); what follows it is text again.
    cut = [piece.lstrip("0123456789;?")[1:] for piece in pieces[1:]]
    return "".join([pieces[0], *cut]).replace("\r\n", "\n").replace("\r", "\n")


def job_state_words(attempt: Attempt) -> str:
    """The scheduler's own words for a job: "PENDING (Priority)"."""
    reason = attempt.job_reason if attempt.job_reason not in {"", "None"} else ""
    return f"{attempt.job_state} ({reason})" if attempt.job_state and reason else attempt.job_state


def _message(attempt: Attempt, tr: Translator, reason: str) -> str:
    if attempt.state is State.QUEUED:
        again = tr.message(explain.requeued(attempt))
        return f"{again} {reason}".strip() or tr("The job waits in the queue.")
    if attempt.state is State.FAILED and attempt.failure:
        return tr.message(attempt.failure.message)
    if problem := explain.hindrance(attempt):
        return tr.message(problem)
    return {
        State.SUBMITTING: tr("The job is being submitted."),
        State.STARTING: tr("The job runs; Jupyter is coming up."),
        State.READY: tr("Your server is running."),
        State.STOPPING: tr("Waiting until the scheduler confirms that the job is gone."),
        State.STOPPED: tr("Your server is stopped."),
    }.get(attempt.state, "")


def _ended(attempt: Attempt, tr: Translator) -> str:
    if attempt.is_live:
        return ""
    if attempt.failure:
        return tr.message(attempt.failure.message)
    return words.stop_cause(attempt, tr) or tr("Ended by itself.")


def _stop(attempt: Attempt, tr: Translator) -> StopView | None:
    clock = attempt.clock
    if clock is None:
        return None
    return StopView(
        cause=clock.cause.value,
        warning=clock.is_warning,
        changes_at=clock.stops_at if clock.is_warning else clock.warns_at,
        stops_at=clock.stops_at,
        idle_since=clock.idle_since,
        limit=words.duration(clock.limit_s, tr),
        postpone=words.duration(clock.postpone_s, tr) if clock.postpones_left else "",
    )


def _clock(attempt: Attempt, tr: Translator, settings: ServersSettings) -> WaitClock | None:
    if attempt.deadline in (None, attempt.ends_at):
        return None  # no limit but the job's own
    if attempt.state in {State.SUBMITTING, State.QUEUED}:
        label, limit = tr("Waiting for the job to start"), settings.spawn_timeout_s
    elif attempt.state is State.STARTING:
        label, limit = tr("Waiting for Jupyter to answer"), settings.start_timeout_s
    else:
        return None
    return WaitClock(label, attempt.deadline - limit, limit, words.duration(limit, tr))
