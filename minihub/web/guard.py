"""Who may ask, and whether a form is really ours: checked before a handler runs, by the table in `routes.py`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import Enum

from aiohttp import web

from minihub.errors import Forbidden, LoginExpired
from minihub.web.client import comes_from_here
from minihub.web.keys import DEPS, PRINCIPAL, URLS
from minihub.web.respond import hub_error_response, redirect, wants_json

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class Access(Enum):
    """Who may ask for a page."""

    ANYBODY = "anybody"
    """No login needed. A form must still come from a page of ours, if the browser says where it comes from."""
    USER = "user"
    """Somebody who is logged in; forms need their CSRF token and must come from a page of ours."""
    SELF_CHECKED = "self-checked"
    """The handler decides itself (logout, which asks; a user's own server path)."""


def guarded(handler: Handler, access: Access) -> Handler:
    """Put the checks of `access` in front of a handler."""
    if access is Access.SELF_CHECKED:
        return handler

    async def checked(request: web.Request) -> web.StreamResponse:
        if access is Access.USER and PRINCIPAL not in request:
            return to_login(request)
        if request.method not in SAFE_METHODS:
            await verify_form(request)
        return await handler(request)

    return checked


def to_login(request: web.Request) -> web.Response:
    """Ask for a login and come back here afterwards; a program gets 401 instead of a page."""
    if wants_json(request):
        return hub_error_response(request, LoginExpired())
    urls = request.app[URLS]
    here = request.raw_path if request.method in SAFE_METHODS else urls.home
    return redirect(urls.login(urls.safe_next(here)))


async def verify_form(request: web.Request) -> None:
    """Refuse a form that another site, or an older login session, made.

    Raises:
        Forbidden: It is not certainly ours.
    """
    deps = request.app[DEPS]
    if comes_from_here(request, deps.settings.hub) is False:
        raise Forbidden("This form came from another site, so nothing was done.")
    principal = request.get(PRINCIPAL)
    if principal is None:
        # Nothing to tie a token to. The Origin check above is what stops another site's login form: a browser
        # always sends Origin with a cross-site POST.
        return
    token = request.headers.get("X-XSRFToken") or (await request.post()).get("_xsrf")
    if not isinstance(token, str) or not deps.csrf.verify(principal.key, token):
        raise Forbidden(
            "This page was too old to be sent, so nothing was done. Go back, reload it and try again."
        )
