"""`minihub users`: list, show, revoke, admit, forget."""

from __future__ import annotations

import argparse
from collections.abc import Awaitable, Callable
from typing import Any

from minihub.command.failures import DONE, FAILED, CommandFailed, NotThere
from minihub.command.link import Link, path_to
from minihub.command.servers import print_server
from minihub.command.show import Column, Model, confirm, note, print_facts, print_json, print_table
from minihub.command.times import format_moment


async def listing(hub: Link, options: argparse.Namespace) -> int:
    """`minihub users list`."""
    query = {"state": options.state, "name_filter": options.filter, "sort": options.sort}
    found = await hub.listed("/users", query)
    if options.json:
        print_json(found.items)
    else:
        print_table(_COLUMNS, found.items, empty="no user matches" if any(query.values()) else "no users yet")
    return DONE


def _server_of(user: Model) -> Model:
    servers = user.get("servers")
    found = servers.get("") if isinstance(servers, dict) else None
    return found if isinstance(found, dict) else {}


_COLUMNS = [
    Column("user", lambda u: u.get("name")),
    Column("admin", lambda u: u.get("admin")),
    Column("server", lambda u: _server_of(u).get("state")),
    Column("created", lambda u: format_moment(u.get("created")), spare=1),
    Column("last seen", lambda u: format_moment(u.get("last_activity"))),
]


async def show(hub: Link, options: argparse.Namespace) -> int:
    """`minihub users show`."""
    user = await hub.get(_path(options.user))
    if options.json:
        print_json(user)
        return DONE
    server = _server_of(user)
    print_facts(
        [
            ("user", user.get("name")),
            ("admin", user.get("admin")),
            ("groups", ", ".join(user.get("groups") or ())),
            ("created", format_moment(user.get("created"))),
            ("last seen", format_moment(user.get("last_activity"))),
            ("server", "" if server else "none"),
        ]
    )
    if server:
        print()
        print_server(options.user, server)
    return DONE


def _path(user: str, *rest: str) -> str:
    return path_to("users", user, *rest)


async def revoke(hub: Link, options: argparse.Namespace) -> int:
    """`minihub users revoke`."""
    if not confirm(
        f"End all logins and API tokens of {', '.join(options.user)}?", yes=options.yes, as_json=options.json
    ):
        note("nothing was revoked")
        return FAILED

    async def one(user: str) -> Any:
        return await hub.delete(_path(user, "logins"))

    def tell(user: str, answer: Any) -> str:
        return f"{user}: ended {answer['logins']} logins and {answer['tokens']} tokens"

    return await _each(options, one, tell)


async def admit(hub: Link, options: argparse.Namespace) -> int:
    """`minihub users admit`."""

    async def one(user: str) -> Any:
        return await hub.post(_path(user))

    return await _each(options, one, lambda user, _: f"{user}: admitted")


async def forget(hub: Link, options: argparse.Namespace) -> int:
    """`minihub users forget`."""
    names = ", ".join(options.user)
    if not confirm(
        f"Stop the servers of {names}, end all logins and tokens, and forget them?",
        yes=options.yes,
        as_json=options.json,
    ):
        note("nobody was forgotten")
        return FAILED

    async def one(user: str) -> Any:
        return await hub.delete(_path(user))

    return await _each(options, one, lambda user, _: f"{user}: forgotten")


async def _each(
    options: argparse.Namespace,
    act: Callable[[str], Awaitable[Any]],
    tell: Callable[[str, Any], str],
) -> int:
    """Do it for every user named, even if it fails for one; JSON tells of each what came of it."""
    results: list[dict[str, Any]] = []
    status = DONE
    for user in dict.fromkeys(options.user):
        try:
            answer = await act(user)
        except CommandFailed as error:
            status = error.exit_status if status in (DONE, error.exit_status) else FAILED
            results.append({"user": user, "done": False, "message": error.user_message})
            note(f"{user}: {error.user_message}")
            if error.detail and not isinstance(error, NotThere):
                note(error.detail)
        else:
            more = answer if isinstance(answer, dict) else {}
            results.append(
                {"user": user, "done": True, **{k: more[k] for k in ("logins", "tokens") if k in more}}
            )
            if not options.json:
                print(tell(user, answer))
    if options.json:
        print_json(results)
    return status
