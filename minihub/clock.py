"""The hub's only clock: everyone who needs the time is handed one, so that tests can move it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol


class Clock(Protocol):
    """Tells the time."""

    def wall(self) -> float:
        """Seconds since the epoch; may jump. For deadlines in the store and for people."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back. For intervals within this process."""
        ...


class SystemClock:
    """The machine's clock."""

    def wall(self) -> float:
        """Seconds since the epoch."""
        return time.time()  # noqa: TID251 - the one place that asks

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()


@dataclass(slots=True)
class ManualClock:
    """A clock that tests move by hand."""

    now: float = 1_800_000_000.0

    def wall(self) -> float:
        """Seconds since the epoch, as set."""
        return self.now

    def monotonic(self) -> float:
        """The same number."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Move forward."""
        self.now += seconds
