"""One browser connection: reads requests, has the door decide where each goes, and writes what comes back.

One exchange at a time; what is sent ahead waits. The hot path is synchronous: a request that finds a known visitor and
an idle upstream passes without a task, a timer or a copy.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Final

from minihub.errors import UpstreamError
from minihub.proxy.access_log import Record
from minihub.proxy.connection import Connection, Phase
from minihub.proxy.framing import BadMessage, Body, UntilClose, start_body
from minihub.proxy.memo import Memo
from minihub.proxy.pool import Upstreams
from minihub.proxy.refusal import build_refusal
from minihub.proxy.sockets import break_off, count_unread
from minihub.proxy.upstream import Lost, Upstream
from minihub.proxy.valve import AHEAD, PEER_FULL
from minihub.proxy.wire import (
    RequestHead,
    ResponseHead,
    find_head_end,
    parse_repeated,
)

if TYPE_CHECKING:
    from minihub.proxy.front import FrontDoor
    from minihub.proxy.gate import Pass

MAX_AHEAD: Final = 64 * 1024
"""Bytes of pipelined requests, or of a body nobody can take yet, that are kept."""
HUB_IDLE_S: Final = 10.0
"""How long the connection to the hub's own pages is kept for the next page."""

JUST_IDLE: Final = 0.0
"""A deadline that the next sweep sets: asking the clock after each request would be waste."""

_REPEATABLE = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
"""Idempotent: safe to send again (RFC 9110 section 9.2.2)."""
_CLOSE = b"Connection: close\r\n\r\n"
_KEEP = b"\r\n"


