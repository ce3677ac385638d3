"""One connection to where requests are answered: a user's Jupyter, or the hub's own application. One exchange at a time.

Frames what comes back and hands it to whoever asked. Knows nothing of browsers, routes or rights.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final, Protocol, cast

from minihub.proxy.framing import BadMessage, Body, Length, UntilCloseBody, start_body
from minihub.proxy.memo import AnswerMemos
from minihub.proxy.valve import PEER_FULL, Valve
from minihub.proxy.wire import ResponseHead, find_head_end

WATER_MARK: Final = 256 * 1024
"""Bytes that may wait to be written before the other side is not read any more."""


class Lost(Enum):
    """How an exchange failed."""

    STALE = "the connection was closed before it was used again"
    UNANSWERED = "the connection was closed without an answer"
    MALFORMED = "the answer is not HTTP"
    TORN = "the answer broke off"


class Asker(Protocol):
    """Who sent the request and gets the answer; called from within `Upstream.data_received`."""

    valve: Valve
    """Of the asker's own connection."""

    body: Body | None
    """Of the request, while part of it is still to be handed to the upstream; else None."""

    def answer_interim(self, head: bytes) -> None:
        """A 1xx answer (RFC 9110 section 15.2); the real one is still to come."""
        ...

    def answer_head(self, response: ResponseHead, head: bytes, data: bytes) -> None:
        """The head, but for Connection and the empty line, and the beginning of the body."""
        ...

    def answer_data(self, data: bytes) -> None:
        """More of the body, framed as it goes on."""
        ...

    def answer_over(self) -> None:
        """The answer is complete; the upstream is no more the asker's."""
        ...

    def answer_switch(self, head: bytes, rest: bytes) -> None:
        """101: the connection is the asker's now, to be taken with `Upstream.transport`."""
        ...

    def answer_lost(self, how: Lost, detail: str) -> None:
        """There will be no (further) answer; the upstream is no more the asker's."""
        ...


class Owner(Protocol):
    """Whose connection it is: the pool of a route, or who keeps the one to the hub's pages."""

    answers: AnswerMemos
    """Reads the heads of answers, and builds what goes on of them."""

    def released(self, upstream: Upstream) -> None:
        """The connection is free for another exchange."""
        ...

    def lost(self, upstream: Upstream) -> None:
        """The connection is gone."""
        ...


@dataclass(slots=True)
class _Memo:
    """An answer's head and what became of it. Not frozen: see `RequestHead`."""

    head: bytes
    method: str
    unchunked: bool
    response: ResponseHead
    built: bytes


