"""Users, servers and progress as JSON, in JupyterHub's shapes with a `job` more. Pure.

Source: JupyterHub 6 REST API, models User and Server.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from minihub.servers.model import Attempt, State
from minihub.servers.service import Progress
from minihub.web.urls import Urls

_PENDING = {State.SUBMITTING: "spawn", State.QUEUED: "spawn", State.STARTING: "spawn", State.STOPPING: "stop"}


def timestamp(wall_s: float | None) -> str | None:
    """ISO 8601 in UTC, as JupyterHub writes it."""
    return None if wall_s is None else datetime.fromtimestamp(wall_s, UTC).isoformat().replace("+00:00", "Z")


def pending_of(attempt: Attempt | None) -> str | None:
    """JupyterHub's word for what is under way."""
    return _PENDING.get(attempt.state) if attempt else None


def job_model(attempt: Attempt) -> dict[str, Any]:
    """What Slurm has of it."""
    options = attempt.options
    return {
        "id": attempt.job_id,
        "state": attempt.job_state or None,
        "reason": attempt.job_reason or None,
        "account": options.account,
        "partition": options.partition,
        "node": attempt.node,
        "resources": {
            "cores": options.cores,
            "memory_mb": options.memory_mb,
            "gpu_type": options.gpu_type,
            "gpu_count": options.gpu_count,
            "time_hours": options.time_hours,
        },
        "submitted": timestamp(attempt.submitted_at),
        "started": timestamp(attempt.started_at) if attempt.node else None,
        "expected_start": timestamp(attempt.expected_start) if attempt.state is State.QUEUED else None,
        "ends": timestamp(attempt.ends_at),
        "time_left_s": None,
    }


def idle_model(attempt: Attempt) -> dict[str, Any] | None:
    """When and why a running server will be stopped; None where nothing but its time limit ends it."""
    clock = attempt.clock
    if clock is None:
        return None
    return {
        "idle_since": timestamp(clock.idle_since),
        "stops_at": timestamp(clock.stops_at),
        "why": clock.cause.value,
        "limit_s": clock.limit_s,
        "warning": clock.is_warning,
        "postponed": attempt.postpones,
        "postponed_until": timestamp(attempt.postponed_until),
        "postpones_left": clock.postpones_left,
    }


def server_model(
    attempt: Attempt, urls: Urls, *, now: float, last_activity: float | None = None
) -> dict[str, Any]:
    """One server."""
    job = job_model(attempt)
    if attempt.ends_at is not None and attempt.is_live:
        job["time_left_s"] = max(0, round(attempt.ends_at - now))
    failure = attempt.failure
    return {
        "name": "",
        "display_name": "",
        "full_name": f"{attempt.user}/",
        "last_activity": timestamp(last_activity or attempt.last_activity or attempt.changed_at),
        "started": timestamp(attempt.created_at),
        "pending": pending_of(attempt),
        "ready": attempt.state is State.READY,
        "stopped": not attempt.is_live,
        "url": urls.server(attempt.user),
        "progress_url": urls.api_progress(attempt.user),
        "user_options": {k: v for k, v in asdict(attempt.options).items() if v is not None},
        "state": attempt.state.value,
        "job": job,
        "failure": None
        if failure is None
        else {
            "kind": failure.kind.value,
            "message": failure.message,
            "reason": failure.reason,
            "advice": failure.advice,
        },
        "ended": timestamp(attempt.ended_at),
        "stop_cause": attempt.stop_cause.value if attempt.stop_cause is not None else None,
        "idle": idle_model(attempt),
    }


def user_model(
    name: str,
    attempt: Attempt | None,
    urls: Urls,
    *,
    admin: bool,
    created: float | None,
    seen: float | None,
    now: float,
) -> dict[str, Any]:
    """One user; `servers` holds the live server only, as JupyterHub's does."""
    live = attempt if attempt is not None and attempt.is_live else None
    return {
        "kind": "user",
        "name": name,
        "admin": admin,
        "roles": ["user", "admin"] if admin else ["user"],
        "groups": [],
        "server": urls.server(name) if live is not None and live.state is State.READY else None,
        "pending": pending_of(live),
        "created": timestamp(created),
        "last_activity": timestamp(max(seen or 0.0, (live and live.last_activity) or 0.0) or None),
        "servers": {"": server_model(live, urls, now=now)} if live is not None else {},
    }


# Field of a user: scopes, any of which shows it. The others are shown to everybody who may know the user.
_SHOWN_TO = {
    "roles": ("read:users",),
    "created": ("read:users",),
    "groups": ("read:users:groups",),
    "last_activity": ("read:users:activity",),
    "server": ("read:users", "read:servers"),
    "pending": ("read:users", "read:servers"),
    "servers": ("read:servers",),
}


def visible_part(model: dict[str, Any], may: Callable[[str], bool]) -> dict[str, Any]:
    """What of a user's model somebody sees who may do what the scopes say for which `may` is true."""
    return {
        key: value for key, value in model.items() if key not in _SHOWN_TO or any(map(may, _SHOWN_TO[key]))
    }


def progress_model(event: Progress, urls: Urls, user: str, words: str) -> dict[str, Any]:
    """One event of a starting server; `words` is its message in the reader's language."""
    data: dict[str, Any] = {"progress": event.percent, "message": words}
    if event.ready:
        data |= {"ready": True, "url": urls.server(user)}
    if event.failed:
        data["failed"] = True
    if event.attempt is not None:
        data |= {
            "state": event.attempt.state.value,
            "job_id": event.attempt.job_id,
            "reason": event.attempt.job_reason,
        }
        if event.attempt.failure is not None:
            failure = event.attempt.failure
            data |= {"reason": failure.reason, "advice": failure.advice, "kind": failure.kind.value}
    return data
