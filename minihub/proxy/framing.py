"""Where the body of an HTTP/1.x message ends. Pure: bytes in, bytes out.

A head says how its body is framed (`Framing`); `start_body` makes the object that follows the body through the reads
and says of each how much belongs to it. Whatever passes was verified first: only bytes inside the frame go on, chunk
sizes and line ends are checked also where a read tears them, extensions and trailers stay here.

What never happens here: nothing is buffered beyond one unfinished line, and a read that needs no change is not copied.

Source: RFC 9112, sections 6 and 7.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol

MAX_CHUNK_LINE = 256
"""Bytes of one chunk's size and extensions. Nobody needs extensions; some signed uploads send about 90 bytes."""
MAX_TRAILERS = 16 * 1024
"""Bytes of all trailer lines of a message."""
MAX_TRAILER_FIELDS = 100

TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
"""RFC 9110, section 5.6.2."""

_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})([ \t]*;[\t -~]*)?\r\n")
_CHUNK_END = re.compile(rb"\r\n")
_TRAILER = re.compile(TOKEN + rb":[\t -~\x80-\xff]*\r\n")
_UNFINISHED = {
    _CHUNK_LINE: re.compile(rb"[0-9A-Fa-f]{1,15}(?:[ \t]*|(?:[ \t]*;[\t -~]*)?\r?)"),
    _CHUNK_END: re.compile(rb"\r"),
    _TRAILER: re.compile(rb"[\t -~\x80-\xff]*\r?"),
}
"""For each kind of line what it may look like before its end has come."""


class BadMessage(Exception):
    """A message that breaks HTTP's rules, or one that two readers could understand in two ways."""

    def __init__(self, status: int, reason: str) -> None:
        self.status = status
        """What to answer; 502 if an upstream sent it."""
        self.reason = reason
        """A few words for the log and the answer; never holds what was received."""
        super().__init__(f"{status} {reason}")


@dataclass(frozen=True, slots=True)
class Length:
    """A body of exactly `size` bytes (RFC 9112, section 6.2)."""

    size: int


@dataclass(frozen=True, slots=True)
class Chunked:
    """A body in chunks (RFC 9112, section 7.1)."""


@dataclass(frozen=True, slots=True)
class UntilClose:
    """A body that ends with the connection; answers only (RFC 9112, section 6.3, case 8)."""


Framing = Length | Chunked | UntilClose | None
"""None: there is no body."""


class Body(Protocol):
    """A body on its way."""

    over: bool
    """Whether the frame is complete."""

    def feed(self, data: bytes) -> tuple[bytes, int]:
        """Take a read.

        Returns:
            What goes on (`data` itself if all of it does, unchanged), and how many bytes of `data` were taken. All
            are taken unless the body is over; what is left belongs to the next message.

        Raises:
            BadMessage: The frame is broken; nothing of this message may go on any more.
        """


def start_body(framing: Framing, *, payload: bool = False, status: int = 400) -> Body:
    """Make what follows a body through the reads; one that is not there is over already.

    Args:
        framing: From the head.
        payload: Give what is in the chunks instead of the chunks.
        status: Of BadMessage; 502 if an upstream sends this body.
    """
    match framing:
        case Chunked():
            return ChunkedBody(payload=payload, status=status)
        case UntilClose():
            return UntilCloseBody()
        case Length(size):
            return LengthBody(size)
        case None:
            return LengthBody(0)


class LengthBody:
    """A body whose length was announced."""

    __slots__ = ("_left", "over")

    def __init__(self, size: int) -> None:
        self._left = size
        self.over = size == 0

    def feed(self, data: bytes) -> tuple[bytes, int]:
        """Take a read; see `Body.feed`."""
        size = len(data)
        left = self._left
        if size < left:
            self._left = left - size
            return data, size
        self._left = 0
        self.over = True
        return (data, size) if size == left else (data[:left], left)


class UntilCloseBody:
    """A body that is over when the connection is; so `over` stays False."""

    __slots__ = ("over",)

    def __init__(self) -> None:
        self.over = False

    def feed(self, data: bytes) -> tuple[bytes, int]:
        """Take a read; see `Body.feed`."""
        return data, len(data)


