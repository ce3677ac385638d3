"""What every scheduler can do, and the values it speaks in. Pure: no I/O, no clock."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from minihub.schedulers.measures import CommandMeasures

_PORT = re.compile(r"[1-9][0-9]{0,4}", re.ASCII)


class JobPhase(StrEnum):
    """What a job's state means for us, whatever the scheduler calls it."""

    WAITING = "waiting"  # PENDING, CONFIGURING, REQUEUED, held ...
    RUNNING = "running"  # RUNNING, SUSPENDED, STOPPED, SIGNALING ...
    ENDING = "ending"  # COMPLETING: still holds its node, cannot serve
    ENDED = "ended"  # a final state
    UNKNOWN = "unknown"  # a word we do not know: concludes nothing


@dataclass(frozen=True, slots=True)
class JobRequest:
    """One job to be submitted. All words are validated before they come here."""

    user: str
    """Canonical Unix name of the owner."""
    home: str
    """Absolute path of the owner's home directory where the job runs."""
    tag: str
    """Public name of this attempt: "minihub-HUBID-ATTEMPT"; goes into the job's name and comment."""
    script: str
    """The whole job script. Holds secrets: stdin only, never argv, never a log."""
    time_limit: timedelta
    cores: int
    memory_mib: int
    account: str | None = None
    qos: str | None = None
    partition: str | None = None
    reservation: str | None = None
    gpu_type: str | None = None
    gpu_count: int = 0
    log_path: str = "/dev/null"
    """Where the job's output goes; %j is the job id."""


@dataclass(frozen=True, slots=True)
class Job:
    """One job as a listing shows it."""

    id: str
    user: str
    name: str
    state: str
    """The scheduler's own word, such as PENDING."""
    phase: JobPhase
    reason: str = ""
    """The scheduler's own word, such as Priority; "" if none."""
    reason_words: str = ""
    """The same as a sentence for people; "" if there is none."""
    hopeless: bool = False
    """A waiting job that cannot start for this reason, however long it waits."""
    node: str | None = None
    comment: str = ""
    submitted_at: float | None = None
    """Wall seconds."""
    started_at: float | None = None
    """Wall seconds; for a waiting job the expected start, None if unknown."""
    ends_at: float | None = None
    """Wall seconds at which the time limit ends a running job."""
    partition: str = ""
    account: str = ""
    exit_status: str = ""


@dataclass(frozen=True, slots=True)
class Listing:
    """One successful, complete look at the scheduler's jobs."""

    asked_at: float
    """Wall seconds just before the scheduler was asked: a job submitted later may be missing honestly."""
    took_s: float
    jobs: tuple[Job, ...]
    sees_all_users: bool = True
    """False where other users' jobs may be hidden from us (PrivateData): then absence proves nothing."""
    waiting_total: int = 0
    """All waiting jobs of the cluster, ours or not, for people to judge the queue."""


@dataclass(frozen=True, slots=True)
class JobEnding:
    """How a job ended, from accounting where there is one."""

    state: str
    """The scheduler's final word: COMPLETED, FAILED, TIMEOUT, CANCELLED, OUT_OF_MEMORY, NODE_FAIL, PREEMPTED ..."""
    exit_status: int | None = None
    signal: int | None = None
    elapsed_s: float | None = None
    cancelled_by: str | None = None
    """Who cancelled it, where the scheduler tells."""
    max_memory_mib: int | None = None
    node: str | None = None
    is_whole: bool = True
    """False while accounting has not heard of the end, which it will: it may tell who cancelled, and the peak."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a user's Jupyter listens: TCP (host and port) or a unix socket (path and owner)."""

    host: str | None = None
    port: int | None = None
    path: str | None = None
    uid: int | None = None
    """The owner that SO_PEERCRED must show on a unix socket."""


@dataclass(frozen=True, slots=True)
class GpuType:
    """One kind of GPU and how many a single node has at most."""

    name: str
    per_node: int
    partitions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Partition:
    """One partition, as far as the server options need it."""

    name: str
    default: bool = False
    up: bool = True
    max_time: timedelta | None = None
    """None = no limit."""
    max_cores: int = 0
    """Most cores any one node of it has."""
    max_memory_mib: int = 0
    gpus: tuple[GpuType, ...] = ()
    idle_cores: int | None = None
    """Cores idle at the last look; None if unknown."""
    allow_accounts: tuple[str, ...] | None = None
    allow_qos: tuple[str, ...] | None = None
    allow_groups: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Association:
    """One account that a user may charge, with what it limits."""

    account: str
    partition: str | None = None
    """Only there, if set."""
    qos: tuple[str, ...] = ()
    default_qos: str | None = None
    max_time: timedelta | None = None
    max_cores: int | None = None
    max_memory_mib: int | None = None
    max_gpus: int | None = None
    default: bool = False


