"""The values of one user's Jupyter server. Pure.

A *server* is what the user has (at most one). Each start is an *attempt* with an id and a tag of its own; the server
is its newest attempt. Attempts that ended are history.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from urllib.parse import quote

from minihub.schedulers.base import Endpoint


class State(StrEnum):
    """Where one attempt is in its life."""

    SUBMITTING = "submitting"  # written down; the scheduler is being asked
    QUEUED = "queued"  # the scheduler has a job that does not run yet
    STARTING = "starting"  # the job runs; Jupyter is not reachable yet
    READY = "ready"
    STOPPING = "stopping"  # an end is wanted; the job is not confirmed gone
    STOPPED = "stopped"  # ended as wanted, or by itself without fault
    FAILED = "failed"  # ended with a Failure

    @property
    def is_final(self) -> bool:
        """Nothing more happens to this attempt."""
        return self in (State.STOPPED, State.FAILED)


class StopCause(StrEnum):
    """Who or what wanted the end."""

    USER = "user"
    LOGOUT = "logout"
    ADMIN = "admin"
    API = "api"
    IDLE = "idle"
    AGE = "age"
    SPAWN_TIMEOUT = "spawn_timeout"
    START_TIMEOUT = "start_timeout"
    NEVER_STARTS = "never_starts"
    UNSAFE = "unsafe"
    SUPERSEDED = "superseded"


class FailureKind(StrEnum):
    """Why an attempt failed; pages and metrics group by it."""

    REJECTED = "rejected"  # the scheduler said no, at once or for as long as the job would wait
    UNAVAILABLE = "unavailable"  # the scheduler or the way to it does not answer
    DOUBTFUL = "doubtful"  # no answer to the submission, and no job came of it
    SPAWN_TIMEOUT = "spawn_timeout"  # the job did not start in time
    START_TIMEOUT = "start_timeout"  # the job ran, Jupyter did not come up in time
    DIED = "died"  # the job ended while starting
    UNSAFE = "unsafe"  # what answered was not the user's protected server
    TIME_LIMIT = "time_limit"
    OUT_OF_MEMORY = "out_of_memory"
    NODE_FAILED = "node_failed"
    PREEMPTED = "preempted"
    CANCELLED = "cancelled"  # cancelled by somebody else than the hub
    EXITED = "exited"  # Jupyter ended by itself
    VANISHED = "vanished"  # gone, and nobody can say how


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt ended otherwise than wanted, in words for its user."""

    kind: FailureKind
    message: str
    """One sentence: what happened ("Spawn failed: Timeout")."""
    reason: str = ""
    """Why, as far as known: Slurm's reason in plain words, its error text ..."""
    advice: str = ""
    """What to do next."""


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """What the user asked for; the same names in forms, links, REST `user_options` and history."""

    time_hours: float
    cores: int
    memory_mb: int
    """MiB, as Slurm counts; called MB on the form as Slurm's users do."""
    interface: str = "lab"
    account: str | None = None
    qos: str | None = None
    partition: str | None = None
    reservation: str | None = None
    gpu_type: str | None = None
    gpu_count: int = 0
    rescue: bool = False


@dataclass(frozen=True, slots=True)
class Secrets:
    """What only hub and job know. Encrypted in the store; repr shows nothing."""

    token: str = field(repr=False)
    """Jupyter's own token, which the proxy adds to every request."""
    report: str = field(repr=False)
    """What the launcher proves itself with, once."""
    server_cert: str = field(default="", repr=False)
    """PEM; the only certificate the hub accepts from this server. "" = no TLS."""
    client_cert: str = field(default="", repr=False)
    client_key: str = field(default="", repr=False)


NO_SECRETS = Secrets("", "")
"""Of attempts that are over, and of requests that start nothing."""


