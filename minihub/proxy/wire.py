"""What an HTTP/1.x head says. Pure: bytes in, values out.

The only place, with `framing` for bodies, that reads HTTP/1.x bytes: those that browsers send, and those that users'
servers answer. Both may be hostile, so nothing that two readers could understand in two ways is ever accepted, even
where RFC 9112 would let a recipient be lenient.

    buffer -> find_head_end -> parse_request / parse_response -> framing -> start_body -> feed, feed, ...

A browser repeats its header fields from request to request. So all that depends on them is one value, `HeaderBlock`,
and a caller that keeps those of late (`memo`) has only the request line parsed again.

Source: RFC 9112; RFC 9110 for the fields.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Final

from minihub.auth.request import Fields
from minihub.proxy.fields import (
    join_fields,
    read_connection,
    read_framing,
    replace_host,
    split_fields,
    verify_bytes,
    verify_host,
)
from minihub.proxy.framing import TOKEN, BadMessage, Framing, Length, UntilClose

__all__ = [
    "MAX_ANSWER_FIELDS", "MAX_FIELDS", "MAX_HEAD", "MAX_METHOD", "MAX_TARGET", "BadMessage", "Fields", "Framing",
    "HeaderBlock", "RequestHead", "ResponseHead", "find_head_end", "parse_line", "parse_repeated", "parse_request",
    "parse_response", "split_head",
]  # fmt: skip

MAX_HEAD: Final = 64 * 1024
"""Bytes of a head, with the empty line at its end."""
MAX_TARGET: Final = 32 * 1024
MAX_METHOD: Final = 32
MAX_FIELDS: Final = 200
MAX_ANSWER_FIELDS: Final = 1000


_BARE_LINE_END = re.compile(rb"(?<!\r)\n|\r(?!\n|\Z)")
_METHOD = re.compile(TOKEN)
_VERSION = re.compile(rb"HTTP/[0-9]\.[0-9]")
_ABSOLUTE = re.compile(r"(?i:https?)://([^/?]*)(.*)")
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: ([\t -~\x80-\xff]*))?")

_LINE_END = -len(b" HTTP/1.1\r\n")
_METHODS = {
    name.encode(): name for name in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND")
}
_STATUS_LINES = {
    f"HTTP/1.1 {status} {status.phrase}".encode(): (11, status.value, status.phrase) for status in HTTPStatus
}


@dataclass(frozen=True, slots=True)
class HeaderBlock:
    """All that a request's header fields say, in a request of this version."""

    raw: bytes
    """The lines, with the empty one at the end."""
    version: int
    fields: Fields
    host: str
    """Host[:port] that is meant; "" if an HTTP/1.0 client did not say."""
    framing: Framing
    keep_alive: bool
    """Whether another request may follow (RFC 9112, section 9.3). Never with HTTP/1.0."""
    upgrade: str
    """The Upgrade field in lower case, if Connection names it, else "" (RFC 9110, section 7.8)."""
    expect_continue: bool
    """Whether the client waits for 100 (Continue) before it sends its body (RFC 9110, section 10.1.1)."""


@dataclass(slots=True)
class RequestHead:
    """A request's head. Not frozen only because that would make it cost three times as much."""

    method: str
    target: str
    """Path and query exactly as sent, or "*"; the part behind the authority if a whole URL was sent."""
    header: HeaderBlock
    """May be one that was remembered: a caller may key on its identity. Without the lines in `plain`."""
    line: bytes
    """The request line, with its end; with the target as above."""
    plain: bytes = b""
    """Lines that were told apart from those in `header`, as they came (see `lines`)."""
    raw: bytes = b""
    """All header lines as they came, if the next request's may be compared with them; else b""."""

    @property
    def version(self) -> int:
        """10 or 11."""
        return self.header.version

    @property
    def fields(self) -> Fields:
        """All fields, those in `plain` behind the others; Host is the one that is meant."""
        return join_fields(self.header.fields, self.plain) if self.plain else self.header.fields

    @property
    def block(self) -> bytes:
        """See `HeaderBlock.raw`."""
        return self.header.raw

    @property
    def host(self) -> str:
        """See `HeaderBlock.host`."""
        return self.header.host

    @property
    def framing(self) -> Framing:
        """How the body is framed; None if there is none."""
        return self.header.framing

    @property
    def keep_alive(self) -> bool:
        """See `HeaderBlock.keep_alive`."""
        return self.header.keep_alive

    @property
    def upgrade(self) -> str:
        """See `HeaderBlock.upgrade`."""
        return self.header.upgrade

    @property
    def expect_continue(self) -> bool:
        """See `HeaderBlock.expect_continue`."""
        return self.header.expect_continue


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """An answer's head."""

    status: int
    reason: str
    """May be empty."""
    version: int
    """10 or 11."""
    fields: Fields
    framing: Framing
    keep_alive: bool
    """Whether the connection may serve another request once the body is over."""
    upgrade: str
    """The Upgrade field in lower case, if Connection names it, else ""."""


