"""Loads: big bodies down and up; one small request at a time beside paced downloads."""

from __future__ import annotations

import asyncio

from .answers import Wrong, parse_head, take_answer
from .content import BLOCK, BULK_BYTES, UPLOADED, Checker
from .crowd import Crowd, Member, guarded

DOWN_PATH = "/user/alice/files/big"
PACED_PATH = "/user/alice/files/paced"
UP_PATH = "/user/alice/upload"


class Download(Member, asyncio.BufferedProtocol):
    """Downloads the big body again and again. Counts bytes."""

    def __init__(self, crowd: Crowd, path: str) -> None:
        super().__init__(crowd)
        self._head = crowd.site.get(path)
        self._buffer = bytearray(256 * 1024)
        self._view = memoryview(self._buffer)
        self._early = bytearray()
        self._checker: Checker | None = None

    def begin(self) -> None:
        self._checker = None
        self.transport.write(self._head)

    def get_buffer(self, sizehint: int) -> bytearray:  # noqa: ARG002 - asyncio's signature
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self._checker is None:
            self._collect(bytes(self._view[:nbytes]))
        else:
            self._count(self._buffer, nbytes)

    @guarded
    def _collect(self, data: bytes) -> None:
        self._early += data
        head = parse_head(self._early)
        if head is None:
            return
        if head.status != 200:
            raise Wrong(f"status {head.status}")
        if head.length != BULK_BYTES:
            raise Wrong("wrong length")
        body = bytes(self._early[head.size :])
        self._early.clear()
        self._checker = Checker()
        if body:
            self._count(body, len(body))

    def _count(self, piece: bytes | bytearray, size: int) -> None:
        checker = self._checker
        assert checker is not None
        checker.take(piece, size)
        if checker.wrong:
            self.fail("wrong body")
            return
        self.window.done += size
        if checker.position < BULK_BYTES:
            return
        if checker.position > BULK_BYTES:
            self.fail("more than the answer")
        elif self.window.over:
            self.leave()
        else:
            self.begin()


class Upload(Member, asyncio.Protocol):
    """Uploads the big body again and again. Counts the bytes that the kernel took, or nearly."""

    def __init__(self, crowd: Crowd, path: str) -> None:
        super().__init__(crowd)
        self._head = crowd.site.post(path, BULK_BYTES)
        self._buffer = bytearray()
        self._left = 0
        self._paused = False

    def begin(self) -> None:
        self.transport.set_write_buffer_limits(high=256 * 1024)
        self._again()

    def _again(self) -> None:
        self._left = BULK_BYTES
        self.transport.write(self._head)
        self._push()

    def _push(self) -> None:
        while self._left and not self._paused:
            piece = BLOCK if self._left >= len(BLOCK) else BLOCK[: self._left]
            self._left -= len(piece)
            self.window.done += len(piece)
            self.transport.write(piece)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._push()

    @guarded
    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if take_answer(self._buffer, UPLOADED % BULK_BYTES) is None:
            return
        self._buffer.clear()
        if self._left:
            raise Wrong("answer before the upload's end")
        if self.window.over:
            self.leave()
        else:
            self._again()
