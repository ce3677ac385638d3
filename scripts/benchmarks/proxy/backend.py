"""What stands in for the user's Jupyter: a uvloop protocol that knows a few answers. Run as a process.

`python -m benchmarks.proxy.backend [CERTIFICATE KEY CLIENT]` listens on a free port, and with the three files on a second
one with mutual TLS (as Jupyter does with certfile, keyfile and client_ca); prints both as JSON; runs until it is ended.

Paths below /user/alice/:
    api/contents/notebook...  1 KB
    api/contents/varied...    1 KB; no two heads alike
    files/big, files/paced    100 MB; as quickly as possible, or at 100 MB/s
    upload                    takes a body, says how long it was
    api/kernels/...           websocket: echoes
    lies/...                  not what was promised (see proof.py)
    seen                      what arrived, as the body
"""

from __future__ import annotations

import asyncio
import email.utils
import itertools
import json
import re
import ssl
import sys
from typing import Any

import uvloop

from .bulk import DOWN_PATH, PACED_PATH, UP_PATH
from .content import BLOCK, BULK_BYTES, PERIOD, SMALL, UPLOADED, Checker
from .heads import SMALL_PATH, VARIED_PATH
from .websockets import PATH as WEBSOCKET_PATH
from .websockets import accept_of

LIES = "/user/alice/lies/"
SEEN = "/user/alice/seen"

_PACE = 100_000_000
"""Bytes per second of a paced download."""
_TICK_S = 0.002
_BURST_S = 0.02
"""A paced download that could not send makes up for no more than this."""

_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)\r\n", re.IGNORECASE)
_KEY = re.compile(rb"\r\nsec-websocket-key: *([^\r\n ]+)", re.IGNORECASE)
_END = b"\r\n\r\n"
_SMALL, _VARIED = SMALL_PATH.encode(), VARIED_PATH.encode()


class Answers:
    """Answers with today's date, as Tornado would send them."""

    def __init__(self) -> None:
        self._numbers = itertools.count(10**15)
        self.renew()

    def renew(self) -> None:
        """Once a second: the date is another one."""
        self.small = self.build(SMALL, etag="7f3a1b2c3d4e5f60")
        before, after = self.build(SMALL, etag="@").split(b"@", 1)
        self._before, self._after = before, after
        self.last = self.build(SMALL, closes=True)

    @property
    def varied(self) -> bytes:
        """The small answer with a new ETag."""
        return b"%b%d%b" % (self._before, next(self._numbers), self._after)

    @staticmethod
    def build(
        body: bytes,
        *,
        etag: str = "0",
        status: str = "200 OK",
        length: int | None = None,
        closes: bool = False,
    ) -> bytes:
        """Build an answer; `length` if it is a lie, or the body follows."""
        lines = (
            f"HTTP/1.1 {status}",
            "Server: TornadoServer/6.5.2",
            "Content-Type: application/json",
            f"Date: {email.utils.formatdate(usegmt=True)}",
            "X-Content-Type-Options: nosniff",
            "Content-Security-Policy: frame-ancestors 'self'; report-uri /user/alice/api/security/csp-report",
            f'Etag: "{etag}"',
            f"Content-Length: {len(body) if length is None else length}",
            *(["Connection: close"] if closes else []),
            "",
            "",
        )
        return "\r\n".join(lines).encode() + body


ANSWERS = Answers()


