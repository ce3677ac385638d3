"""Results as plain text. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from minihub.checks.model import Result

WIDTH = 110
_WORDS = {True: "ok", False: "FAILED", None: "skipped"}
_INDENT = " " * 9


def format_result(result: Result) -> str:
    """One line, and below it what to do."""
    head = f"{_WORDS[result.ok]:<7}  {result.hop}"
    text = f"{head}: {result.detail}" if result.detail else head
    lines = [_wrap(line, first) for line, first in _with_first(text)]
    if result.cure:
        label = "cure: " if result.ok is False else "note: "
        for number, line in enumerate(result.cure.splitlines()):
            lines.append(f"{_INDENT}{label if number == 0 else ' ' * len(label)}{line}")
    return "\n".join(lines)


def _with_first(text: str) -> list[tuple[str, bool]]:
    return [(line, number == 0) for number, line in enumerate(text.splitlines())]


def _wrap(line: str, first: bool) -> str:
    return textwrap.fill(
        line,
        WIDTH,
        initial_indent="" if first else _INDENT,
        subsequent_indent=_INDENT,
        break_long_words=False,
        break_on_hyphens=False,
    )


def format_summary(results: Sequence[Result]) -> str:
    """The last line."""
    counts = {word: sum(result.ok is ok for result in results) for ok, word in _WORDS.items()}
    failed = [result.hop for result in results if result.ok is False]
    text = f"{counts['ok']} ok, {counts['FAILED']} failed, {counts['skipped']} skipped"
    return f"{text}; begin with: {failed[0]}" if failed else text
