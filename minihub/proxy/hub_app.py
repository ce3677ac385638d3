"""The way to the hub's own pages: an aiohttp application in this process, behind a memory pair, as one more upstream.

The application sees the browser's address and scheme as those of its own connection.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from minihub.errors import UpstreamError
from minihub.proxy.headers import build_answer, build_hub_answer_fields
from minihub.proxy.memo import AnswerMemos
from minihub.proxy.memory import connect
from minihub.proxy.upstream import Owner, Upstream
from minihub.proxy.wire import ResponseHead


class _Malformed(logging.Filter):
    """What a client sent wrongly is no error of ours, and aiohttp would log the wrong line: maybe its cookies."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        return not isinstance(error, HttpProcessingError)


def _make_http_log() -> logging.Logger:
    logger = logging.getLogger("minihub.http")
    logger.addFilter(_Malformed())
    return logger


RUNNER_OPTIONS: Final[dict[str, Any]] = {
    # A browser that goes away ends the page it asked for.
    "handler_cancellation": True,
    # No browser compresses what it sends; aiohttp would answer what it cannot unpack by itself, with a traceback in the log.
    "auto_decompress": False,
    "max_line_size": 32 * 1024,
    "max_field_size": 64 * 1024,
    # The door closes idle connections; if aiohttp did too, a request could cross with that.
    "keepalive_timeout": 24 * 3600,
    # The log would show ?token=.
    "access_log": None,
    "logger": _make_http_log(),
}
"""What the application's runner must be given."""


class HubApp:
    """Makes connections to the application of a runner that is set up."""

    def __init__(self, runner: web.AppRunner) -> None:
        server = runner.server
        assert server is not None, "set up the runner first"
        self._runner = runner
        self._make_handler = server
        self._loop = asyncio.get_running_loop()
        self.answers = AnswerMemos(_build_answer)
        """Reads what the application answers."""

    async def shut_down(self) -> None:
        """Have the application end what would go on for ever, such as event streams."""
        await self._runner.shutdown()

    def connect(self, browser: asyncio.Transport, owner: Owner | None = None) -> Upstream:
        """A connection for the pages that come over `browser`'s one."""
        upstream = Upstream(owner or self)
        sees = {name: browser.get_extra_info(name) for name in ("peername", "sockname", "sslcontext")}
        connect(self._loop, upstream, self._make_handler(), other_sees=sees)
        return upstream

    def released(self, upstream: Upstream) -> None:
        """Its client keeps it for the next page."""

    def lost(self, upstream: Upstream) -> None:
        """Its client sees that by itself."""


class HubWebsocket:
    """The way of one request for a websocket to the hub's own pages: a connection of its own, which becomes the websocket."""

    def __init__(self, hub: HubApp, browser: asyncio.Transport) -> None:
        self._hub = hub
        self._browser = browser
        self.answers = hub.answers

    def take(self) -> Upstream:
        """The connection."""
        return self._hub.connect(self._browser, self)

    def dial_soon(self, done: Callable[[Upstream | None, UpstreamError | None], None]) -> None:
        """Hand over the connection."""
        done(self.take(), None)

    def released(self, upstream: Upstream) -> None:
        """The answer was no websocket."""
        upstream.transport.abort()

    def lost(self, upstream: Upstream) -> None:
        """Its client sees that by itself."""


def _build_answer(response: ResponseHead, unchunked: bool) -> bytes:
    return build_answer(response, build_hub_answer_fields(response.fields), unchunked=unchunked)
