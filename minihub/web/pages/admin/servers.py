"""/hub/admin: everybody's servers in one table, as a page, as events, and once as JSON for polling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from minihub.web.keys import DEPS, KEEPER, LIVE, RENDERER, STREAMS
from minihub.web.overview import (
    COLUMNS,
    ROWS_PER_PAGE,
    Entry,
    Wanted,
    choose,
    filter_choices,
    page_of,
    parse_wanted,
    row_of,
    sum_up,
)
from minihub.web.paging import Pages
from minihub.web.respond import json_response, page, translator
from minihub.web.sse import EventStream
from minihub.web.view import scheduler_name
from minihub.web.words import duration

HEARTBEAT_S = 5.0
"""A page that hears nothing for longer than this begins to poll."""
STREAM_S = 600.0
"""After so long the browser must ask again, and whether it still may is found out anew."""


async def show(request: web.Request) -> web.Response:
    """The page, drawn from the present state; all of it works without JavaScript."""
    wanted, tr = parse_wanted(request.query), translator(request)
    everybody = request.app[LIVE].entries()
    table = _Table.cut(everybody, wanted)
    return page(
        request,
        "admin.html",
        page_name="admin",
        tab="servers",
        rows=[row_of(entry, tr) for entry in table.rows],
        everybody=len(everybody),
        columns=[(name, tr(label)) for name, label in COLUMNS.items()],
        choices=filter_choices(everybody, wanted),
        scheduler_age=_scheduler_age(request),
        **table.values(request),
    )


async def state(request: web.Request) -> web.Response:
    """The whole table once, where event streams do not get through."""
    wanted = parse_wanted(request.query)
    return json_response(_News(request, wanted).of(request.app[LIVE].entries()))


async def events(request: web.Request) -> web.StreamResponse:
    """What changes in the table, at most once a second; first all of it."""
    wanted, live = parse_wanted(request.query), request.app[LIVE]
    clock = request.app[DEPS].clock
    until = clock.monotonic() + STREAM_S
    news = _News(request, wanted)
    async with EventStream(request, request.app[STREAMS], request.app[KEEPER]) as stream:
        with live.watch() as watcher:
            entries = live.entries()
            while clock.monotonic() < until:
                await stream.send(news.of(entries))
                await watcher.changed(HEARTBEAT_S)
                entries = live.seen()
    return stream.response


@dataclass(frozen=True, slots=True)
class _Table:
    """One page of the table."""

    wanted: Wanted
    chosen: Sequence[Entry]
    """All that pass the filters."""
    rows: Sequence[Entry]

    @classmethod
    def cut(cls, everybody: Sequence[Entry], wanted: Wanted) -> _Table:
        chosen = choose(everybody, wanted)
        rows, shown = page_of(chosen, wanted)
        return cls(shown, chosen, rows)

    def values(self, request: web.Request) -> dict[str, Any]:
        """For the templates."""
        return {
            "wanted": self.wanted,
            "sums": sum_up(self.chosen, translator(request)),
            "pages": Pages(self.wanted.page, len(self.chosen), ROWS_PER_PAGE),
            "query": self.wanted.query(),
        }


class _News:
    """What one page has been told, and what it has to be told now."""

    def __init__(self, request: web.Request, wanted: Wanted) -> None:
        self._request = request
        self._wanted = wanted
        self._rows: dict[str, Entry] = {}
        self._told: dict[str, Any] = {}
        self._entries: Sequence[Entry] = ()

    def of(self, entries: Sequence[Entry]) -> dict[str, Any]:
        """One event: the time, and whatever differs from what was told before."""
        deps = self._request.app[DEPS]
        parts: dict[str, Any] = {
            "age": _scheduler_age(self._request),
            "outage": deps.servers.health().failing_since is not None,
        }
        news: dict[str, Any] = {"now": deps.clock.wall()}
        if not self._told or not _are_same(entries, self._entries):
            table = _Table.cut(entries, self._wanted)
            values = table.values(self._request)
            parts["order"] = [entry.attempt.user for entry in table.rows]
            parts["sums"] = self._draw("_admin_sums.html", values)
            parts["pages"] = self._draw("_admin_pages.html", values)
            if rows := self._changed_rows(table.rows):
                news["rows"] = rows
            self._rows = {entry.attempt.user: entry for entry in table.rows}
            self._entries = entries
        news |= {name: part for name, part in parts.items() if self._told.get(name) != part}
        self._told |= parts
        return news

    def _changed_rows(self, rows: Sequence[Entry]) -> dict[str, str]:
        tr = translator(self._request)
        return {
            entry.attempt.user: self._draw("_admin_row.html", {"row": row_of(entry, tr)})
            for entry in rows
            if self._rows.get(entry.attempt.user) is not entry
        }

    def _draw(self, template: str, values: Mapping[str, Any]) -> str:
        now = self._request.app[DEPS].clock.wall()
        return self._request.app[RENDERER].render(template, translator(self._request), {"now": now, **values})


def _are_same(one: Sequence[Entry], other: Sequence[Entry]) -> bool:
    return len(one) == len(other) and all(a is b for a, b in zip(one, other, strict=True))


def _scheduler_age(request: web.Request) -> str:
    """When the scheduler answered last."""
    deps, tr = request.app[DEPS], translator(request)
    health = deps.servers.health()
    name = scheduler_name(health)
    if health.last_answer_at is None:
        return tr("%(scheduler)s has not answered yet.", scheduler=name)
    age = duration(deps.clock.wall() - health.last_answer_at, tr)
    if health.failing_since is not None:
        return tr(
            "%(scheduler)s last answered %(age)s ago; this is what it said then.", scheduler=name, age=age
        )
    return tr("As %(scheduler)s said %(age)s ago.", scheduler=name, age=age)
