"""Which header fields pass between browser and Jupyter, and in what form. Pure: pairs in, pairs out.

Rules: what one hop says to the next stays on that hop (RFC 9110, 7.6.1); what the hub says to Jupyter cannot be said
by the browser; what concerns the whole origin cannot be said by one user's server.
"""

from __future__ import annotations

from enum import Enum
from functools import lru_cache

from minihub.auth.request import Client, Pairs, values
from minihub.proxy.fields import USUAL_NAMES
from minihub.proxy.framing import Chunked, Framing
from minihub.proxy.wire import HeaderBlock, ResponseHead

HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "te",
        "trailer",
        "trailers",
        "transfer-encoding",
        "upgrade",
        "http2-settings",
    }
)

# Not to be lost because a client names them in Connection: the message would then mean something else.
_KEPT_IN_CONNECTION = frozenset({"host", "content-length", "cookie", "content-type", "content-encoding"})

_NAME_NOTHING = (["keep-alive"], ["close"])

# Said by the hub alone. Tornado reads X-Real-Ip and X-Scheme beside X-Forwarded-* when it trusts its proxy.
_SAID_BY_HUB = frozenset({"authorization", "forwarded", "x-real-ip", "x-scheme", "x-client-ip"})

# Facts about the origin as a whole, which the hub and all users share. X-Accel-Redirect and X-Sendfile would make
# a front proxy answer with its own files.
_ORIGIN_WIDE = frozenset(
    {
        "service-worker-allowed",
        "clear-site-data",
        "strict-transport-security",
        "alt-svc",
        "nel",
        "report-to",
        "reporting-endpoints",
        "set-cookie2",
        "x-accel-redirect",
        "x-sendfile",
    }
)


PROBLEM_FIELD = "X-Minihub-Problem"
"""On a request to the hub's own pages: why they answer in the place of a user's server. Never from a client."""

UPGRADE_FIELD = "X-Minihub-Upgrade"
"""On a request to the hub's own pages: what Upgrade said. Those never upgrade, but it matters who asked for it."""

_WEBSOCKET = "Connection: Upgrade\r\nUpgrade: websocket\r\n"
_CHUNKED = "Transfer-Encoding: chunked\r\n"


def build_server_fields(
    header: HeaderBlock, *, own_cookies: frozenset[str], client: Client, websocket: bool
) -> bytes:
    """Build a request's fields as they go to Jupyter, on the wire; Authorization and the empty line are still to come."""
    pairs = build_inbound(header.fields, own_cookies=own_cookies, client=client)
    if not websocket and "sec-websocket-key" in header.fields.by_name:
        pairs = [pair for pair in pairs if not pair[0].lower().startswith("sec-websocket-")]
    if header.version == 10 and "expect" in header.fields.by_name:
        # To HTTP/1.0 it means nothing (RFC 9110, section 10.1.1), and nobody would wait for the answer.
        pairs = [pair for pair in pairs if pair[0].lower() != "expect"]
    return encode(pairs, header.framing, websocket=websocket)


def build_hub_fields(header: HeaderBlock) -> bytes:
    """Build a request's fields as they go to the hub's own pages, on the wire, without the empty line.

    Those see what the browser sent, but for what concerns its connection.
    """
    named = _named_by_connection(header.fields)
    pairs = []
    for name, value in header.fields:
        key = name.lower().replace("_", "-")
        if key == "upgrade":
            pairs.append((UPGRADE_FIELD, value))
        elif not (key in HOP_BY_HOP or key in named or key.startswith("x-minihub-")):
            pairs.append((name, value))
    return encode(pairs, header.framing)


def build_answer(response: ResponseHead, pairs: Pairs, *, unchunked: bool) -> bytes:
    """Build an answer's status line and fields, on the wire; Connection and the empty line are still to come.

    Args:
        response: What it is made from.
        pairs: The fields that go on.
        unchunked: The client gets the body without the chunked coding.
    """
    framing = None if unchunked else response.framing
    if response.status < 200 or response.status == 204:
        # There is no body, whatever is said (RFC 9110, sections 8.6 and 15.3.5).
        pairs = [pair for pair in pairs if pair[0].lower() != "content-length"]
    line = f"HTTP/1.1 {response.status} {response.reason}\r\n".encode("latin-1")
    return line + encode(pairs, framing)


def encode(pairs: Pairs, framing: Framing, *, websocket: bool = False) -> bytes:
    """Write fields as they go on the wire, with those of this hop."""
    text = "".join([f"{name}: {value}\r\n" for name, value in pairs])
    if isinstance(framing, Chunked):
        text += _CHUNKED
    if websocket:
        text += _WEBSOCKET
    return text.encode("latin-1")


def build_inbound(pairs: Pairs, *, own_cookies: frozenset[str], client: Client) -> list[tuple[str, str]]:
    """Build the fields that go to Jupyter from those that came from the browser; Authorization is never among them.

    Args:
        pairs: As received.
        own_cookies: Names of the hub's cookies, which are removed.
        client: What X-Forwarded-* says.
    """
    named = _named_by_connection(pairs)
    result: list[tuple[str, str]] = []
    for name, value in pairs:
        fate = _USUAL_FATES.get(name) or _inbound_fate(name)
        if fate is Fate.HELD or (named and _key(name) in named):
            continue
        if fate is Fate.COOKIE:
            kept = strip_cookies(value, own_cookies)
            if kept:
                result.append((name, kept))
            continue
        result.append((name, value))
    result.append(("X-Forwarded-For", client.address))
    result.append(("X-Forwarded-Proto", client.scheme))
    result.append(("X-Forwarded-Host", client.host))
    return result


