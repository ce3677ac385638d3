"""`minihub history` and `minihub audit`: what was."""

from __future__ import annotations

import argparse
import csv
import io
import sys

from minihub.command.failures import DONE, WrongUsage
from minihub.command.link import Items, Link, Query
from minihub.command.servers import resources_of
from minihub.command.show import Column, Model, clean, note, print_json, print_table
from minihub.command.times import format_moment, format_span, seconds_between

USUAL_LIMIT = 100
CSV_PAGE = 10_000
"""The most that the API gives at once."""

ENDS = {
    "user": "stopped by the user",
    "logout": "log-out",
    "admin": "stopped by an admin",
    "api": "stopped by the user's script",
    "idle": "idle for too long",
    "age": "too old",
}
"""How a wanted end is told; other words are shown as they are."""


async def history(hub: Link, options: argparse.Namespace) -> int:
    """`minihub history`."""
    query = {"user": options.user, "since": options.since, "until": options.until}
    if options.csv:
        if options.json:
            raise WrongUsage("either --csv or --json")
        await _print_csv(hub, query, options.limit or 0)
        return DONE
    found = await hub.listed("/history", query, limit=_limit(options))
    _show(
        found,
        _HISTORY,
        options,
        empty="no server in that time" if any(query.values()) else "no server yet",
    )
    return DONE


def _limit(options: argparse.Namespace) -> int:
    """How many at most; 0: all, which scripts get unless they say otherwise."""
    if options.limit is None:
        return 0 if options.json else USUAL_LIMIT
    return int(options.limit)


async def _print_csv(hub: Link, query: Query, limit: int) -> None:
    """The hub's CSV, page by page; `limit` 0: all of it."""
    writer = csv.writer(sys.stdout)
    on_terminal, offset = sys.stdout.isatty(), 0
    while True:
        size = min(CSV_PAGE, limit - offset) if limit else CSV_PAGE
        asked = {**query, "format": "csv", "offset": offset, "limit": size}
        text = await hub.text("/history", asked, accept="text/csv")
        rows = list(csv.reader(io.StringIO(text, newline="")))
        for row in rows if offset == 0 else rows[1:]:
            writer.writerow([clean(cell) for cell in row] if on_terminal else row)
        offset += len(rows) - 1
        if len(rows) - 1 < size or (limit and offset >= limit):
            return


def _show(found: Items, columns: list[Column], options: argparse.Namespace, *, empty: str) -> None:
    if options.json:
        print_json(found.items)
    else:
        print_table(columns, found.items, empty=empty)
    if len(found.items) < found.total:
        note(f"the newest {len(found.items)} of {found.total}; --limit 0 shows all")


def _job(row: Model) -> Model:
    job = row.get("job")
    return job if isinstance(job, dict) else {}


def _how(row: Model) -> object:
    failure = row.get("failure")
    message = failure.get("message") if isinstance(failure, dict) else None
    outcome = str(_job(row).get("outcome") or "")
    return message or ENDS.get(outcome, outcome) or row.get("state")


def _ran(row: Model) -> str:
    job = _job(row)
    elapsed = job.get("elapsed_s")
    if elapsed is None:
        elapsed = seconds_between(job.get("started"), row.get("ended"))
    return format_span(elapsed)


_HISTORY = [
    Column("begun", lambda r: format_moment(_job(r).get("submitted") or r.get("started"))),
    Column("user", lambda r: r.get("user")),
    Column("job", lambda r: _job(r).get("id"), right=True),
    Column("node", lambda r: _job(r).get("node"), spare=2),
    Column("partition", lambda r: _job(r).get("partition"), spare=5),
    Column("account", lambda r: _job(r).get("account"), spare=4),
    Column("resources", resources_of, spare=6),
    Column("ran", _ran, right=True),
    Column("ended", lambda r: format_moment(r.get("ended")), spare=3),
    Column("how", _how),
]


async def audit(hub: Link, options: argparse.Namespace) -> int:
    """`minihub audit`."""
    query = {
        "about": options.about,
        "actor": options.actor,
        "action": options.action,
        "since": options.since,
        "until": options.until,
    }
    found = await hub.listed("/audit", query, limit=_limit(options))
    _show(found, _AUDIT, options, empty="no line matches" if any(query.values()) else "nothing was done yet")
    return DONE


_AUDIT = [
    Column("at", lambda r: format_moment(r.get("time"))),
    Column("actor", lambda r: r.get("actor")),
    Column("action", lambda r: r.get("action")),
    Column("target", lambda r: r.get("target")),
    Column("address", lambda r: r.get("address"), spare=2),
    Column("outcome", lambda r: r.get("outcome"), spare=1),
    Column("detail", lambda r: ", ".join(f"{k}={v}" for k, v in (r.get("detail") or {}).items()), spare=3),
]
