"""Users: who they are, letting them in beforehand, forgetting them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated, Any, Literal

from aiohttp import web
from pydantic import Field

from minihub.auth.model import Principal
from minihub.errors import Conflict, NotAllowed, NotFound
from minihub.servers.model import State, StopCause
from minihub.web.api.build import user_model
from minihub.web.api.call import NO_SUCH_USER, Call
from minihub.web.api.endpoint import Nothing, Wish
from minihub.web.api.models import RevokedModel, SelfModel
from minihub.web.api.moments import parse_moment
from minihub.web.api.people import describe, draw_user, drawer, scopes_on
from minihub.web.api.problems import BadRequest, InvalidRequest
from minihub.web.api.replies import Paged, no_content, reply, reply_page
from minihub.web.deps import UserRecord

MAX_USERS = 100_000
MOST_AHEAD_S = 59 * 60
"""How far in the future an activity may be, since clocks differ. Source: JupyterHub, POST /users/:name/activity."""
MAX_NEW = 1_000
"""Names in one POST /users: each can cost a look into a directory."""

Flag = Literal["0", "1", "true", "false", "True", "False"]
_ON = ("1", "true", "True")
UserSort = Literal["id", "-id", "name", "-name", "last_activity", "-last_activity"]


class UsersQuery(Paged):
    """Which users."""

    state: Literal["", "active", "ready", "inactive"] = ""
    """active: with a server in any state; ready: with one that is ready; inactive: without one."""
    name_filter: Annotated[str, Field(max_length=256)] = ""
    """Part of the name."""
    sort: UserSort = "name"
    """In which order, with - the other way round; id is the order in which the hub met them."""
    include_stopped_servers: Flag = "0"
    """Whether `servers` shows the last server where none lives."""


class UserQuery(Wish):
    """How a user is shown."""

    include_stopped_servers: Flag = "0"
    """Whether `servers` shows the last server where it does not live."""


class NewUsers(Wish):
    """Users to be let in."""

    usernames: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=256)]], Field(min_length=1, max_length=MAX_NEW)
    ]
    """Unix names."""
    admin: bool | None = None
    """Must not be true: admins are named in the hub's settings."""


class NewUser(Wish):
    """How a user is to be let in."""

    admin: bool | None = None
    """Must not be true: admins are named in the hub's settings."""


class UserChange(Wish):
    """What would be changed of a user; all of it comes from the system and the settings."""

    name: str | None = None
    admin: bool | None = None
    auth_state: dict[str, Any] | None = None


class Moment(Wish):
    """When something was active last."""

    last_activity: str | float | None = None
    """ISO 8601, or seconds since 1970."""


class Activity(Moment):
    """When a user, and his server, were active last."""

    servers: dict[str, Moment] = Field(default_factory=dict)
    """Of the server, under the name "": counts as a use of it, as what passes the front door does."""


async def whoami(call: Call[Nothing, Nothing]) -> web.Response:
    """GET /user."""
    principal = call.principal
    if principal.kind == "local":
        return reply(_local_self(principal))
    model = await draw_user(call, principal.user)
    is_token = principal.kind == "token"
    own = ["self", *(["admin"] if principal.admin else [])]
    return reply(
        SelfModel(
            **{name: getattr(model, name) for name in model.model_fields_set},
            scopes=sorted(principal.scopes) if is_token else own,
            token_id=principal.key if is_token else None,
            session_id=None,
        )
    )


def _local_self(principal: Principal) -> SelfModel:
    """Who comes over the admin socket is no user of the hub's."""
    return SelfModel(
        kind="user",
        name=principal.user,
        admin=True,
        scopes=sorted(principal.scopes),
        token_id=None,
        session_id=None,
    )


async def listing(call: Call[UsersQuery, Nothing]) -> web.Response:
    """GET /users."""
    call.require("list:users")
    wanted = call.query
    rows, _ = await call.deps.users.list(wanted.name_filter, limit=MAX_USERS)
    chosen = [row for row in rows if _in_state(call, row.name)]
    key, reverse = _order(call, wanted.sort)
    chosen.sort(key=key, reverse=reverse)
    page = []
    with_stopped = wanted.include_stopped_servers in _ON
    for row in chosen[wanted.offset : wanted.offset + wanted.most]:
        may = scopes_on(call, row.name)
        person = await describe(call, row.name, row, may)
        attempt = call.deps.servers.get(row.name)
        page.append(user_model(drawer(call), person, attempt, may, with_stopped=with_stopped))
    return reply_page(call, page, len(chosen))


def _order(call: Call[UsersQuery, Nothing], sort: str) -> tuple[Callable[[UserRecord], Any], bool]:
    draw, servers = drawer(call), call.deps.servers
    keys: dict[str, Callable[[UserRecord], Any]] = {
        "name": lambda row: row.name,
        "id": lambda row: (row.created_at, row.name),
        "last_activity": lambda row: (
            draw.last_activity(row.last_seen, servers.get(row.name)) or 0.0,
            row.name,
        ),
    }
    return keys[sort.removeprefix("-")], sort.startswith("-")


