"""The door's own answers, to what is no request or can be answered by nobody else any more. Pure but for their ids."""

from __future__ import annotations

import json
import secrets
from http import HTTPStatus

_MORE = {
    405: "Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n",
    503: "Retry-After: 5\r\n",
}


def build_refusal(status: int, message: str) -> bytes:
    """An answer of our own, after which the connection is closed."""
    body = json.dumps({"status": status, "message": message}).encode()
    more = _MORE.get(status, "")
    return (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
        "Content-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n"
        "Cache-Control: no-store\r\n"
        f"X-Request-ID: {secrets.token_hex(6)}\r\n"
        f"{more}Connection: close\r\n\r\n"
    ).encode("ascii") + body
