"""Short questions of the hub itself to a user's server: one request, one answer in memory."""

from __future__ import annotations

import asyncio

from minihub.errors import UpstreamError, UpstreamUnsafe
from minihub.proxy.framing import Body
from minihub.proxy.pool import Pool
from minihub.proxy.upstream import Lost, Upstream
from minihub.proxy.valve import Valve
from minihub.proxy.wire import ResponseHead

MAX_ANSWER = 1024 * 1024
"""Bytes; nothing that the hub asks for is longer."""

_UNREACHABLE = "Your server cannot be reached right now."
_NOT_JUPYTER = "What answers in your server's place is not your own protected server."


async def get(pool: Pool, target: str, *, timeout_s: float, token: str = "") -> tuple[int, bytes]:
    """Return status and body of a GET, over an idle connection if there is one.

    Args:
        pool: Of the server.
        target: Path and query.
        timeout_s: For all of it.
        token: Opens the server; "" to ask as a stranger.

    Raises:
        UpstreamError: No answer, or none in time.
        UpstreamUnsafe: An answer that cannot be Jupyter's.
    """
    fields = "Host: localhost\r\nAccept: */*\r\n"
    if token:
        fields += f"Authorization: token {token}\r\n"
    try:
        async with asyncio.timeout(timeout_s):
            question = Question(pool.take() or await pool.dial())
            try:
                return await question.ask(f"GET {target} HTTP/1.1\r\n{fields}\r\n")
            finally:
                question.give_up()
    except TimeoutError as error:
        raise UpstreamError(
            _UNREACHABLE, f"{target.partition('?')[0]}: no answer in {timeout_s:g} s"
        ) from error


class Question:
    """Asks one question and collects the answer."""

    body: Body | None = None

    def __init__(self, upstream: Upstream) -> None:
        self.valve: Valve = upstream.valve  # there is no body that could have to wait
        self._upstream: Upstream | None = upstream
        self._status = 0
        self._body = b""
        self._answer: asyncio.Future[tuple[int, bytes]] = asyncio.get_running_loop().create_future()

    async def ask(self, head: str) -> tuple[int, bytes]:
        """Return status and body.

        Raises:
            UpstreamError: No answer.
            UpstreamUnsafe: One that cannot be Jupyter's.
        """
        assert self._upstream is not None
        self._upstream.ask(self, head.encode("ascii"), "GET", unchunked=True)
        return await self._answer

    def give_up(self) -> None:
        """Nobody waits any more."""
        if self._upstream is not None:
            self._upstream.leave()

    def answer_interim(self, head: bytes) -> None:
        """Not yet."""

    def answer_head(self, response: ResponseHead, head: bytes, data: bytes) -> None:
        """The head and the beginning of the body."""
        del head
        self._status = response.status
        self.answer_data(data)

    def answer_data(self, data: bytes) -> None:
        """More of the body."""
        self._body += data
        if len(self._body) > MAX_ANSWER and not self._answer.done():
            self._answer.set_exception(UpstreamUnsafe(_NOT_JUPYTER, "the answer is too long for Jupyter's"))

    def answer_over(self) -> None:
        """That was all."""
        self._upstream = None
        if not self._answer.done():
            self._answer.set_result((self._status, self._body))

    def answer_switch(self, head: bytes, rest: bytes) -> None:
        """Never: no upgrade was asked for."""

    def answer_lost(self, how: Lost, detail: str) -> None:
        """No answer."""
        self._upstream = None
        if not self._answer.done():
            error = UpstreamError(_UNREACHABLE, f"{how.value}: {detail}")
            self._answer.set_exception(error)
