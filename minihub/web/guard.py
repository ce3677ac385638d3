"""Who may ask, and whether a form is really ours: checked before a handler runs, by the table in `routes.py`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import Enum

from aiohttp import web

from minihub.auth.origin import SAFE_METHODS
from minihub.errors import Forbidden, LoginExpired
from minihub.web.client import verify_own_page
from minihub.web.keys import DEPS, PRINCIPAL, URLS
from minihub.web.respond import hub_error_response, redirect, wants_json
from minihub.web.words import N_

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

PAGE_TOO_OLD = N_("This page was too old to be sent, so nothing was done. Go back, reload it and try again.")


class Access(Enum):
    """Who may ask for a page."""

    ANYBODY = "anybody"
    """No login needed; a form must still come from a page of ours."""
    USER = "user"
    """Somebody who is logged in; forms need their CSRF token and must come from a page of ours."""
    ADMIN = "admin"
    """An admin who is logged in; to all others who are, there is no such page. Forms as for USER."""
    SELF_CHECKED = "self-checked"
    """The handler decides itself (Log Out, which asks first)."""


def guarded(handler: Handler, access: Access) -> Handler:
    """Put the checks of `access` in front of a handler."""
    if access is Access.SELF_CHECKED:
        return handler

    async def checked(request: web.Request) -> web.StreamResponse:
        if access in (Access.USER, Access.ADMIN) and PRINCIPAL not in request:
            return to_login(request)
        if access is Access.ADMIN and not request[PRINCIPAL].admin:
            # As the router answers where no page is.
            raise web.HTTPNotFound
        if request.method not in SAFE_METHODS:
            await _read_form(request)
            await verify_form(request)
        return await handler(request)

    return checked


async def _read_form(request: web.Request) -> None:
    """Read the form; aiohttp keeps it for the handler.

    Raises:
        web.HTTPBadRequest: It is none.
    """
    try:
        await request.post()
    except (
        ValueError,
        LookupError,
    ) as error:  # bytes that are no text, an unknown charset, parts without names
        raise web.HTTPBadRequest from error


def to_login(request: web.Request) -> web.Response:
    """Ask for a login and come back here afterwards; a program gets 401 instead of a page."""
    if wants_json(request):
        return hub_error_response(request, LoginExpired())
    urls = request.app[URLS]
    here = request.raw_path if request.method in SAFE_METHODS else urls.home
    return redirect(urls.login(urls.safe_next(here)))


async def verify_form(request: web.Request) -> None:
    """Refuse what another site, or a page of an older login session, sends.

    The login form has no login to be tied to; its handler ties it to a cookie of its own (`pages/login.py`).

    Raises:
        Forbidden: It is not certainly ours.
    """
    deps = request.app[DEPS]
    verify_own_page(request, deps.settings.hub)
    principal = request.get(PRINCIPAL)
    if principal is None:
        return
    token = request.headers.get("X-XSRFToken") or (await request.post()).get("_xsrf")
    if not isinstance(token, str) or not deps.csrf.verify(principal.key, token):
        raise Forbidden(PAGE_TOO_OLD)
