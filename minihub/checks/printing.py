"""Results as plain text, or as JSON. Pure."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence

from minihub.checks.model import Result, exit_status

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


def build_json(results: Sequence[Result]) -> str:
    """All of it, for scripts; docs/commands.md has its shape."""
    told = {
        "ok": not exit_status(results),
        "hops": [
            {"hop": result.hop, "ok": result.ok, "detail": result.detail, "cure": result.cure}
            for result in results
        ],
    }
    return json.dumps(told, indent=2)


def format_summary(results: Sequence[Result]) -> str:
    """The last line."""
    counts = {word: sum(result.ok is ok for result in results) for ok, word in _WORDS.items()}
    failed = [result.hop for result in results if result.ok is False]
    text = f"{counts['ok']} ok, {counts['FAILED']} failed, {counts['skipped']} skipped"
    return f"{text}; begin with: {failed[0]}" if failed else text
