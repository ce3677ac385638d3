"""Past servers and audit lines in words, as admins read them. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from minihub.errors import BadQuery
from minihub.servers.model import Attempt
from minihub.store.rows import AuditRow
from minihub.web import words
from minihub.web.i18n import Translator
from minihub.web.words import N_

ACTIONS = {
    "login": N_("Login"),
    "logout": N_("Logout"),
    "start": N_("Start of a server"),
    "stop": N_("Stop of a server"),
    "postpone": N_("Idle stop put off"),
    "token-create": N_("New token"),
    "token-revoke": N_("End of a token"),
    "token-use": N_("Use of a token"),
    "user-create": N_("User admitted"),
    "user-delete": N_("User forgotten"),
    "user-revoke": N_("End of all logins and tokens"),
    "announce": N_("Announcement"),
    "announce-end": N_("End of an announcement"),
    "shutdown": N_("Shutdown of the hub"),
}
"""What audit lines are called that these pages know of; others are shown by their own name."""

OUTCOMES = {
    "ok": "",
    "failed": N_("failed"),
    "BadCredentials": N_("wrong name or password"),
    "NotAllowed": N_("not admitted"),
    "TooManyAttempts": N_("too many attempts"),
}
"""What came of it; refused logins bear the name of their error."""


@dataclass(frozen=True, slots=True)
class PastRow:
    """One attempt, live or over, as a line of the history."""

    user: str
    created_at: float
    label: str
    tone: str
    ended: str
    """How it ended, in a sentence; "" while it lives."""
    why: str
    """More about a failure."""
    waited_s: float | None
    """Until its job started, or until it ended without."""
    ran_s: float | None
    """From the job's start to its end; None if it never started or still runs."""
    resources: str
    interface: str
    account: str
    partition: str
    job_id: str
    node: str


def past_row(attempt: Attempt, tr: Translator) -> PastRow:
    """Put one attempt into words."""
    ended = None if attempt.is_live else attempt.ended_at or attempt.changed_at
    started = attempt.started_at
    waited_until = started or ended
    return PastRow(
        user=attempt.user,
        created_at=attempt.created_at,
        label=tr(words.STATE_LABELS[attempt.state]),
        tone=words.TONES[attempt.state],
        ended="" if attempt.is_live else words.end_words(attempt, tr),
        why=tr.message(attempt.failure.reason) if attempt.failure else "",
        waited_s=None if waited_until is None else waited_until - attempt.created_at,
        ran_s=ended - started if started is not None and ended is not None else None,
        resources=words.resources(attempt.options, tr),
        interface=words.interface_name(attempt.options.interface, tr),
        account=attempt.options.account or "",
        partition=attempt.options.partition or "",
        job_id=attempt.job_id or "",
        node=attempt.node or "",
    )


@dataclass(frozen=True, slots=True)
class AuditLine:
    """One line of the audit log."""

    at: float
    actor: str
    action: str
    what: str
    """The action in words."""
    target: str
    """Whom or what it was done to; "" if that is the actor himself."""
    address: str
    outcome: str
    detail: str


def audit_line(row: AuditRow, tr: Translator) -> AuditLine:
    """Put one line into words."""
    return AuditLine(
        at=row.at,
        actor=row.actor,
        action=row.action,
        what=action_name(row.action, tr),
        target="" if row.target == row.actor else row.target,
        address=row.address,
        outcome=_outcome_words(row.outcome, tr),
        detail=_detail_words(row.detail),
    )


def action_name(action: str, tr: Translator) -> str:
    """What people call it."""
    return tr(ACTIONS[action]) if action in ACTIONS else action


def _outcome_words(outcome: str, tr: Translator) -> str:
    """What came of it, "" if it was done."""
    words_for = OUTCOMES.get(outcome, outcome)
    return tr(words_for) if words_for else ""


def _detail_words(text: str) -> str:
    try:
        detail = json.loads(text or "{}")
    except ValueError:
        return text
    if not isinstance(detail, Mapping):
        return text
    return ", ".join(f"{key}: {value}" for key, value in detail.items())


@dataclass(frozen=True, slots=True)
class Period:
    """The days that a list is limited to, as typed and as wall seconds in the hub's time zone."""

    since: str = ""
    until: str = ""
    """The last day, included."""
    since_s: float | None = None
    until_s: float | None = None
    """Where the day after the last one begins."""


def parse_period(query: Mapping[str, str]) -> Period:
    """Read `since` and `until`: days, as a browser's date field sends them.

    Raises:
        BadQuery: One is no day.
    """
    since, until = query.get("since", "").strip(), query.get("until", "").strip()
    after = _parse_day(until) + timedelta(days=1) if until else None
    return Period(
        since, until, _begin(_parse_day(since)) if since else None, _begin(after) if after else None
    )


def _parse_day(text: str) -> date:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        day = date.min
    # Beyond these, the machine's time zone knows no seconds.
    if not 1970 < day.year < 9999:
        raise BadQuery("This is no day: write it as 2026-01-31.")
    return day


def _begin(day: date) -> float:
    return datetime.combine(day, time()).timestamp()
