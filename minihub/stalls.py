"""Notices when the event loop stalls: for so long nobody's page and nobody's kernel was served.

Either the hub itself computed for so long, which is a fault, or the machine had other things to do: the processor time
of the loop's thread tells the two apart.
"""

from __future__ import annotations

import asyncio
import logging
import time

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
        self.own = 0
        """Stalls in which the loop itself computed for longer than STALL_S."""
        self.own_longest_s = 0.0
        """The longest time that it computed without a break."""
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._used_s = 0.0
        self._log_at = 0.0
        self._untold: list[tuple[float, float]] = []

    def start(self) -> None:
        """Begin, in the running loop."""
        self._arm(asyncio.get_running_loop())

    def close(self) -> None:
        """End."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        self._used_s = time.thread_time()
        self._due = loop.time() + _TICK_S
        self._timer = loop.call_at(self._due, self._tick, loop)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        self.note(loop.time() - self._due, time.thread_time() - self._used_s, loop.time())
        self._arm(loop)

    def note(self, late_s: float, used_s: float, now: float) -> None:
        """A tick came.

        Args:
            late_s: So much later than it should.
            used_s: Processor time of the loop since the tick before.
            now: Monotonic seconds.
        """
        if late_s > STALL_S:
            self.count += 1
            self.longest_s = max(self.longest_s, late_s)
            self.total_s += late_s
            if used_s > STALL_S:
                self.own += 1
                self.own_longest_s = max(self.own_longest_s, used_s)
            self._untold.append((late_s, used_s))
        if self._untold and now >= self._log_at:
            late_s, used_s = max(self._untold)
            log.warning(
                "stalls of the event loop: %d, the longest %.0f ms, of which the hub itself computed %.0f ms",
                len(self._untold),
                late_s * 1000,
                used_s * 1000,
            )
            self._untold.clear()
            self._log_at = now + _LOG_EVERY_S
