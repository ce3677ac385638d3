"""Attempts as the store keeps them: one JSON document, secrets apart. Pure."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from typing import Any

from minihub.errors import StoreError
from minihub.servers.model import Attempt, Failure, FailureKind, Secrets, ServerOptions, State, StopCause
from minihub.store.rows import AttemptRow

_COLUMNS = ("id", "user", "tag", "state", "created_at", "changed_at", "ended_at", "job_id")
# What listings refresh anyway is not worth a write of its own.
_VOLATILE = (
    "job_state",
    "job_reason",
    "job_reason_words",
    "expected_start",
    "unreached",
    "misses",
    "log_tail",
    "last_activity",
    "clock",
    "cancel_asked_at",
)
_NOT_KEPT = (*_COLUMNS, "secrets", "clock")
_ACTIVITY_STEP_S = 600
"""The last use of a server is written down about so often while it is used: not worth more, and read only after a restart."""


def is_worth_saving(old: Attempt, new: Attempt) -> bool:
    """Whether `new` differs in anything that a restarted hub would miss."""
    if old is new:
        return False
    if _activity_step(old) != _activity_step(new):
        return True
    return any(
        getattr(old, f.name) != getattr(new, f.name) for f in fields(Attempt) if f.name not in _VOLATILE
    )


def _activity_step(attempt: Attempt) -> float:
    return (attempt.last_activity or 0.0) // _ACTIVITY_STEP_S


def build_row(attempt: Attempt) -> AttemptRow:
    """The attempt as one row."""
    data = {k: v for k, v in asdict(attempt).items() if k not in _NOT_KEPT}
    return AttemptRow(
        id=attempt.id,
        user=attempt.user,
        tag=attempt.tag,
        state=attempt.state.value,
        live=attempt.is_live,
        created_at=attempt.created_at,
        changed_at=attempt.changed_at,
        ended_at=attempt.ended_at,
        job_id=attempt.job_id,
        data=json.dumps(data),
        secrets=json.dumps(asdict(attempt.secrets)),
    )


def parse_row(row: AttemptRow) -> Attempt:
    """The row as an attempt; unknown keys of a newer hub are passed over.

    Raises:
        StoreError: The row is damaged.
    """
    try:
        data: dict[str, Any] = json.loads(row.data)
        secrets = json.loads(row.secrets) if row.secrets else {"token": "", "report": ""}
        known = {f.name for f in fields(Attempt)} - {*_NOT_KEPT, "options", "failure", "stop_cause"}
        return Attempt(
            id=row.id,
            user=row.user,
            tag=row.tag,
            state=State(row.state),
            created_at=row.created_at,
            changed_at=row.changed_at,
            ended_at=row.ended_at,
            job_id=row.job_id,
            options=parse_stored_options(data["options"]),
            secrets=Secrets(**secrets),
            failure=_parse_failure(data.get("failure")),
            stop_cause=StopCause(data["stop_cause"]) if data.get("stop_cause") else None,
            **{k: v for k, v in data.items() if k in known},
        )
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(None, f"attempt {row.id} of {row.user} is damaged: {error}") from error


def parse_stored_options(data: dict[str, Any]) -> ServerOptions:
    """Options as they were written down."""
    names = {f.name for f in fields(ServerOptions)}
    return ServerOptions(**{k: v for k, v in data.items() if k in names})


def _parse_failure(data: dict[str, Any] | None) -> Failure | None:
    return Failure(**{**data, "kind": FailureKind(data["kind"])}) if data else None
