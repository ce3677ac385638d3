"""The local admin socket: the API for the machine's root and the hub's own user, who need neither login nor token.

Touches one unix socket in the state directory. Who asks is what the kernel says of the other end (SO_PEERCRED); the
socket's mode (0600) and its directory's (0700) only keep others from knocking. What comes over TCP reaches the
application over a pair in memory, which has no socket at all: nothing that a browser sends can look like this.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import logging
import os
import pwd
import socket
import stat
import struct
from collections.abc import AsyncIterator, Callable
from functools import lru_cache
from pathlib import Path
from typing import cast

from aiohttp import web

from minihub.auth.model import Principal
from minihub.errors import ConfigError
from minihub.places import short_path

log = logging.getLogger(__name__)

ADDRESS = "local"
"""What the audit log has in the place of an IP address."""
_BACKLOG = 64
_PATIENCE_S = 5.0
"""How long somebody who may not ask may take to ask."""
# struct ucred of <sys/socket.h>: pid, uid, gid. Source: unix(7).
_UCRED = struct.Struct("iII")
_ROOT = 0
# No server can be opened here; but to make a token one must be allowed what the token is.
_SCOPES = frozenset({"admin", "access:servers"})


def local_uid(transport: asyncio.BaseTransport | None) -> int | None:
    """The uid at the other end of a unix socket; None for every other kind of connection."""
    connected = transport.get_extra_info("socket") if transport is not None else None
    if connected is None or connected.family != socket.AF_UNIX:
        return None
    try:
        credentials = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    except OSError:
        return None  # gone meanwhile
    _, uid, _ = _UCRED.unpack(credentials)
    return int(uid)


def is_local(request: web.Request) -> bool:
    """Whether the request came over the admin socket, from somebody who may use it."""
    return local_uid(request.transport) in _allowed()


def local_principal(request: web.Request) -> Principal | None:
    """Who asks over the admin socket: an admin of a kind of his own. None: the request came another way."""
    uid = local_uid(request.transport)
    if uid is None or uid not in _allowed():
        return None
    return Principal(f"{_account_name(uid)} (local)", admin=True, kind="local", key="", scopes=_SCOPES)


def _allowed() -> tuple[int, int]:
    return _ROOT, os.geteuid()


@lru_cache(maxsize=4)
def _account_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


@contextlib.asynccontextmanager
async def admin_socket(path: Path, make_handler: Callable[[], asyncio.Protocol]) -> AsyncIterator[None]:
    """Serve on the socket at `path` while the context lasts, and remove it then.

    A hub goes without it where the file system has no sockets, and says so: browsers need none.

    Args:
        path: In the state directory.
        make_handler: Makes what serves one connection (`web.AppRunner.server`).

    Raises:
        ConfigError: Somebody listens there, or something that is no socket has the name.
    """
    try:
        listening, mine = _bind(path)
    except OSError as error:
        log.error("%s: there is no admin socket, so commands need --url: %s", path, error.strerror)
        yield
        return
    loop = asyncio.get_running_loop()
    server = await loop.create_unix_server(lambda: _Gatekeeper(make_handler), sock=listening)
    try:
        yield
    finally:
        server.close()
        _remove(path, mine)


def _bind(path: Path) -> tuple[socket.socket, tuple[int, int]]:
    """Listen at `path`; returns the socket and which file it is. A socket that nobody listens on is replaced."""
    _verify_free(path)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # Under another name first: at no moment has it a wrong mode, or is there none.
    new = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        listening.setblocking(False)
        new.unlink(missing_ok=True)
        with short_path(new) as name:
            listening.bind(name)
        new.chmod(0o600)
        listening.listen(_BACKLOG)
        found = new.stat()
        new.replace(path)
    except OSError:
        listening.close()
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)
        raise
    return listening, (found.st_dev, found.st_ino)


def _verify_free(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ConfigError(
            f"{path}: this is no socket, but the hub's admin socket belongs there: move it away"
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as trial, short_path(path) as name:
        trial.setblocking(False)
        problem = trial.connect_ex(name)
    # EAGAIN: somebody listens, and many wait.
    if problem in (0, errno.EAGAIN):
        raise ConfigError(f"{path}: another hub answers there: end it, or set hub.state_dir")


def _remove(path: Path, mine: tuple[int, int]) -> None:
    """Remove our socket, unless another hub's has its name by now."""
    with contextlib.suppress(OSError):
        found = path.lstat()
        if (found.st_dev, found.st_ino) == mine:
            path.unlink()


class _Gatekeeper(asyncio.Protocol):
    """Lets root and the hub's own user in; tells everybody else why not."""

    def __init__(self, make_handler: Callable[[], asyncio.Protocol]) -> None:
        self._make_handler = make_handler
        self._refused: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Somebody connected."""
        connection = cast("asyncio.Transport", transport)
        uid = local_uid(connection)
        if uid in _allowed():
            handler = self._make_handler()
            connection.set_protocol(handler)
            handler.connection_made(connection)
            return
        log.warning("the admin socket is not for uid %s", uid)
        self._refused = connection
        asyncio.get_running_loop().call_later(_PATIENCE_S, connection.abort)

    def data_received(self, data: bytes) -> None:
        """Answer the question: one who is cut off while he asks would not read why."""
        del data
        if self._refused is not None:
            self._refused.write(_refusal())
            self._refused.close()
            self._refused = None


def _refusal() -> bytes:
    names = " and ".join(sorted({_account_name(uid) for uid in _allowed()}))
    body = json.dumps({"status": 403, "message": f"This socket is for {names} only."}).encode()
    head = (
        "HTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode("ascii") + body