@dataclass(frozen=True, slots=True)
class ServerTls:
    """The job's part of an attempt's TLS identity: goes into the job script, is kept nowhere in the hub."""

    certificate: str = field(repr=False)
    """PEM; the hub knows it as `Secrets.server_cert`."""
    key: str = field(repr=False)
    client: str = field(repr=False)
    """PEM; the only client certificate that the server accepts."""


@dataclass(frozen=True, slots=True)
class StopClock:
    """When a READY server will be stopped if nothing happens, and why; see `idle`. Wall seconds."""

    cause: StopCause
    """IDLE or AGE: what comes first."""
    limit_s: float
    """The setting that it goes by."""
    warns_at: float
    """When the user will be, or was, warned."""
    stops_at: float
    idle_since: float
    """From when its idle time counts: the last use, or when the hub began to look."""
    is_warning: bool
    """It comes soon: the user is told, and may be allowed to postpone it."""
    postpones_left: int
    """How often the user may still do that."""
    postpone_s: float
    """For how long."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One start of a user's server, from the wish to its end. `step` in lifecycle.py makes new ones from old."""

    id: str
    """12 hex digits, random."""
    user: str
    tag: str
    options: ServerOptions
    secrets: Secrets = field(repr=False)
    state: State
    created_at: float
    """Wall seconds, as all times here."""
    changed_at: float
    """When `state` changed last."""
    deadline: float | None = None
    """When waiting for the next state is given up; None in READY and final states."""
    job_id: str | None = None
    submitted_at: float | None = None
    """Slurm's own submit time once a listing showed it: identity is job id + owner + this."""
    job_state: str = ""
    job_reason: str = ""
    """The scheduler's own word."""
    job_reason_words: str = ""
    """The same as a sentence for people."""
    node: str | None = None
    started_at: float | None = None
    expected_start: float | None = None
    ends_at: float | None = None
    """When the time limit ends the running job."""
    ready_at: float | None = None
    ended_at: float | None = None
    port: int | None = None
    """As the job reported it."""
    unreached: str = ""
    """Why the hub cannot reach what was reported, in words."""
    misses: int = 0
    """Successful listings in a row that lack the job; two mean that it is gone."""
    doubt_until: float | None = None
    """While set, sbatch may still be running somewhere: no job id, and none may be concluded."""
    cancel_asked_at: float | None = None
    stop_cause: StopCause | None = None
    failure: Failure | None = None
    log_path: str = ""
    """With %j; see `job_log_path`."""
    log_tail: str = ""
    last_activity: float | None = None
    """The last use that is known; true to about 30 s while it is used."""
    clock: StopClock | None = None
    """None: nothing but its time limit ends it, as far as is known."""
    postponed_until: float | None = None
    """By its user: before that no idle stop."""
    postpones: int = 0
    stop_limit_s: float | None = None
    """With IDLE or AGE: the limit that ended it."""

    def with_(self, **changes: object) -> Attempt:
        """Return a copy with `changes`."""
        return replace(self, **changes)  # type: ignore[arg-type]

    @property
    def is_live(self) -> bool:
        """A job of it exists or may exist."""
        return not self.state.is_final

    @property
    def job_log_path(self) -> str:
        """The log's path with the job id filled in, "" while there is no job."""
        return self.log_path.replace("%j", self.job_id) if self.job_id else ""


def server_path(base_path: str, user: str) -> str:
    """The path of `user`'s server, with slashes around: Jupyter's base_url, and what the proxy serves.

    This is the one encoded form of a user's name; the proxy accepts no other.
    """
    return f"{base_path}user/{quote(user, safe='')}/"


@dataclass(frozen=True, slots=True)
class Route:
    """Where the proxy sends a user's requests. Exists only while the server is READY."""

    user: str
    attempt_id: str
    endpoint: Endpoint
    secrets: Secrets = field(repr=False)
    via_ssh: bool = False

    @property
    def uses_tls(self) -> bool:
        """Mutual TLS with the pair of this attempt."""
        return bool(self.secrets.server_cert)
