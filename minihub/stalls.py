"""Notices when the event loop stalls: for so long nobody's page and nobody's kernel was served."""

from __future__ import annotations

import asyncio
import logging

log = logging.getLogger(__name__)

STALL_S = 0.1
"""A shorter delay is no stall: nobody notices."""
_TICK_S = 0.05
"""A stall is measured from the tick that it delays: up to this much of it is not seen."""
_LOG_EVERY_S = 60.0


class StallWatch:
    """Counts how often the loop came back late, and how late at most. One timer; costs nothing to speak of."""

    def __init__(self) -> None:
        self.count = 0
        """Stalls so far."""
        self.longest_s = 0.0
        """The longest of them."""
        self.total_s = 0.0
        """All of them together."""
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._log_at = 0.0
        self._untold: list[float] = []

    def start(self) -> None:
        """Begin, in the running loop."""
        self._arm(asyncio.get_running_loop())

    def close(self) -> None:
        """End."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        self._due = loop.time() + _TICK_S
        self._timer = loop.call_at(self._due, self._tick, loop)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        self.note(loop.time() - self._due, loop.time())
        self._arm(loop)

    def note(self, late_s: float, now: float) -> None:
        """A tick came `late_s` after its time, at `now` (monotonic seconds)."""
        if late_s > STALL_S:
            self.count += 1
            self.longest_s = max(self.longest_s, late_s)
            self.total_s += late_s
            self._untold.append(late_s)
        if self._untold and now >= self._log_at:
            longest_ms = max(self._untold) * 1000
            log.warning("stalls of the event loop: %d, the longest %.0f ms", len(self._untold), longest_ms)
            self._untold.clear()
            self._log_at = now + _LOG_EVERY_S
