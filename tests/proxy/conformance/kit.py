"""What the conformance tables are written with: a row, the steps of both sides, and what is expected.

A row says what the client sends and what the server in Jupyter's place does, step by step; which requests reach that
server (exactly these, or none); which answers the client gets; and how its connection is left. `run.check` runs a row
on a real hub, over raw sockets, and looks for more than the row says:

- what reaches the server is free of any looseness (`reader.Reader` accepts none), and h11 reads the same in it;
- each of these requests carries the hub's own fields once, and nothing the hub keeps for itself;
- no answer contains the server's token or a login cookie;
- the hub's own refusals carry a request id, and say in JSON or on a page what is wrong;
- a connection left open is in step: one more request on it is answered as it should be;
- the next client is served as if nothing had happened.

Sections are those of RFC 9112 in test_rfc9112_*.py, of RFC 9110 and RFC 6455 in the modules named after them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

TICK_S = 0.005
"""How long to wait where nothing should happen."""

# -- what rows are written with ------------------------------------------------------------------------------

X = "/user/alice/x"
HOST = "Host: hub.test\r\n"
US = f"{HOST}Cookie: minihub-login=alice-cookie\r\nOrigin: http://hub.test\r\n"
"""The fields that let alice's browser in, whatever the method."""

OK = "HTTP/1.1 200 OK\r\nX-Upstream: 1\r\nContent-Length: 2\r\n\r\nok"
"""What the server answers where a row does not say otherwise."""


def get(*fields, target=X, method="GET", version="HTTP/1.1"):
    """A request of alice's browser, with more fields."""
    return f"{method} {target} {version}\r\n{US}" + "".join(f"{line}\r\n" for line in fields) + "\r\n"


def post(*fields, body="", target=X, method="POST", version="HTTP/1.1"):
    """The same with a body, sent as it stands."""
    return get(*fields, target=target, method=method, version=version) + body


def answer(status, *fields, body="", length=True):
    """An answer of the server."""
    lines = [f"HTTP/1.1 {status} Said", "X-Upstream: 1", *fields]
    if length:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines) + "\r\n\r\n" + body


def chunked(*chunks):
    """A chunked body."""
    return "".join(f"{len(chunk):x}\r\n{chunk}\r\n" for chunk in (*chunks, ""))


# -- steps; strings and bytes are sent as they are -----------------------------------------------------------


@dataclass(frozen=True)
class Torn:
    """Send byte by byte."""

    data: str


@dataclass(frozen=True)
class Pause:
    """Let time pass."""

    seconds: float = TICK_S


@dataclass(frozen=True)
class Drip:
    """Send pieces (or characters) with a pause before each."""

    data: str | tuple
    seconds: float


@dataclass(frozen=True)
class Got:
    """Wait until this connection has received that."""

    data: str


@dataclass(frozen=True)
class Taken:
    """Wait until this connection has received so many bytes in all."""

    size: int


@dataclass(frozen=True)
class Seen:
    """The client waits for that many answers, interim ones included."""

    count: int


@dataclass(frozen=True)
class Reached:
    """The client waits until the server has received that."""

    data: str


@dataclass(frozen=True)
class Ended:
    """The client waits until the hub has ended its connection number `number` to the server."""

    number: int


@dataclass(frozen=True)
class Only:
    """So many requests have begun to reach the server by now, no more."""

    count: int


@dataclass(frozen=True)
class Stuck:
    """The other end stops taking what we send while this much is still unsent."""

    size: int


@dataclass(frozen=True)
class Cue:
    """Let the other side go on that waits for this cue."""

    name: str


@dataclass(frozen=True)
class Await:
    """Wait for a cue of the other side."""

    name: str


class Mark(Enum):
    """Steps that need no more than their name."""

    WHOLE = "the server waits until its request is complete"
    HOLD = "the server does nothing more"
    FIN = "close the sending direction (the client), or the whole connection (the server)"
    HALF = "close the sending direction only (the server, after switching protocols)"
    RST = "break off"
    DEAF = "read no more"
    HEAR = "read again"

    def __str__(self):
        return self.name


WHOLE, HOLD, FIN, HALF, RST, DEAF, HEAR = Mark


def is_data(step):
    """Whether a step is something to send."""
    return isinstance(step, (str, bytes, Torn, Drip))