@dataclass(frozen=True, slots=True)
class Limits:
    """What one user may ask for."""

    partitions: tuple[Partition, ...]
    associations: tuple[Association, ...] = ()
    uses_accounts: bool = True
    """False where the scheduler has no accounts at all (local): the form shows no account."""
    reservations: tuple[str, ...] = ()
    qos_max_time: dict[str, timedelta] = field(default_factory=dict)
    read_at: float = 0.0
    """Wall seconds of the look; shown as its age."""
    max_time: timedelta | None = None
    problem: str = ""
    """Why this may be incomplete or old; "" if it is neither."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """When the scheduler thinks a request would start."""

    starts_at: float | None
    """Wall seconds; None if it cannot say."""
    message: str = ""
    """The scheduler's own words."""


class Scheduler(Protocol):
    """Runs users' jobs. Slurm or this machine; knows nothing of HTTP or Jupyter."""

    name: str
    """"slurm" or "local"."""

    @property
    def measures(self) -> CommandMeasures:
        """What its commands cost; nothing where it runs none."""
        ...

    async def start(self) -> None:
        """Prepare (prove that the listing sees all users, read limits); raises SchedulerError only if useless."""
        ...

    async def submit(self, request: JobRequest) -> str:
        """Submit and return the job id.

        Raises:
            SubmitRejected: There is certainly no job; its message is the scheduler's reason in plain words.
            SubmitDoubtful: There may be one.
            SchedulerUnavailable: There is certainly no job, since nobody could be asked.
        """
        ...

    async def cancel(self, user: str, job_id: str) -> None:
        """Ask for the job's end; only a listing confirms it. Cancelling a job that is gone is no error.

        Raises:
            SchedulerUnavailable: It could not be asked; ask again.
        """
        ...

    async def list_jobs(self) -> Listing:
        """Look at everybody's jobs at once.

        Raises:
            SchedulerUnavailable, OutputNotUnderstood: Nothing can be concluded.
        """
        ...

    async def ending(self, user: str, job_id: str) -> JobEnding | None:
        """How a job ended, None if nobody knows (any more, or not yet). Never raises SchedulerUnavailable."""
        ...

    async def lives(self, user: str, job_id: str) -> bool | None:
        """Whether the scheduler, asked about this one job, shows it alive; None if nobody could be asked.

        The second opinion before a job that listings lack is called gone.
        """
        ...

    async def log_tail(self, user: str, path: str, *, max_bytes: int = 16384) -> str:
        """The end of a job's log, read as the user; "" if there is none or it cannot be read."""
        ...

    async def limits(self, user: str) -> Limits:
        """What `user` may ask for, from a cache that is refreshed behind the scenes; waits only the first time.

        Raises:
            SchedulerUnavailable: Never read yet and nobody answers now.
        """
        ...

    async def estimate(self, request: JobRequest) -> Estimate:
        """When this very request would start.

        Raises:
            SubmitRejected: It would be refused.
            SchedulerUnavailable: Nobody answers.
        """
        ...

    def socket_path(self, user: str, tag: str) -> Path | None:
        """Where a server of this attempt shall listen on a unix socket; None: on TCP, port 0."""
        ...

    def endpoint(self, job: Job, port: int | None) -> Endpoint | None:
        """Where the job's Jupyter listens, None while that is unknown. The host is never what the job claims."""
        ...

    async def warm(self, user: str) -> None:
        """A start by `user` is likely soon; never raises."""
        ...

    async def close(self) -> None:
        """End what is open; never touches a job."""
        ...


def parse_port(comment: str, tag: str) -> int | None:
    """The port that a job reports in its comment ("TAG port"); None if there is none (yet), or it is not ours."""
    # No pattern with the tag in it: each attempt's would be compiled, and kept.
    mine, _, port = comment.partition(" ")
    if not tag or mine != tag or _PORT.fullmatch(port) is None or int(port) > 65535:
        return None
    return int(port)
