"""/hub/admin/history and /hub/admin/audit: what was, filtered and in pages."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from minihub.errors import BadQuery
from minihub.store.rows import AuditQuery, HistoryQuery
from minihub.web.keys import DEPS, URLS
from minihub.web.paging import Pages, parse_page
from minihub.web.past_view import ACTIONS, Period, action_name, audit_line, parse_period, past_row
from minihub.web.respond import page, translator

ROWS_PER_PAGE = 50
MAX_LENGTH = 64


async def history(request: web.Request) -> web.Response:
    """Everybody's servers, past and present, newest first; `user`, `since`, `until` (days)."""
    deps, tr = request.app[DEPS], translator(request)
    user, period, number = _text(request, "user"), parse_period(request.query), parse_page(request.query)
    found, total = await deps.servers.past(
        HistoryQuery(
            user=user or None,
            since=period.since_s,
            until=period.until_s,
            limit=ROWS_PER_PAGE,
            offset=(number - 1) * ROWS_PER_PAGE,
        )
    )
    csv_query = {"format": "csv", "user": user, "since": _iso(period.since_s), "until": _iso(period.until_s)}
    return page(
        request,
        "admin_history.html",
        page_name="admin",
        tab="history",
        rows=[past_row(attempt, tr) for attempt in found],
        csv_url=request.app[URLS].api_history(**csv_query),
        **_common(number, total, period, user=user),
    )


async def audit(request: web.Request) -> web.Response:
    """The audit log, newest first; `about` (who did it, or to whom), `action`, `since`, `until` (days)."""
    deps, tr = request.app[DEPS], translator(request)
    about, action = _text(request, "about"), _text(request, "action")
    period, number = parse_period(request.query), parse_page(request.query)
    found, total = await deps.audit_log.find(
        AuditQuery(
            about=about or None,
            action=action or None,
            since=period.since_s,
            until=period.until_s,
            limit=ROWS_PER_PAGE,
            offset=(number - 1) * ROWS_PER_PAGE,
        )
    )
    return page(
        request,
        "admin_audit.html",
        page_name="admin",
        tab="audit",
        lines=[audit_line(line, tr) for line in found],
        actions={name: action_name(name, tr) for name in ACTIONS},
        **_common(number, total, period, about=about, action=action),
    )


def _text(request: web.Request, name: str) -> str:
    text = request.query.get(name, "").strip()
    if len(text) > MAX_LENGTH:
        raise BadQuery("What is searched for is too long.")
    return text


def _common(number: int, total: int, period: Period, **filters: str) -> dict[str, Any]:
    query = {**filters, "since": period.since, "until": period.until}
    return {
        "pages": Pages(number, total, ROWS_PER_PAGE),
        "query": query,
        "is_filtered": any(query.values()),
    }


def _iso(wall: float | None) -> str:
    return "" if wall is None else datetime.fromtimestamp(wall, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
