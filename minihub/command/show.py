"""What a command found, on stdout: a table for people, plain columns for a pipe, JSON for scripts.

What users wrote (notes, reasons, texts) may hold anything: control characters never reach the terminal.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from minihub.command.failures import WrongUsage

_PIPE_WIDTH = 100_000
"""Columns of a table in a pipe: nothing is cut or folded there."""

Model = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table."""

    title: str
    value: Callable[[Model], object]
    """None shows as nothing."""
    right: bool = False


def clean(value: object) -> str:
    """One line of printable text; yes and no for truth values."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = " ".join(str(value).split())
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def print_json(data: Any, out: TextIO | None = None) -> None:
    """Data as the API has it; non-ASCII characters escaped, so that no control character is among them."""
    print(json.dumps(data, indent=2), file=out or sys.stdout)


def print_table(
    columns: Sequence[Column], rows: Iterable[Model], *, empty: str = "", out: TextIO | None = None
) -> None:
    """A table; `empty` is told on stderr where there are no rows."""
    out = out or sys.stdout
    rows = list(rows)
    if not rows and empty and out.isatty():
        note(empty)
        return
    on_terminal = out.isatty()
    table = Table(
        box=box.SIMPLE_HEAD if on_terminal else None,
        pad_edge=False,
        show_edge=False,
        header_style="bold" if on_terminal else "",
        padding=(0, 2, 0, 0),
    )
    for column in columns:
        table.add_column(
            Text(column.title.upper()),
            justify="right" if column.right else "left",
            no_wrap=not on_terminal,
            overflow="fold",
        )
    for row in rows:
        table.add_row(*(Text(clean(column.value(row))) for column in columns))
    _print(table, out)
    if not rows and empty:
        note(empty)


def print_facts(facts: Iterable[tuple[str, object]], out: TextIO | None = None) -> None:
    """Names and values below each other; those without a value are left out."""
    out = out or sys.stdout
    told = [(name, text) for name, value in facts if (text := clean(value))]
    width = max((len(name) for name, _ in told), default=0)
    for name, text in told:
        print(f"{name + ':':<{width + 2}}{text}", file=out)


def note(text: str) -> None:
    """Something beside the result, on stderr."""
    print(f"minihub: {text}", file=sys.stderr)


def _print(table: Table, out: TextIO) -> None:
    if out.isatty():
        Console(file=out, highlight=False, emoji=False, markup=False).print(table)
        return
    console = Console(
        file=out,
        width=_PIPE_WIDTH,
        no_color=True,
        highlight=False,
        emoji=False,
        markup=False,
        force_terminal=False,
    )
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        print(line.rstrip(), file=out)


def confirm(question: str, *, yes: bool, as_json: bool = False) -> bool:
    """Whether to go on: --yes, or a person who says so.

    Args:
        question: Ends with what is lost.
        yes: Do not ask.
        as_json: The command's output is for a program.

    Raises:
        WrongUsage: There is nobody to be asked.
    """
    if yes:
        return True
    if as_json:
        raise WrongUsage("--json asks nobody: say --yes")
    if not sys.stdin.isatty():
        raise WrongUsage(f"{question} There is nobody to be asked here: say --yes.")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
