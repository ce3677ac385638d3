"""Takes answers apart. Slow and strict: loads compare what repeats by themselves. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

_STATUS = re.compile(rb"HTTP/1\.1 ([0-9]{3})(?: [^\r\n]*)?")
_MOST = 64 * 1024


class Wrong(Exception):
    """Not the answer that must come; says what came, in few words: errors are counted by them."""


@dataclass(frozen=True, slots=True)
class Head:
    """An answer's head."""

    status: int
    size: int
    """Of the head itself, in bytes."""
    fields: dict[str, str]
    """By lower-case name."""

    @property
    def length(self) -> int:
        """The body's length in bytes.

        Raises:
            Wrong: It does not say.
        """
        text = self.fields.get("content-length", "")
        if not text.isdecimal() or "transfer-encoding" in self.fields:
            raise Wrong("no Content-Length")
        return int(text)


def parse_head(data: bytes | bytearray) -> Head | None:
    """Parse the head at the start of `data`; None while it is not complete.

    Raises:
        Wrong: It is none.
    """
    end = data.find(b"\r\n\r\n")
    if end < 0:
        if len(data) > _MOST:
            raise Wrong("endless head")
        return None
    first, *lines = bytes(data[:end]).split(b"\r\n")
    status = _STATUS.fullmatch(first)
    if status is None:
        raise Wrong("no HTTP/1.1 answer")
    fields: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.decode("latin-1").partition(":")
        key = name.lower()
        if not colon or not name or (key in fields and key in ("content-length", "transfer-encoding")):
            raise Wrong("bad field")
        fields[key] = value.strip()
    return Head(int(status[1]), end + 4, fields)


def take_answer(data: bytes | bytearray, body: bytes) -> Head | None:
    """Compare `data` with the answer that must come: 200 and `body`; None while it is not complete.

    Raises:
        Wrong: Something else comes.
    """
    head = parse_head(data)
    if head is None:
        return None
    if head.status != 200:
        raise Wrong(f"status {head.status}")
    if head.length != len(body):
        raise Wrong("wrong length")
    there = len(data) - head.size
    if there > len(body):
        raise Wrong("more than the answer")
    if not body.startswith(data[head.size :]):
        raise Wrong("wrong body")
    return head if there == len(body) else None
