"""What admins and their tools look at and do: audit log, scheduler, groups, routes, announcements, the end of the hub."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Annotated, Any, Literal

from aiohttp import web
from pydantic import Field

from minihub.errors import NotFound
from minihub.servers.model import Route
from minihub.store.rows import AnnouncementRow, AuditQuery, AuditRow
from minihub.web.api.build import maybe, timestamp
from minihub.web.api.call import Call
from minihub.web.api.endpoint import Nothing, Wish
from minihub.web.api.models import (
    AnnouncementModel,
    AuditModel,
    GroupModel,
    ReportModel,
    RouteDataModel,
    RouteModel,
    SchedulerModel,
    UnknownJobModel,
)
from minihub.web.api.moments import parse_moment
from minihub.web.api.replies import Paged, no_content, reply, reply_page, reply_routes
from minihub.web.api.running import stop_all
from minihub.web.api.users import MAX_USERS

LIMITS_PATIENCE_S = 1.0
MAX_ANNOUNCEMENT = 1_000
MAX_ID = 2**31

Text = Annotated[str, Field(min_length=1, max_length=256)]


class AuditWish(Paged):
    """Which lines of the audit log."""

    about: Text | None = None
    """Who did it, or whom it was done to."""
    actor: Text | None = None
    action: Text | None = None
    """Such as login, start, stop, token-create."""
    since: Annotated[str, Field(max_length=64)] | None = None
    """Then or later: ISO 8601, or how long ago (24h, 7d)."""
    until: Annotated[str, Field(max_length=64)] | None = None
    """Before then."""


class NewAnnouncement(Wish):
    """What everybody is to be told."""

    text: Annotated[str, Field(min_length=1, max_length=MAX_ANNOUNCEMENT, pattern=r"\S")]
    """Plain text."""
    level: Literal["info", "warning"] = "info"
    expires_in: Annotated[float, Field(gt=0, le=1e9)] | None = None
    """Seconds that it is shown; null: until it is deleted."""


class Shutdown(Wish):
    """How to end."""

    servers: bool | None = None
    """Whether users' servers are stopped too. Otherwise they stay up, and the next hub takes them over."""
    proxy: bool | None = None
    """Accepted as JupyterHub does, and not used: the proxy is part of the hub and ends with it."""


async def audit(call: Call[AuditWish, Nothing]) -> web.Response:
    """GET /audit."""
    call.require("read:audit")
    wanted = call.query
    since, until = (
        None if text is None else parse_moment(text, field, now=call.now)
        for field, text in (("since", wanted.since), ("until", wanted.until))
    )
    query = AuditQuery(wanted.about, wanted.actor, wanted.action, since, until, wanted.most, wanted.offset)
    found, total = await call.deps.audit_log.find(query)
    return reply_page(call, [_line(row) for row in found], total)


def _line(row: AuditRow) -> AuditModel:
    detail = json.loads(row.detail) if row.detail else {}
    return AuditModel(
        id=row.id,
        time=timestamp(row.at),
        actor=row.actor,
        action=row.action,
        target=row.target,
        address=row.address,
        outcome=row.outcome,
        detail=detail if isinstance(detail, dict) else {},
    )


async def scheduler(call: Call[Nothing, Nothing]) -> web.Response:
    """GET /scheduler."""
    call.require("read:hub")
    health = call.deps.servers.health()
    limits = None
    # What is known comes at once; nobody waits here for a scheduler that is slow.
    with contextlib.suppress(TimeoutError):
        if call.principal.kind != "local":  # who has no account that could have limits
            async with asyncio.timeout(LIMITS_PATIENCE_S):
                limits = (await call.deps.servers.form(call.principal.user)).limits
    last = health.last_answer_at
    return reply(
        SchedulerModel(
            name=health.name,
            up=health.failing_since is None and last is not None,
            last_answer=maybe(last),
            age_s=None if last is None else max(0.0, call.now - last),
            listing_took_s=health.listing_took_s,
            failing_since=maybe(health.failing_since),
            problem=health.problem,
            detail=health.detail,
            hidden=health.hidden,
            waiting_total=health.waiting_total,
            unknown_jobs=[
                UnknownJobModel(id=i, user=user, name=name) for i, user, name in health.unknown_jobs
            ],
            limits_age_s=None if limits is None else max(0.0, call.now - limits.read_at),
            limits_problem="" if limits is None else limits.problem,
        )
    )


