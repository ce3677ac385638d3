"""What every browser connection has, whatever is said on it: its phase, its deadline, and how it ends."""

from __future__ import annotations

import asyncio
import math
from enum import IntEnum
from typing import TYPE_CHECKING, Final, cast

from minihub.proxy.sockets import break_off, count_unread
from minihub.proxy.upstream import WATER_MARK, Upstream
from minihub.proxy.valve import PEER_FULL, Valve

if TYPE_CHECKING:
    from minihub.proxy.front import FrontDoor

LINGER_S: Final = 2.0
"""How long the rest of a request is read and dropped after an early answer: closing at once would reset the
connection and could take the answer from the client (RFC 9112 section 9.6)."""


class Phase(IntEnum):
    """What a connection is doing."""

    HEAD = 1
    """Waits for a request."""
    DECIDING = 2
    """Has one, and nobody knows yet where it goes; or the way there is being dialled."""
    EXCHANGE = 3
    """An upstream has it."""
    LINGER = 4
    """All is answered; what still comes is dropped."""
    CLOSED = 5
    """Nothing more is read; the last bytes are being written, or the connection is gone."""


class Connection(asyncio.Protocol):
    """A browser's connection, as far as it does not matter that it speaks HTTP."""

    __slots__ = (
        "_door",
        "_full_size",
        "_is_full",
        "_phase",
        "_upstream",
        "address",
        "deadline",
        "origin",
        "scheme",
        "transport",
        "valve",
    )

    transport: asyncio.Transport
    valve: Valve

    def __init__(self, door: FrontDoor) -> None:
        self._door = door
        self._phase = Phase.HEAD
        self._is_full = False
        self._full_size = 0
        self._upstream: Upstream | None = None
        self.address = ""
        self.scheme = "http"
        self.origin = (self.address, self.scheme)
        """Both, as a key."""
        self.deadline = math.inf
        """Loop time at which `Client.expire` is called."""

    @property
    def is_busy(self) -> bool:
        """Whether a request is under way."""
        return self._phase in (Phase.DECIDING, Phase.EXCHANGE)

    @property
    def is_gone(self) -> bool:
        """Whether nobody can be answered here any more."""
        return self._phase in (Phase.CLOSED, Phase.LINGER)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Somebody connected (and, with TLS, the handshake is done)."""
        # A cast, for uvloop's transports for TLS do not inherit from asyncio's.
        transport = self.transport = cast(asyncio.Transport, transport)
        self.valve = Valve(transport)
        transport.set_write_buffer_limits(high=WATER_MARK)
        peer = transport.get_extra_info("peername")
        self.address = peer[0] if isinstance(peer, tuple) else ""
        if transport.get_extra_info("sslcontext") is not None:
            self.scheme = "https"
        self.origin = (self.address, self.scheme)
        self.deadline = self._door.time() + self._door.head_timeout_s

    def eof_received(self) -> bool:
        """The browser has gone: so ends what it asked for, as with other proxies."""
        return False

    def pause_writing(self) -> None:
        """The browser does not keep up: read no more of the answer."""
        self._is_full = True
        self._full_size = count_unread(self.transport)
        self.deadline = self._door.time() + self._door.body_timeout_s
        if self._upstream is not None:
            self._upstream.valve.shut(PEER_FULL)

    def resume_writing(self) -> None:
        """The browser takes more."""
        self._is_full = False
        if self._upstream is not None:
            self._upstream.valve.free(PEER_FULL)

    def _expire_reader(self, now: float) -> None:
        """Give up on who does not read what was written; slow is allowed, not at all is not."""
        size = count_unread(self.transport)
        if 0 < size < self._full_size:
            self._full_size = size
            self.deadline = now + self._door.body_timeout_s
        else:
            break_off(self.transport)

    def _linger(self) -> None:
        self._phase = Phase.LINGER
        self.deadline = self._door.time() + LINGER_S
        self.valve.open()
        if self.transport.can_write_eof() and not self.transport.is_closing():
            self.transport.write_eof()

    def _close(self) -> None:
        self._phase = Phase.CLOSED
        self._full_size = self.transport.get_write_buffer_size()
        self.deadline = self._door.time() + self._door.body_timeout_s
        # asyncio's transports for TLS cannot be aborted any more after a second close (Python 3.11, sslproto.py).
        if not self.transport.is_closing():
            self.transport.close()

    def _drop_upstream(self) -> None:
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            upstream.leave()
