"""Who asks, by token or login, and whether it may: the scopes of `auth/scopes.py` decide.

A login has its user's full rights, an admin's login others' too; a token has what its scopes say.
"""

from __future__ import annotations

from aiohttp import web

from minihub.auth.model import Principal
from minihub.auth.origin import SAFE_METHODS
from minihub.auth.request import read_tokens
from minihub.auth.scopes import allows
from minihub.errors import Forbidden, LoginExpired
from minihub.web.client import client_address, pairs_of, verify_own_page
from minihub.web.guard import PAGE_TOO_OLD
from minihub.web.keys import DEPS, PRINCIPAL
from minihub.web.local import local_principal


async def asker(request: web.Request) -> Principal:
    """Who asks.

    A token comes first: whoever sends one means it. A login's changes need the CSRF token of its pages; who comes over
    the admin socket is known to the kernel and has no browser.

    Raises:
        LoginExpired: Nobody who is known (401).
        Forbidden: The token is not valid, or the request is not of a page of ours.
    """
    tokens = read_tokens(pairs_of(request))
    if tokens:
        principal = await request.app[DEPS].identity.token(tokens[0])
        if principal is None:
            raise Forbidden("This token is unknown, expired or revoked.")
        deps = request.app[DEPS]
        deps.note_token(principal.user, principal.key, client_address(request, deps.settings.hub))
        return principal
    local = local_principal(request)
    if local is not None:
        return local
    login: Principal | None = request.get(PRINCIPAL)
    if login is None:
        raise LoginExpired("Send an API token: Authorization: token ...")
    if request.method not in SAFE_METHODS:
        _verify_page(request, login)
    return login


def _verify_page(request: web.Request, login: Principal) -> None:
    """Refuse what another site sends. By header only: a form's field would have to be looked for in any body."""
    deps = request.app[DEPS]
    verify_own_page(request, deps.settings.hub)
    if not deps.csrf.verify(login.key, request.headers.get("X-XSRFToken", "")):
        raise Forbidden(PAGE_TOO_OLD)


def require(principal: Principal, scope: str, user: str | None = None) -> None:
    """Return if `principal` may do what `scope` names on `user`'s things (None: on everybody's, or the hub's).

    Raises:
        Forbidden: It may not.
    """
    if not allows(principal, scope, user):
        raise Forbidden(f"This needs a token with the scope {scope}, or an admin.")