# ---- groups ---------------------------------------------------------------------------------------------------------


async def groups(call: Call[Paged, Nothing]) -> web.Response:
    """GET /groups."""
    call.require("list:groups")
    found = sorted((await _members(call)).items())
    page = found[call.query.offset : call.query.offset + call.query.most]
    return reply_page(call, [_group(call, name, users) for name, users in page], len(found))


async def group(call: Call[Nothing, Nothing]) -> web.Response:
    """GET /groups/NAME."""
    call.require("read:groups")
    name = call.request.match_info["group"]
    users = (await _members(call)).get(name)
    if users is None:
        raise NotFound("No user whom the hub knows is in such a group.")
    return reply(_group(call, name, users))


async def _members(call: Call[Any, Any]) -> dict[str, list[str]]:
    """Of each Unix group those whom the hub knows: so nobody lists a whole directory here."""
    rows, _ = await call.deps.users.list(limit=MAX_USERS)
    members: dict[str, list[str]] = {}
    for user, names in (await call.deps.groups_of([row.name for row in rows])).items():
        for name in names:
            members.setdefault(name, []).append(user)
    return members


def _group(call: Call[Any, Any], name: str, users: list[str]) -> GroupModel:
    shown = {"users": sorted(users)} if call.may("read:groups") else {}
    return GroupModel(kind="group", name=name, roles=[], properties={}, **shown)


# ---- routes ---------------------------------------------------------------------------------------------------------


async def routes(call: Call[Paged, Nothing]) -> web.Response:
    """GET /proxy."""
    call.require("proxy")
    found = {
        call.urls.base: RouteModel(routespec=call.urls.base, target="hub", data=RouteDataModel(hub=True))
    }
    for attempt in sorted(call.deps.servers.all(), key=lambda a: a.user):
        route = call.deps.servers.route(attempt.user)
        if route is not None:
            path = call.urls.server(attempt.user)
            active = call.deps.servers.last_activity(attempt.user)
            data = RouteDataModel(user=attempt.user, server_name="", last_activity=maybe(active))
            found[path] = RouteModel(routespec=path, target=_target(route), data=data)
    return reply_routes(call, found)


def _target(route: Route) -> str:
    where = route.endpoint
    if where.path is not None:
        return f"unix:{where.path}"
    return f"{'https' if route.uses_tls else 'http'}://{where.host}:{where.port}"


# ---- announcements --------------------------------------------------------------------------------------------------


async def announcements(call: Call[Nothing, Nothing]) -> web.Response:
    """GET /announcements."""
    return reply([_announcement(row) for row in await call.deps.announcements.list(call.now)])


async def announce(call: Call[Nothing, NewAnnouncement]) -> web.Response:
    """POST /announcements."""
    call.require("admin:announcements")
    wanted = call.body
    ends = None if wanted.expires_in is None else call.now + wanted.expires_in
    row = await call.deps.announcements.add(
        wanted.text.strip(), level=wanted.level, by=call.principal.user, at=call.now, expires_at=ends
    )
    await call.audit("announce", str(row.id))
    return reply(_announcement(row), 201)


async def withdraw(call: Call[Nothing, Nothing]) -> web.Response:
    """DELETE /announcements/ID."""
    call.require("admin:announcements")
    text = call.request.match_info["id"]
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
    if not 0 < number < MAX_ID or not await call.deps.announcements.delete(number):
        raise NotFound("There is no such announcement.")
    await call.audit("announce-end", str(number))
    return no_content()


def _announcement(row: AnnouncementRow) -> AnnouncementModel:
    return AnnouncementModel(
        id=row.id,
        text=row.text,
        level="warning" if row.level == "warning" else "info",
        by=row.by,
        created=timestamp(row.created_at),
        expires=maybe(row.expires_at),
    )


# ---- the end --------------------------------------------------------------------------------------------------------


async def shut_down(call: Call[Nothing, Shutdown]) -> web.Response:
    """POST /shutdown."""
    call.require("shutdown")
    message = "The hub is going down. Users' servers stay up."
    if call.body.servers:
        await stop_all(call, call.deps.servers.all())
        message = "The hub is going down. Users' servers were asked to end."
    await call.audit("shutdown", "with servers" if call.body.servers else "")
    call.deps.shut_down()
    return reply(ReportModel(message=message), 202)
