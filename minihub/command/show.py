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
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from minihub.command.failures import WrongUsage

_PIPE_WIDTH = 100_000
"""Columns of a table in a pipe: nothing is cut or folded there."""

_BETWEEN = 3
"""Columns between two of a table on a terminal."""

Model = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table."""

    title: str
    value: Callable[[Model], object]
    """None shows as nothing."""
    right: bool = False
    spare: int = 0
    """Where the terminal is too narrow, those with the greatest number are left out first; 0: never."""


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
    cells = [[clean(column.value(row)) for column in columns] for row in rows]
    if not out.isatty():
        _print_plain(columns, cells, out)
    elif cells:
        _print_for_people(columns, cells, out)
    if not cells and empty:
        note(empty)


def _print_plain(columns: Sequence[Column], cells: Sequence[Sequence[str]], out: TextIO) -> None:
    """Every column whole, whatever the width."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="")
    for column in columns:
        table.add_column(
            Text(column.title.upper()), justify="right" if column.right else "left", no_wrap=True
        )
    for row in cells:
        table.add_row(*map(Text, row))
    console = _console(out, width=_PIPE_WIDTH, no_color=True, force_terminal=False)
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        print(line.rstrip(), file=out)


def _print_for_people(columns: Sequence[Column], cells: Sequence[Sequence[str]], out: TextIO) -> None:
    """What fits, and something in it; the rest is named."""
    console = _console(out)
    told = [number for number in range(len(columns)) if any(row[number] for row in cells)]
    shown = _fitting(columns, cells, told, console.width)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    for number in shown:
        column = columns[number]
        table.add_column(
            Text(column.title.upper()), justify="right" if column.right else "left", overflow="fold"
        )
    for row in cells:
        table.add_row(*(Text(row[number]) for number in shown))
    console.print(table)
    if left := [columns[number].title for number in told if number not in shown]:
        note(f"no room for: {', '.join(left)} (a wider window, a pipe or --json shows them)")


def _fitting(
    columns: Sequence[Column], cells: Sequence[Sequence[str]], told: Sequence[int], width: int
) -> list[int]:
    """The columns that fit into `width`, as far as some may be left out for it."""
    widths = {n: max(cell_len(text) for text in (columns[n].title, *(row[n] for row in cells))) for n in told}
    shown = list(told)
    while sum(widths[number] + _BETWEEN for number in shown) - _BETWEEN > width:
        most = max(shown, key=lambda number: columns[number].spare)
        if not columns[most].spare:
            break
        shown.remove(most)
    return shown


def _console(out: TextIO, **more: Any) -> Console:
    return Console(file=out, highlight=False, emoji=False, markup=False, **more)


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