class Fate(Enum):
    """What becomes of a field."""

    PASSES = 1
    HELD = 2
    COOKIE = 3
    """Passes without the hub's cookies, or stays within its user's path."""


def _key(name: str) -> str:
    # Some servers see X_Forwarded_For and X-Forwarded-For as one (CGI): so do we when we remove.
    return name.lower().replace("_", "-")


def _inbound_fate(name: str) -> Fate:
    key = _key(name)
    if key == "cookie":
        return Fate.COOKIE
    held = key in HOP_BY_HOP or key in _SAID_BY_HUB or key.startswith(("x-forwarded-", "proxy-"))
    return Fate.HELD if held else Fate.PASSES


def _outbound_fate(name: str) -> Fate:
    key = _key(name)
    if key == "set-cookie":
        return Fate.COOKIE
    held = key in HOP_BY_HOP or key in _ORIGIN_WIDE or key.startswith("proxy-")
    return Fate.HELD if held else Fate.PASSES


_SPELLINGS = [spelling for name in USUAL_NAMES for spelling in (name, name.lower(), name.title())]
_USUAL_FATES = {name: _inbound_fate(name) for name in _SPELLINGS}
_USUAL_ANSWER_FATES = {name: _outbound_fate(name) for name in _SPELLINGS}


def build_hub_answer_fields(pairs: Pairs) -> list[tuple[str, str]]:
    """Build the fields of an answer of the hub's own pages: all but those of its hop."""
    named = _named_by_connection(pairs)
    return [
        (name, value) for name, value in pairs if (key := name.lower()) not in HOP_BY_HOP and key not in named
    ]


def build_outbound(pairs: Pairs, *, own_cookies: frozenset[str], prefix: str) -> list[tuple[str, str]]:
    """Build the fields that go to the browser from those that Jupyter sent.

    Args:
        pairs: As received.
        own_cookies: Names of the hub's cookies, which no user's server may set.
        prefix: Path of this user's server, with slashes around; cookies stay within.
    """
    named = _named_by_connection(pairs)
    result: list[tuple[str, str]] = []
    for name, value in pairs:
        fate = _USUAL_ANSWER_FATES.get(name) or _outbound_fate(name)
        if fate is Fate.HELD or (named and _key(name) in named):
            continue
        if fate is Fate.COOKIE:
            kept = confine_cookie(value, own_cookies, prefix)
            if kept is not None:
                result.append((name, kept))
            continue
        result.append((name, value))
    return result


def says_what_is_plain(pairs: Pairs, plain: frozenset[str]) -> bool:
    """Whether Connection makes a field of this hop alone of one that is `plain` (lower case) otherwise."""
    return not plain.isdisjoint(_named_by_connection(pairs))


def _named_by_connection(pairs: Pairs) -> frozenset[str]:
    """Fields of this hop alone, because Connection names them (RFC 9110, section 7.6.1); mostly none."""
    found = values(pairs, "connection")
    if not found or found in _NAME_NOTHING:
        return frozenset()
    named = frozenset(_key(item.strip()) for value in found for item in value.split(","))
    return named - _KEPT_IN_CONNECTION


def read_cookies(pairs: Pairs, name: str) -> list[str]:
    """All values of the cookie `name`, in the browser's order.

    The same splitting as `strip_cookies`: what lets a request in is surely what is removed from it.
    """
    found = []
    for header in values(pairs, "cookie"):
        if name not in header:
            continue
        for item in header.split(";"):
            key, equals, value = item.partition("=")
            if equals and key.strip(" \t") == name:
                found.append(value.strip(" \t"))
    return found


def strip_cookies(header: str, own_cookies: frozenset[str]) -> str:
    """Remove the hub's cookies from a Cookie field; the others stay byte for byte."""
    own = _lowered(own_cookies)
    items = header.split(";")
    kept = [item for item in items if item.partition("=")[0].strip().lower() not in own]
    if len(kept) == len(items):
        return header
    return ";".join(kept).strip(" \t")


@lru_cache(maxsize=8)
def _lowered(names: frozenset[str]) -> frozenset[str]:
    return frozenset(name.lower() for name in names)


def confine_cookie(set_cookie: str, own_cookies: frozenset[str], prefix: str) -> str | None:
    """Keep a Set-Cookie within its user's path; None if it must not be set at all.

    A cookie without a name is refused: browsers send "=hub-login=x" back as "hub-login=x". Without Path the browser
    takes the directory of the request, which is within `prefix` already.
    """
    pair, *attributes = set_cookie.split(";")
    name, equals, _ = pair.partition("=")
    if not equals or not name.strip() or name.strip().lower() in _lowered(own_cookies):
        return None
    kept = [pair.rstrip()]
    path: str | None = None
    for attribute in attributes:
        key, _, value = attribute.partition("=")
        match key.strip().lower():
            case "domain":
                pass
            case "path":
                path = value.strip()  # of several, browsers take the last one
            case _:
                kept.append(attribute.rstrip())
    if path is not None:
        kept.append(f" Path={path if path.startswith(prefix) else prefix}")
    return ";".join(kept)
