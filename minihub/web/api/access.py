"""Who asks, by token or login, and what it may do with whose things: the scopes of `auth/scopes.py` decide.

A login has its user's full rights, an admin's login others' too; a token has what its scopes say.
"""

from __future__ import annotations

from aiohttp import web

from minihub.auth.model import Principal
from minihub.auth.origin import SAFE_METHODS
from minihub.auth.request import read_tokens
from minihub.auth.scopes import allows
from minihub.errors import Forbidden, LoginExpired, NotFound
from minihub.web.client import pairs_of
from minihub.web.guard import verify_form
from minihub.web.keys import DEPS, PRINCIPAL
from minihub.web.local import local_principal


async def asker(request: web.Request) -> Principal:
    """Who asks.

    A token comes first: whoever sends one means it. A login's changes need the CSRF token of its pages; who comes over
    the admin socket is known to the kernel and has no browser.

    Raises:
        LoginExpired: Nobody who is known (401).
        Forbidden: The token is not valid, or the form is not ours.
    """
    tokens = read_tokens(pairs_of(request))
    if tokens:
        principal = await request.app[DEPS].identity.token(tokens[0])
        if principal is None:
            raise Forbidden("This token is unknown, expired or revoked.")
        return principal
    local = local_principal(request)
    if local is not None:
        return local
    login: Principal | None = request.get(PRINCIPAL)
    if login is None:
        raise LoginExpired("Send an API token: Authorization: token ...")
    if request.method not in SAFE_METHODS:
        await verify_form(request)
    return login


async def asker_about(request: web.Request, scope: str) -> tuple[Principal, str]:
    """Who asks, and the user in the path, with whose things it may do what `scope` names.

    Raises:
        Forbidden: It may know of that user, but not do this.
        NotFound: It may not even know, whether or not there is such a user.
    """
    principal = await asker(request)
    name = request.match_info["name"]
    if name != principal.user and not allows(principal, "read:users:name", name):
        raise NotFound("There is no such user, or none that you may know of.")
    require(principal, scope, name)
    return principal, name


def require(principal: Principal, scope: str, user: str | None = None) -> None:
    """Raise Forbidden unless `principal` may do what `scope` names on `user`'s things (None: on everybody's)."""
    if not allows(principal, scope, user):
        raise Forbidden(f"This needs a token with the scope {scope}, or an admin.")
