"""What the plots are drawn from: the attempts of late, read from the store now and then and kept for a while."""

from __future__ import annotations

import asyncio

from minihub.clock import Clock
from minihub.servers.service import Servers
from minihub.store.rows import HistoryQuery
from minihub.web.trends import LONGEST_LIFE_S, SPANS, Life, Trends, compute, life_of

FRESH_S = 60.0
CHUNK = 250
"""Attempts read at a time: to make them from their rows is the event loop's work."""
MOST = 50_000
"""Attempts that are looked at, the newest; what is older is left out, and the page says so."""


class Past:
    """The figures of each span, at most a minute old."""

    def __init__(self, servers: Servers, clock: Clock) -> None:
        self._servers = servers
        self._clock = clock
        self._lock = asyncio.Lock()
        self._known: dict[str, tuple[float, Trends, bool]] = {}

    async def trends(self, span: str) -> tuple[Trends, bool]:
        """The figures of a span of `SPANS`, and whether all attempts of it were looked at.

        Raises:
            StoreError: The store cannot be read.
        """
        async with self._lock:
            now = self._clock.wall()
            known = self._known.get(span)
            if known is not None and 0 <= now - known[0] < FRESH_S:
                return known[1], known[2]
            lives, complete = await self._read(now - SPANS[span].length_s - LONGEST_LIFE_S)
            found = await asyncio.to_thread(compute, lives, SPANS[span], now)
            self._known[span] = (now, found, complete)
            return found, complete

    async def _read(self, since: float) -> tuple[list[Life], bool]:
        lives: list[Life] = []
        while len(lives) < MOST:
            query = HistoryQuery(since=since, limit=CHUNK, offset=len(lives))
            found, total = await self._servers.past(query)
            lives += [life_of(attempt) for attempt in found]
            if not found or len(lives) >= total:
                return lives, True
        return lives, False
