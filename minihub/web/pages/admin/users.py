"""/hub/admin/users: whom the hub knows, and one user with all that is his; ending his logins and tokens."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from aiohttp import web

from minihub.errors import NotFound
from minihub.servers.model import Attempt
from minihub.store.rows import AuditQuery, HistoryQuery
from minihub.web import words
from minihub.web.client import client_address
from minihub.web.deps import Deps, UserRecord
from minihub.web.keys import DEPS, KEEPER, LIVE, URLS
from minihub.web.overview import Row, row_of
from minihub.web.paging import Pages, parse_page
from minihub.web.past_view import audit_line, past_row
from minihub.web.respond import page, redirect, translator, user_of, view_of

USERS_PER_PAGE = 50
PAST_PER_PAGE = 20
AUDIT_SHOWN = 20
MAX_NAME_LENGTH = 64


@dataclass(frozen=True, slots=True)
class _UserRow:
    """One user in the list."""

    name: str
    admin: bool
    last_seen: float | None
    label: str
    """State of his server."""
    tone: str
    tokens: int


async def index(request: web.Request) -> web.Response:
    """The users, by name; `name` finds those whose name contains it."""
    deps, tr = request.app[DEPS], translator(request)
    number, part = parse_page(request.query), request.query.get("name", "").strip()[:MAX_NAME_LENGTH]
    records, total = await deps.users.list(part, offset=(number - 1) * USERS_PER_PAGE, limit=USERS_PER_PAGE)
    tokens = Counter(token.user for token in await deps.tokens.list())
    rows = []
    for record in records:
        attempt = deps.servers.get(record.name)
        live = attempt if attempt is not None and attempt.is_live else None
        label = tr(words.STATE_LABELS[live.state]) if live else ""
        tone = words.TONES[live.state] if live else "idle"
        rows.append(
            _UserRow(record.name, _is_admin(deps, record), record.last_seen, label, tone, tokens[record.name])
        )
    return page(
        request,
        "admin_users.html",
        page_name="admin",
        tab="users",
        rows=rows,
        part=part,
        pages=Pages(number, total, USERS_PER_PAGE),
    )


async def show(request: web.Request) -> web.Response:
    """One user: server, history, tokens, audit lines."""
    return await _user_page(request)


async def ask_revoke(request: web.Request) -> web.Response:
    """Ask whether a token (`token`), or all logins and tokens, shall end."""
    deps, name = request.app[DEPS], request.match_info["name"]
    await _known(deps, name)
    token_id = request.query.get("token", "")
    tokens = await deps.tokens.list(name)
    chosen = [token for token in tokens if token.id == token_id] if token_id else tokens
    return page(
        request,
        "admin_revoke.html",
        page_name="admin",
        tab="users",
        name=name,
        token_id=token_id,
        tokens=chosen,
        is_self=name == user_of(request).user,
    )


async def revoke(request: web.Request) -> web.Response:
    """End one token (field `token`), or all logins and tokens. Twice is once."""
    deps, name = request.app[DEPS], request.match_info["name"]
    await _known(deps, name)
    token_id = str((await request.post()).get("token", ""))
    admin, address = user_of(request).user, client_address(request, deps.settings.hub)
    if token_id:
        done = await deps.tokens.revoke(name, token_id)
        if done:
            await deps.audit("token-revoke", user=admin, address=address, detail=name)
        said = "token" if done else "gone"
        return redirect(request.app[URLS].admin_user(name, revoked=said))
    work = _revoke_all(deps, name, admin, address)
    await request.app[KEEPER].carry_through(work, name="revoking all of a user")
    if name == admin:
        # This login was one of them.
        return redirect(request.app[URLS].login())
    return redirect(request.app[URLS].admin_user(name, revoked="all"))


async def _revoke_all(deps: Deps, name: str, admin: str, address: str) -> None:
    await deps.revoke_user(name)
    await deps.audit("user-revoke", user=admin, address=address, detail=name)


async def _known(deps: Deps, name: str) -> UserRecord | None:
    """The user's record; None for one who was forgotten but has a history.

    Raises:
        NotFound: The hub has never known him.
    """
    record = await deps.users.get(name) if len(name) <= MAX_NAME_LENGTH else None
    if record is None and deps.servers.get(name) is None:
        _, total = await deps.servers.past(HistoryQuery(user=name, limit=1))
        if not total:
            raise NotFound("The hub does not know this user.")
    return record


async def _user_page(request: web.Request) -> web.Response:
    deps, tr, name = request.app[DEPS], translator(request), request.match_info["name"]
    record = await _known(deps, name)
    number = parse_page(request.query)
    wanted = HistoryQuery(user=name, limit=PAST_PER_PAGE, offset=(number - 1) * PAST_PER_PAGE)
    past, total = await deps.servers.past(wanted)
    lines, lines_total = await deps.audit_log.find(AuditQuery(about=name, limit=AUDIT_SHOWN))
    attempt = deps.servers.get(name)
    return page(
        request,
        "admin_user.html",
        page_name="admin",
        tab="users",
        name=name,
        record=record,
        manages=_is_admin(deps, record) if record else deps.is_admin(name),
        row=_live_row(request, attempt),
        server=view_of(request, attempt) if attempt is not None and attempt.is_live else None,
        past=[past_row(one, tr) for one in past],
        pages=Pages(number, total, PAST_PER_PAGE),
        lines=[audit_line(line, tr) for line in lines],
        more_lines=lines_total > len(lines),
        tokens=await deps.tokens.list(name),
        revoked=request.query.get("revoked", ""),
    )


def _live_row(request: web.Request, attempt: Attempt | None) -> Row | None:
    if attempt is None or not attempt.is_live:
        return None
    live = {entry.attempt.user: entry for entry in request.app[LIVE].entries()}
    entry = live.get(attempt.user)
    return row_of(entry, translator(request)) if entry else None


def _is_admin(deps: Deps, record: UserRecord) -> bool:
    # The policy knows better, but only of those whom it was asked about lately.
    return record.admin or deps.is_admin(record.name)