def as_bytes(data):
    """Characters stand for bytes."""
    if isinstance(data, tuple):
        data = "".join(data)
    return data if isinstance(data, bytes) else data.encode("latin-1")


@dataclass(frozen=True)
class Script:
    """What the server does about one request."""

    steps: tuple
    early: bool = False
    """Begin at the head's end, not at the body's."""

    @property
    def text(self):
        """All it sends."""
        return b"".join(as_bytes(getattr(step, "data", step)) for step in self.steps if is_data(step))


def whole(*steps):
    """When the request is complete: these steps."""
    return Script(steps)


def early(*steps):
    """When the request's head is complete: these steps."""
    return Script(steps, early=True)


class NoServer(Enum):
    """Servers that answer no request."""

    REFUSES = "nobody listens"
    HANGS_UP = "closes each connection"
    RESETS = "breaks off each connection"
    DEAF_PORT = "never accepts one"


REFUSES, HANGS_UP, RESETS, DEAF_PORT = NoServer

# -- what is expected ----------------------------------------------------------------------------------------

OPEN = "open"
"""Open, and in step."""
CLOSED = "closed"
"""Closed after the last answer, which says so (`Connection: close`)."""
HUNG_UP = "hung up"
"""Closed in good order, without having to say so: no answer, HTTP/1.0, half-closed, or a tunnel."""
GONE = "gone"
"""Ended, no matter how: this client does not listen any more."""
ABORTED = "aborted"
"""The last answer, of which at least the head was there, was broken off so that nobody takes it for whole."""
EITHER = "open or closed"
"""Open and in step, or closed and said so."""


@dataclass(frozen=True)
class Req:
    """A request that reaches the server."""

    method: str
    target: str = X
    body: str | None = ""
    """None: any."""
    has: dict = field(default_factory=dict)
    """Fields by lower-case name: the value, a list of all values, or a compiled pattern."""
    lacks: tuple = ()
    """Names of fields, in lower case."""
    on: int | None = None
    """Number of the connection, from 1."""
    tunnel: str | None = None
    """It asks for another protocol, and that follows after the switch."""
    ends: str | None = None
    """How the hub ended this connection: FIN or RST."""
    cut: bool = False
    """It may be missing; if not, it never becomes complete, and its body is a beginning of `body`."""
    maybe: bool = False
    """It may be missing."""


def cut(method, target=X, body=""):
    """A request that does not become complete at the server, if it reaches it at all."""
    return Req(method, target, body, cut=True)


@dataclass(frozen=True)
class Answer:
    """An answer the client gets."""

    status: int | set
    body: str | None = None
    """None: any."""
    has: dict = field(default_factory=dict)
    lacks: tuple = ()
    head: bool = False
    """To HEAD."""
    size: int | None = None
    """Length of the body, where it is too long to be spelled out."""


def head_of(status, **more):
    """An answer to HEAD."""
    return Answer(status, "", head=True, **more)


@dataclass(frozen=True)
class Case:
    """A row."""

    section: str
    id: str
    send: object
    """What the client does: one step, or a list."""
    upstream: object = ()
    """What the server does about each request: a `Script`, or a list; or a `NoServer`. `OK` when they run out."""
    reaches: tuple | list = ()
    answers: tuple | list = ()
    """Statuses or `Answer`s, interim ones included. 200 stands for what `OK` says."""
    then: str = OPEN
    tunnel: str | None = None
    """What follows the client's 101."""
    reuse: bool | None = None
    """Whether the next request uses the server's last connection. None: not said."""
    silent: bool = False
    """The client may get no answer at all, instead of these."""
    instead: tuple | list = ()
    """Other answers that would do as well."""
    settings: dict = field(default_factory=dict)
    small: bool = False
    """Both ends have small receive buffers."""

    def __str__(self):
        return f"{self.section}: {self.id}"


def refused(section, id, send, status=400, **more):  # noqa: A002 - the table's word
    """Nothing reaches the server; the hub answers and closes."""
    return Case(section, id, send, answers=[status], then=CLOSED, **more)


def passes(section, id, send, reaches=None, **more):  # noqa: A002
    """It reaches the server and is answered."""
    return Case(section, id, send, reaches=[reaches or Req("GET")], answers=[200], **more)
