"""Loads: websockets that send a message, wait for its echo and send again; and idle ones."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import itertools
import os
from collections.abc import Sequence

from .answers import Wrong, parse_head
from .cpu import pss_kb
from .crowd import Crowd, Member, guarded

PATH = "/user/alice/api/kernels/1/channels"
_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_numbers = itertools.count()


def accept_of(key: str) -> str:
    """What the server must answer to a handshake's key. Source: RFC 6455 section 4.2.2."""
    return base64.b64encode(hashlib.sha1(key.encode() + _MAGIC).digest()).decode()


def build_frame(payload: bytes, *, masked: bool) -> bytes:
    """One binary frame; the mask is four zeros, which leave the payload as it is. Source: RFC 6455 section 5.2."""
    size, bit = len(payload), 0x80 if masked else 0
    if size < 126:
        head = bytes((0x82, bit | size))
    elif size < 65536:
        head = bytes((0x82, bit | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((0x82, bit | 127)) + size.to_bytes(8, "big")
    return head + (b"\0\0\0\0" if masked else b"") + payload


class Echo(Member, asyncio.Protocol):
    """One websocket. Its messages are like no other's."""

    def __init__(self, crowd: Crowd, size: int, path: str = PATH, *, idle: bool = False) -> None:
        super().__init__(crowd)
        self._path = path
        self._key = base64.b64encode(os.urandom(16)).decode()
        payload = (b"%08d " % next(_numbers) * (size // 9 + 1))[:size]
        self._message = build_frame(payload, masked=True)
        self._expected = build_frame(payload, masked=False)
        self._idle = idle
        self._buffer = bytearray()
        self._position = 0
        self._take = self._shake_hands
        self.echoes = 0

    def begin(self) -> None:
        self.transport.write(self.crowd.site.websocket(self._path, self._key))

    def data_received(self, data: bytes) -> None:
        self._take(data)

    @guarded
    def _shake_hands(self, data: bytes) -> None:
        self._buffer += data
        head = parse_head(self._buffer)
        if head is None:
            return
        if head.status != 101:
            raise Wrong(f"status {head.status}")
        if head.fields.get("sec-websocket-accept") != accept_of(self._key):
            raise Wrong("wrong handshake")
        if len(self._buffer) > head.size:
            raise Wrong("more than the handshake")
        self._buffer = bytearray()
        self._take = self._compare
        self.send()

    def send(self) -> None:
        self.transport.write(self._message)

    def _compare(self, data: bytes) -> None:
        if not self._position and data == self._expected:
            self._right()
            return
        start = self._position
        self._position = end = start + len(data)
        if data != self._expected[start:end]:
            self.fail("wrong echo")
        elif end == len(self._expected):
            self._position = 0
            self._right()

    def _right(self) -> None:
        self.echoes += 1
        self.window.done += 1
        if self.window.over:
            self.leave()
        elif not self._idle:
            self.send()


async def _wait_echoes(sockets: Sequence[Echo], count: int) -> int:
    """Wait a while until each of these has had `count` echoes; return how many have."""
    loop = asyncio.get_running_loop()
    until = loop.time() + 10
    while True:
        there = sum(one.echoes >= count for one in sockets)
        if there == len(sockets) or loop.time() > until:
            return there
        await asyncio.sleep(0.02)


def _echoes(crowd: Crowd) -> list[Echo]:
    return [one for one in crowd.members if isinstance(one, Echo)]


async def measure_idle(crowd: Crowd, count: int, pids: Sequence[int], settle_s: float) -> None:
    """Open `count` websockets that echo one message and then are silent; note what each of them keeps in memory."""
    window = crowd.window
    await crowd.open(30)
    warm = _echoes(crowd)
    await _wait_echoes(warm, 1)
    window.over = True  # Those that leave now are not replaced.
    for one in warm:
        one.leave()
    await crowd.drain()
    window.over = False
    await asyncio.sleep(settle_s)
    before = pss_kb(pids)
    window.begin()
    await crowd.open(count)
    there = await _wait_echoes(_echoes(crowd), 1)
    await asyncio.sleep(settle_s)
    after = pss_kb(pids)
    sockets = _echoes(crowd)
    for one in sockets:
        one.send()
    alive = await _wait_echoes(sockets, 2)
    if (there, alive) != (count, count):
        window.errors["websockets that are not there"] += count - min(there, alive)
    window.end()
    window.more["kb_each"] = (after - before) / count
    for one in sockets:
        one.leave()
    await crowd.drain()
