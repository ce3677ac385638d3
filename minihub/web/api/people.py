"""Looks users and servers up and draws them, for the endpoints that show them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minihub.errors import NotFound
from minihub.servers.model import Attempt
from minihub.web.api.build import Drawer, Person, user_model
from minihub.web.api.call import NO_SUCH_USER, Call
from minihub.web.api.models import ServerModel, UserModel
from minihub.web.deps import UserRecord


def drawer(call: Call[Any, Any]) -> Drawer:
    """Draws the present."""
    deps = call.deps
    return Drawer(call.urls, call.now, deps.settings.hub.public_url, deps.servers.last_activity)


def draw_server(call: Call[Any, Any], attempt: Attempt) -> ServerModel:
    """One server."""
    return drawer(call).server(attempt)


def scopes_on(call: Call[Any, Any], name: str) -> Callable[[str], bool]:
    """Whether the asker may do what a scope says on the things of `name`."""
    return lambda scope: call.may(scope, name)


async def draw_user(call: Call[Any, Any], name: str, *, with_stopped: bool = False) -> UserModel:
    """One user, as much of him as the asker may see.

    Raises:
        NotFound: The hub knows nobody of this name.
    """
    record, attempt = await call.deps.users.get(name), call.deps.servers.get(name)
    if record is None and attempt is None:
        raise NotFound(NO_SUCH_USER)
    may = scopes_on(call, name)
    person = await describe(call, name, record, may)
    return user_model(drawer(call), person, attempt, may, with_stopped=with_stopped)


async def describe(
    call: Call[Any, Any], name: str, record: UserRecord | None, may: Callable[[str], bool]
) -> Person:
    """What is known of a user; his groups only for who may see them, since they can cost a look into a directory."""
    groups = (await call.deps.groups_of([name]))[name] if may("read:users:groups") else frozenset()
    return Person(
        name,
        admin=call.deps.is_admin(name),
        created=record.created_at if record else None,
        seen=record.last_seen if record else None,
        groups=groups,
    )