def find_head_end(buffer: bytes | bytearray, searched: int = 0, *, answer: bool = False) -> int:
    """Find where a head ends.

    Up to two empty lines before a request are part of its head (RFC 9112, section 2.2).

    Args:
        buffer: Begins where the head begins.
        searched: How long `buffer` was the last time.
        answer: A response is awaited, not a request.

    Returns:
        The index just past the empty line, -1 if it did not come yet.

    Raises:
        BadMessage: Nothing that may follow makes this a head: a line end that is not CR LF, or too many bytes.
    """
    start = 0 if answer or not buffer.startswith(b"\r") else _skip_empty_lines(buffer)
    end = buffer.find(b"\r\n\r\n", max(start, searched - 3))
    if 0 <= end <= MAX_HEAD - 4:
        return end + 4
    # Waiting for the right line end would be waiting for ever.
    if _BARE_LINE_END.search(buffer, max(start, searched - 1), MAX_HEAD):
        raise BadMessage(502 if answer else 400, "line end is not CR LF")
    if len(buffer) >= MAX_HEAD:
        raise BadMessage(502 if answer else 431, "head too large")
    return -1


def _skip_empty_lines(buffer: bytes | bytearray) -> int:
    start = 0
    while buffer.startswith(b"\r\n", start):
        if start == 4:
            raise BadMessage(400, "empty lines instead of a request")
        start += 2
    return start


def parse_request(head: bytes) -> RequestHead:
    """Parse a request's head.

    Args:
        head: As `find_head_end` delimits it.

    Raises:
        BadMessage: It is not to be served; the connection is to be closed after the answer.

    Source: RFC 9112, section 3.
    """
    verify_bytes(head)
    line, raw = split_head(head)
    method, target, version = _parse_request_line(line)
    header = _read_block(raw, version)
    if target.startswith("/"):
        return RequestHead(method, target, header, line + b"\r\n")
    return _parse_other_target(method, target, header)


def split_head(head: bytes) -> tuple[bytes, bytes]:
    """Split a request's head into the request line, without its end, and the lines behind it."""
    if head.startswith(b"\r"):
        head = head[_skip_empty_lines(head) :]
    line, _, raw = head.partition(b"\r\n")
    return line, raw


def parse_line(line: bytes, header: HeaderBlock) -> RequestHead | None:
    """Parse a request whose header fields are known already; as `parse_request`, but for what they mean.

    Returns:
        None: the line decides what the fields mean, so that all must be parsed.

    Raises:
        BadMessage: See `parse_request`.
    """
    method, target, version = _parse_request_line(line)
    if version != header.version or not target.startswith("/"):
        return None
    return RequestHead(method, target, header, line + b"\r\n")


def parse_repeated(data: bytes, last: RequestHead) -> RequestHead | None:
    """Parse a read that is exactly one request with the very header fields of the last one, which browsers often send.

    Returns:
        None: it is something else, or not that simple; `find_head_end` and `parse_request` will tell.
    """
    raw = last.raw
    if not raw or not data.endswith(raw):
        return None
    line = data[: -len(raw)]
    name, _, rest = line.partition(b" ")
    method = _METHODS.get(name)
    target = rest[:_LINE_END].decode("latin-1")
    if (
        method is None
        or not rest.endswith(b" HTTP/1.1\r\n")
        or not target.startswith("/")
        or not (target.isascii() and target.isprintable())
        or " " in target
        or "#" in target
        or len(target) > MAX_TARGET
    ):
        return None
    return RequestHead(method, target, last.header, line, last.plain, raw)


def _parse_request_line(line: bytes) -> tuple[str, str, int]:
    """Split a request line (RFC 9112, section 3). What is malformed is told before what is only not served."""
    parts = line.split(b" ")
    if len(parts) != 3:
        raise BadMessage(400, "malformed request line")
    target = parts[1].decode("latin-1")
    # Fragments are never sent; some would cut them off, some not.
    if not (target.isascii() and target.isprintable()) or "#" in target:
        raise BadMessage(400, "malformed target")
    version = 11
    if parts[2] != b"HTTP/1.1":
        if _VERSION.fullmatch(parts[2]) is None:
            raise BadMessage(400, "malformed version")
        version = 10 if parts[2] == b"HTTP/1.0" else 0
    method = _METHODS.get(parts[0]) or _parse_method(parts[0])
    if len(target) > MAX_TARGET:
        raise BadMessage(414, "target too long")
    if not version:
        raise BadMessage(505, "version not supported")
    return method, target, version


