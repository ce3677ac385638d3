"""Spans and moments as people type and read them. Pure: no clock."""

from __future__ import annotations

import re
from datetime import UTC, datetime

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_SPAN = re.compile(r"(?:\d{1,6}(?:\.\d{1,3})?[smhdw])+", re.ASCII)
_PART = re.compile(r"([\d.]+)([smhdw])", re.ASCII)


def parse_span(text: str) -> float:
    """Seconds of "90s", "45m", "1h30m", "7d", "2w".

    Raises:
        ValueError: Anything else, a number without a unit among it; says what would be right.
    """
    if _SPAN.fullmatch(text) is None:
        raise ValueError(f"{text!r} is no span of time: write 90s, 45m, 2h, 1h30m, 7d or 2w")
    seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    if seconds <= 0:
        raise ValueError(f"{text!r}: more than nothing")
    return seconds


def parse_moment(text: str) -> str:
    """Check a moment that the API understands: a span back from now ("7d"), or ISO 8601; returns it as it is.

    Raises:
        ValueError: It is neither.
    """
    if _SPAN.fullmatch(text) is not None:
        parse_span(text)
        return text
    try:
        datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            f"{text!r} is neither a span back from now (24h, 7d) nor a date (2026-11-26, 2026-11-26T08:00)"
        ) from None
    return text


def format_span(seconds: float | None) -> str:
    """Two units at most, such as "2d 3h", "45m", "8s"; "" for None."""
    if seconds is None:
        return ""
    left = max(0, round(seconds))
    if left < 60:
        return f"{left}s"
    minutes, hours, days = left // 60 % 60, left // 3600 % 24, left // 86400
    if days:
        return f"{days}d {hours}h" if hours else f"{days}d"
    if hours:
        return f"{hours}h {minutes:02}m" if minutes else f"{hours}h"
    return f"{minutes}m"


def format_moment(iso: str | None) -> str:
    """The API's moment (ISO 8601, UTC) to the second, without the T; "" for None."""
    if not iso:
        return ""
    found = re.fullmatch(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:\.\d+)?(?:Z|\+00:00)", iso)
    return f"{found[1]} {found[2]}" if found else iso


def seconds_between(earlier: str | None, later: str | None) -> float | None:
    """Seconds from one of the API's moments to another; None if either is not known."""
    if not earlier or not later:
        return None
    try:
        return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()
    except (ValueError, TypeError):
        return None


def moment_of(wall_s: float) -> str:
    """Wall seconds as the API writes moments."""
    return datetime.fromtimestamp(wall_s, UTC).isoformat().replace("+00:00", "Z")