class Upstream(asyncio.Protocol):
    """One connection, and the exchange on it."""

    __slots__ = (
        "_asker",
        "_body",
        "_buffer",
        "_is_answering",
        "_last",
        "_memo",
        "_method",
        "_owner",
        "_reusable",
        "_searched",
        "_unchunked",
        "_upgrade",
        "_write",
        "exchanges",
        "idle_until",
        "transport",
        "valve",
    )

    transport: asyncio.Transport
    valve: Valve

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._asker: Asker | None = None
        self._body: Body | None = None
        self._buffer = b""
        self._searched = 0
        self._method = ""
        self._upgrade = False
        self._unchunked = False
        self._last = False
        self._reusable = False
        self._is_answering = False
        # The last head and what became of it: most answers of a connection differ in their body only.
        self._memo: _Memo | None = None
        self._write: Callable[[bytes], None] = _nowhere
        self.exchanges = 0
        """How many were begun."""
        self.idle_until = math.inf
        """Loop time at which the pool gives it up."""

    # ---- for the asker ------------------------------------------------------------------------------------------

    def ask(
        self,
        asker: Asker,
        head: bytes,
        method: str,
        *,
        upgrade: bool = False,
        unchunked: bool = False,
        last: bool = False,
    ) -> None:
        """Send a request's head; its body follows by `send`.

        Args:
            asker: Gets the answer.
            head: As it goes on the wire.
            method: Of the request: it says whether the answer can have a body.
            upgrade: The request asks for a websocket, so 101 may be the answer.
            unchunked: The asker understands no chunked coding.
            last: The connection is not to be used again: the request is one of HTTP/1.0.
        """
        self._asker = asker
        self._method = method
        self._upgrade = upgrade
        self._unchunked = unchunked
        self._last = last
        self._reusable = self._is_answering = False
        self.exchanges += 1
        self._write(head)

    def send(self, data: bytes) -> None:
        """Send more of the request's body, as framed."""
        self._write(data)

    def leave(self) -> None:
        """The asker wants no answer any more: the connection is of no further use."""
        self._asker = None
        self.transport.abort()

    # ---- for the loop -------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is there and proven."""
        # A cast, for uvloop's transports for TLS do not inherit from asyncio's.
        transport = self.transport = cast(asyncio.Transport, transport)
        self.valve = Valve(transport)
        self._write = transport.write
        transport.set_write_buffer_limits(high=WATER_MARK)

    def pause_writing(self) -> None:
        """The server does not keep up: read no more of the request."""
        if self._asker is not None:
            self._asker.valve.shut(PEER_FULL)

    def resume_writing(self) -> None:
        """The server takes more."""
        if self._asker is not None:
            self._asker.valve.free(PEER_FULL)

    def data_received(self, data: bytes) -> None:
        """Part of an answer."""
        if self._asker is None:
            # Nobody asked: whatever this is, the connection is out of step.
            self.transport.abort()
            return
        try:
            if self._body is None:
                self._read_head(data)
            else:
                self._read_body(self._body, data)
        except BadMessage as error:
            self._fail(Lost.MALFORMED if self._body is None else Lost.TORN, error.reason)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone; where nothing but that ends an answer, the answer is complete."""
        asker = self._asker
        if asker is not None:
            if isinstance(self._body, UntilCloseBody) and exc is None:
                self._finish(asker)
            elif self._body is not None:
                self._fail(Lost.TORN, str(exc or "closed"))
            elif self._buffer:
                self._fail(Lost.MALFORMED, "closed within the head")
            else:
                stale = self.exchanges > 1 and not self._is_answering
                self._fail(Lost.STALE if stale else Lost.UNANSWERED, str(exc or "closed"))
        self._write = _nowhere
        self._owner.lost(self)

    # ---- reading ------------------------------------------------------------------------------------------------

    def _read_head(self, data: bytes) -> None:
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        while True:
            memo = self._memo
            if (
                memo is not None
                and data.startswith(memo.head)
                and memo.method == self._method
                and memo.unchunked == self._unchunked
            ):
                data = data[len(memo.head) :]
            else:
                end = find_head_end(data, self._searched, answer=True)
                if end < 0:
                    self._buffer, self._searched = data, len(data)
                    return
                memo = self._memo = self._parse(data[:end])
                data = data[end:]
            self._searched = 0
            response, built = memo.response, memo.built
            if response.status >= 200:
                self._begin_body(response, built, data)
                return
            asker = self._asker
            assert asker is not None
            if response.status == 101:
                if not self._upgrade or response.upgrade != "websocket":
                    raise BadMessage(502, "switched protocols without being asked")
                self._asker = None
                self._owner.lost(self)
                asker.answer_switch(built, data)
                return
            self._is_answering = True
            asker.answer_interim(built)
            if not data or self._asker is None:
                return

    def _parse(self, head: bytes) -> _Memo:
        response, built = self._owner.answers.read(head, self._method, unchunked=self._unchunked)
        return _Memo(head, self._method, self._unchunked, response, built)

    def _begin_body(self, response: ResponseHead, built: bytes, data: bytes) -> None:
        asker = self._asker
        assert asker is not None
        self._reusable = response.keep_alive and not self._last
        framing = response.framing
        if type(framing) is Length and framing.size == len(data):
            over, taken, out = True, len(data), data
        elif framing is None:
            over, taken, out = True, 0, b""
        else:
            body = self._body = start_body(framing, payload=self._unchunked, status=502)
            out, taken = body.feed(data)
            over = body.over
        asker.answer_head(response, built, out)
        if over and self._asker is not None:
            self._reusable = self._reusable and taken == len(data)
            self._finish(asker)

    def _read_body(self, body: Body, data: bytes) -> None:
        asker = self._asker
        assert asker is not None
        out, taken = body.feed(data)
        if out:
            asker.answer_data(out)
        if body.over and self._asker is not None:
            self._reusable = self._reusable and taken == len(data)
            self._finish(asker)

    def _finish(self, asker: Asker) -> None:
        """The answer ended exactly on its frame; use the connection again only if nothing is left on it either way."""
        self._asker = self._body = None
        if self._reusable and asker.body is None and not self.transport.get_write_buffer_size():
            if self.valve.reasons:
                self.valve.open()
            self._owner.released(self)
        else:
            self.transport.abort()
        asker.answer_over()

    def _fail(self, how: Lost, detail: str) -> None:
        asker, self._asker, self._body = self._asker, None, None
        self.transport.abort()
        if asker is not None:
            asker.answer_lost(how, detail)


def _nowhere(_data: bytes) -> None:
    """What is sent to a lost connection is lost."""
