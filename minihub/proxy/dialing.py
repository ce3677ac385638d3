"""The way to a user's Jupyter: TCP, mutual TLS, a unix socket, or any of them through ssh. The edge to sockets and TLS.

Each connection is proven before a byte is sent on it: by the one certificate this attempt's server has, or by the uid
that owns the unix socket. (Plain TCP proves nothing by itself: that is the prober's challenge.)
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol, TypeVar

from minihub.errors import HubError, TransportError, UpstreamError, UpstreamUnsafe
from minihub.servers.identity import client_context
from minihub.servers.model import Route

KEEP_TLS_S = 30.0
"""How long a TLS context is kept for the next connection."""

_P = TypeVar("_P", bound=asyncio.BaseProtocol)

_UNREACHABLE = "Your server cannot be reached right now."
_WRONG_SERVER = "What answers in your server's place is not your server."

_UCRED = struct.Struct("3i")


class Forwarder(Protocol):
    """The part of `Transport` that opens local unix sockets whose connections end at a node's port."""

    async def open_forward(self, user: str, host: str, port: int) -> Path:
        """Return the socket's path; again is no second one."""
        ...

    async def close_forward(self, user: str, host: str, port: int) -> None:
        """Close it; nothing happens if it is gone already."""
        ...


class Dialer:
    """Makes connections to the server of one route."""

    def __init__(self, route: Route, forwarder: Forwarder | None, *, timeout_s: float) -> None:
        self.route = route
        self._forwarder = forwarder
        self._timeout_s = timeout_s
        self._tls: ssl.SSLContext | None = None
        self._forgets: asyncio.TimerHandle | None = None

    async def dial(self, factory: Callable[[], _P]) -> _P:
        """Connect, prove the other end, and hand the connection to a new protocol object.

        Raises:
            UpstreamError: Nobody answers.
            UpstreamUnsafe: Somebody answers who is not this attempt's server.
        """
        with _edge():
            context = self._context() if self.route.uses_tls else None
            async with asyncio.timeout(self._timeout_s):
                # From here on the loop's transport owns the socket, and closes it if the handshake fails.
                return await self._take(await self._connect(), factory, context)

    def _context(self) -> ssl.SSLContext:
        """The TLS context; kept (25 kB, 1 ms to make) only while new connections come."""
        if self._tls is None:
            self._tls = client_context(self.route.secrets)
        if self._forgets is not None:
            self._forgets.cancel()
        self._forgets = asyncio.get_running_loop().call_later(KEEP_TLS_S, self._forget)
        return self._tls

    def _forget(self) -> None:
        self._tls = self._forgets = None

    async def _connect(self) -> socket.socket:
        endpoint = self.route.endpoint
        if endpoint.path is not None:
            connected = await _connect_unix(endpoint.path)
            try:
                _verify_owner(connected, endpoint.uid)
            except BaseException:
                connected.close()
                raise
            return connected
        if endpoint.host is None or endpoint.port is None:
            raise UpstreamError(_UNREACHABLE, "the endpoint has neither path nor port")
        if self.route.via_ssh:
            if self._forwarder is None:
                raise UpstreamError(_UNREACHABLE, "the route goes through ssh, but there is no ssh")
            path = await self._forwarder.open_forward(self.route.user, endpoint.host, endpoint.port)
            return await _connect_unix(str(path))
        return await _connect_tcp(endpoint.host, endpoint.port)

    async def _take(
        self, connected: socket.socket, factory: Callable[[], _P], context: ssl.SSLContext | None
    ) -> _P:
        loop = asyncio.get_running_loop()
        tls: dict[str, Any] = {}
        if context is not None:
            tls = {"ssl": context, "server_hostname": "", "ssl_handshake_timeout": self._timeout_s}
        unix = connected.family == socket.AF_UNIX
        create = loop.create_unix_connection if unix else loop.create_connection
        _, protocol = await create(factory, sock=connected, **tls)
        return protocol

    async def close(self) -> None:
        """End the way through ssh, if there is one; connections are their holder's."""
        if self._forgets is not None:
            self._forgets.cancel()
        host, port = self.route.endpoint.host, self.route.endpoint.port
        if self.route.via_ssh and self._forwarder is not None and host is not None and port is not None:
            await self._forwarder.close_forward(self.route.user, host, port)


async def _connect_tcp(host: str, port: int) -> socket.socket:
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    problem: OSError | None = None
    for family, kind, proto, _, address in found:
        candidate = socket.socket(family, kind, proto)
        candidate.setblocking(False)
        try:
            await loop.sock_connect(candidate, address)
        except OSError as error:
            candidate.close()
            problem = error
            continue
        except BaseException:
            candidate.close()
            raise
        candidate.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # A node that loses power says nothing: without this its websockets would stay open for ever.
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        candidate.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60)
        candidate.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15)
        return candidate
    raise problem or OSError(f"{host}: no address")


async def _connect_unix(path: str) -> socket.socket:
    connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connected.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(connected, path)
    except BaseException:
        connected.close()
        raise
    return connected


def _verify_owner(connected: socket.socket, uid: int | None) -> None:
    """Check who listens: the kernel says with whose uid `listen` was called."""
    _, owner, _ = _UCRED.unpack(connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    if uid is None or owner != uid:
        raise UpstreamUnsafe(_WRONG_SERVER, f"the socket belongs to uid {owner}, not to {uid}")


@contextlib.contextmanager
def _edge() -> Iterator[None]:
    """Let nothing out but our own errors."""
    try:
        yield
    except HubError as error:
        if isinstance(error, TransportError):
            raise UpstreamError(_UNREACHABLE, str(error)) from error
        raise
    except (OSError, TimeoutError, ValueError) as error:
        if _is_distrust(error):
            raise UpstreamUnsafe(_WRONG_SERVER, f"TLS: {error}") from error
        raise UpstreamError(_UNREACHABLE, f"{type(error).__name__}: {error}") from error


def _is_distrust(error: BaseException | None) -> bool:
    """Whether TLS failed because the other end is not who it should be, rather than because the line broke."""
    while error is not None:
        if isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)):
            return False
        if isinstance(error, ssl.SSLError):
            return True
        error = error.__cause__ or error.__context__
    return False
