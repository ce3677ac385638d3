"""Connections to a user's Jupyter: TCP, mutual TLS, a unix socket, or either through ssh. The edge to aiohttp's client.

One `Upstream` per route, made on first use. Each connection is proven before a byte is sent on it: by the one
certificate this attempt's server has, or by the uid that owns the unix socket. (Plain TCP proves nothing by itself:
that is the prober's challenge.)
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import aiohttp
from aiohttp.client_proto import ResponseHandler
from multidict import CIMultiDict
from yarl import URL

from minihub.auth.request import Pairs
from minihub.errors import HubError, TransportError, UpstreamError, UpstreamUnsafe
from minihub.servers.identity import client_context
from minihub.servers.model import Route
from minihub.tasks import TaskKeeper

CONNECT_TIMEOUT_S = 10.0
KEEP_ALIVE_S = 30.0
WEBSOCKET_CLOSE_S = 2.0
READ_BUFFER = 256 * 1024
MAX_FIELD = 64 * 1024

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


@dataclass(frozen=True, slots=True)
class HandshakeRefused:
    """Jupyter answered a websocket request with something else than 101."""

    status: int
    pairs: Pairs


class Upstream:
    """All connections to the server of one route."""

    def __init__(self, route: Route, forwarder: Forwarder | None = None) -> None:
        self.route = route
        self._forwarder = forwarder
        self._tls: ssl.SSLContext | None = None
        self._forgets: asyncio.TimerHandle | None = None
        self._client: aiohttp.ClientSession | None = None

    async def dial(self, factory: Callable[[], _P]) -> _P:
        """Connect, prove the other end, and hand the connection to a new protocol object.

        Raises:
            UpstreamError: Nobody answers.
            UpstreamUnsafe: Somebody answers who is not this attempt's server.
        """
        with _edge():
            context = self._context() if self.route.uses_tls else None
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                # From here on the loop's transport owns the socket, and closes it if the handshake fails.
                return await self._take(await self._connect(), factory, context)

    def _context(self) -> ssl.SSLContext:
        """The TLS context; kept (25 kB, 1 ms to make) only while new connections come."""
        if self._tls is None:
            self._tls = client_context(self.route.secrets)
        if self._forgets is not None:
            self._forgets.cancel()
        self._forgets = asyncio.get_running_loop().call_later(KEEP_ALIVE_S, self._forget)
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
            tls = {"ssl": context, "server_hostname": "", "ssl_handshake_timeout": CONNECT_TIMEOUT_S}
        unix = connected.family == socket.AF_UNIX
        create = loop.create_unix_connection if unix else loop.create_connection
        _, protocol = await create(factory, sock=connected, **tls)
        return protocol

    async def request(
        self, method: str, target: str, pairs: Pairs, body: aiohttp.StreamReader | None = None
    ) -> aiohttp.ClientResponse:
        """Send a request and return the answer's head; its body is read with `read`.

        Raises:
            UpstreamError: No answer.
        """
        with _edge():
            return await self._session().request(
                method, _url(target), headers=CIMultiDict(pairs), data=body, allow_redirects=False
            )

    async def read(self, response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        """The answer's body as it comes.

        Raises:
            UpstreamError: It broke off.
        """
        chunks = response.content.iter_any()
        while True:
            with _edge():
                chunk = await anext(chunks, b"")
            if not chunk:
                return
            yield chunk

    async def open_websocket(
        self, target: str, pairs: Pairs, protocols: Sequence[str]
    ) -> aiohttp.ClientWebSocketResponse | HandshakeRefused:
        """Ask for a websocket.

        Raises:
            UpstreamError: No answer.
        """
        with _edge():
            try:
                return await self._session().ws_connect(
                    _url(target),
                    protocols=protocols,
                    headers=CIMultiDict(pairs),
                    timeout=aiohttp.ClientWSTimeout(ws_close=WEBSOCKET_CLOSE_S),
                    autoclose=False,
                    autoping=False,
                    max_msg_size=0,
                )
            except aiohttp.WSServerHandshakeError as error:
                return HandshakeRefused(error.status, tuple((error.headers or {}).items()))

    async def close(self) -> None:
        """End all connections, and the way through ssh."""
        if self._forgets is not None:
            self._forgets.cancel()
        client, self._client = self._client, None
        if client is not None:
            await client.close()
        host, port = self.route.endpoint.host, self.route.endpoint.port
        if self.route.via_ssh and self._forwarder is not None and host is not None and port is not None:
            await self._forwarder.close_forward(self.route.user, host, port)

    def _session(self) -> aiohttp.ClientSession:
        if self._client is None or self._client.closed:
            self._client = aiohttp.ClientSession(
                connector=_RouteConnector(self),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None),
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
                auto_decompress=False,
                read_bufsize=READ_BUFFER,
                max_line_size=MAX_FIELD,
                max_field_size=MAX_FIELD,
                max_headers=1000,
            )
        return self._client


class Upstreams:
    """The open upstreams, by user: a new attempt's route replaces the old one's connections."""

    def __init__(self, keeper: TaskKeeper, forwarder: Forwarder | None = None) -> None:
        self._keeper = keeper
        self._forwarder = forwarder
        self._by_user: dict[str, Upstream] = {}

    def get(self, route: Route) -> Upstream:
        """The upstream of `route`; the one made by the prober, if it verified this very route."""
        known = self._by_user.get(route.user)
        if known is not None and _is_same(known.route, route):
            return known
        self.drop(route.user)
        made = self._by_user[route.user] = Upstream(route, self._forwarder)
        return made

    def drop(self, user: str) -> None:
        """Close `user`'s connections soon."""
        known = self._by_user.pop(user, None)
        if known is not None:
            self._keeper.start(known.close(), name=f"close upstream of {user}")

    async def close(self) -> None:
        """Close everything."""
        while self._by_user:
            _, upstream = self._by_user.popitem()
            await upstream.close()


class _RouteConnector(aiohttp.BaseConnector):
    """Makes aiohttp's client connect the way the route says, whatever the URL."""

    def __init__(self, upstream: Upstream) -> None:
        super().__init__(limit=0, keepalive_timeout=KEEP_ALIVE_S)
        self._upstream = upstream

    async def _create_connection(self, _req: Any, _traces: Any, _timeout: Any) -> ResponseHandler:
        return await self._upstream.dial(self._factory)


def _url(target: str) -> URL:
    # The name is never resolved nor dialled: the connector knows the way. encoded=True keeps every byte.
    return URL(f"http://localhost{target}", encoded=True)


def _is_same(one: Route, other: Route) -> bool:
    return (one.attempt_id, one.endpoint, one.secrets, one.via_ssh) == (
        other.attempt_id,
        other.endpoint,
        other.secrets,
        other.via_ssh,
    )


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
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
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
