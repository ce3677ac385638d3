"""Loads: one request after the other on each of many open connections."""

from __future__ import annotations

import asyncio
import time

from .answers import take_answer
from .content import SMALL
from .crowd import Crowd, Member, guarded
from .heads import NextHead

_OK = b"HTTP/1.1 200 "


class Exchange(Member, asyncio.Protocol):
    """One browser connection: sends the next request when the answer is complete."""

    def __init__(self, crowd: Crowd, next_head: NextHead) -> None:
        super().__init__(crowd)
        self._next = next_head
        self._buffer = bytearray()
        self._length = 0

    def begin(self) -> None:
        self.send()

    def send(self) -> None:
        self.transport.write(self._next())

    def data_received(self, data: bytes) -> None:
        # Nearly always the answer comes at once and has the length of the last one; then three comparisons tell
        # that it is right. Everything else is taken apart.
        if len(data) == self._length and not self._buffer and data.startswith(_OK) and data.endswith(SMALL):
            self.right()
        else:
            self._collect(data)

    @guarded
    def _collect(self, data: bytes) -> None:
        self._buffer += data
        head = take_answer(self._buffer, SMALL)
        if head is None:
            return
        self._length = len(self._buffer)
        self._buffer.clear()
        if "close" in head.fields.get("connection", "").lower():
            self.window.done += 1
            self.fail("would not keep the connection")
        else:
            self.right()

    def right(self) -> None:
        self.window.done += 1
        if self.window.over:
            self.leave()
        else:
            self.send()


class TimedExchange(Exchange):
    """Notes how long each answer took."""

    _sent_at = 0.0

    def send(self) -> None:
        self._sent_at = time.perf_counter()
        super().send()

    def right(self) -> None:
        self.window.latencies.append(time.perf_counter() - self._sent_at)
        super().right()
