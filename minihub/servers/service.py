"""What pages, REST API, command line and proxy may ask of the servers room. Everyone uses this one layer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from minihub.schedulers.base import Estimate, Limits
from minihub.servers.model import Attempt, Route, ServerOptions, StopCause
from minihub.store.rows import HistoryQuery


@dataclass(frozen=True, slots=True)
class Progress:
    """One event of a starting (or stopping) server, for the waiting page and the API."""

    percent: int
    """0 to 100; only ever grows within an attempt."""
    message: str
    """Plain words: state and reason."""
    ready: bool = False
    failed: bool = False
    stopped: bool = False
    attempt: Attempt | None = None


@dataclass(frozen=True, slots=True)
class SchedulerHealth:
    """The state of our view of the scheduler, shown with its age on pages."""

    name: str
    last_answer_at: float | None
    """Wall seconds of the last good listing; None if there never was one."""
    failing_since: float | None = None
    """Wall seconds of the first failure since the last good answer; None while it answers."""
    problem: str = ""
    """What is wrong, in plain words; "" if nothing is."""
    detail: str = ""
    """The same for admins: what exactly was said, and the cure where one is known."""
    listing_took_s: float | None = None
    hidden: bool = False
    """Other users' jobs are hidden from the service account; `problem` says so too."""
    waiting_total: int = 0
    unknown_jobs: tuple[tuple[str, str, str], ...] = ()
    """(job id, owner, name) of jobs that carry a hub's tag, this one's or another's, but are not in the records: shown to
    admins, never cancelled."""


@dataclass(frozen=True, slots=True)
class OptionsForm:
    """All that the options form needs to be drawn: choices, bounds, what to show first."""

    limits: Limits | None
    """None where the scheduler has never answered: the page says so (`problem`)."""
    values: dict[str, Any] = field(default_factory=dict)
    """First values by option name: the last choice if still possible, else the site's defaults."""
    locked: frozenset[str] = frozenset()
    """Options the site has fixed."""
    hidden: frozenset[str] = frozenset()
    interfaces: tuple[str, ...] = ("lab",)
    accounts: tuple[str, ...] = ()
    max_time_hours: float | None = None
    max_cores: int | None = None
    max_memory_mb: int | None = None
    problem: str = ""
    """Why a start is not possible now (no account, scheduler silent); "" if it is."""
    warning: str = ""


class Servers(Protocol):
    """One user's Jupyter server, for every user."""

    def get(self, user: str) -> Attempt | None:
        """The user's newest attempt, live or ended; None if there never was one (or it is long past)."""
        ...

    def all(self) -> list[Attempt]:
        """Every user's live attempt."""
        ...

    def route(self, user: str) -> Route | None:
        """Where to send `user`'s requests; None unless READY. Cheap: asked for every request."""
        ...

    def touch(self, user: str) -> None:
        """`user`'s server is used now: traffic passed that no idle tab makes. Cheap."""
        ...

    def last_activity(self, user: str) -> float | None:
        """Wall seconds of the last use of `user`'s server that this hub process was told of; None if of none.

        What kernels and terminals did is in `Attempt.last_activity` only, as far as the server was asked.
        """
        ...

    def note_activity(self, user: str, at: float) -> None:
        """`user`'s server was used at `at`, wall seconds, says a program; what lies ahead counts as now. Cheap."""
        ...

    def doubt(self, user: str) -> None:
        """`user`'s READY server could not be reached: look soon whether its job still runs. Cheap."""
        ...

    async def form(self, user: str, prefill: Mapping[str, Any] | None = None) -> OptionsForm:
        """What `user` may choose. Never raises for a silent scheduler: says it in `problem`."""
        ...

    async def estimate(self, user: str, raw: Mapping[str, Any]) -> Estimate:
        """When such a server would start; raises OptionsError, SchedulerError."""
        ...

    async def start(self, user: str, raw: Mapping[str, Any] | None, *, by: str) -> tuple[Attempt, bool]:
        """Start `user`'s server with the raw (unchecked, string or JSON) options; None repeats the last ones.

        Returns at once, with the attempt written down: the waiting is for `progress`.

        Returns:
            The live attempt, and whether this call made it (False: there was one already, options ignored).

        Raises:
            OptionsError: With one message per wrong field. Unknown names are wrong too.
            Conflict: The last one is still stopping; the message says so.
            SchedulerUnavailable: The scheduler is known not to answer: nothing new is begun.
            StoreError: It cannot be written down, so it is not done.
        """
        ...

    async def stop(self, user: str, cause: StopCause, *, by: str) -> Attempt | None:
        """Want the end of `user`'s server, in whatever state it is; returns at once; twice is once.

        Returns:
            The attempt (STOPPING, or final already), None if there is none.
        """
        ...

    async def postpone(self, user: str, *, by: str) -> tuple[Attempt, bool]:
        """Put off the stop of `user`'s server of which he is warned; twice is once.

        Returns:
            The attempt, and whether this call put it off (False: there is no warning now).

        Raises:
            Conflict: There is no running server, or its stop cannot be put off (any more).
        """
        ...

    async def wait_final(self, user: str, timeout_s: float) -> bool:
        """Wait until `user` has no live attempt; False if it still lives after `timeout_s`."""
        ...

    def progress(self, user: str) -> AsyncIterator[Progress]:
        """Events from now until ready, failed or stopped (which is the last one); the present state comes first."""
        ...

    async def report(self, secret: str, port: int | None) -> bool:
        """A launcher says where its Jupyter listens, or (None) that its job runs; written down when this returns.

        Returns:
            False: nobody waits for that secret (any more).
        """
        ...

    async def history(self, user: str | None, *, limit: int = 50, offset: int = 0) -> list[Attempt]:
        """Past and present attempts, newest first."""
        ...

    async def past(self, query: HistoryQuery) -> tuple[list[Attempt], int]:
        """Past and present attempts that are asked for, newest first, and how many there are without limit and offset."""
        ...

    async def last_options(self, user: str) -> ServerOptions | None:
        """What `user` asked for last."""
        ...

    def health(self) -> SchedulerHealth:
        """How our view of the scheduler is."""
        ...
