"""`minihub tokens`: create, list, revoke; in the hub, or in the store where no hub runs."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minihub.auth.tokens import ApiTokens
from minihub.command.failures import DONE, CommandFailed, NotPermitted, NotThere, WrongUsage
from minihub.command.link import Link, path_to
from minihub.command.show import Column, note, print_json, print_table
from minihub.command.times import format_moment, moment_of
from minihub.config import Settings
from minihub.errors import AuthError, OptionsError
from minihub.store.rows import TokenRow
from minihub.tokens import open_tokens

DAY_S = 86400
_DEFAULT_SCOPES = ("self",)


async def create(hub: Link, options: argparse.Namespace) -> int:
    """`minihub tokens create`."""
    user = options.user or await _own_name(hub)
    body: dict[str, Any] = {"note": options.note, "scopes": list(options.scope or _DEFAULT_SCOPES)}
    if (lifetime_s := _lifetime(options)) is not None:
        body["expires_in"] = lifetime_s
    _show_new(await hub.post(_path(user), body), options)
    return DONE


async def _own_name(hub: Link) -> str:
    if hub.is_local:
        raise WrongUsage("whose token? Say --user NAME")
    return str((await hub.get("/user"))["name"])


def _lifetime(options: argparse.Namespace) -> int | None:
    days: float | None = options.days
    if days is None:
        return None
    if not 1 <= days * DAY_S < 1e10:
        raise WrongUsage("--days: more than 0, and no more than the hub allows")
    return round(days * DAY_S)


def _path(user: str, *token_id: str) -> str:
    return path_to("users", user, "tokens", *token_id)


def _show_new(token: dict[str, Any], options: argparse.Namespace) -> None:
    if options.json:
        print_json(token)
        return
    print(token["token"])
    until = format_moment(token.get("expires_at"))
    note(f"token {token['id']} of {token['user']}, valid until {until} UTC; it is shown this once")


async def listing(hub: Link, options: argparse.Namespace) -> int:
    """`minihub tokens list`."""
    if options.user is not None:
        names = [options.user]
    elif hub.is_local:
        names = [user["name"] for user in (await hub.listed("/users")).items]
    else:
        names = await _names_to_ask(hub)
    found = [token for name in names for token in (await hub.get(_path(name)))["api_tokens"]]
    _show(found, options)
    return DONE


async def _names_to_ask(hub: Link) -> list[str]:
    """Everybody, or oneself where that is all one may see."""
    try:
        return [user["name"] for user in (await hub.listed("/users")).items]
    except NotPermitted:
        return [await _own_name(hub)]


def _show(found: Sequence[dict[str, Any]], options: argparse.Namespace) -> None:
    if options.json:
        print_json(found)
    else:
        print_table(_COLUMNS, found, empty="no valid tokens")


_COLUMNS = [
    Column("id", lambda t: t.get("id")),
    Column("user", lambda t: t.get("user")),
    Column("scopes", lambda t: ",".join(sorted(t.get("scopes") or ()))),
    Column("expires", lambda t: format_moment(t.get("expires_at")) or "never"),
    Column("last used", lambda t: format_moment(t.get("last_activity")) or "never", spare=1),
    Column("note", lambda t: t.get("note")),
]


async def revoke(hub: Link, options: argparse.Namespace) -> int:
    """`minihub tokens revoke`."""
    await hub.delete(_path(options.user, options.id))
    _show_revoked(options)
    return DONE


def _show_revoked(options: argparse.Namespace) -> None:
    if options.json:
        print_json({"user": options.user, "id": options.id, "revoked": True})
    else:
        print(f"revoked token {options.id} of {options.user}")


# ---- where no hub runs ----------------------------------------------------------------------------------------------


def without_hub(options: argparse.Namespace, settings: Settings, state_dir: Path) -> int:
    """The same, in the store of a hub that does not run.

    Args:
        options: As for the others.
        settings: Of the hub.
        state_dir: Its directory; we are its owner.
    """
    note(f"no hub runs here: working on its store in {state_dir}")
    return asyncio.run(_without_hub(options, settings, state_dir))


async def _without_hub(options: argparse.Namespace, settings: Settings, state_dir: Path) -> int:
    work = {"tokens.create": _create_in, "tokens.listing": _list_in, "tokens.revoke": _revoke_in}
    async with open_tokens(settings, state_dir) as tokens:
        try:
            await work[options.command](tokens, options)
        except OptionsError as error:
            raise CommandFailed("\n".join(f"{name}: {text}" for name, text in error.fields.items())) from None
        except AuthError as error:
            raise NotPermitted(error.user_message, error.detail) from None
    return DONE


async def _create_in(tokens: ApiTokens, options: argparse.Namespace) -> None:
    if not options.user:
        raise WrongUsage("whose token? Say --user NAME")
    secret, row = await tokens.create(
        options.user,
        note=options.note,
        scopes=options.scope or _DEFAULT_SCOPES,
        lifetime_s=_lifetime(options),
    )
    _show_new({**_model(row), "token": secret}, options)


async def _list_in(tokens: ApiTokens, options: argparse.Namespace) -> None:
    _show([_model(row) for row in await tokens.list(options.user)], options)


async def _revoke_in(tokens: ApiTokens, options: argparse.Namespace) -> None:
    if not await tokens.revoke(options.user, options.id):
        raise NotThere(f"{options.user} has no token {options.id}.")
    _show_revoked(options)


def _model(row: TokenRow) -> dict[str, Any]:
    """As the API has it."""
    used = row.last_used_at
    return {
        "kind": "api_token",
        "user": row.user,
        "id": row.id,
        "roles": [],
        "scopes": sorted(row.scopes),
        "created": moment_of(row.created_at),
        "last_activity": None if used is None else moment_of(used),
        "expires_at": moment_of(row.expires_at),
        "note": row.note,
        "session_id": None,
        "oauth_client": None,
    }
