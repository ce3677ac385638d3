"""Announcements as pages show them: kept in memory, so that a page costs no look into the store."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from minihub.clock import Clock
from minihub.errors import StoreError
from minihub.store.rows import AnnouncementRow
from minihub.web.deps import Announcements

log = logging.getLogger(__name__)

PATIENCE_S = 1.0
"""A disk that hangs holds up one page in FRESH_S for so long."""
FRESH_S = 5.0
"""How long what was read is shown without looking again: the REST API and the command line write announcements too."""


class Board:
    """What is announced now."""

    def __init__(self, announcements: Announcements, clock: Clock) -> None:
        self._announcements = announcements
        self._clock = clock
        self._rows: Sequence[AnnouncementRow] = ()
        self._read_at: float | None = None

    def shown(self) -> list[AnnouncementRow]:
        """What was announced when it was read last, without what has expired since."""
        now = self._clock.wall()
        return [row for row in self._rows if row.expires_at is None or row.expires_at > now]

    def outdate(self) -> None:
        """Something was added or removed: read anew before the next page."""
        self._read_at = None

    async def refresh(self) -> None:
        """Read anew, if that is due. Where the store cannot be read, what is known stays: no page fails for this."""
        now = self._clock.monotonic()
        if self._read_at is not None and now - self._read_at < FRESH_S:
            return
        self._read_at = now
        try:
            async with asyncio.timeout(PATIENCE_S):
                self._rows = await self._announcements.list(self._clock.wall())
        except (StoreError, TimeoutError, RuntimeError) as error:  # RuntimeError: no thread is to be had
            log.warning("announcements cannot be read: %r", error)
