"""/hub/admin/announcements: what admins tell everybody on top of the pages."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from minihub.web.client import client_address
from minihub.web.keys import BOARD, DEPS, URLS
from minihub.web.respond import page, redirect, translator, user_of
from minihub.web.words import N_

MAX_TEXT_LENGTH = 1000
MAX_ID_LENGTH = 15
LEVELS = {"info": N_("Information"), "warning": N_("Warning")}
PERIODS = {
    "3600": N_("1 hour"),
    "28800": N_("8 hours"),
    "86400": N_("1 day"),
    "259200": N_("3 days"),
    "604800": N_("1 week"),
    "2592000": N_("30 days"),
    "": N_("until it is removed"),
}
DEFAULT_PERIOD = "86400"


async def show(request: web.Request) -> web.Response:
    """What is announced now, and the form."""
    return await _page(request)


async def add(request: web.Request) -> web.Response:
    """Announce something (fields `text`, `level`, `period` in seconds or "")."""
    deps, tr = request.app[DEPS], translator(request)
    posted = await request.post()
    text = "\n".join(line.strip() for line in _clean(str(posted.get("text", ""))).splitlines()).strip()
    level, period = str(posted.get("level", "info")), str(posted.get("period", DEFAULT_PERIOD))
    error = ""
    if not text:
        error = tr("Write down what shall be announced.")
    elif len(text) > MAX_TEXT_LENGTH:
        error = tr("At most %(count)d characters.", count=MAX_TEXT_LENGTH)
    elif level not in LEVELS or period not in PERIODS:
        error = tr("Choose one of the levels and one of the periods.")
    if error:
        return await _page(request, status=400, error=error, text=text, level=level, period=period)
    admin, now = user_of(request).user, deps.clock.wall()
    row = await deps.announcements.add(
        text, level=level, by=admin, at=now, expires_at=now + float(period) if period else None
    )
    request.app[BOARD].outdate()
    address = client_address(request, deps.settings.hub)
    await deps.audit("announce", user=admin, address=address, detail=str(row.id))
    return redirect(request.app[URLS].admin_announce)


async def remove(request: web.Request) -> web.Response:
    """Remove one (field `id`). One that is gone already is no error."""
    deps, admin = request.app[DEPS], user_of(request).user
    text = str((await request.post()).get("id", ""))
    # Ids are whole numbers; anything else names none.
    known = text.isascii() and text.isdecimal() and len(text) <= MAX_ID_LENGTH
    if known and await deps.announcements.delete(int(text)):
        address = client_address(request, deps.settings.hub)
        await deps.audit("announce-end", user=admin, address=address, detail=text)
    request.app[BOARD].outdate()
    return redirect(request.app[URLS].admin_announce)


def _clean(text: str) -> str:
    return "".join(c for c in text if c.isprintable() or c in "\r\n")


async def _page(request: web.Request, *, status: int = 200, **values: Any) -> web.Response:
    deps, tr = request.app[DEPS], translator(request)
    return page(
        request,
        "admin_announce.html",
        status=status,
        page_name="admin",
        tab="announce",
        rows=await deps.announcements.list(deps.clock.wall()),
        levels={name: tr(label) for name, label in LEVELS.items()},
        periods={seconds: tr(label) for seconds, label in PERIODS.items()},
        longest=MAX_TEXT_LENGTH,
        **{"error": "", "text": "", "level": "info", "period": DEFAULT_PERIOD, **values},
    )
