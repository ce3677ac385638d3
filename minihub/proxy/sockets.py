"""What the kernel knows of a connection and does with it, without a look at its bytes. Touches socket options only."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import socket
import struct
import termios

# struct tcp_info of <linux/tcp.h>: milliseconds since data was last sent (offset 44) and received (52).
_TCP_INFO = struct.Struct("44xI4xI")
# The same: bytes acknowledged by the other end (offset 120) and received (128); since Linux 4.2.
_TCP_BYTES = struct.Struct("120xQQ")
_INT = struct.Struct("i")
_LINGER_NOT = struct.pack("ii", 1, 0)


def was_used_within(transport: asyncio.BaseTransport | None, seconds: float) -> bool:
    """Whether data passed on a TCP connection in the last `seconds`, in either direction; False if nobody can say."""
    info = _tcp_info(transport, _TCP_INFO)
    if info is None:
        return False
    sent_ms, received_ms = info
    return bool(min(sent_ms, received_ms) <= seconds * 1000)


def count_moved(transport: asyncio.BaseTransport | None) -> int | None:
    """How many bytes have passed on a TCP connection so far, both ways together; None if nobody can say."""
    info = _tcp_info(transport, _TCP_BYTES)
    return None if info is None else info[0] + info[1]


def _tcp_info(transport: asyncio.BaseTransport | None, layout: struct.Struct) -> tuple[int, int] | None:
    connected = transport.get_extra_info("socket") if transport is not None else None
    if connected is None:
        return None
    try:
        info = connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, layout.size)
        first, second = layout.unpack(info)
    except (OSError, struct.error):  # gone; or an older kernel tells less
        return None
    return first, second


def count_unread(transport: asyncio.Transport) -> int:
    """Bytes that were written and that the other end has not acknowledged: ours, and the kernel's (tcp(7), SIOCOUTQ).

    The kernel takes megabytes: by our own buffer alone a slow reader looks like one who does not read at all.
    """
    connected = transport.get_extra_info("socket")
    held = transport.get_write_buffer_size()
    if connected is None:
        return held
    try:
        waiting = fcntl.ioctl(connected.fileno(), termios.TIOCOUTQ, bytes(_INT.size))
    except (OSError, ValueError):  # gone: -1 is no file descriptor
        return held
    return held + int(_INT.unpack(waiting)[0])


def break_off(transport: asyncio.Transport) -> None:
    """End a connection so that its other end can tell it from an end in order: by RST, where there is TCP below.

    A FIN is what ends a body without a length, and a websocket that just stops; socket(7), SO_LINGER.
    """
    connected = transport.get_extra_info("socket")
    if connected is not None and not transport.is_closing():
        with contextlib.suppress(OSError):  # the connection may be gone already
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
    transport.abort()
