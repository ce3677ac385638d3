"""Back-pressure: whether a transport reads. A set of reasons, never a boolean, so that none is forgotten."""

from __future__ import annotations

import asyncio
from typing import Final

DECIDING: Final = 1
"""Nobody knows yet where what comes is to go."""
PEER_FULL: Final = 2
"""The other side takes no more for now."""
AHEAD: Final = 4
"""Enough requests have been sent ahead (pipelined)."""


class Valve:
    """Lets a transport read while nobody has a reason against it."""

    __slots__ = ("_transport", "reasons")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self.reasons = 0
        """The reasons against reading, added up; 0: it reads. To be changed by the methods below only."""

    def shut(self, reason: int) -> None:
        """Do not read as long as `reason` holds."""
        if not self.reasons and not self._transport.is_closing():
            self._transport.pause_reading()
        self.reasons |= reason

    def free(self, reason: int) -> None:
        """`reason` holds no more."""
        if self.reasons:
            self.reasons &= ~reason
            self._resume_if_free()

    def open(self) -> None:
        """No reason holds any more: whoever gets this connection next must not inherit a pause."""
        if self.reasons:
            self.reasons = 0
            self._resume_if_free()

    def _resume_if_free(self) -> None:
        if not self.reasons and not self._transport.is_closing():
            self._transport.resume_reading()
