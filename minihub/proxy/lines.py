"""Header lines told apart: those that mean something here, and those that pass as they are. Pure.

No two requests of a browser are quite alike, but nearly all their lines have come before. So a line that was found
to be harmless is looked up instead of read again, and what is found out about the others is kept under them alone
(`memo`): what a request lets in, or an answer says of its body, does not depend on Referer or ETag.

*Plain* is a line that passes unchanged and says nothing about the message, its sender or what he may do. Telling is
everything else: all that the rules of `headers` touch, `fields` reads or `gate` decides by, all names that are not in
the lists below, and whatever is malformed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from minihub.proxy.fields import is_visible
from minihub.proxy.recent import Recent

_MOST = 2048
_LONGEST = 1024
"""Bytes of a line that is remembered."""

PLAIN_REQUEST_NAMES: Final = (
    "Accept",
    "Accept-Encoding",
    "Accept-Language",
    "Cache-Control",
    "Content-Encoding",
    "Content-Type",
    "DNT",
    "If-Match",
    "If-Modified-Since",
    "If-None-Match",
    "If-Range",
    "If-Unmodified-Since",
    "Pragma",
    "Priority",
    "Range",
    "Referer",
    "Sec-CH-UA",
    "Sec-CH-UA-Mobile",
    "Sec-CH-UA-Platform",
    "Sec-GPC",
    "Upgrade-Insecure-Requests",
    "User-Agent",
    "X-Requested-With",
    "X-XSRFToken",
)

PLAIN_ANSWER_NAMES: Final = (
    "Accept-Ranges",
    "Access-Control-Allow-Credentials",
    "Access-Control-Allow-Headers",
    "Access-Control-Allow-Methods",
    "Access-Control-Allow-Origin",
    "Access-Control-Expose-Headers",
    "Age",
    "Allow",
    "Cache-Control",
    "Content-Disposition",
    "Content-Encoding",
    "Content-Language",
    "Content-Range",
    "Content-Security-Policy",
    "Content-Type",
    "Date",
    "ETag",
    "Expires",
    "Last-Modified",
    "Location",
    "Pragma",
    "Referrer-Policy",
    "Server",
    "Vary",
    "X-Content-Type-Options",
    "X-Frame-Options",
    "X-XSS-Protection",
)

_RARELY_REPEATED = frozenset(
    {"Content-Range", "ETag", "If-Match", "If-Modified-Since", "If-None-Match", "If-Range", "Last-Modified", "Range", "Referer"}
)  # fmt: skip
"""Lines not worth to be remembered: their values mostly differ."""


class Sieve:
    """Parts lines into those that tell something and those that are plain; remembers the lines of late."""

    def __init__(self, plain_names: Sequence[str]) -> None:
        """Put together.

        Args:
            plain_names: Names of fields that are plain, in one spelling.
        """
        self.names = frozenset(name.lower() for name in plain_names)
        """Of plain fields, in lower case."""
        self._spellings = {
            spelling.encode(): name in _RARELY_REPEATED
            for name in plain_names
            for spelling in (name, name.lower(), name.title())
        }
        self.known: Recent[bytes, bool] = Recent(_MOST)
        """Lines of late, and whether they are plain."""

    def part(self, lines: Sequence[bytes]) -> tuple[tuple[bytes, ...], bytes]:
        """Part lines, which are without their ends.

        Returns:
            The telling ones, not verified; and the plain ones, verified, each with its end.
        """
        known = self.known.young
        telling = []
        plain = []
        for line in lines:
            is_plain = known.get(line)
            if is_plain is None:
                is_plain = self._look_at(line)
            if is_plain:
                plain.append(line)
            else:
                telling.append(line)
        plain.append(b"")
        return tuple(telling), b"\r\n".join(plain)

    def _look_at(self, line: bytes) -> bool:
        found = self.known.revive(line)
        if found is not None:
            return found
        name, colon, _ = line.partition(b":")
        is_rare = self._spellings.get(name)
        is_plain = is_rare is not None and bool(colon) and is_visible(line)
        if not is_rare and len(line) <= _LONGEST:
            self.known.put(line, is_plain)
        return is_plain
