"""Where in a TOML text a key stands, which tomllib does not tell. Pure.

Only for texts that tomllib has read: what is no TOML is not noticed here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

# One part of a dotted key, and what follows it: a dot, the equals sign, or the bracket that ends a header.
_PART = re.compile(r"""\s*(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|([A-Za-z0-9_-]+))\s*([.=\]])""")
# What a value is made of, as far as its end is concerned. A quote that begins a string of several lines comes first.
_PIECE = re.compile(r"""'{3}|"{3}|"(?:[^"\\]|\\.)*"|'[^']*'|[\[{]|[\]}]|\#.*""")


def find_line(text: str, path: Sequence[str]) -> int | None:
    """The line, from 1, of the key at `path`, or of the key whose value holds it; None if it is not in the text.

    Args:
        text: A whole TOML file.
        path: The key with its tables: ("hub", "port"); or a place in its value: ("hub", "trusted_proxies", "0").
    """
    wanted = tuple(path)
    if not wanted:
        return None
    for number, here, has_value in _keys(text):
        if here[: len(wanted)] == wanted or (has_value and wanted[: len(here)] == here):
            return number
    return None


def _keys(text: str) -> Iterator[tuple[int, tuple[str, ...], bool]]:
    """Every header and key with its line and its whole path, and whether a value follows."""
    table: tuple[str, ...] = ()
    depth, quote = 0, ""
    for number, line in enumerate(text.split("\n"), 1):
        begins = not depth and not quote
        rest = line
        if begins and (stripped := line.strip()) and not stripped.startswith("#"):
            if stripped.startswith("["):
                table, _ = _dotted(stripped.lstrip("["))
                yield number, table, False
                continue
            key, end = _dotted(line)
            yield number, table + key, True
            rest = line[end:]
        depth, quote = _after(rest, depth, quote)


def _dotted(text: str) -> tuple[tuple[str, ...], int]:
    """The parts of the dotted key at the beginning of `text`, and where it ends."""
    parts: list[str] = []
    end = 0
    while (match := _PART.match(text, end)) is not None:
        parts.append(next(group for group in match.groups()[:3] if group is not None))
        end = match.end()
        if match[4] != ".":
            break
    return tuple(parts), end


def _after(line: str, depth: int, quote: str) -> tuple[int, str]:
    """How many brackets, and which quote of several lines, are open after `line`."""
    position = 0
    while True:
        if quote:
            found = line.find(quote, position)
            # An escaped quote does not end it.
            while found > 0 and quote == '"""' and line[found - 1] == "\\":
                found = line.find(quote, found + 1)
            if found < 0:
                return depth, quote
            position, quote = found + 3, ""
        match = _PIECE.search(line, position)
        if match is None:
            return depth, quote
        position = match.end()
        piece = match[0]
        if piece in ("'''", '"""'):
            quote = piece
        elif piece in "[{":
            depth += 1
        elif piece in "]}":
            depth -= 1
