"""What a connection becomes after 101: two transports that write to each other.

Nothing looks at the bytes. Each side's `data_received` *is* the other transport's `write`, so under uvloop no Python
runs for a message. Back-pressure, half-close and the way a side ends pass to the other side.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from minihub.proxy.sockets import break_off, count_bytes

WATER_MARK = 256 * 1024
"""Bytes; what a tunnel holds at most in one direction, but for one read."""
LAST_BYTES_S = 10.0
"""How long one end may take to read what the other sent before it closed."""


class Tunnel:
    """One open websocket: two ends, whose server it goes to, and what let it in."""

    __slots__ = (
        "_at_begin",
        "_forget",
        "address",
        "cookie",
        "is_half_closed",
        "last_bytes",
        "login_key",
        "moved",
        "server",
        "transport",
        "user",
    )

    def __init__(
        self,
        *,
        user: str,
        login_key: str,
        cookie: str,
        address: str,
        transport: asyncio.Transport,
        server: asyncio.Transport,
        forget: Callable[[Tunnel], None],
        moved: int | None = None,
    ) -> None:
        """Join two transports; what each has read before is written to the other already.

        Args:
            user: Whose server it goes to.
            login_key: `Principal.key` of who opened it.
            cookie: The login cookie that let it in, "" for a token.
            address: Of the browser.
            transport: Of the browser.
            server: The connection to the user's Jupyter.
            forget: Told once, when one end is gone and the other is on its way out.
            moved: 0, or None: its traffic is not looked at.
        """
        self.user = user
        self.login_key = login_key
        self.cookie = cookie
        self.address = address
        self.moved = moved
        """Bytes that had passed when somebody looked last, both ways together; None: nobody does."""
        self.transport = transport
        self.server = server
        self.is_half_closed = False
        """One side sends no more, and the other has been told."""
        self.last_bytes: asyncio.TimerHandle | None = None
        """Gives up on an end that does not read what it still gets; None: nothing is left to read."""
        self._forget: Callable[[Tunnel], None] | None = forget
        self._at_begin = count_bytes(transport)
        _End(self, transport, server)
        _End(self, server, transport)

    def count_bytes(self) -> tuple[int, int]:
        """Bytes from the browser and to it since this is a websocket, as TCP counts them."""
        received, sent = count_bytes(self.transport)
        return max(0, received - self._at_begin[0]), max(0, sent - self._at_begin[1])

    def has_moved(self, more_than: float) -> bool:
        """Whether it has carried more than so many bytes since this was asked last; False where nobody counts."""
        if self.moved is None:
            return False
        before, self.moved = self.moved, sum(self.count_bytes())
        return self.moved - before > more_than

    def break_off(self) -> None:
        """Break both ends off.

        No close frame: it could fall into the middle of a message. To a browser this is 1006, after which JupyterLab
        connects again; 1000 and 1001 would mean to it that this was meant.
        """
        break_off(self.transport)
        break_off(self.server)

    def end(self) -> None:
        """One end is gone."""
        forget, self._forget = self._forget, None
        if forget is not None:
            forget(self)


class _End(asyncio.Protocol):
    """Receives from one transport of a tunnel."""

    __slots__ = ("_to", "_tunnel", "data_received")

    def __init__(self, tunnel: Tunnel, own: asyncio.Transport, to: asyncio.Transport) -> None:
        self._tunnel = tunnel
        self._to = to
        own.set_write_buffer_limits(high=WATER_MARK)
        # uvloop binds data_received when the protocol is set: it must stand here before that.
        self.data_received = to.write  # type: ignore[method-assign]
        own.set_protocol(self)

    def pause_writing(self) -> None:
        """What the other side sends comes here: it waits."""
        if not self._to.is_closing():
            self._to.pause_reading()

    def resume_writing(self) -> None:
        """The other side may go on."""
        if not self._to.is_closing():
            self._to.resume_reading()

    def eof_received(self) -> bool:
        """This side sends no more, but may still want to hear; once neither sends, it is over."""
        tunnel = self._tunnel
        ends = (tunnel.transport, tunnel.server)
        # TLS knows no half-close.
        if tunnel.is_half_closed or self._to.is_closing() or not all(end.can_write_eof() for end in ends):
            return False
        tunnel.is_half_closed = True
        self._to.write_eof()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """As this side ended, the other one ends."""
        tunnel = self._tunnel
        if tunnel.last_bytes is not None:
            # asyncio's transports cannot be aborted once they are gone.
            tunnel.last_bytes.cancel()
            tunnel.last_bytes = None
        if exc is not None:
            break_off(self._to)
        elif not self._to.is_closing():
            if self._to.get_write_buffer_size():
                # Who does not read the last bytes does not hold the connection for ever.
                tunnel.last_bytes = asyncio.get_running_loop().call_later(LAST_BYTES_S, self._to.abort)
            self._to.close()
        tunnel.end()
