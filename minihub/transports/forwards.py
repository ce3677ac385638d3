"""Local unix sockets whose connections end at a node's port, through the login node (`servers.via = "ssh"`).

TLS to the node runs inside them: asyncio's start_tls does not work on an asyncssh channel, but does on a unix socket. The
sockets are 0600 in a 0700 directory. Forwarded channels do not count against sshd's MaxSessions.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import asyncssh

from minihub.errors import ConnectFailed
from minihub.tasks import TaskKeeper
from minihub.transports.link import Link, Live

log = logging.getLogger(__name__)

PREFIX = "fwd-"
MAX_PATH_BYTES = 107
"""sun_path of unix(7), without its final NUL."""
LEAST_PAUSE_S = 0.25


@dataclass(frozen=True, slots=True)
class Target:
    """Where a forward leads, and as whom."""

    user: str
    host: str
    port: int


@dataclass(slots=True)
class Forward:
    """One forward: its path stays the same however often its connection is made anew."""

    target: Target
    path: Path
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    live: Live | None = None
    listener: asyncssh.SSHListener | None = None
    wanted: bool = True

    def is_open(self) -> bool:
        """Whether its socket leads somewhere now."""
        return self.listener is not None and self.live is not None and not self.live.lost


class Forwards:
    """All forwards of one transport."""

    def __init__(self, directory: Path, link_of: Callable[[str], Link], keeper: TaskKeeper) -> None:
        self._directory = directory
        self._link_of = link_of
        self._keeper = keeper
        self._forwards: dict[Target, Forward] = {}
        self._prepared = False

    async def open(self, target: Target) -> Path:
        """Return the socket's path, made if needed.

        Raises:
            ConnectFailed: The login node cannot be reached, or the socket cannot be made.
        """
        self._prepare()
        forward = self._forwards.get(target)
        if forward is None:
            forward = self._forwards[target] = Forward(target, self._path(target))
        await self._ensure(forward)
        return forward.path

    async def close(self, target: Target) -> None:
        """Close one forward; nothing happens if it is gone already."""
        forward = self._forwards.pop(target, None)
        if forward is None:
            return
        forward.wanted = False
        async with forward.lock:
            self._shut(forward)

    def shut_all(self) -> None:
        """Close every forward; the transport is closing."""
        for forward in self._forwards.values():
            forward.wanted = False
            self._shut(forward)
        self._forwards.clear()

    def _prepare(self) -> None:
        """Make the directory and remove what an earlier process left."""
        if self._prepared:
            return
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._directory.chmod(0o700)
            for stale in self._directory.glob(f"{PREFIX}*.sock"):
                stale.unlink(missing_ok=True)
        except OSError as error:
            raise ConnectFailed("The hub cannot make its sockets.", f"{self._directory}: {error}") from error
        self._prepared = True

    def _path(self, target: Target) -> Path:
        name = hashlib.sha256(f"{target.user}\0{target.host}\0{target.port}".encode()).hexdigest()[:16]
        path = self._directory / f"{PREFIX}{name}.sock"
        if len(str(path).encode()) > MAX_PATH_BYTES:
            raise ConnectFailed(
                "The hub cannot make its sockets.", f"{path} is too long; set hub.runtime_dir"
            )
        return path

    async def _ensure(self, forward: Forward) -> None:
        async with forward.lock:
            if forward.is_open():
                return
            if not forward.wanted:
                raise ConnectFailed("This connection was closed.")
            self._shut(forward)
            link = self._link_of(forward.target.user)
            live = await link.acquire()
            try:
                await self._listen(forward, live)
            except BaseException:
                link.release(live)
                raise
            if live.lost:
                # It broke between the two lines above, before anybody was there to hear it.
                self._lost(forward)

    async def _listen(self, forward: Forward, live: Live) -> None:
        assert live.connection is not None
        forward.path.unlink(missing_ok=True)
        try:
            listener = await live.connection.forward_local_path_to_port(
                str(forward.path), forward.target.host, forward.target.port
            )
            forward.path.chmod(0o600)
        except (OSError, asyncssh.Error) as error:
            raise ConnectFailed(
                "The way to the compute node cannot be opened.", f"{forward.path}: {error}"
            ) from error
        forward.live, forward.listener = live, listener
        live.on_lost.append(lambda: self._lost(forward))

    def _shut(self, forward: Forward) -> None:
        live, listener = forward.live, forward.listener
        forward.live = forward.listener = None
        if listener is not None:
            listener.close()
            forward.path.unlink(missing_ok=True)
        if live is not None:
            self._link_of(forward.target.user).release(live)

    def _lost(self, forward: Forward) -> None:
        """Make it anew behind the scenes: the proxy holds its path."""
        if forward.wanted and self._forwards.get(forward.target) is forward:
            self._keeper.start(self._remake(forward), name=f"ssh forward to {forward.target.host}")

    async def _remake(self, forward: Forward) -> None:
        while forward.wanted and not forward.is_open():
            try:
                await self._ensure(forward)
            except ConnectFailed as error:
                log.info("forward to %s:%d is down: %s", forward.target.host, forward.target.port, error)
            else:
                return
            await asyncio.sleep(max(LEAST_PAUSE_S, self._link_of(forward.target.user).retry_in_s()))
