"""What the kernel knows of a connection and does with it, without a look at its bytes.

Touches socket options, and the limit of open files.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import resource
import socket
import struct
import termios

# struct tcp_info of <linux/tcp.h>: milliseconds since data was last sent (offset 44) and received (52), bytes
# acknowledged by the other end (120) and received (128).
_TCP_INFO = struct.Struct("44xI4xI")
_TCP_BYTES = struct.Struct("120xQQ")
_INT = struct.Struct("i")
_LINGER_NOT = struct.pack("ii", 1, 0)


def was_used_within(transport: asyncio.BaseTransport | None, seconds: float) -> bool:
    """Whether data passed on a TCP connection in the last `seconds`, in either direction; False if nobody can say."""
    connected = transport.get_extra_info("socket") if transport is not None else None
    if connected is None:
        return False
    try:
        info = connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
    except OSError:
        return False
    sent_ms, received_ms = _TCP_INFO.unpack(info)
    return bool(min(sent_ms, received_ms) <= seconds * 1000)


def count_bytes(transport: asyncio.BaseTransport) -> tuple[int, int]:
    """Bytes received and sent on a TCP connection since it was made, those of TLS among them; 0 if nobody can say."""
    connected = transport.get_extra_info("socket")
    if connected is None:
        return 0, 0
    try:
        info = connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_BYTES.size)
    except (OSError, ValueError):  # closed already
        return 0, 0
    sent, received = _TCP_BYTES.unpack(info)
    return received, sent


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


def allow_many_files() -> None:
    """Allow as many open files as we may: the usual soft limit of 1024 is for programs that use select()."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
