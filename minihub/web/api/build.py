"""From the hub's own values to the models of the API. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from minihub.servers.model import Attempt, State, StopCause
from minihub.servers.service import Progress
from minihub.web.api.models import (
    FailureModel,
    IdleModel,
    JobModel,
    ProgressModel,
    ResourcesModel,
    ServerModel,
    UserModel,
)
from minihub.web.urls import Urls

_PENDING: dict[State, Literal["spawn", "stop"]] = {
    State.SUBMITTING: "spawn",
    State.QUEUED: "spawn",
    State.STARTING: "spawn",
    State.STOPPING: "stop",
}
# Later than any clock of ours, and as far as four digits of a year go.
_LATEST_S = 253_402_300_799.0


def timestamp(wall_s: float) -> str:
    """ISO 8601 in UTC, as JupyterHub writes it."""
    moment = datetime.fromtimestamp(min(max(wall_s, 0.0), _LATEST_S), UTC)
    return moment.isoformat().replace("+00:00", "Z")


def maybe(wall_s: float | None) -> str | None:
    """The same of a time that there may not be."""
    return None if wall_s is None else timestamp(wall_s)


def pending_of(attempt: Attempt | None) -> Literal["spawn", "stop"] | None:
    """JupyterHub's word for what is under way."""
    return _PENDING.get(attempt.state) if attempt else None


def outcome_of(attempt: Attempt) -> str | None:
    """How it ended, in a word; None while it lives."""
    if attempt.is_live:
        return None
    if attempt.failure is not None:
        return attempt.failure.kind.value
    return attempt.stop_cause.value if attempt.stop_cause is not None else "ended"


def job_model(attempt: Attempt, now: float) -> JobModel:
    """What the scheduler has of it."""
    options = attempt.options
    started = attempt.started_at if attempt.node else None
    until = attempt.ended_at if attempt.ended_at is not None else now
    runs = attempt.ends_at is not None and attempt.is_live
    return JobModel(
        id=attempt.job_id,
        state=attempt.job_state or None,
        reason=attempt.job_reason or None,
        account=options.account,
        partition=options.partition,
        node=attempt.node,
        resources=ResourcesModel(
            cores=options.cores,
            memory_mb=options.memory_mb,
            gpu_type=options.gpu_type,
            gpu_count=options.gpu_count,
            time_hours=options.time_hours,
        ),
        submitted=maybe(attempt.submitted_at),
        started=maybe(started),
        expected_start=maybe(attempt.expected_start) if attempt.state is State.QUEUED else None,
        ends=maybe(attempt.ends_at),
        ended=maybe(attempt.ended_at),
        elapsed_s=None if started is None else max(0, round(until - started)),
        time_left_s=max(0, round(attempt.ends_at - now)) if runs and attempt.ends_at is not None else None,
        outcome=outcome_of(attempt),
    )


def idle_model(attempt: Attempt) -> IdleModel | None:
    """When and why a running server will be stopped; None where nothing but its time limit ends it."""
    clock = attempt.clock
    if clock is None:
        return None
    return IdleModel(
        why="age" if clock.cause is StopCause.AGE else "idle",
        limit_s=clock.limit_s,
        idle_since=timestamp(clock.idle_since),
        stops_at=timestamp(clock.stops_at),
        warning=clock.is_warning,
        postponed=attempt.postpones,
        postponed_until=maybe(attempt.postponed_until),
        postpones_left=clock.postpones_left,
    )


