"""The connections of one load: opened, opened again when lost, let finish. Nothing that goes wrong is passed over."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any

from .answers import Wrong
from .heads import Site
from .window import PATIENCE_S, Window

MOST_ERRORS = 500
"""A load with more is over: it only measures how quickly a proxy fails."""


class Member(asyncio.BaseProtocol):
    """One connection."""

    transport: Any

    def __init__(self, crowd: Crowd) -> None:
        self.crowd = crowd
        self.window = crowd.window
        self._explained = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.begin()

    def begin(self) -> None:
        """The connection is there."""
        raise NotImplementedError

    def fail(self, why: str) -> None:
        """Count an error and hang up."""
        if not self._explained:
            self.window.errors[why] += 1
        self._explained = True
        self.transport.abort()

    def leave(self) -> None:
        """All that was wanted has come: hang up."""
        self._explained = True
        self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._explained:
            self.window.errors[f"hung up: {type(exc).__name__ if exc else 'end'}"] += 1
        self.crowd.lost(self)


class Crowd:
    """All connections of one kind."""

    def __init__(
        self, site: Site, context: ssl.SSLContext | None, window: Window, make: Callable[[Crowd], Member]
    ) -> None:
        self.site = site
        self.window = window
        self.members: set[Member] = set()
        self._context = context
        self._make = make
        self._again: set[asyncio.Task[None]] = set()
        asyncio.get_running_loop().set_exception_handler(self._note_crash)

    def _note_crash(self, _loop: asyncio.AbstractEventLoop, facts: dict[str, Any]) -> None:
        error = facts.get("exception")
        self.window.errors[f"load tool: {error!r}" if error else f"load tool: {facts.get('message')}"] += 1

    async def open(self, count: int, *, at_once: int = 50) -> None:
        """Open `count` more connections."""
        for start in range(0, count, at_once):
            await asyncio.gather(*(self._open_one() for _ in range(min(at_once, count - start))))

    async def _open_one(self) -> None:
        loop = asyncio.get_running_loop()
        tls: dict[str, Any] = {} if self._context is None else {"ssl": self._context, "server_hostname": ""}
        member = self._make(self)
        self.members.add(member)
        try:
            await loop.create_connection(lambda: member, "127.0.0.1", self.site.port, **tls)
        except OSError as error:
            self.window.errors[f"connect: {type(error).__name__}"] += 1
            self.members.discard(member)

    def lost(self, member: Member) -> None:
        """One is gone. While the load goes on, another one takes its place."""
        self.members.discard(member)
        if self.window.errors.total() > MOST_ERRORS:
            self.window.over = True
        if not self.window.over:
            task = asyncio.get_running_loop().create_task(self._open_one())
            self._again.add(task)
            task.add_done_callback(self._again.discard)

    async def drain(self) -> None:
        """The window is over: wait for what is under way. Members hang up by themselves when they are through."""
        loop = asyncio.get_running_loop()
        until = loop.time() + PATIENCE_S
        while self.members and loop.time() < until:
            await asyncio.sleep(0.005)
        for member in list(self.members):
            member.fail("no answer")


def guarded(take: Callable[[Any, bytes], None]) -> Callable[[Any, bytes], None]:
    """Make a member's method count Wrong as an error of its connection."""

    def call(member: Any, data: bytes) -> None:
        try:
            take(member, data)
        except Wrong as wrong:
            member.fail(str(wrong))

    return call
