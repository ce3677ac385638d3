"""Readers that drive `wire` over a stream as a proxy would, and what must hold for any stream whatever.

The property tests and scripts/fuzzing/wire.py share the checks: `check_requests` and `check_answers`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise, takewhile

import h11
import httptools

from minihub.proxy.framing import BadMessage, UntilClose, start_body
from minihub.proxy.wire import RequestHead, ResponseHead, find_head_end, parse_request, parse_response

# What a proxy does not send on (RFC 9110, section 7.6.1); the oracles would act on it.
HOP_BY_HOP = {"connection", "keep-alive", "proxy-connection", "upgrade", "te", "trailer"}

# llhttp knows no other methods.
LLHTTP_METHODS = frozenset(
    b"DELETE GET HEAD POST PUT OPTIONS TRACE COPY LOCK MKCOL MOVE PROPFIND PROPPATCH SEARCH UNLOCK REPORT PATCH".split()
)


@dataclass
class Message:
    """A message as far as it was read."""

    head: RequestHead | ResponseHead
    body: bytes = b""
    """What goes on, in the framing it goes on with."""
    payload: bytes = b""
    over: bool = False
    raw_target: str = ""


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


class Reader:
    """Reads a stream of messages in pieces; `methods` (of the requests) makes it one of answers."""

    def __init__(self, methods=None, *, remember=True):
        self.stream = Stream()
        self._methods = None if methods is None else list(methods)
        self._remember = remember
        self._remembered = None
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
            head = parse_request(raw, self._remembered)
            status = 400
            if self._remember:
                self._remembered = head.header
        self.stream.messages.append(Message(head, raw_target=raw.decode("latin-1").split(" ")[1]))
        self._bodies = [start_body(head.framing, payload=payload, status=status) for payload in (False, True)]
        return True

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


# ---- what must hold -------------------------------------------------------------------------------------------------


def check_requests(data, places):
    """Whatever comes from a browser and however it is cut."""
    whole = read([data])
    check_same(whole, read(cut(data, places)))
    check_same(whole, read([data], remember=False))
    complete = whole.complete
    if complete:
        expected = [expect_request(message) for message in complete]
        upstream = b"".join(build_request(message) for message in complete)
        assert h11_requests(upstream) == (expected, "")
        if all(message.head.method.encode() in LLHTTP_METHODS for message in complete):
            assert llhttp_messages(httptools.HttpRequestParser, upstream) == (expected, "")
        check_raw(data, complete)


def check_raw(data, complete):
    """Nobody reads other requests than ours from what we accepted, even before it was cleaned."""
    # A whole URL as target is rewritten; what comes after one cannot be compared by its number.
    same = list(takewhile(lambda message: message.raw_target == message.head.target, complete))
    expected = [expect_request(message, raw=True) for message in same]
    readers = [h11_requests(data)]
    if all(is_plain(message.head) for message in same):
        readers.append(llhttp_messages(httptools.HttpRequestParser, data))
    for found, error in readers:
        if len(found) < len(expected):
            # Stricter than we are is as good as agreed, as long as it agrees until there.
            assert error not in ("", "incomplete")
        assert found[: len(expected)] == expected[: len(found)]


def is_plain(head):
    """Nothing in it means more to llhttp than to us (it takes an upgrade for the end of HTTP, and all of 1.0's Connection)."""
    names = {name.lower() for name, _ in head.fields}
    return head.method.encode() in LLHTTP_METHODS and not names & HOP_BY_HOP


def check_answers(methods, data, places):
    """Whatever comes from an upstream and however it is cut."""
    whole = read([data], methods)
    check_same(whole, read(cut(data, places), methods))
    assert whole.refused in (None, 502)
    asked = list(methods)
    for message in whole.messages:
        head = message.head
        method = asked[0]
        if head.status >= 200 or head.status == 101:
            asked.pop(0)
        if head.status == 101 or not (message.over or head.framing == UntilClose()):
            continue
        expected = [
            str(head.status), head.reason, fields_of(head), message.payload,
        ]  # fmt: skip
        downstream = build_answer(message)
        assert h11_answer(method, downstream) == (expected, "")
        if method != "HEAD":
            found, error = llhttp_messages(httptools.HttpResponseParser, downstream)
            assert error == ""
            if head.framing == UntilClose():
                # It calls no answer complete before the end of the connection, which httptools cannot tell it.
                assert not found
            else:
                assert found == [expected] or head.status < 200


def check_same(whole, other):
    """The same came out, but what was sent on of a message that was refused later."""
    assert whole.refused == other.refused
    assert whole.ended == other.ended
    assert [facts(message) for message in whole.messages] == [facts(message) for message in other.messages]
    for one, two in zip(whole.messages, other.messages, strict=True):
        if one.over or not whole.refused:
            assert (one.body, one.payload) == (two.body, two.payload)
    if not whole.ended:
        assert whole.left == other.left


def facts(message):
    return message.head, message.over


# ---- what goes on, and what others read in it -----------------------------------------------------------------------


def pair(name, value):
    """A field as it is compared: h11 writes a coding's name in lower case, llhttp keeps white space after values."""
    name, value = name.lower(), value.strip(" \t")
    return name, value.lower() if name == "transfer-encoding" else value


def fields_of(head, *, raw=False):
    return [pair(name, value) for name, value in head.fields if raw or name.lower() not in HOP_BY_HOP]


def build_fields(head):
    return "".join(f"{name}: {value}\r\n" for name, value in head.fields if name.lower() not in HOP_BY_HOP)


def build_request(message):
    head = message.head
    line = f"{head.method} {head.target} HTTP/1.{head.version - 10}\r\n"
    return f"{line}{build_fields(head)}\r\n".encode("latin-1") + message.body


def build_answer(message):
    head = message.head
    line = f"HTTP/1.{head.version - 10} {head.status} {head.reason}\r\n"
    return f"{line}{build_fields(head)}\r\n".encode("latin-1") + message.body


def expect_request(message, *, raw=False):
    head = message.head
    return [head.method, head.target, fields_of(head, raw=raw), message.payload]


def decode(pairs):
    return [pair(name.decode("latin-1"), value.decode("latin-1")) for name, value in pairs]


def h11_requests(data):
    """All complete requests that h11 reads, and its complaint, "" if there is none."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    connection.receive_data(data)
    found, current = [], None
    try:
        while True:
            event = connection.next_event()
            match event:
                case h11.Request():
                    current = [event.method.decode(), event.target.decode(), decode(event.headers), b""]
                case h11.Data():
                    current[3] += bytes(event.data)
                case h11.EndOfMessage():
                    found.append(current)
                    current = None
                    connection.send(h11.Response(status_code=404, headers=[("Content-Length", "0")]))
                    connection.send(h11.EndOfMessage())
                    if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
                        return found, ""
                    connection.start_next_cycle()
                case _:
                    return found, "" if current is None else "incomplete"
    except h11.RemoteProtocolError as error:
        return found, str(error)


def h11_answer(method, data):
    """The answer that h11 reads to one request, and its complaint."""
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    connection.send(h11.Request(method=method, target="/", headers=[("Host", "h")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(data)
    found = None
    try:
        while True:
            event = connection.next_event()
            match event:
                case h11.Response() | h11.InformationalResponse():
                    found = [
                        str(event.status_code), event.reason.decode("latin-1"), decode(event.headers), b"",
                    ]  # fmt: skip
                    if isinstance(event, h11.InformationalResponse):
                        return found, ""
                case h11.Data():
                    found[3] += bytes(event.data)
                case h11.EndOfMessage():
                    return found, connection.trailing_data[0].decode("latin-1")
                case h11.NEED_DATA if found is not None:
                    connection.receive_data(b"")
                case _:
                    return found, "incomplete"
    except h11.RemoteProtocolError as error:
        return found, str(error)


class LlhttpProtocol:
    def __init__(self):
        self.found = []
        self.begin()

    def begin(self):
        self.first, self.fields, self.body = b"", [], b""
        self.is_head = True

    def on_message_begin(self):
        self.begin()

    def on_url(self, data):
        self.first += data

    def on_status(self, data):
        self.first += data

    def on_header(self, name, value):
        if self.is_head:  # else a trailer
            self.fields.append((name, value))

    def on_headers_complete(self):
        self.is_head = False

    def on_body(self, data):
        self.body += data

    def on_message_complete(self):
        kind = self.parser
        start = kind.get_method().decode() if hasattr(kind, "get_method") else str(kind.get_status_code())
        self.found.append([start, self.first.decode("latin-1"), decode(self.fields), self.body])


def llhttp_messages(make, data):
    """All complete messages that llhttp reads, and its complaint."""
    protocol = LlhttpProtocol()
    protocol.parser = make(protocol)
    try:
        protocol.parser.feed_data(data)
    except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
        return protocol.found, repr(error)
    return protocol.found, ""
