"""GET /hub/probe: tells `minihub check` how its request arrived, so that it sees what stands between it and the hub.

Three forms: JSON; the same as the first message of a websocket that echoes; the same as the first of three events, which
are to arrive one after the other.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from aiohttp import WSMsgType, web

import minihub
from minihub.auth.probe_keys import is_good
from minihub.auth.request import first, is_trusted_proxy
from minihub.errors import Forbidden
from minihub.proxy.headers import UPGRADE_FIELD
from minihub.web.client import client_of, pairs_of
from minihub.web.keys import DEPS, KEEPER, STREAMS
from minihub.web.respond import json_response
from minihub.web.sse import EventStream

FIRST_PAUSE_S = 0.2
"""What comes with the head passes where nothing else does."""
SECOND_PAUSE_S = 1.2
"""Long against a network's delay: events that arrive together were held back."""
LONGEST_S = 900.0
MAX_MESSAGE = 256 * 1024


async def show(request: web.Request) -> web.StreamResponse:
    """How the request arrived; with a good key only."""
    deps = request.app[DEPS]
    if not is_good(deps.probe_secret, request.query.get("key", ""), deps.clock.wall()):
        raise Forbidden("This is not a key of this hub's, or it has expired.")
    seen = _describe(request)
    if "stream" in request.query:
        return await _stream(request, seen)
    websocket = web.WebSocketResponse(max_msg_size=MAX_MESSAGE, compress=False)
    if not websocket.can_prepare(request):
        return json_response(seen)
    await _echo(request, websocket, seen)
    return websocket


def _describe(request: web.Request) -> dict[str, Any]:
    hub = request.app[DEPS].settings.hub
    pairs = pairs_of(request)
    client = client_of(request, hub)
    peer: Any = request.transport.get_extra_info("peername") if request.transport is not None else None
    return {
        "minihub": minihub.__version__,
        "http_version": f"{request.version.major}.{request.version.minor}",
        "upgrade": first(pairs, UPGRADE_FIELD.lower()),
        "host": first(pairs, "host"),
        "forwarded": {name: first(pairs, f"x-forwarded-{name}") for name in ("for", "proto", "host")},
        # Of the connection that reached the hub.
        "peer": list(peer[:2]) if isinstance(peer, (tuple, list)) else None,
        "trusted": is_trusted_proxy(request.remote or "", hub),
        # What the hub makes of it all.
        "client": {"address": client.address, "scheme": client.scheme, "host": client.host},
    }


async def _stream(request: web.Request, seen: dict[str, Any]) -> web.StreamResponse:
    async with EventStream(request, request.app[STREAMS], request.app[KEEPER]) as stream:
        await stream.send(seen)
        await asyncio.sleep(FIRST_PAUSE_S)
        await stream.send({"event": "next"})
        await asyncio.sleep(SECOND_PAUSE_S)
        await stream.send({"event": "last"})
    return stream.response


async def _echo(request: web.Request, websocket: web.WebSocketResponse, seen: dict[str, Any]) -> None:
    await websocket.prepare(request)
    with contextlib.suppress(TimeoutError, ConnectionResetError):
        async with asyncio.timeout(LONGEST_S):
            await websocket.send_json(seen)
            async for message in websocket:
                if message.type is WSMsgType.TEXT:
                    await websocket.send_str(message.data)