class Backend(asyncio.Protocol):
    """One connection from the proxy."""

    transport: Any

    def __init__(self) -> None:
        self._buffer = b""
        self._left = 0
        self._paused = False
        self._closes = False
        self._pace: asyncio.TimerHandle | None = None
        self._began = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._left = 0
        if self._pace is not None:
            self._pace.cancel()

    def data_received(self, data: bytes) -> None:
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        while data:
            end = data.find(_END) + 4
            if end < 4:
                self._buffer = data
                return
            head, data = (data, b"") if end == len(data) else (data[:end], data[end:])
            data = self._answer(head, data)

    def _answer(self, head: bytes, rest: bytes) -> bytes:
        """Answer one request; returns what of `rest` is not its body."""
        target = head[head.find(b" ") + 1 : 120]
        self._closes = b"onnection: close" in head
        if target.startswith(_SMALL):
            self.transport.write(ANSWERS.last if self._closes else ANSWERS.small)
        elif target.startswith(_VARIED):
            self.transport.write(ANSWERS.varied)
        else:
            path = target.partition(b" ")[0].partition(b"?")[0].decode("latin-1")
            return self._answer_others(head, path, rest)
        if self._closes:
            self.transport.close()
        return rest

    def _answer_others(self, head: bytes, path: str, rest: bytes) -> bytes:
        if path == WEBSOCKET_PATH:
            self._shake_hands(head)
            return b""
        if path == UP_PATH:
            self._receive(head, rest)
            return b""
        if path in (DOWN_PATH, PACED_PATH):
            self.transport.write(ANSWERS.build(b"", length=BULK_BYTES, closes=self._closes))
            self._left = BULK_BYTES
            if path == PACED_PATH:
                self._began = asyncio.get_running_loop().time()
                self._send_paced()
            else:
                self._send()
            return rest
        if path == SEEN:
            self.transport.write(ANSWERS.build(head, closes=self._closes))
        elif path.startswith(LIES):
            self._lie(head, path.removeprefix(LIES))
        else:
            self.transport.write(ANSWERS.build(b"no such path", status="404 Not Found"))
        if self._closes:
            self.transport.close()
        return rest

    # Downloads.

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        if self._left and self._pace is None:
            self._send()

    def _piece(self, most: int) -> None:
        size = min(most, self._left, len(BLOCK))
        start = (BULK_BYTES - self._left) % PERIOD
        size = min(size, len(BLOCK) - start)
        self._left -= size
        self.transport.write(BLOCK if size == len(BLOCK) else BLOCK[start : start + size])

    def _send(self) -> None:
        while self._left and not self._paused:
            self._piece(len(BLOCK))
        self._end_download()

    def _send_paced(self) -> None:
        loop = asyncio.get_running_loop()
        sent = BULK_BYTES - self._left
        due = (loop.time() - self._began) * _PACE - sent
        if due > _BURST_S * _PACE:
            self._began += due / _PACE - _BURST_S
            due = _BURST_S * _PACE
        while due >= 1 and self._left and not self._paused:
            before = self._left
            self._piece(int(due))
            due -= before - self._left
        self._pace = loop.call_later(_TICK_S, self._send_paced) if self._left else None
        self._end_download()

    def _end_download(self) -> None:
        if not self._left and self._closes:
            self.transport.close()

    # Uploads and websockets: other protocols take over.

    def _receive(self, head: bytes, rest: bytes) -> None:
        length = _LENGTH.search(head)
        if length is None:
            self.transport.write(ANSWERS.build(b"", status="501 Not Implemented"))
            self.transport.close()
            return
        sink = Sink(self, int(length[1]), closes=self._closes)
        if rest:
            sink.take(rest, len(rest))
        if sink.left:
            self.transport.set_protocol(sink)

    def _shake_hands(self, head: bytes, side: type[EchoSide] | None = None) -> None:
        key = _KEY.search(head)
        if key is None:
            self.transport.write(ANSWERS.build(b"", status="400 Bad Request"))
            return
        accept = accept_of(key[1].decode())
        self.transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nServer: TornadoServer/6.5.2\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Accept: %b\r\n\r\n" % accept.encode()
        )
        self.transport.set_protocol((side or EchoSide)(self.transport))

    def _lie(self, head: bytes, what: str) -> None:
        match what:
            case "status":
                self.transport.write(ANSWERS.build(SMALL, status="500 Internal Server Error"))
            case "body":
                self.transport.write(ANSWERS.build(SMALL.replace(b"c", b"d", 1)))
            case "long":
                self.transport.write(ANSWERS.build(SMALL + b"x"))
            case "half":
                self.transport.write(ANSWERS.build(SMALL[:500], length=len(SMALL)))
                self.transport.close()
            case "none":
                self.transport.close()
            case "short":
                self.transport.write(ANSWERS.build(BLOCK, length=BULK_BYTES))
                self.transport.close()
            case "shifted":
                self.transport.write(ANSWERS.build(BLOCK[1:], length=BULK_BYTES))
            case "echo":
                self._shake_hands(head, EchoLie)


