"""What the plots are drawn from: the attempts of late, read from the store now and then and kept for a while."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass

from minihub.clock import Clock
from minihub.servers.service import Servers
from minihub.store.rows import HistoryQuery
from minihub.web.trends import LONGEST_LIFE_S, SPANS, Life, Trends, compute, life_of

FRESH_S = 60.0
CHUNK = 100
"""Attempts read at a time: to make them from their rows is the event loop's work, which must not stall for long."""
MOST = 50_000
"""Attempts that are looked at, the newest; what is older is left out, and the page says so."""
LATE_S = 60.0
"""So long after its beginning an attempt may come into the store, though it is written down at once."""


@dataclass(frozen=True, slots=True)
class _Figures:
    """What was computed, and when."""

    at: float
    trends: Trends
    is_complete: bool


class Past:
    """The figures of each span, at most a minute old."""

    def __init__(self, servers: Servers, clock: Clock) -> None:
        self._servers = servers
        self._clock = clock
        self._lock = asyncio.Lock()
        self._figures: dict[str, _Figures] = {}
        self._lives: dict[str, Life] = {}
        """By the id of the attempt."""
        self._known_until: float | None = None
        """All attempts that began before are in `_lives` and over: they need not be read again."""
        self._cut_at = 0.0
        """What began before was left out. Wall seconds."""
        self._is_complete = True

    async def trends(self, span: str) -> tuple[Trends, bool]:
        """The figures of a span of `SPANS`, and whether all attempts of it were looked at.

        Raises:
            StoreError: The store cannot be read.
        """
        async with self._lock:
            now = self._clock.wall()
            known = self._figures.get(span)
            if known is None or not 0 <= now - known.at < FRESH_S:
                await self._read(now)
                found = await asyncio.to_thread(compute, list(self._lives.values()), SPANS[span], now)
                known = self._figures[span] = _Figures(now, found, self._is_complete)
            return known.trends, known.is_complete

    async def _read(self, now: float) -> None:
        """Bring `_lives` up to date."""
        oldest = now - max(span.length_s for span in SPANS.values()) - LONGEST_LIFE_S
        since = oldest if self._known_until is None else max(oldest, self._known_until)
        self._lives |= await self._read_since(since)
        self._lives = {
            name: life for name, life in self._lives.items() if life.ended is None or life.ended >= oldest
        }
        living = [life.created for life in self._lives.values() if life.ended is None]
        self._known_until = min([*living, now - LATE_S])
        self._is_complete = self._cut_at <= oldest

    async def _read_since(self, since: float) -> dict[str, Life]:
        read: dict[str, Life] = {}
        until: float | None = None
        while len(read) < MOST:
            found, _ = await self._servers.past(HistoryQuery(since=since, until=until, limit=CHUNK))
            fresh = {attempt.id: life_of(attempt) for attempt in found if attempt.id not in read}
            read |= fresh
            if len(found) < CHUNK or not fresh:
                return read
            # Not by an offset, which the store would count through each time. Whatever began at the very moment at which
            # the last one did comes again rather than not at all.
            until = math.nextafter(found[-1].created_at, math.inf)
        self._cut_at = found[-1].created_at
        return read
