"""Tables for people and pipes."""

from __future__ import annotations

import io
import re

import pytest

from minihub.command.show import Column, clean, confirm, print_facts, print_json, print_table

COLUMNS = [
    Column("user", lambda r: r["user"]),
    Column("note", lambda r: r["note"]),
    Column("n", lambda r: r.get("n"), right=True),
]


class Terminal(io.StringIO):
    def isatty(self):
        return True


def table(rows, out):
    print_table(COLUMNS, rows, empty="nothing", out=out)
    return out.getvalue()


def test_a_pipe_gets_every_column_whole_and_nothing_else(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    long = "x" * 500
    text = table([{"user": "alice", "note": long, "n": 7}, {"user": "bob", "note": None}], io.StringIO())
    lines = text.splitlines()
    assert [line.split() for line in lines] == [["USER", "NOTE", "N"], ["alice", long, "7"], ["bob"]]
    assert text.isascii()
    assert "\x1b" not in text
    assert not [line for line in lines if line != line.rstrip()]


def test_a_terminal_gets_a_table_that_fits(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    text = table([{"user": "alice", "note": "x" * 100, "n": 7}], Terminal())
    assert "\x1b[1m" in text  # a bold head
    assert "─" in text
    plain = "".join(char for char in text if char == "x")
    assert len(plain) == 100  # folded, not cut


def test_what_users_wrote_never_steers_the_terminal():
    evil = "a\x1b]0;owned\x07b\nc\x9b31m [red]no markup[/red] :smile: \u202e"
    for out in (io.StringIO(), Terminal()):
        text = table([{"user": evil, "note": "[bold]x[/bold]", "n": 1}], out)
        body = text.splitlines()[-1]
        assert not [char for char in ("\x07", "\x9b", "\x1b]", "\u202e") if char in text]
        assert "[bold]x[/bold]" in body
        assert ":smile:" in body
    facts = io.StringIO()
    print_facts([("note", evil)], facts)
    assert facts.getvalue().count("\n") == 1
    assert "\x1b" not in facts.getvalue()
    data = io.StringIO()
    print_json({"note": evil}, data)
    assert data.getvalue().isascii()
    assert "\x1b" not in data.getvalue()


def test_an_empty_table_says_so_beside_the_result(capsys):
    assert table([], io.StringIO()) == "USER  NOTE  N\n"
    assert table([], Terminal()) == ""
    assert capsys.readouterr().err == "minihub: nothing\n" * 2


def test_words_for_values():
    assert [clean(value) for value in (None, True, False, 0, " a \n b ")] == ["", "yes", "no", "0", "a b"]


@pytest.mark.parametrize(
    ("typed", "agreed"), [("y\n", True), ("Yes\n", True), ("\n", False), ("", False), ("n\n", False)]
)
def test_a_question(typed, agreed, monkeypatch, capsys):
    answer = Terminal(typed)
    monkeypatch.setattr("sys.stdin", answer)
    assert confirm("Stop it?", yes=False) is agreed
    assert confirm("Stop it?", yes=True)
    assert capsys.readouterr().err == "Stop it? [y/N] "


WIDE = [
    Column("user", lambda r: r["user"]),
    Column("account", lambda r: r["account"], spare=1),
    Column("partition", lambda r: r["partition"], spare=2),
    Column("nothing", lambda r: None),
]


@pytest.mark.parametrize(
    ("width", "titles", "left"),
    [
        (60, ["USER", "ACCOUNT", "PARTITION"], ""),
        (50, ["USER", "ACCOUNT"], "partition"),
        (20, ["USER"], "account, partition"),
    ],
)
def test_a_narrow_terminal_gets_fewer_columns_and_is_told(width, titles, left, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm")
    out = Terminal()
    row = {"user": "alice", "account": "def-someprof-ab_gpu", "partition": "gpubase_bygpu_b1234567890"}
    print_table(WIDE, [row], out=out)
    head, _, line = re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue()).splitlines()
    assert head.split() == titles
    assert line.split() == [row[title.lower()] for title in titles]
    told = capsys.readouterr().err
    assert told == (
        f"minihub: no room for: {left} (a wider window, a pipe or --json shows them)\n" if left else ""
    )
