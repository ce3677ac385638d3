"""What came of users' servers since the hub was started: how long they waited, how they ended. Pure."""

from __future__ import annotations

from collections import Counter

from minihub.histogram import Histogram
from minihub.servers.model import Attempt, State

WAITS_S = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 6 * 3600)
STARTS_S = (0.5, 1, 2, 3, 5, 8, 13, 20, 30, 60, 120, 300)
_BEFORE = (State.SUBMITTING, State.QUEUED)
_MAX_LATE = 10_000


class Measures:
    """Told of every change of a server's state."""

    def __init__(self) -> None:
        self.queue_wait_s = Histogram(WAITS_S)
        """From the wish until the job ran."""
        self.start_s = Histogram(STARTS_S)
        """From then until Jupyter answered."""
        self.spawn_s = Histogram(WAITS_S)
        """Both: from the click to Jupyter."""
        self.begun = 0
        self.failures: Counter[str] = Counter()
        """By FailureKind."""
        self.stops: Counter[str] = Counter()
        """By StopCause; "finished" where nobody wanted it and nothing failed."""
        self.late_jobs = 0
        """Jobs of attempts that were over, which had to be cancelled."""
        self._late: set[str] = set()

    def note_change(self, old: Attempt, new: Attempt) -> None:
        """A server changed; only a new state counts."""
        if new.state is old.state:
            return
        if old.state in _BEFORE and new.state in (State.STARTING, State.READY):
            self.queue_wait_s.observe((new.started_at or new.changed_at) - new.created_at)
        if new.state is State.READY:
            self.start_s.observe(new.changed_at - (new.started_at or old.changed_at))
            self.spawn_s.observe(new.changed_at - new.created_at)
        elif new.state is State.FAILED:
            self.failures[new.failure.kind.value if new.failure else "unknown"] += 1
        elif new.state is State.STOPPED:
            self.stops[new.stop_cause.value if new.stop_cause else "finished"] += 1

    def note_late_job(self, job_id: str) -> None:
        """A job of an attempt that is over has come; told again in each listing until it is gone."""
        if job_id not in self._late:
            if len(self._late) >= _MAX_LATE:
                self._late.clear()
            self._late.add(job_id)
            self.late_jobs += 1
