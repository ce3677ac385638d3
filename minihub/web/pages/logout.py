"""Log Out: ends the login session and, where the site wants it, the server and its job, in whatever state."""

from __future__ import annotations

import logging

from aiohttp import web

from minihub.auth.model import Principal
from minihub.errors import Forbidden, StoreError
from minihub.servers.model import Attempt, StopCause
from minihub.web.client import client_address, is_logout_click
from minihub.web.cookies import drop_login_cookie
from minihub.web.deps import Deps
from minihub.web.keys import DEPS, KEEPER, LOGIN_COOKIE, PRINCIPAL, URLS
from minihub.web.respond import json_response, page, user_of
from minihub.web.urls import with_query

log = logging.getLogger(__name__)


async def ask(request: web.Request) -> web.Response:
    """GET: a person who clicked Log Out on a page of ours is logged out; else the page asks first.

    A link or an image on another site must not end anybody's work.
    """
    deps = request.app[DEPS]
    principal = request.get(PRINCIPAL)
    if principal is None:
        return _done(request, "", None)
    if is_logout_click(request, deps.settings.hub):
        return await log_out(request, principal)
    return confirm(request, principal)


def confirm(request: web.Request, principal: Principal) -> web.Response:
    """Ask whether it is meant."""
    return page(request, "logout.html", attempt=_live(request.app[DEPS].servers.get(principal.user)))


async def submit(request: web.Request) -> web.Response:
    """POST with the CSRF token."""
    return await log_out(request, user_of(request))


async def state(request: web.Request) -> web.Response:
    """Whether the job is gone yet: for the page after logout, whose reader has no login any more but a token for this."""
    deps = request.app[DEPS]
    user, attempt_id = request.query.get("user", ""), request.query.get("attempt", "")
    if not deps.csrf.verify(_state_key(user, attempt_id), request.query.get("token", "")):
        raise Forbidden
    attempt = deps.servers.get(user)
    gone = attempt is None or attempt.id != attempt_id or not attempt.is_live
    return json_response({"gone": gone})


async def log_out(request: web.Request, principal: Principal) -> web.Response:
    """Log `principal` out, whose login cookie came with the request, and say what was done."""
    deps = request.app[DEPS]
    # Who logs out and closes the window at once is logged out all the same.
    ending = _end(deps, principal.user, request[LOGIN_COOKIE], client_address(request, deps.settings.hub))
    attempt, unwritten = await request.app[KEEPER].carry_through(ending, name=f"logout of {principal.user}")
    del request[PRINCIPAL]
    response = _done(request, principal.user, attempt, unwritten=unwritten)
    drop_login_cookie(request, response, deps.settings.hub)
    return response


async def _end(deps: Deps, user: str, cookie: str, address: str) -> tuple[Attempt | None, bool]:
    """End the server, if logout does that, and then the login.

    Returns:
        The server that is being stopped; and whether the store could not write the end of the login down.
    """
    attempt = None
    if deps.settings.servers.stop_on_logout:
        # First the server: should this fail, the user is still logged in and can try again. Asked for where there is
        # none, too: a start may be under way.
        lived = _live(deps.servers.get(user))
        attempt = await deps.servers.stop(user, StopCause.LOGOUT, by=user)
        attempt = attempt if lived else None
    if attempt is not None:
        await deps.audit("stop", user=user, address=address)
    unwritten = False
    try:
        await deps.logins.revoke(cookie)
    except StoreError as error:
        log.error("%s: a logout is not written down yet: %s", user, error)
        unwritten = True
    await deps.audit("logout", user=user, address=address)
    return attempt, unwritten


def _done(
    request: web.Request, user: str, attempt: Attempt | None, *, unwritten: bool = False
) -> web.Response:
    deps, urls = request.app[DEPS], request.app[URLS]
    state_url = ""
    if attempt is not None:
        token = deps.csrf.make(_state_key(user, attempt.id))
        state_url = with_query(urls.logout_state, user=user, attempt=attempt.id, token=token)
    still = deps.servers.get(user) if user and attempt is None else None
    return page(
        request,
        "logged_out.html",
        attempt=attempt,
        gone=attempt is not None and not attempt.is_live,
        still_running=_live(still) is not None,
        state_url=state_url,
        unwritten=unwritten,
    )


def _state_key(user: str, attempt_id: str) -> str:
    return f"logout-state:{user}:{attempt_id}"


def _live(attempt: Attempt | None) -> Attempt | None:
    return attempt if attempt is not None and attempt.is_live else None
