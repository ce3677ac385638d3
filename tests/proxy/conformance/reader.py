"""Reading HTTP/1.1 so strictly that nothing has two readings; and what h11 makes of the same bytes."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import h11


class Loose(Exception):
    """Not exactly the grammar."""


@dataclass
class Message:
    """A request or an answer, as far as it has come."""

    start: str
    fields: list
    body: bytearray = field(default_factory=bytearray)
    whole: bool = False
    until_close: bool = False

    def values(self, name):
        return [value for key, value in self.fields if key.lower() == name]

    @property
    def status(self):
        return int(self.start[9:12])

    @property
    def method(self):
        return self.start.split(" ")[0]

    @property
    def target(self):
        return self.start.split(" ")[1]

    @property
    def is_handshake(self):
        return bool(self.values("upgrade"))

    @property
    def says_close(self):
        return any(
            item.strip().lower() == "close" for v in self.values("connection") for item in v.split(",")
        )


_REQUEST_LINE = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+ [!-~]+ HTTP/1\.[01]")
_STATUS_LINE = re.compile(r"HTTP/1\.[01] [1-9][0-9][0-9] [\t -~\x80-\xff]*")
_FIELD = re.compile(
    r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*((?:[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?)?)[ \t]*"
)


class Reader:
    """Takes a stream of messages apart. What it accepts has one reading only; the rest is `problem`.

    Chunk extensions and trailers are no looseness in themselves, but the hub passes none on.
    """

    def __init__(self, *, requests, to_head=()):
        self.messages = []
        self.problem = None
        self.tunnel = bytearray()
        self.switches = None
        """Whether the pending handshake succeeds; None while that is open. Set by `decide`."""
        self._to_head = list(to_head)
        self._buffer = bytearray()
        self._ended = False
        self._parser = self._requests() if requests else self._answers()
        next(self._parser)

    @property
    def rest(self):
        """What is no (complete) head yet."""
        return bytes(self._buffer)

    @property
    def finals(self):
        return [m for m in self.messages if m.status == 101 or m.status >= 200]

    def feed(self, data):
        self._buffer += data
        self._go_on()

    def end(self):
        self._ended = True
        self._go_on()

    def decide(self, *, switches):
        """Tell what the pending handshake came to."""
        self.switches = switches
        self._go_on()

    def _go_on(self):
        if self._parser is None:
            return
        try:
            self._parser.send(None)
        except StopIteration:
            self._parser = None
        except Loose as error:
            self.problem = str(error)
            self._parser = None

    def _requests(self):
        while True:
            message = yield from self._head(_REQUEST_LINE)
            if message is None:
                return
            yield from self._body(message, none=not self._is_framed(message))
            if message.is_handshake:
                self.switches = None
                while self.switches is None:
                    yield
                if self.switches:
                    yield from self._tunnel()

    def _answers(self):
        finals = 0
        while True:
            message = yield from self._head(_STATUS_LINE)
            if message is None:
                return
            to_head = finals < len(self._to_head) and self._to_head[finals]
            bodiless = message.status < 200 or message.status == 204
            if bodiless and self._is_framed(message):
                raise Loose(f"a {message.status} answer with a body's length")
            yield from self._body(message, none=bodiless or message.status == 304 or to_head)
            if message.status == 101:
                yield from self._tunnel()
            finals += message.status >= 200

    def _head(self, start):
        while not self._buffer:
            if self._ended:
                return None
            yield
        line = yield from self._line()
        if not start.fullmatch(line):
            raise Loose(f"start line {line!r}")
        message = Message(line, [])
        while line := (yield from self._line()):
            matched = _FIELD.fullmatch(line)
            if not matched:
                raise Loose(f"field line {line!r}")
            message.fields.append((matched[1], matched[2]))
        self.messages.append(message)
        return message

    @staticmethod
    def _is_framed(message):
        return bool(message.values("content-length") or message.values("transfer-encoding"))

    def _body(self, message, *, none):
        lengths, codings = message.values("content-length"), message.values("transfer-encoding")
        if len(lengths) + len(codings) > 1:
            raise Loose(f"framed twice: {lengths} {codings}")
        if lengths and not re.fullmatch(r"[0-9]{1,18}", lengths[0]):
            raise Loose(f"Content-Length {lengths[0]!r}")
        if codings and (codings[0].lower() != "chunked" or "HTTP/1.1" not in message.start):
            raise Loose(f"Transfer-Encoding {codings[0]!r} in {message.start!r}")
        if none:
            pass
        elif codings:
            yield from self._chunks(message)
        elif lengths:
            yield from self._exactly(message, int(lengths[0]))
        else:
            message.until_close = True
            while not self._ended:
                message.body += self._buffer
                self._buffer.clear()
                yield
            message.body += self._buffer
            self._buffer.clear()
        message.whole = True

    def _exactly(self, message, left):
        while left:
            piece = self._buffer[:left]
            del self._buffer[:left]
            message.body += piece
            left -= len(piece)
            if left:
                yield

    def _chunks(self, message):
        while True:
            size = yield from self._line()
            if not re.fullmatch(r"[0-9A-Fa-f]{1,15}", size):
                raise Loose(f"chunk size {size!r}")
            yield from self._exactly(message, int(size, 16))
            line = yield from self._line()
            if line:
                raise Loose(f"after a chunk {line!r}")
            if int(size, 16) == 0:
                return

    def _line(self):
        while (at := self._buffer.find(b"\n")) < 0:
            yield
        line = bytes(self._buffer[: at + 1])
        del self._buffer[: at + 1]
        if not line.endswith(b"\r\n") or b"\r" in line[:-2]:
            raise Loose(f"line end of {line!r}")
        return line[:-2].decode("latin-1")

    def _tunnel(self):
        while True:
            self.tunnel += self._buffer
            self._buffer.clear()
            yield


def read_with_h11(received, answers):
    """What h11 reads: [method, target, body, is complete] of each request, and what follows a switch.

    Args:
        received: All bytes of the connection.
        answers: For each request whether it was answered by switching protocols.
    """
    machine = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    machine.receive_data(bytes(received))
    found = []
    while True:
        event = machine.next_event()
        match event:
            case h11.Request():
                found.append([event.method.decode(), event.target.decode("latin-1"), b"", False])
            case h11.Data():
                found[-1][2] += bytes(event.data)
            case h11.EndOfMessage():
                found[-1][3] = True
                if len(found) <= len(answers) and answers[len(found) - 1]:
                    machine.send(h11.InformationalResponse(status_code=101, headers=[]))
                    return found, bytes(machine.trailing_data[0])
                machine.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
                machine.send(h11.EndOfMessage())
                if machine.our_state is h11.MUST_CLOSE:
                    if machine.trailing_data[0]:
                        raise Loose("something follows a request that closes the connection")
                    return found, b""
                machine.start_next_cycle()
            case _:  # needs more
                return found, b""
