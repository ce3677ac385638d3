"""What header fields say of the message that they belong to. Pure: bytes in, values out.

The part of `wire` that requests and answers share: which bytes may stand in a head, how it splits into fields, and how
those say where the body ends and what becomes of the connection. Here every BadMessage is the client's fault; `wire`
says 502 where an upstream sent the message.

Source: RFC 9112, sections 2.2, 5 and 6; RFC 9110, sections 5, 7.2, 7.6.1 and 7.8.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv6Address

from minihub.auth.request import Fields
from minihub.proxy.framing import TOKEN, BadMessage, Chunked, Framing, Length

_VISIBLE = bytes(range(0x20, 0x7F)) + b"\t" + bytes(range(0x80, 0x100))
"""All that may stand in a line. Deleting it leaves the line ends, and what must not be there."""
_TOKEN = re.compile(TOKEN.decode())
_LENGTH = re.compile(r"[0-9]{1,18}")
_CODING = re.compile(_TOKEN.pattern + r"(?:[ \t]*;[\t -~]*)?")
# Of RFC 3986's registered names only what names and addresses consist of: no sub-delims ("a,b" looks like two hosts
# to whoever splits lists), no percent-encoding (some decode it, some do not).
_HOST = re.compile(r"(?:[A-Za-z0-9._~-]{1,255}|\[([0-9A-Fa-f:.]{2,45})\])(?::[0-9]{0,5})?")

# Fields that say something about the message itself.
_TELLING = frozenset({"host", "content-length", "transfer-encoding", "connection", "upgrade", "expect"})

USUAL_NAMES = [
    "Accept",
    "Accept-Encoding",
    "Accept-Language",
    "Accept-Ranges",
    "Access-Control-Allow-Origin",
    "Age",
    "Allow",
    "Authorization",
    "Cache-Control",
    "Connection",
    "Content-Disposition",
    "Content-Encoding",
    "Content-Length",
    "Content-Range",
    "Content-Security-Policy",
    "Content-Type",
    "Cookie",
    "Date",
    "DNT",
    "ETag",
    "Expect",
    "Expires",
    "Host",
    "If-Modified-Since",
    "If-None-Match",
    "If-Range",
    "Keep-Alive",
    "Last-Modified",
    "Location",
    "Origin",
    "Pragma",
    "Priority",
    "Range",
    "Referer",
    "Referrer-Policy",
    "Sec-CH-UA",
    "Sec-CH-UA-Mobile",
    "Sec-CH-UA-Platform",
    "Sec-Fetch-Dest",
    "Sec-Fetch-Mode",
    "Sec-Fetch-Site",
    "Sec-Fetch-User",
    "Sec-GPC",
    "Sec-WebSocket-Accept",
    "Sec-WebSocket-Extensions",
    "Sec-WebSocket-Key",
    "Sec-WebSocket-Protocol",
    "Sec-WebSocket-Version",
    "Server",
    "Set-Cookie",
    "TE",
    "Transfer-Encoding",
    "Upgrade",
    "Upgrade-Insecure-Requests",
    "User-Agent",
    "Vary",
    "X-Content-Type-Options",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
    "X-Requested-With",
    "X-XSRFToken",
]
"""Names that most fields have; what is found out about them once holds for most fields."""

# Names as they are usually spelled, which need no check, and in lower case.
_KNOWN = {
    spelling: lower
    for name in USUAL_NAMES
    for lower in (name.lower(),)
    for spelling in (name, lower, lower.title())
}


def verify_bytes(lines: bytes) -> None:
    """Verify that lines hold no control characters, and end in CR LF (RFC 9112, section 2.2; RFC 9110, section 5.5)."""
    if len(lines.translate(None, _VISIBLE)) != 2 * lines.count(b"\r\n") or not lines.endswith(b"\r\n"):
        raise BadMessage(400, "control characters, or a line end that is not CR LF")


def is_visible(line: bytes) -> bool:
    """Whether a line, without its end, holds no control characters but tabs."""
    return not line.translate(None, _VISIBLE)


def split_fields(raw: bytes, most: int) -> Fields:
    """Split verified lines into fields: names and values as sent, bytes above 127 as latin-1 (RFC 9112, section 5)."""
    lines = raw.decode("latin-1").split("\r\n")
    if len(lines) - 2 > most:
        raise BadMessage(431, "too many fields")
    if lines.pop() or lines.pop():
        raise BadMessage(400, "no empty line at the end")
    pairs = []
    by_name: dict[str, list[str]] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        key = _KNOWN.get(name) or _read_name(name)
        if not colon:
            raise BadMessage(400, "field without a colon")
        value = value.strip(" \t")
        pairs.append((name, value))
        if key in by_name:
            by_name[key].append(value)
        else:
            by_name[key] = [value]
    fields = Fields(pairs)
    fields.by_name = by_name
    return fields


def join_fields(fields: Fields, plain: bytes) -> Fields:
    """Return the fields, and behind them those in lines that were verified."""
    more = split_fields(plain + b"\r\n", plain.count(b"\r\n"))
    joined = Fields((*fields, *more))
    joined.by_name = fields.by_name | {
        name: fields.by_name.get(name, []) + values for name, values in more.by_name.items()
    }
    return joined


def replace_host(fields: Fields, host: str) -> Fields:
    """Return the fields with `host` as the one Host, in front."""
    replaced = Fields((("Host", host), *(pair for pair in fields if pair[0].lower() != "host")))
    replaced.by_name = {**fields.by_name, "host": [host]}
    return replaced


def _read_name(name: str) -> str:
    """Verify a name that is not among the usual ones, and return it in lower case."""
    # Also what begins with white space (obs-fold) and what has some before the colon.
    if _TOKEN.fullmatch(name) is None:
        raise BadMessage(400, "malformed field name")
    key = name.lower()
    if "_" in key and key.replace("_", "-") in _TELLING:
        raise BadMessage(400, "field name that some read as another one")
    return key


def read_framing(by_name: dict[str, list[str]], version: int) -> Framing:
    """Say how the body is framed (RFC 9112, sections 6.1 to 6.3); None if nothing is said."""
    lengths = by_name.get("content-length")
    codings = by_name.get("transfer-encoding")
    if codings:
        if lengths:
            raise BadMessage(400, "both Content-Length and Transfer-Encoding")
        if version == 10:
            raise BadMessage(400, "Transfer-Encoding in HTTP/1.0")
        if len(codings) == 1 and codings[0].lower() == "chunked":
            return Chunked()
        raise _refuse_codings(codings)
    if not lengths:
        return None
    if len(lengths) > 1 or _LENGTH.fullmatch(lengths[0]) is None:
        raise BadMessage(400, "malformed Content-Length")
    return Length(int(lengths[0]))


def _refuse_codings(values: list[str]) -> BadMessage:
    """Tell codings that we do not know from what is no list of codings with chunked at its end, once."""
    codings = [item.strip(" \t").lower() for value in values for item in value.split(",")]
    if any(_CODING.fullmatch(coding) is None for coding in codings) or "chunked" in codings[:-1]:
        return BadMessage(400, "malformed Transfer-Encoding")
    return BadMessage(501, "transfer coding not supported")


def read_connection(by_name: dict[str, list[str]]) -> tuple[bool, str]:
    """Say whether Connection names close, and to what it wants to upgrade (RFC 9110, section 7.6.1)."""
    values = by_name.get("connection")
    if not values:
        return False, ""
    text = ",".join(values).lower()
    if text == "keep-alive":
        return False, ""
    options = {option.strip(" \t") for option in text.split(",")}
    upgrade = ", ".join(by_name.get("upgrade", ())).lower() if "upgrade" in options else ""
    return "close" in options, upgrade


@lru_cache(maxsize=64)
def verify_host(host: str) -> None:
    """Verify host[:port] (RFC 9110, section 7.2; RFC 3986, section 3.2.2)."""
    match = _HOST.fullmatch(host)
    if match is None:
        raise BadMessage(400, "malformed Host")
    if match[1]:
        try:
            IPv6Address(match[1])
        except ValueError:
            raise BadMessage(400, "malformed Host") from None