class Client(Connection):
    """A browser's connection and the exchange on it."""

    __slots__ = (
        "_buffer",
        "_close_after",
        "_fed",
        "_head",
        "_hub",
        "_pool",
        "_record",
        "_repeated",
        "_searched",
        "_server_size",
        "_started",
        "_tally",
        "_upgrade",
        "began",
        "body",
        "cookie",
        "known",
        "login_key",
        "memo",
        "request",
        "user",
    )

    request: RequestHead

    def __init__(self, door: FrontDoor) -> None:
        super().__init__(door)
        self.user = ""
        """Whose server the exchange goes to; "" between exchanges and on the hub's own pages."""
        self.login_key = ""
        self.cookie = ""
        """The login cookie that let the exchange in, "" for a token."""
        self.memo: Memo | None = None
        """Of the last header block, which a browser mostly repeats."""
        self.known: Pass | None = None
        """What the gate said of it, if it let it pass."""
        self._buffer = b""
        self._searched = 0
        self.body: Body | None = None
        """See `Asker`."""
        self._hub: Upstream | None = None
        self._pool: Upstreams | None = None
        self._head = b""
        self._upgrade = False
        self._repeated = False
        self._started = False
        self._fed = False
        self._close_after = False
        self._server_size = 0
        self._record: Record | None = None
        self._tally = door.tally
        self.began = 0.0
        """Loop time at which the last request's head was there."""

    @property
    def has_whole_request(self) -> bool:
        """Whether nothing of the request's body is gone yet, so that somebody else could still answer it."""
        return not self._fed

    # ---- for the loop -------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Somebody connected; may be one too many."""
        super().connection_made(transport)
        self._door.enter(self)

    def data_received(self, data: bytes) -> None:
        """More from the browser."""
        self._tally.received += len(data)
        phase = self._phase
        if phase is Phase.HEAD:
            self._read_head(self._buffer + data if self._buffer else data)
        elif phase is Phase.EXCHANGE and self.body is not None:
            self._send_body(self.body, data)
        elif phase in (Phase.DECIDING, Phase.EXCHANGE):
            self._buffer += data
            if len(self._buffer) > MAX_AHEAD:
                self.valve.shut(AHEAD)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        del exc
        self._phase = Phase.CLOSED
        self.deadline = math.inf
        self._drop_upstream()
        self._note_end()
        if self._hub is not None:
            self._hub.transport.abort()
        self._hub = self.body = self._pool = None
        self._door.leave(self)

    def resume_writing(self) -> None:
        """The browser takes more."""
        super().resume_writing()
        if self._phase is Phase.EXCHANGE:
            self._set_body_deadline()

    # ---- reading ------------------------------------------------------------------------------------------------

    def _read_head(self, data: bytes) -> None:
        try:
            request = parse_repeated(data, self.request) if self.memo is not None else None
            rest = b""
            if request is None:
                end = find_head_end(data, self._searched)
                if end < 0:
                    if not self._buffer:
                        self.deadline = self._door.time() + self._door.head_timeout_s
                    self._buffer, self._searched = data, len(data)
                    return
                request = self._parse(data[:end])
                rest = data[end:]
        except BadMessage as error:
            self.refuse(error.status, error.reason)
            return
        self._buffer, self._searched = rest, 0
        self.request = request
        header = request.header
        if header.framing is not None:
            body = start_body(header.framing)
            self.body = None if body.over else body
        self._close_after = not header.keep_alive
        self._repeated = self._fed = False
        self._server_size = 0
        self._phase = Phase.DECIDING
        self.began = self._door.time()
        if not self._is_full:
            self.deadline = math.inf
        access = self._door.access
        if access is not None:
            self._record = access.begin(request.method, request.target, self.address)
        self._door.decide(self, request)

    def _parse(self, head: bytes) -> RequestHead:
        request, self.memo = self._door.memos.read(head)
        self.known = self.memo.find_pass(self.origin)
        return request

    def _send_body(self, body: Body, data: bytes) -> None:
        assert self._upstream is not None
        self._fed = True
        try:
            out, taken = body.feed(data)
        except BadMessage as error:
            self.refuse(error.status, error.reason)
            return
        if body.over:
            self.body = None
            self._buffer = data[taken:]
        if not self._is_full:
            self._set_body_deadline()
        if out:
            self._upstream.send(out)

    def _set_body_deadline(self) -> None:
        waits = self.body is not None
        self.deadline = self._door.time() + self._door.body_timeout_s if waits else math.inf

    # ---- for the door: where the request goes -------------------------------------------------------------------

    def send_to_server(self, pool: Upstreams, head: bytes, *, upgrade: bool) -> None:
        """Have a user's server answer the request; `user`, `login_key` and `cookie` are set."""
        self._pool, self._head, self._upgrade = pool, head, upgrade
        upstream = pool.take()
        if upstream is None:
            pool.dial_soon(self._dialled)
        else:
            self._begin(upstream)

    def send_to_hub(self, head: bytes) -> None:
        """Have the hub's own pages answer the request."""
        self._pool, self._head, self._upgrade = None, head, False
        self.user = self.login_key = self.cookie = ""
        hub = self._hub
        if hub is None or hub.transport.is_closing():
            hub = self._hub = self._door.connect_hub(self)
        self._begin(hub)

    def _dialled(self, upstream: Upstream | None, error: UpstreamError | None) -> None:
        if upstream is None:
            assert error is not None
            if not self.is_gone:
                self._phase = Phase.DECIDING
                self._door.unreachable(self, error)
        elif self.is_gone:
            upstream.transport.abort()
        else:
            self._begin(upstream)

    def _begin(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._phase = Phase.EXCHANGE
        if self._is_full:
            upstream.valve.shut(PEER_FULL)
        request = self.request
        old = request.header.version < 11
        upstream.ask(self, self._head, request.method, upgrade=self._upgrade, unchunked=old, last=old)
        body = self.body
        if body is not None:
            data, self._buffer = self._buffer, b""
            self.valve.free(AHEAD)
            if data:
                self._send_body(body, data)
            elif not self._is_full:
                self._set_body_deadline()

    # ---- for the upstream: what comes back ----------------------------------------------------------------------

    def answer_interim(self, head: bytes) -> None:
        """A 1xx answer; clients of HTTP/1.0 do not know them (RFC 9110 section 15.2)."""
        if self.request.version >= 11:
            self.transport.write(head + _KEEP)

    def answer_head(self, response: ResponseHead, head: bytes, data: bytes) -> None:
        """The head and the beginning of the body."""
        self._started = True
        tally = self._tally
        tally.sent += len(data)
        if self.user:
            tally.of_servers[response.status] += 1
            # Written out: each request pays for a call.
            seconds = self._door.time() - self.began
            tally.seconds[int(seconds * 1000).bit_length()] += 1
            tally.seconds_total += seconds
        else:
            tally.of_hub[response.status] += 1
        if self.body is not None or isinstance(response.framing, UntilClose) or self._door.is_closing:
            self._close_after = True
        if self._record is not None:
            self._record.user, self._record.status, self._record.sent = self.user, response.status, len(data)
        self.transport.write(head + (_CLOSE if self._close_after else _KEEP) + data)

    def answer_data(self, data: bytes) -> None:
        """More of the body."""
        self._tally.sent += len(data)
        if self._record is not None:
            self._record.sent += len(data)
        self.transport.write(data)

    def answer_over(self) -> None:
        """The answer is complete: on to the next request."""
        self._upstream = self._pool = None
        self._started = False
        self.user = self.login_key = ""
        if self._record is not None:
            self._note_end()
        if self._phase is not Phase.EXCHANGE:
            return
        if self.body is not None:
            self._end_early()
        elif self._close_after:
            self._close()
        else:
            self._phase = Phase.HEAD
            if not self.request.raw:
                self.memo = self.known = None
            if not self._is_full:
                self.deadline = JUST_IDLE
            if self.valve.reasons:
                self.valve.open()
            if self._buffer:
                data, self._buffer = self._buffer, b""
                self._read_head(data)

    def answer_switch(self, head: bytes, rest: bytes) -> None:
        """101: from here on both sides speak to each other, first what each has said already."""
        upstream = self._upstream
        assert upstream is not None
        self.transport.write(head + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n" + rest)
        if self._buffer:
            upstream.transport.write(self._buffer)
        self._tally.of_servers[101] += 1
        if self._record is not None:
            self._record.user, self._record.status = self.user, 101
        self._note_end()
        self.valve.open()
        upstream.valve.open()
        self._upstream = None
        self._phase = Phase.CLOSED
        if self._hub is not None:
            self._hub.transport.abort()
            self._hub = None
        self._door.open_tunnel(self, upstream.transport)

    def answer_lost(self, how: Lost, detail: str) -> None:
        """There is no (further) answer."""
        self._upstream = None
        if self.is_gone:
            return
        if self._started:
            # The head is out: only breaking off tells the browser that this is not all.
            self._tally.unanswered[how.name.lower()] += 1
            break_off(self.transport)
            return
        repeatable = self.request.framing is None and self.request.method in _REPEATABLE
        self._phase = Phase.DECIDING
        if how is Lost.STALE and repeatable and not self._upgrade and not self._repeated:
            self._repeated = True
            if self._pool is not None:
                self._pool.dial_soon(self._dialled)
            else:
                self.send_to_hub(self._head)
            return
        self._door.unanswered(self, how, detail)

    # ---- ends ---------------------------------------------------------------------------------------------------

    def refuse(self, status: int, message: str) -> None:
        """Answer in place of everybody else, and close: what comes next on this connection cannot be trusted."""
        self._drop_upstream()
        if self._started:
            break_off(self.transport)
            return
        self._started = True
        self._tally.of_hub[status] += 1
        access = self._door.access
        if access is not None:
            self._record = self._record or access.begin("", "", self.address)
            self._record.status = status
            self._note_end()
        self.transport.write(build_refusal(status, message))
        self._end_early()

    def break_off(self) -> None:
        """End the exchange now: its server stops, or its login is over."""
        self._phase = Phase.CLOSED  # at once: what is being dialled for it must find nobody
        self._drop_upstream()
        break_off(self.transport)

    def end_when_done(self) -> None:
        """The hub goes down: close between two requests."""
        if self._phase is Phase.HEAD:
            self._close()
        else:
            self._close_after = True

    def expire(self, now: float) -> None:
        """The deadline has passed; what that means depends on what the connection waits for."""
        if self._is_full or self._phase is Phase.CLOSED:
            self._expire_reader(now)
        elif self._phase is Phase.HEAD and not self._buffer:
            self._expire_idle(now)
        elif self._phase is Phase.LINGER:
            self._close()
        elif self._phase is Phase.DECIDING:
            self.refuse(503, "The hub cannot say right now who you are. Try again in a moment.")
        elif self._phase is Phase.HEAD:
            self.refuse(408, "The head of the request took too long.")
        elif self.valve.reasons and self._upstream is not None:
            self._expire_server(now, self._upstream)
        else:
            self.refuse(408, "The rest of the request did not come.")

    def _expire_server(self, now: float, upstream: Upstream) -> None:
        """Give up on a server that reads nothing of an upload; one that answers nothing never is."""
        size = count_unread(upstream.transport)
        if 0 < self._server_size <= size:
            self._drop_upstream()
            self._door.unanswered(self, Lost.UNANSWERED, "it does not read what is sent to it")
        else:
            self._server_size = size
            self.deadline = now + self._door.body_timeout_s

    def _expire_idle(self, now: float) -> None:
        hub = self._hub
        if self.deadline == JUST_IDLE:
            self.deadline = now + (HUB_IDLE_S if hub is not None else self._door.idle_timeout_s)
        elif hub is None:
            self._close()
        else:
            self._hub = None
            hub.transport.abort()
            self.deadline = now + self._door.idle_timeout_s - HUB_IDLE_S

    def _end_early(self) -> None:
        """All is answered, but the browser may not have sent all."""
        self._buffer = b""
        self.body = None
        self.user = self.login_key = ""
        self._linger()

    def _note_end(self) -> None:
        record, self._record = self._record, None
        if record is not None and self._door.access is not None:
            self._door.access.end(record)