class Sink(asyncio.BufferedProtocol):
    """Takes an upload."""

    _buffer = bytearray(256 * 1024)  # One for all: what is in it has been looked at before the next read.

    def __init__(self, backend: Backend, length: int, *, closes: bool) -> None:
        self._backend = backend
        self._closes = closes
        self._checker = Checker()
        self._length = length

    @property
    def left(self) -> int:
        """Bytes still to come."""
        return self._length - self._checker.position

    def get_buffer(self, sizehint: int) -> bytearray:  # noqa: ARG002 - asyncio's signature
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.take(self._buffer, nbytes)
        if self.left <= 0:
            self._backend.transport.set_protocol(self._backend)

    def take(self, piece: bytes | bytearray, size: int) -> None:
        """Count; answer at the end."""
        self._checker.take(piece, size)
        if self.left > 0:
            return
        wrong = self._checker.wrong + (self.left < 0)
        body = UPLOADED % self._length if not wrong else b'{"wrong": %d}' % wrong
        self._backend.transport.write(ANSWERS.build(body, closes=self._closes))
        if self._closes:
            self._backend.transport.close()

    def eof_received(self) -> None:
        return

    def connection_lost(self, exc: Exception | None) -> None:
        self._backend.connection_lost(exc)


class EchoSide(asyncio.Protocol):
    """The server's side of a websocket: sends every frame back, unmasked."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self._buffer = bytearray()
        self._needed = 0

    def data_received(self, data: bytes) -> None:
        if self._buffer:
            self._buffer += data
            if len(self._buffer) < self._needed:
                return
            data = bytes(self._buffer)
            self._buffer.clear()
        while len(data) >= 6:
            size, start = _frame_size(data)
            end = start + size
            if len(data) < end:
                self._needed = end
                break
            self._echo(data, start, end)
            data = data[end:]
        else:
            self._needed = 6
        self._buffer += data

    def _echo(self, data: bytes, start: int, end: int) -> None:
        mask, payload = data[start - 4 : start], data[start:end]
        if mask != b"\0\0\0\0":
            payload = _unmask(payload, mask)
        first, plain_head = data[0], data[1 : start - 4]
        if first & 0x0F == 0x9:
            first = first & 0xF0 | 0xA
        self._transport.write(bytes((first, plain_head[0] & 0x7F)) + plain_head[1:] + payload)
        if first & 0x0F == 0x8:
            self._transport.close()


class EchoLie(EchoSide):
    """Sends something else back."""

    def data_received(self, data: bytes) -> None:
        super().data_received(data[:-1] + b"!")


def _frame_size(data: bytes) -> tuple[int, int]:
    """The payload's size, and where it starts; all heads of masked frames. (One of 64 KB needs 10 bytes to say so.)"""
    size = data[1] & 0x7F
    if size < 126:
        return size, 6
    if size == 126:
        return int.from_bytes(data[2:4], "big"), 8
    return (int.from_bytes(data[2:10], "big"), 14) if len(data) >= 10 else (1, 10)


def _unmask(payload: bytes, mask: bytes) -> bytes:
    repeated = (mask * (len(payload) // 4 + 1))[: len(payload)]
    number = int.from_bytes(payload, "little") ^ int.from_bytes(repeated, "little")
    return number.to_bytes(len(payload), "little")


async def _serve(files: list[str]) -> None:
    loop = asyncio.get_running_loop()
    plain = await loop.create_server(Backend, "127.0.0.1", 0, backlog=1024)
    ports = {"port": plain.sockets[0].getsockname()[1]}
    if files:
        certificate, key, client = files
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(client)
        mutual = await loop.create_server(Backend, "127.0.0.1", 0, backlog=1024, ssl=context)
        ports["tls_port"] = mutual.sockets[0].getsockname()[1]
    print(json.dumps(ports), flush=True)
    while True:
        await asyncio.sleep(1)
        ANSWERS.renew()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(sys.argv[1:]))
