"""A reader that drives `wire` over a stream of messages as a proxy would."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

from minihub.proxy.framing import BadMessage, start_body
from minihub.proxy.memo import Memos
from minihub.proxy.wire import RequestHead, ResponseHead, find_head_end, parse_request, parse_response


@dataclass
class Message:
    """A message as far as it was read."""

    head: RequestHead | ResponseHead
    body: bytes = b""
    """What goes on, in the framing it goes on with."""
    payload: bytes = b""
    over: bool = False
    raw: bytes = b""
    """The head as it came."""


@dataclass
class Stream:
    """What came out of a stream."""

    messages: list[Message] = field(default_factory=list)
    refused: int | None = None
    """Status of the error that ended it."""
    ended: bool = False
    """No further message is read: refused, or the last one did not keep the connection."""
    left: bytes = b""

    @property
    def complete(self):
        return [message for message in self.messages if message.over]


def facts(head):
    """All that is said in a request's head; in which order its fields came makes no difference."""
    header = head.header
    meant = (
        header.version,
        header.host,
        header.framing,
        header.keep_alive,
        header.upgrade,
        header.expect_continue,
    )
    values = {name: sorted(found) for name, found in head.fields.by_name.items()}
    return head.method, head.target, head.line, meant, sorted(head.fields), values


class Reader:
    """Reads a stream of messages in pieces; `methods` (of the requests) makes it one of answers."""

    def __init__(self, methods=None, *, remember=True):
        self.stream = Stream()
        self._methods = None if methods is None else list(methods)
        self._remember = remember
        self._memos = Memos()
        self._buffer = bytearray()
        self._searched = 0
        self._bodies = None

    def feed(self, piece):
        self._buffer += piece
        try:
            while not self.stream.ended and self._step():
                pass
        except BadMessage as bad:
            self.stream.refused = bad.status
            self.stream.ended = True
        self.stream.left = bytes(self._buffer)

    def _step(self):
        return self._read_body() if self._bodies else self._read_head()

    def _read_head(self):
        answer = self._methods is not None
        end = find_head_end(self._buffer, self._searched, answer=answer)
        if end < 0:
            self._searched = len(self._buffer)
            return False
        raw = bytes(self._buffer[:end])
        del self._buffer[:end]
        self._searched = 0
        if answer:
            head = parse_response(raw, self._methods[0])
            status = 502
        else:
            head = self._read_request(raw)
            status = 400
        self.stream.messages.append(Message(head, raw=raw))
        self._bodies = [start_body(head.framing, payload=payload, status=status) for payload in (False, True)]
        return True

    def _read_request(self, raw):
        if not self._remember:
            return parse_request(raw)
        # What comes a third time is surely remembered.
        heads = [self._memos.read(raw)[0] for _ in range(3)]
        assert facts(heads[0]) == facts(heads[1]) == facts(heads[2])
        return heads[2]

    def _read_body(self):
        message = self.stream.messages[-1]
        data = bytes(self._buffer)
        (sent, taken), (payload, taken_again) = (
            (b"", 0) if body.over else body.feed(data) for body in self._bodies
        )
        assert taken == taken_again
        assert self._bodies[0].over == self._bodies[1].over
        message.body += sent
        message.payload += payload
        del self._buffer[:taken]
        message.over = self._bodies[0].over
        if message.over:
            self._bodies = None
            self._finish(message.head)
            return True
        assert taken == len(data)
        return False

    def _finish(self, head):
        interim = isinstance(head, ResponseHead) and 100 <= head.status < 200 and head.status != 101
        self.stream.ended = not head.keep_alive and not interim
        if self._methods is not None and not interim:
            self._methods.pop(0)
            self.stream.ended |= not self._methods


def read(pieces, methods=None, **kwargs):
    """Read all pieces and say what came out."""
    reader = Reader(methods, **kwargs)
    for piece in pieces:
        reader.feed(piece)
    return reader.stream


def cut(data, places):
    """Cut `data` at these places, in whatever order they are given."""
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]
