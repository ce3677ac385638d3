"""What a token may do: JupyterHub's scope names, and three words of ours for whole roles. Pure.

A scope is NAME, or NAME!user=WHO for one user's things, or NAME!user for the owner's. Three names stand for roles:
"self" is everything on one's own things, "admin" is everything (for admins; but not the use of others' servers, which
needs `access:servers` by name), "inherit" is all that the owner has. To add a scope, add a line to IMPLIES.

Source: JupyterHub's documentation, "Scopes in JupyterHub"; https://jupyterhub.readthedocs.io/en/stable/rbac/scopes.html
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from minihub.auth.model import Principal
from minihub.errors import Forbidden, OptionsError

IMPLIES: dict[str, tuple[str, ...]] = {
    "access:servers": (),
    "admin:announcements": (),
    "admin:servers": ("servers", "admin:server_state"),
    "admin:server_state": (),
    "admin:users": ("users", "delete:users"),
    "delete:servers": ("read:servers",),
    "delete:users": (),
    "list:groups": (),
    "list:users": ("read:users:name",),
    "proxy": (),
    "read:audit": (),
    "read:groups": (),
    "read:hub": (),
    "read:metrics": (),
    "read:servers": ("read:users:name",),
    "read:tokens": (),
    "read:users": ("read:users:name", "read:users:groups", "read:users:activity"),
    "read:users:activity": (),
    "read:users:groups": (),
    "read:users:name": (),
    "servers": ("read:servers", "start:servers", "delete:servers"),
    "shutdown": (),
    "start:servers": ("read:servers",),
    "tokens": ("read:tokens",),
    "users": ("read:users", "list:users", "users:activity"),
    "users:activity": ("read:users:activity",),
}
"""Every scope, and what it contains."""

SELF = frozenset({"users", "servers", "tokens", "access:servers"})
"""What "self" contains, each for the owner only."""

ROLES = frozenset({"self", "admin", "inherit"})


def parse_scope(text: str, owner: str) -> tuple[str, str | None]:
    """Split a scope into its name and the user whose things it is limited to (None: everybody's).

    Raises:
        OptionsError: Not a scope.
    """
    name, mark, limit = text.partition("!")
    if name not in IMPLIES and text not in ROLES:
        raise OptionsError(
            {"scopes": f"{text}: no such scope. Known: {', '.join(sorted({*IMPLIES, *ROLES}))}"}
        )
    if not mark:
        return name, None
    if limit == "user":
        return name, owner
    kind, _, who = limit.partition("=")
    if kind != "user" or not who:
        raise OptionsError({"scopes": f"{text}: only !user and !user=NAME can follow a scope."})
    return name, who


def verify_scopes(scopes: Iterable[str], owner: str, *, admin: bool) -> frozenset[str]:
    """Check what a new token of `owner` is to be allowed; an empty list means "self".

    Raises:
        OptionsError: A scope that does not exist.
        Forbidden: More than the owner has himself.
    """
    wanted = frozenset(scopes) or frozenset({"self"})
    for text in wanted:
        name, who = parse_scope(text, owner)
        own = name in {"self", "inherit"} or (_is_own(name) and who in {None, owner})
        if not own and not admin:
            raise Forbidden(f"Only admins can make a token with the scope {text}.")
    return wanted


def effective_scopes(scopes: Iterable[str], owner: str, *, admin: bool) -> frozenset[str]:
    """What a token's scopes are worth now: an owner who is no admin (any more) keeps only what is his own."""
    kept: set[str] = set()
    for text in scopes:
        try:
            name, who = parse_scope(text, owner)
        except OptionsError:
            continue  # Written by a newer hub.
        if name in {"self", "inherit"}:
            kept.add("self")
            if name == "inherit" and admin:
                kept.add("admin")
        elif admin:
            kept.add(name if who is None else f"{name}!user={who}")
        elif _is_own(name) and who in {None, owner}:
            kept.add(f"{name}!user={owner}")
    return frozenset(kept)


def allows(principal: Principal, scope: str, user: str | None = None) -> bool:
    """Whether `principal` may do what `scope` names, on `user`'s things (None: on everybody's, or the hub's).

    A login has all of its user's rights, but opens only its user's own server: on one shared origin another's server
    could act as the admin who opens it.
    """
    assert scope in IMPLIES, scope
    if principal.kind == "login":
        if user == principal.user and scope in _OWN:
            return True
        return principal.admin and scope != "access:servers"
    return any(_grants(held, principal.user, scope, user) for held in principal.scopes)


def covers(principal: Principal, scopes: Iterable[str], owner: str) -> bool:
    """Whether `principal` may do all that a token of `owner` with these (effective) scopes can do."""
    return all(
        allows(principal, scope, who)
        for text in scopes
        for scope, who in _contents(*parse_scope(text, owner), owner)
    )


def is_all_own(scopes: Iterable[str], owner: str) -> bool:
    """Whether these (effective) scopes hold nothing but what everybody may do with his own things."""
    return all(
        scope in _OWN and who == owner
        for text in scopes
        for scope, who in _contents(*parse_scope(text, owner), owner)
    )


def _contents(name: str, who: str | None, owner: str) -> Iterator[tuple[str, str | None]]:
    """Every scope that one stands for, with the user to whose things it is limited (None: everybody's)."""
    match name:
        case "self":
            yield from ((scope, owner) for scope in _OWN)
        case "admin":
            yield from ((scope, None) for scope in IMPLIES if scope != "access:servers")
            yield "access:servers", owner
        case _:
            yield from ((scope, who) for scope in _closure([name]))


def _grants(held: str, owner: str, scope: str, user: str | None) -> bool:
    if held == "self":
        return user == owner and scope in _OWN
    if held == "admin":
        return scope != "access:servers" or user == owner
    name, who = parse_scope(held, owner)
    return scope in _closure([name]) and (who is None or who == user)


def _is_own(name: str) -> bool:
    """Whether a scope holds nothing but what everybody may do with his own things."""
    return name in IMPLIES and _closure([name]) <= _OWN


def _closure(names: Iterable[str]) -> frozenset[str]:
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting.extend(IMPLIES.get(name, ()))
    return frozenset(found)


_OWN = _closure(SELF)
