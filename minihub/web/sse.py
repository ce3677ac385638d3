"""Event streams (text/event-stream) that keep alive, and end when nobody listens or the hub goes down."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from minihub.tasks import TaskKeeper

KEEP_ALIVE_S = 15.0


class Streams:
    """The handlers of open streams; ended at shutdown, since a stream would hold it up until its time is over."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def add(self, task: asyncio.Task[Any]) -> None:
        """Remember the handler."""
        self._tasks.add(task)

    def discard(self, task: asyncio.Task[Any]) -> None:
        """Forget it."""
        self._tasks.discard(task)

    def end_all(self) -> None:
        """End every open stream."""
        for task in list(self._tasks):
            task.cancel()


class EventStream:
    """One open stream: `async with EventStream(request, ...) as stream: await stream.send({...})`."""

    def __init__(
        self,
        request: web.Request,
        streams: Streams,
        keeper: TaskKeeper,
        *,
        keep_alive_s: float = KEEP_ALIVE_S,
    ) -> None:
        self._request = request
        self._streams = streams
        self._keeper = keeper
        self._keep_alive_s = keep_alive_s
        self.response = web.StreamResponse(
            headers={
                "Content-Type": "text/event-stream; charset=utf-8",
                "Cache-Control": "no-store",
                # nginx in front would otherwise collect the events until the end.
                "X-Accel-Buffering": "no",
            }
        )

    async def __aenter__(self) -> Self:
        await self.response.prepare(self._request)
        self._handler = asyncio.current_task()
        assert self._handler is not None
        self._streams.add(self._handler)
        self._beat = self._keeper.start(self._keep_alive(), name="event stream keep-alive")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self._beat.cancel()
        assert self._handler is not None
        self._streams.discard(self._handler)
        # The browser went away: nothing is wrong, and nobody is left to be told.
        return isinstance(error, ConnectionResetError)

    async def send(self, data: Mapping[str, Any], *, event: str = "") -> None:
        """Send one event."""
        head = f"event: {event}\n" if event else ""
        await self.response.write(f"{head}data: {json.dumps(data, ensure_ascii=False)}\n\n".encode())

    async def _keep_alive(self) -> None:
        # A comment line: proxies do not time out, and a closed connection is noticed.
        while True:
            await asyncio.sleep(self._keep_alive_s)
            try:
                await self.response.write(b": still here\n\n")
            except ConnectionResetError:
                return