@dataclass(frozen=True, slots=True)
class Drawer:
    """Makes the models of servers and users at one moment."""

    urls: Urls
    now: float
    """Wall seconds."""
    public_url: str
    """hub.public_url; "" if it is not set."""
    active: Callable[[str], float | None]
    """When traffic last passed to a user's server, in wall seconds; None if it did not yet."""

    def _last_use(self, attempt: Attempt) -> float | None:
        """When a server was used last, as far as anybody knows."""
        now = self.active(attempt.user) if attempt.is_live else None
        known = [t for t in (now, attempt.last_activity) if t is not None and t >= attempt.created_at]
        return max(known, default=None)

    def last_activity(self, seen: float | None, attempt: Attempt | None) -> float | None:
        """When a user was active last: seen by the hub, or by his server."""
        used = self._last_use(attempt) if attempt is not None else None
        return max((t for t in (seen, used) if t is not None), default=None)

    def server_fields(self, attempt: Attempt) -> dict[str, Any]:
        """The fields of a ServerModel."""
        failure = attempt.failure
        path = self.urls.server(attempt.user)
        return {
            "name": "",
            "display_name": "",
            "full_name": f"{attempt.user}/",
            "last_activity": timestamp(self._last_use(attempt) or attempt.changed_at),
            "started": timestamp(attempt.created_at),
            "pending": pending_of(attempt),
            "ready": attempt.state is State.READY,
            "stopped": not attempt.is_live,
            "url": path,
            "full_url": self._origin + path if self.public_url else None,
            "progress_url": self.urls.api_progress(attempt.user),
            "user_options": {k: v for k, v in asdict(attempt.options).items() if v is not None},
            "state": attempt.state.value,
            "job": job_model(attempt, self.now),
            "failure": None
            if failure is None
            else FailureModel(
                kind=failure.kind.value,
                message=failure.message,
                reason=failure.reason,
                advice=failure.advice,
            ),
            "stop_cause": attempt.stop_cause.value if attempt.stop_cause is not None else None,
            "idle": idle_model(attempt),
            "ended": maybe(attempt.ended_at),
        }

    def server(self, attempt: Attempt) -> ServerModel:
        """One server."""
        return ServerModel(**self.server_fields(attempt))

    def user_fields(
        self,
        person: Person,
        attempt: Attempt | None,
        may: Callable[[str], bool],
        *,
        with_stopped: bool = False,
    ) -> dict[str, Any]:
        """The fields of a UserModel that somebody sees who may do what the scopes say for which `may` is true.

        `servers` holds the live server only, as JupyterHub's does; with `with_stopped` the last one too.
        """
        live = attempt if attempt is not None and attempt.is_live else None
        shown = attempt if with_stopped else live
        makers: dict[str, Callable[[], Any]] = {
            "kind": lambda: "user",
            "name": lambda: person.name,
            "admin": lambda: person.admin,
            "roles": lambda: ["user", "admin"] if person.admin else ["user"],
            "groups": lambda: sorted(person.groups),
            "server": lambda: (
                self.urls.server(person.name) if live is not None and live.state is State.READY else None
            ),
            "pending": lambda: pending_of(live),
            "created": lambda: maybe(person.created),
            "last_activity": lambda: maybe(self.last_activity(person.seen, attempt)),
            "servers": lambda: {"": self.server(shown)} if shown is not None else {},
        }
        return {
            key: make()
            for key, make in makers.items()
            if key not in _SHOWN_TO or any(map(may, _SHOWN_TO[key]))
        }

    @property
    def _origin(self) -> str:
        scheme, _, rest = self.public_url.partition("://")
        return f"{scheme}://{rest.partition('/')[0]}"


@dataclass(frozen=True, slots=True)
class Person:
    """What is known of a user."""

    name: str
    admin: bool
    created: float | None = None
    """Wall seconds; None if only his server is known."""
    seen: float | None = None
    groups: frozenset[str] = frozenset()


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


def user_model(
    drawer: Drawer,
    person: Person,
    attempt: Attempt | None,
    may: Callable[[str], bool],
    *,
    with_stopped: bool = False,
) -> UserModel:
    """One user; see `Drawer.user_fields`."""
    return UserModel(**drawer.user_fields(person, attempt, may, with_stopped=with_stopped))


def progress_model(event: Progress, urls: Urls, user: str, words: str) -> ProgressModel:
    """One event of a starting server; `words` is its message in the reader's language."""
    data: dict[str, Any] = {"progress": event.percent, "message": words}
    if event.ready:
        data |= {"ready": True, "url": urls.server(user)}
    if event.failed:
        data["failed"] = True
    if event.attempt is not None:
        attempt = event.attempt
        data |= {"state": attempt.state.value, "job_id": attempt.job_id, "reason": attempt.job_reason}
        if attempt.failure is not None:
            failure = attempt.failure
            data |= {"reason": failure.reason, "advice": failure.advice, "kind": failure.kind.value}
    return ProgressModel(**data)
