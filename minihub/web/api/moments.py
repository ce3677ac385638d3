"""Moments as they come in: ISO 8601, seconds since 1970, or so long ago ("7d"). Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from minihub.web.api.problems import InvalidRequest

_AGO = re.compile(r"(\d{1,6})([smhdw])")
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_MOST_S = 253_402_300_799.0
"""The end of the year 9999."""


def parse_moment(value: str | float, field: str, *, now: float | None = None) -> float:
    """A moment in wall seconds; without an offset it is UTC.

    Args:
        value: "2026-11-26T10:00:00Z", 1795687200, or, where `now` is given, "24h" (ago).
        field: Where it stands, for the message.
        now: Wall seconds.

    Raises:
        InvalidRequest: It is none.
    """
    found = _read(value, now)
    if found is None or not 0 <= found <= _MOST_S:
        ago = " or how long ago (90m, 24h, 7d)" if now is not None else ""
        raise InvalidRequest({field: f"A time such as 2026-11-26T10:00:00Z{ago} is needed."})
    return found


def _read(value: str | float, now: float | None) -> float | None:
    if not isinstance(value, str):
        return float(value)
    ago = _AGO.fullmatch(value)
    if now is not None and ago is not None:
        return max(0.0, now - int(ago[1]) * _UNITS_S[ago[2]])
    try:
        moment = datetime.fromisoformat(value)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
