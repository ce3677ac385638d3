"""`minihub announce`: what users read on every page."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from minihub.command.failures import DONE, WrongUsage
from minihub.command.link import Link
from minihub.command.show import Column, note, print_json, print_table
from minihub.command.times import format_moment


async def announce(hub: Link, options: argparse.Namespace) -> int:
    """Add one; --list shows them, --delete takes one down."""
    if options.listing or options.delete is not None:
        if options.text is not None or (options.listing and options.delete is not None):
            raise WrongUsage("one thing at a time: a text, --list or --delete ID")
        return await (_list(hub, options) if options.listing else _delete(hub, options))
    body: dict[str, Any] = {"text": _read_text(options.text), "level": options.level}
    if options.span is not None:
        body["expires_in"] = round(options.span)
    made = await hub.post("/announcements", body)
    if options.json:
        print_json(made)
    else:
        until = format_moment(made.get("expires"))
        ends = f" until {until} UTC" if until else ""
        print(f"announcement {made['id']} is on every page{ends}")
        note(f"minihub announce --delete {made['id']} takes it down")
    return DONE


def _read_text(text: str | None) -> str:
    if text in (None, "-"):
        if sys.stdin.isatty() and text is None:
            raise WrongUsage("what shall users read? Give a text, or - to type it, ending with Ctrl-D")
        text = sys.stdin.read()
    assert text is not None
    if not text.strip():
        raise WrongUsage("the text is empty")
    return text.strip()


async def _list(hub: Link, options: argparse.Namespace) -> int:
    found = await hub.get("/announcements")
    if options.json:
        print_json(found)
    else:
        print_table(_COLUMNS, found, empty="nothing is announced")
    return DONE


_COLUMNS = [
    Column("id", lambda a: a.get("id"), right=True),
    Column("level", lambda a: a.get("level")),
    Column("by", lambda a: a.get("by")),
    Column("since", lambda a: format_moment(a.get("created"))),
    Column("until", lambda a: format_moment(a.get("expires"))),
    Column("text", lambda a: a.get("text")),
]


async def _delete(hub: Link, options: argparse.Namespace) -> int:
    await hub.delete(f"/announcements/{options.delete}")
    if options.json:
        print_json({"id": options.delete, "deleted": True})
    else:
        print(f"announcement {options.delete} is down")
    return DONE