def _parse_method(method: bytes) -> str:
    """Accept other methods than the usual ones (RFC 9110, section 9.1: they are case-sensitive)."""
    if _METHOD.fullmatch(method) is None:
        raise BadMessage(400, "malformed method")
    if method == b"CONNECT":
        raise BadMessage(405, "CONNECT is for forward proxies")
    if len(method) > MAX_METHOD:
        raise BadMessage(501, "unknown method")
    return method.decode("ascii")


def _parse_other_target(method: str, target: str, header: HeaderBlock) -> RequestHead:
    """Accept "*" and whole URLs (RFC 9112, sections 3.2.2 and 3.2.4)."""
    if target == "*" and method == "OPTIONS":
        return RequestHead(method, target, header, _write_line(method, target, header.version))
    url = _ABSOLUTE.fullmatch(target)
    if url is None:
        raise BadMessage(400, "malformed target")
    host, rest = url.groups()
    verify_host(host)
    if not rest:
        rest = "*" if method == "OPTIONS" else "/"
    elif rest.startswith("?"):
        rest = f"/{rest}"
    if host != header.host:
        # The URL's authority replaces Host, in the bytes too: whoever keys on them must not see the other one.
        fields = replace_host(header.fields, host)
        raw = "".join(f"{name}: {value}\r\n" for name, value in fields).encode("latin-1") + b"\r\n"
        header = replace(header, raw=raw, fields=fields, host=host)
    return RequestHead(method, rest, header, _write_line(method, rest, header.version))


def _write_line(method: str, target: str, version: int) -> bytes:
    return f"{method} {target} HTTP/1.{version - 10}\r\n".encode("ascii")


def _read_block(raw: bytes, version: int) -> HeaderBlock:
    fields = split_fields(raw, MAX_FIELDS)
    telling = fields.by_name
    hosts = telling.get("host", ())
    if len(hosts) > 1 or (version == 11 and not hosts):
        raise BadMessage(400, "not exactly one Host")
    host = hosts[0] if hosts else ""
    if hosts:
        verify_host(host)
    framing = read_framing(telling, version)
    if version == 10:
        # RFC 9110: HTTP/1.0 knows neither Upgrade (7.8) nor Expect (10.1.1).
        return HeaderBlock(
            raw, 10, fields, host, framing, keep_alive=False, upgrade="", expect_continue=False
        )
    expects = telling.get("expect")
    if expects and [value.lower() for value in expects] != ["100-continue"]:
        raise BadMessage(417, "expectation not supported")
    close, upgrade = read_connection(telling)
    has_body = framing is not None and framing != Length(0)
    return HeaderBlock(raw, 11, fields, host, framing, not close, upgrade, bool(expects) and has_body)


def parse_response(head: bytes, method: str) -> ResponseHead:
    """Parse an answer's head.

    Args:
        head: As `find_head_end` delimits it.
        method: Of the request.

    Raises:
        BadMessage: With status 502: nothing of this may go to the client.

    Source: RFC 9112, sections 4 and 6.3.
    """
    line_end = head.find(b"\r\n")
    line = head[:line_end]
    version, status, reason = _STATUS_LINES.get(line) or _parse_status_line(line)
    try:
        verify_bytes(head)
        fields = split_fields(head[line_end + 2 :], MAX_ANSWER_FIELDS)
        framing = read_framing(fields.by_name, version)
    except BadMessage as bad:
        raise BadMessage(502, bad.reason) from None
    close, upgrade = read_connection(fields.by_name)
    keep_alive = version == 11 and not close
    if status < 200:
        if version == 10 or (status == 101 and not upgrade):
            raise BadMessage(502, "malformed interim answer")
        return ResponseHead(status, reason, version, fields, None, keep_alive and status != 101, upgrade)
    if status == 204:
        # It has no body, but whoever announces one may well send one.
        keep_alive = keep_alive and framing in (None, Length(0))
        framing = None
    elif method == "HEAD" or status == 304:
        framing = None
    elif framing is None:
        framing = UntilClose()
        keep_alive = False
    return ResponseHead(status, reason, version, fields, framing, keep_alive, upgrade)


def _parse_status_line(line: bytes) -> tuple[int, int, str]:
    match = _STATUS_LINE.fullmatch(line)
    if match is None:
        raise BadMessage(502, "malformed status line")
    minor, status, reason = match.groups()
    return 10 + int(minor), int(status), (reason or b"").decode("latin-1")
