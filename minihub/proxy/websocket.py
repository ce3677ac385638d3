"""One websocket: two legs whose messages, pings and closes pass to each other."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import ClientError, ClientWebSocketResponse, WSMsgType, web

from minihub.proxy.live import Ending
from minihub.tasks import TaskKeeper

log = logging.getLogger(__name__)

CLOSE_TIMEOUT_S = 2.0
GOING_AWAY = 1001

_Leg = web.WebSocketResponse | ClientWebSocketResponse


@dataclass(frozen=True, slots=True)
class _End:
    """How one leg ended."""

    code: int | None
    """Of its close frame, 0 if that had none; None if there was no close frame: it just broke off."""
    reason: str = ""


async def bridge(
    browser: web.WebSocketResponse,
    upstream: ClientWebSocketResponse,
    stop: asyncio.Future[Ending],
    keeper: TaskKeeper,
    on_traffic: Callable[[], None],
) -> None:
    """Pass everything both ways until a leg ends or `stop` says so, then end the other leg in the same way.

    A leg that breaks off without a close frame never becomes a clean close (1000, 1001) for the browser: JupyterLab
    would not connect again.
    """
    up = keeper.start(_pump(browser, upstream, on_traffic), name="websocket to Jupyter")
    down = keeper.start(_pump(upstream, browser, on_traffic), name="websocket to browser")
    to_browser, to_upstream = _End(Ending.SERVER_GONE), _End(GOING_AWAY)
    try:
        await asyncio.wait({up, down, stop}, return_when=asyncio.FIRST_COMPLETED)
        if stop.done():
            to_browser = _End(stop.result())
        elif down.done():
            ended = await down
            to_browser = ended if ended.code is not None else _End(Ending.SERVER_GONE)
            to_upstream = ended
        else:
            ended = await up
            to_browser = ended
            to_upstream = ended if ended.code is not None else _End(GOING_AWAY)
    finally:
        for task in (up, down):
            task.cancel()
        await asyncio.gather(up, down, return_exceptions=True)
        await asyncio.gather(_close(browser, to_browser), _close(upstream, to_upstream))


async def _pump(source: _Leg, sink: _Leg, on_traffic: Callable[[], None]) -> _End:
    """Pass messages one way; each `send` waits while the other side is slow, and then nothing more is read."""
    try:
        while True:
            message = await source.receive()
            match message.type:
                case WSMsgType.TEXT:
                    await sink.send_str(message.data)
                case WSMsgType.BINARY:
                    await sink.send_bytes(message.data)
                case WSMsgType.PING:
                    await sink.ping(message.data)
                    continue
                case WSMsgType.PONG:
                    await sink.pong(message.data)
                    continue
                case WSMsgType.CLOSE:
                    return _End(message.data or 0, message.extra or "")
                case _:
                    return _End(None)
            on_traffic()
    except (ConnectionError, ClientError, RuntimeError) as error:
        log.debug("websocket broke off: %s", type(error).__name__)
        return _End(None)


async def _close(leg: _Leg, end: _End) -> None:
    try:
        async with asyncio.timeout(CLOSE_TIMEOUT_S):
            if end.code == 0:
                # A close frame without a code is passed on as such; `close` alone would say 1000.
                await leg.send_frame(b"", WSMsgType.CLOSE)
            await leg.close(code=end.code or 1000, message=end.reason.encode())
    except (ConnectionError, ClientError, RuntimeError, TimeoutError):
        log.debug("websocket was gone before it could be closed")