class ChunkedBody:
    """A body in chunks.

    What goes on is chunked coding again, without extensions and trailers and with `0 CR LF CR LF` as its end. With
    `payload` it is what the chunks hold.
    """

    __slots__ = (
        "_held",
        "_left",
        "_payload",
        "_status",
        "_trailer_bytes",
        "_trailer_fields",
        "_want",
        "over",
    )

    def __init__(self, *, payload: bool = False, status: int = 400) -> None:
        self.over = False
        self._payload = payload
        self._status = status
        self._left = 0  # bytes of the current chunk
        self._want = _CHUNK_LINE  # what comes when nothing is left of it
        # The beginning of a line whose end did not come yet. It counts as taken, and goes on when the line is whole.
        self._held = b""
        self._trailer_fields = self._trailer_bytes = 0

    def feed(self, data: bytes) -> tuple[bytes, int]:
        """Take a read; see `Body.feed`."""
        size = len(data)
        if size <= self._left:
            self._left -= size
            return data, size
        held = len(self._held)
        if held:
            data = self._held + data
            self._held = b""
        kept: list[bytes] = []
        end = self._split(data, kept)
        return (kept[0] if len(kept) == 1 else b"".join(kept)), end - held

    def _split(self, data: bytes, kept: list[bytes]) -> int:
        """Append what goes on to `kept`, in runs as long as possible; say where in `data` the body or the read ends."""
        size = len(data)
        run = at = 0  # data[run:at] goes on unchanged
        while at < size and not self.over:
            if self._left:
                step = min(self._left, size - at)
                at += step
                self._left -= step
                continue
            if self._want is _CHUNK_LINE:
                end, instead = self._read_chunk_line(data, at)
            elif self._want is _CHUNK_END:
                end, instead = self._read_chunk_end(data, at)
            else:
                end, instead = self._read_trailer(data, at)
            if end == at:
                self._held = data[at:]
                break
            if instead is not None:
                if run < at:
                    kept.append(data[run:at])
                if instead:
                    kept.append(instead)
                run = end
            at = end
        if run < at:
            kept.append(data[run:at])
        return at + len(self._held)

    # Each of these says where its line ends (`at` if the read ends before), and what goes on in its place: None means
    # the line itself.

    def _read_chunk_line(self, data: bytes, at: int) -> tuple[int, bytes | None]:
        """Read a chunk's size and extensions (RFC 9112, section 7.1)."""
        line = _CHUNK_LINE.match(data, at, at + MAX_CHUNK_LINE)
        if line is None:
            self._verify_unfinished(data, at, MAX_CHUNK_LINE)
            return at, None
        digits, extension = line.groups()
        end = line.end()
        self._left = int(digits, 16)
        if self._left:
            self._want = _CHUNK_END
            if self._payload:
                return end, b""
            return end, digits + b"\r\n" if extension else None
        if not self._payload and digits == b"0" and not extension and data.startswith(b"\r\n", end):
            self.over = True
            return end + 2, None
        self._want = _TRAILER
        return end, b""

    def _read_chunk_end(self, data: bytes, at: int) -> tuple[int, bytes | None]:
        """Read the line end after a chunk."""
        if not data.startswith(b"\r\n", at):
            self._verify_unfinished(data, at, 2)
            return at, None
        self._want = _CHUNK_LINE
        return at + 2, b"" if self._payload else None

    def _read_trailer(self, data: bytes, at: int) -> tuple[int, bytes | None]:
        """Read a trailer line (RFC 9112, section 7.1.2); the empty one ends the body."""
        if data.startswith(b"\r\n", at):
            self.over = True
            return at + 2, b"" if self._payload else b"0\r\n\r\n"
        line = _TRAILER.match(data, at)
        if line is None:
            self._verify_unfinished(data, at, MAX_TRAILERS - self._trailer_bytes + 2)
            return at, None
        self._trailer_fields += 1
        self._trailer_bytes += line.end() - at
        if self._trailer_fields > MAX_TRAILER_FIELDS or self._trailer_bytes > MAX_TRAILERS:
            raise BadMessage(self._status, "too many trailers")
        return line.end(), b""

    def _verify_unfinished(self, data: bytes, at: int, limit: int) -> None:
        """Refuse at once a line that nothing can complete any more.

        Raises:
            BadMessage: The line is wrong, or as long as it may be.
        """
        line = data[at : at + limit]
        if len(line) == limit or _UNFINISHED[self._want].fullmatch(line) is None:
            raise BadMessage(self._status, "malformed chunked body")
