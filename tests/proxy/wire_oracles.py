"""What must hold for any bytes whatever, with h11 and llhttp (httptools) as those who read them too.

The property tests and scripts/fuzzing/wire.py share `check_requests` and `check_answers`.
"""

from __future__ import annotations

from itertools import takewhile

import h11
import httptools

from minihub.proxy.framing import UntilClose
from minihub.proxy.headers import build_answer as build_answer_head
from minihub.proxy.headers import build_outbound
from minihub.proxy.memo import AnswerMemos
from minihub.proxy.wire import ResponseHead, parse_response
from tests.proxy.wire_kit import cut, read
from tests.proxy.wire_kit import facts as head_facts

# What a proxy does not send on (RFC 9110, section 7.6.1); the oracles would act on it.
HOP_BY_HOP = {"connection", "keep-alive", "proxy-connection", "upgrade", "te", "trailer"}

# llhttp knows no other methods.
LLHTTP_METHODS = frozenset(
    b"DELETE GET HEAD POST PUT OPTIONS TRACE COPY LOCK MKCOL MOVE PROPFIND PROPPATCH SEARCH UNLOCK REPORT PATCH".split()
)


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
        check_raw(data, read([data], remember=False).complete)


def check_raw(data, complete):
    """Nobody reads other requests than ours from what we accepted, even before it was cleaned."""
    # A whole URL as target is rewritten; what comes after one cannot be compared by its number.
    same = list(takewhile(lambda message: raw_target(message) == message.head.target, complete))
    expected = [expect_request(message, raw=True) for message in same]
    readers = [h11_requests(data)]
    if all(is_plain(message.head) for message in same):
        readers.append(llhttp_messages(httptools.HttpRequestParser, data))
    for found, error in readers:
        if len(found) < len(expected):
            # Stricter than we are is as good as agreed, as long as it agrees until there.
            assert error not in ("", "incomplete")
        assert found[: len(expected)] == expected[: len(found)]


def raw_target(message):
    return message.raw.decode("latin-1").split(" ")[1]


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
        check_remembered(message.raw, method)
        expected = expect_answer(message)
        if message is whole.messages[0] and head.status >= 200 and message.over:
            # As it came, before it was cleaned.
            assert h11_answer(method, data)[0] == expect_answer(message, raw=True)
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


def build(response, unchunked):
    pairs = build_outbound(response.fields, own_cookies=frozenset({"ours"}), prefix="/user/ada/")
    return build_answer_head(response, pairs, unchunked=unchunked)


def check_remembered(raw, method):
    """What goes on of an answer's head is the same, in some order, when its telling lines are remembered."""
    answers = AnswerMemos(build)
    for unchunked in (False, True):
        expected = parse_response(raw, method)
        for _ in range(2):
            response, built = answers.read(raw, method, unchunked=unchunked)
            assert (response.status, response.framing, response.keep_alive, response.upgrade) == (
                expected.status, expected.framing, expected.keep_alive, expected.upgrade,
            )  # fmt: skip
            # Values go on without the white space around them; a line that was not read anew keeps it.
            assert stripped(built) == stripped(build(expected, unchunked))


def stripped(built):
    start, *lines = built.split(b"\r\n")
    parts = (line.partition(b":") for line in lines)
    return start, sorted((name, value.strip(b" \t")) for name, _, value in parts)


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
    head = message.head
    return head if isinstance(head, ResponseHead) else head_facts(head), message.over


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


def expect_answer(message, *, raw=False):
    head = message.head
    return [str(head.status), head.reason, fields_of(head, raw=raw), message.payload]


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
