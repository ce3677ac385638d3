"""The bytes between hub and helper: a length of four bytes, then one JSON object. Pure."""

from __future__ import annotations

import json
import struct
from typing import Any

MAX_FRAME = 16 * 1024 * 1024
"""Bytes; enough for a listing of a large cluster, too little to exhaust memory."""

_LENGTH = struct.Struct("!I")


class WireError(Exception):
    """What came is not in this format; the connection is of no more use."""


def pack(message: dict[str, Any]) -> bytes:
    """Frame one message."""
    body = json.dumps(message, separators=(",", ":")).encode()
    if len(body) > MAX_FRAME:
        msg = "message too long"
        raise WireError(msg)
    return _LENGTH.pack(len(body)) + body


class Unpacker:
    """Cuts a stream of bytes into messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """Take bytes; return the messages they complete.

        Raises:
            WireError: A frame is too long, or is not a JSON object.
        """
        self._buffer += data
        messages = []
        while len(self._buffer) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer)
            if length > MAX_FRAME:
                msg = "frame too long"
                raise WireError(msg)
            end = _LENGTH.size + length
            if len(self._buffer) < end:
                break
            messages.append(_parse(bytes(self._buffer[_LENGTH.size : end])))
            del self._buffer[:end]
        return messages


def _parse(body: bytes) -> dict[str, Any]:
    try:
        message = json.loads(body)
    except (ValueError, RecursionError):
        # The text may hold a password: neither it nor the parser's words go on.
        msg = "not JSON"
        raise WireError(msg) from None
    if not isinstance(message, dict):
        msg = "not an object"
        raise WireError(msg)
    return message