def _in_state(call: Call[UsersQuery, Nothing], name: str) -> bool:
    attempt = call.deps.servers.get(name)
    live = attempt is not None and attempt.is_live
    ready = attempt is not None and attempt.state is State.READY
    return {"": True, "active": live, "ready": ready, "inactive": not live}[call.query.state]


async def show(call: Call[UserQuery, Nothing]) -> web.Response:
    """GET /users/NAME."""
    name = call.about("read:users:name")
    with_stopped = call.query.include_stopped_servers in _ON
    return reply(await draw_user(call, name, with_stopped=with_stopped))


async def create_many(call: Call[Nothing, NewUsers]) -> web.Response:
    """POST /users."""
    call.require("admin:users")
    names = list(dict.fromkeys(call.body.usernames))
    _refuse_admin(call.body.admin)
    await _verify_admissible(call, {name: f"usernames.{call.body.usernames.index(name)}" for name in names})
    # At once: what is written together shares a commit.
    are_new = await asyncio.gather(*(call.deps.users.admit(name, call.now) for name in names))
    made = [name for name, is_new in zip(names, are_new, strict=True) if is_new]
    if not made:
        raise Conflict("All of these users are admitted already.")
    await asyncio.gather(*(call.audit("user-create", name) for name in made))
    return reply([await draw_user(call, name) for name in made], 201)


async def create(call: Call[Nothing, NewUser]) -> web.Response:
    """POST /users/NAME."""
    call.require("admin:users", call.about("read:users:name"))
    _refuse_admin(call.body.admin)
    await _verify_admissible(call, {call.name: "name"})
    if not await call.deps.users.admit(call.name, call.now):
        raise Conflict("This user is admitted already.")
    await call.audit("user-create", call.name)
    return reply(await draw_user(call, call.name), 201)


def _refuse_admin(admin: bool | None) -> None:
    if admin:
        raise InvalidRequest(
            {"admin": "Admins are named in the hub's settings: auth.admin_users, auth.admin_groups."}
        )


async def _verify_admissible(call: Call[Any, Any], fields: dict[str, str]) -> None:
    """Return if all of them may be admitted; `fields` has the field of the request for each name."""
    wrong: dict[str, str] = {}
    for name, field in fields.items():
        try:
            await call.deps.verify_admissible(name)
        except NotAllowed as refusal:
            wrong[field] = f"This user cannot be admitted: {refusal.detail.removeprefix(f'{name}: ')}."
    if wrong:
        raise InvalidRequest(wrong)


async def change(call: Call[Nothing, UserChange]) -> web.Response:
    """PATCH /users/NAME: nothing can be changed here; says where it can."""
    name = await call.about_known("admin:users")
    wanted = call.body
    wrong = {}
    if wanted.name not in (None, name):
        wrong["name"] = "Names are those of the Unix accounts."
    if wanted.admin not in (None, call.deps.is_admin(name)):
        wrong["admin"] = "Admins are named in the hub's settings: auth.admin_users, auth.admin_groups."
    if wanted.auth_state:
        wrong["auth_state"] = "This hub keeps no auth_state."
    if wrong:
        raise InvalidRequest(wrong)
    return reply(await draw_user(call, name))


async def delete(call: Call[Nothing, Nothing]) -> web.Response:
    """DELETE /users/NAME."""
    name = await call.about_known("delete:users")
    if name == call.principal.user:
        raise BadRequest("You cannot delete yourself.")
    deps = call.deps
    await deps.servers.stop(name, StopCause.ADMIN, by=call.principal.user)
    await deps.revoke_user(name)
    await deps.users.forget(name)
    await call.audit("user-delete", name)
    return no_content()


async def activity(call: Call[Nothing, Activity]) -> web.Response:
    """POST /users/NAME/activity."""
    name = call.about("users:activity")
    if call.body.servers.keys() - {""}:
        raise InvalidRequest({"servers": 'There are no named servers: the only name is "".'})
    moments = {"last_activity": call.body.last_activity}
    moments |= {f"servers.{key}.last_activity": one.last_activity for key, one in call.body.servers.items()}
    found = {field: parse_moment(value, field) for field, value in moments.items() if value is not None}
    late = {field: "This is in the future." for field, at in found.items() if at > call.now + MOST_AHEAD_S}
    if late:
        raise InvalidRequest(late)
    at = found.get("last_activity")
    if at is not None and not await call.deps.users.active(name, min(at, call.now)):
        raise NotFound(NO_SUCH_USER)
    used_at = found.get("servers..last_activity")
    if used_at is not None:
        call.deps.servers.note_activity(name, used_at)
    return reply(await draw_user(call, name))


async def revoke(call: Call[Nothing, Nothing]) -> web.Response:
    """DELETE /users/NAME/logins."""
    name = await call.about_known("admin:users")
    logins, tokens = await call.deps.revoke_user(name)
    await call.audit("user-revoke", name)
    return reply(RevokedModel(logins=logins, tokens=tokens))
