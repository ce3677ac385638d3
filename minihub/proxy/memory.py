"""A connection inside the process: two transports, what one writes the other one's protocol receives.

The hub's own pages are an ordinary aiohttp application that is reached over such a pair, as one more upstream.

Everything is delivered by call_soon, never from within `write`: a protocol is not called while it is calling. There is
no half-close: when one end closes, what it has written still arrives, then both are closed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

WATER_MARK = 64 * 1024
"""Bytes under way in one direction above which its writer is told to pause."""


class MemoryTransport(asyncio.Transport):
    """One end; make both with `connect`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, extra: Mapping[str, Any]) -> None:
        super().__init__(dict(extra))
        self._loop = loop
        self._protocol: asyncio.BaseProtocol | None = None
        self._other: MemoryTransport | None = None
        self._chunks: list[bytes] = []
        self._size = 0
        self._high = WATER_MARK
        self._is_delivering = False
        self._is_closing = False
        self._is_lost = False
        self._reads = True
        self._writer_paused = False

    # ---- the writer's side --------------------------------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send to the other end."""
        if self._is_closing or not data:
            return
        self._chunks.append(bytes(data))
        self._size += len(data)
        self._deliver_soon()
        if self._size > self._high and not self._writer_paused:
            self._writer_paused = True
            assert isinstance(self._protocol, asyncio.Protocol)
            self._protocol.pause_writing()

    def can_write_eof(self) -> bool:
        """There is no half-close."""
        return False

    def get_write_buffer_size(self) -> int:
        """Bytes that have not arrived yet."""
        return self._size

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Low and high water mark in bytes."""
        return 0, self._high

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set the high water mark in bytes; the low one is always 0."""
        del low
        self._high = WATER_MARK if high is None else high

    def is_closing(self) -> bool:
        """Whether nothing more can be sent."""
        return self._is_closing

    def close(self) -> None:
        """Close both ends, once what was written has arrived."""
        if not self._is_closing:
            self._is_closing = True
            self._deliver_soon()

    def abort(self) -> None:
        """Close both ends now; what is under way is lost."""
        self._lose(None)
        if self._other is not None:
            self._other._lose(ConnectionResetError("the other end is gone"))  # noqa: SLF001

    # ---- the reader's side --------------------------------------------------------------------------------------

    def is_reading(self) -> bool:
        """Whether what arrives is handed on."""
        return self._reads and not self._is_closing

    def pause_reading(self) -> None:
        """Hand nothing on for now."""
        self._reads = False

    def resume_reading(self) -> None:
        """Hand on again."""
        self._reads = True
        if self._other is not None:
            self._other._deliver_soon()  # noqa: SLF001

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Who receives from now on."""
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Who receives."""
        assert self._protocol is not None
        return self._protocol

    # ---- between ------------------------------------------------------------------------------------------------

    def _deliver_soon(self) -> None:
        if not self._is_delivering and (self._chunks or self._is_closing):
            self._is_delivering = True
            self._loop.call_soon(self._deliver)

    def _deliver(self) -> None:
        self._is_delivering = False
        other = self._other
        if other is None or other._is_lost:  # noqa: SLF001
            return
        if self._chunks:
            if not other._reads:  # noqa: SLF001
                return
            data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
            self._chunks.clear()
            self._size = 0
            receiver = other._protocol  # noqa: SLF001
            assert isinstance(receiver, asyncio.Protocol)
            receiver.data_received(data)
            if self._writer_paused:
                self._writer_paused = False
                assert isinstance(self._protocol, asyncio.Protocol)
                self._protocol.resume_writing()
            self._deliver_soon()
        elif self._is_closing:
            other._lose(None)  # noqa: SLF001
            self._lose(None)

    def _lose(self, error: Exception | None) -> None:
        self._is_closing = True
        if self._is_lost:
            return
        self._is_lost = True
        self._chunks.clear()
        self._size = 0
        if self._protocol is not None:
            self._loop.call_soon(self._protocol.connection_lost, error)


def connect(
    loop: asyncio.AbstractEventLoop,
    one: asyncio.Protocol,
    other: asyncio.Protocol,
    *,
    other_sees: Mapping[str, Any],
) -> None:
    """Connect two protocols.

    Args:
        loop: Delivers between them.
        one: Who dials.
        other: Who is dialled.
        other_sees: What `other`'s transport says of its connection (peername, sslcontext).
    """
    near, far = MemoryTransport(loop, {}), MemoryTransport(loop, other_sees)
    near._other, far._other = far, near  # noqa: SLF001
    near.set_protocol(one)
    far.set_protocol(other)
    other.connection_made(far)
    one.connection_made(near)
