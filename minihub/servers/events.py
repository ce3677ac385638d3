"""What can happen to an attempt, and what the lifecycle wants done about it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from minihub.schedulers.base import Job, JobEnding
from minihub.servers.model import Failure, StopCause, StopClock

# ---- events ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Submitted:
    """The scheduler took the job."""

    job_id: str


@dataclass(frozen=True, slots=True)
class SubmitFailed:
    """There is certainly no job."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class SubmitDoubted:
    """Nobody knows whether there is a job; after `settles_at` (wall seconds) none can come any more."""

    settles_at: float


@dataclass(frozen=True, slots=True)
class JobSeen:
    """A good listing shows the job."""

    job: Job


@dataclass(frozen=True, slots=True)
class JobMissing:
    """A good listing, asked for at `asked_at`, lacks the job."""

    asked_at: float


@dataclass(frozen=True, slots=True)
class JobEnded:
    """The job is over; `ending` is None where nobody knows how."""

    ending: JobEnding | None
    log_tail: str = ""


@dataclass(frozen=True, slots=True)
class PortReported:
    """The launcher said where Jupyter listens."""

    port: int


@dataclass(frozen=True, slots=True)
class Proved:
    """The user's protected Jupyter answers at the endpoint."""


@dataclass(frozen=True, slots=True)
class NotReached:
    """Jupyter has said where it listens, but did not answer the hub there."""

    why: str
    """In words."""


@dataclass(frozen=True, slots=True)
class FoundUnsafe:
    """Something answers there that must not be trusted."""

    message: str


@dataclass(frozen=True, slots=True)
class StopWanted:
    """Somebody or something wants the end."""

    cause: StopCause
    limit_s: float | None = None
    """With IDLE or AGE: the limit that was reached."""


@dataclass(frozen=True, slots=True)
class LogRead:
    """The end of the job's log, as it is now."""

    tail: str


@dataclass(frozen=True, slots=True)
class Adopted:
    """A new hub process takes over; the one before may have been gone for long."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What is known of the server's use, and when it will be stopped for lack of it, or for its age."""

    used_at: float
    clock: StopClock | None


@dataclass(frozen=True, slots=True)
class Postponed:
    """The user keeps an idle server until then."""

    until: float


@dataclass(frozen=True, slots=True)
class Ticked:
    """Time has passed."""


Event = (
    Submitted
    | SubmitFailed
    | SubmitDoubted
    | JobSeen
    | JobMissing
    | JobEnded
    | PortReported
    | Proved
    | NotReached
    | FoundUnsafe
    | StopWanted
    | LogRead
    | Adopted
    | Judged
    | Postponed
    | Ticked
)


# ---- commands -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cancel:
    """Ask the scheduler for the job's end."""

    job_id: str
    read_log_first: bool = False
    """A stopped launcher removes its log: read it while it is there."""


@dataclass(frozen=True, slots=True)
class Prove:
    """Find out whether the user's protected Jupyter answers; go on trying while STARTING."""


@dataclass(frozen=True, slots=True)
class ListNow:
    """Look at the jobs soon: something has happened."""


@dataclass(frozen=True, slots=True)
class Explain:
    """Find out how the job ended and read its log; comes back as JobEnded."""

    job_id: str
    shown_state: str = ""
    """The final state the listing showed; "" where the job was simply no longer listed."""


@dataclass(frozen=True, slots=True)
class CloseConnections:
    """Close what is proxied to this server."""


Command = Cancel | Prove | ListNow | Explain | CloseConnections
