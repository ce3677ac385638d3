"""Single values as Slurm prints them: times, memory, TRES, GRES, node lists. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo

from minihub.errors import OutputNotUnderstood

_NO_LIMIT = frozenset({"unlimited", "infinite", "not_set", "none"})
_NO_TIME = frozenset({"", "n/a", "unknown", "none", "(null)"})
_DURATION = re.compile(r"(?:(?P<days>\d{1,7})-)?(?P<clock>\d{1,9}(?::\d{1,9}){0,2})(?:\.\d+)?", re.ASCII)
_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", re.ASCII)
_MEMORY = re.compile(r"(\d{1,15}(?:\.\d{1,6})?)([KMGTP]?)B?[cn]?", re.ASCII | re.IGNORECASE)
_MIB_PER_UNIT = {"K": 1 / 1024, "M": 1.0, "": 1.0, "G": 1024.0, "T": 1024.0**2, "P": 1024.0**3}
_NODE_PART = re.compile(r"([^\[\],]*)(?:\[([0-9,\-]+)\])?([^\[\],]*)", re.ASCII)
MAX_NODES = 65536


def not_understood(what: str, text: str) -> OutputNotUnderstood:
    """Make the error for a text that should have been a `what`."""
    return OutputNotUnderstood("Slurm's answer could not be read.", f"{what}: {text[:200]!r}")


def parse_time_limit(text: str) -> timedelta | None:
    """Parse a time limit (or an elapsed time) as squeue, sinfo, sacctmgr or sacct print it.

    "30" and "30:00" are 30 minutes; "8:00:00" is eight hours; "1-02" is one day and two hours, "1-02:30" 30 minutes more.

    Returns:
        The limit, or None if there is none (UNLIMITED, infinite, NOT_SET).

    Raises:
        OutputNotUnderstood: Any other text.

    Source: sbatch(1), --time.
    """
    if text.strip().lower() in _NO_LIMIT:
        return None
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise not_understood("time limit", text)
    numbers = [int(n) for n in match["clock"].split(":")]
    if match["days"] is not None:
        hours, minutes, seconds = (*numbers, 0, 0)[:3]
    elif len(numbers) == 3:
        hours, minutes, seconds = numbers
    else:
        hours, (minutes, seconds) = 0, (*numbers, 0)[:2]
    return timedelta(days=int(match["days"] or 0), hours=hours, minutes=minutes, seconds=seconds)


def parse_timestamp(text: str, tz: tzinfo = UTC) -> float | None:
    """Parse "2026-11-25T21:10:51" into wall seconds; `tz` is where the command ran.

    Returns:
        Wall seconds, or None for N/A, Unknown and the like.

    Raises:
        OutputNotUnderstood: Any other text.
    """
    word = text.strip()
    if word.lower() in _NO_TIME:
        return None
    if _TIMESTAMP.fullmatch(word) is None:
        raise not_understood("time", text)
    try:
        return datetime.fromisoformat(word).replace(tzinfo=tz).timestamp()
    except (ValueError, OverflowError):
        raise not_understood("time", text) from None


def parse_memory_mib(text: str) -> int | None:
    """Parse "500M", "16G", "16000" (MiB) or "12340K"; None for "" and UNLIMITED.

    A part of a MiB counts as a whole one, so that a peak of 300K is not shown as none.

    Raises:
        OutputNotUnderstood: Any other text.
    """
    word = text.strip()
    if not word or word.lower() in _NO_LIMIT:
        return None
    match = _MEMORY.fullmatch(word)
    if match is None:
        raise not_understood("memory", text)
    mib = float(match[1]) * _MIB_PER_UNIT[match[2].upper()]
    return -int(-mib // 1)


def parse_tres(text: str) -> dict[str, str]:
    """Parse "cpu=4,mem=16G,gres/gpu=2" into a table; "" and "(null)" are empty.

    Raises:
        OutputNotUnderstood: A part without "=".
    """
    table: dict[str, str] = {}
    for part in text.split(","):
        if not part or part == "(null)":
            continue
        name, equals, value = part.partition("=")
        if not equals or not name:
            raise not_understood("TRES", text)
        table[name] = value
    return table


def parse_gres(text: str) -> tuple[tuple[str, str, int], ...]:
    """Parse a node's GRES, "gpu:v100:2(S:0-1),shard:8", into (name, type or "", count).

    Raises:
        OutputNotUnderstood: A count that is none.
    """
    found = []
    # The sockets in "(S:0,1)" hold commas: cut them off before splitting.
    for part in re.sub(r"\([^)]*\)", "", text).split(","):
        if not part or part in ("N/A", "null"):
            continue
        words = part.split(":")
        name, kind, count = words[0], "", 1
        if len(words) > 1 and re.fullmatch(r"\d{1,9}[KMGkmg]?", words[-1], re.ASCII):
            digits = words[-1].rstrip("KMGkmg")
            scale = {"": 0, "K": 1, "M": 2, "G": 3}[words[-1][len(digits) :].upper()]
            count = int(digits) * 1024**scale
            words = words[:-1]
        if len(words) > 2 or not name:
            raise not_understood("GRES", text)
        kind = words[1] if len(words) == 2 else ""
        found.append((name, kind, count))
    return tuple(found)


def expand_nodes(text: str) -> tuple[str, ...]:
    """Expand "node[1-3,07],login" into names; "", "(null)" and "None assigned" are no nodes.

    Raises:
        OutputNotUnderstood: Unbalanced brackets, a range that goes backwards, or more than MAX_NODES names.
    """
    word = text.strip()
    if word in ("", "(null)", "None assigned", "n/a"):
        return ()
    names: list[str] = []
    for part in re.split(r",(?![^\[]*\])", word):
        match = _NODE_PART.fullmatch(part)
        if match is None or not part:
            raise not_understood("node list", text)
        head, ranges, tail = match.groups()
        if ranges is None:
            names.append(head + tail)
            continue
        names.extend(head + number + tail for number in _numbers(ranges, text))
        if len(names) > MAX_NODES:
            raise not_understood("node list", text)
    return tuple(names)


def _numbers(ranges: str, text: str) -> list[str]:
    numbers: list[str] = []
    for part in ranges.split(","):
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise not_understood("node list", text)
        low, high = int(first), int(last or first)
        if high < low or high - low > MAX_NODES:
            raise not_understood("node list", text)
        numbers.extend(str(n).zfill(len(first)) for n in range(low, high + 1))
    return numbers
