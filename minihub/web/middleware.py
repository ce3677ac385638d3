"""Around every request: its id, who asks, in which language, what becomes of errors, which headers go out."""

from __future__ import annotations

import logging
import secrets

from aiohttp import hdrs, web

from minihub.auth.cookies import LANGUAGE_COOKIE
from minihub.auth.model import resolve_cookies
from minihub.errors import HubError
from minihub.logs import request_id, user_name
from minihub.web.client import is_secure
from minihub.web.cookies import login_cookies
from minihub.web.guard import Handler
from minihub.web.keys import BOARD, CATALOGUES, DEPS, LOGIN_COOKIE, PRINCIPAL, REQUEST_ID, TRANSLATOR, URLS
from minihub.web.respond import error_response, hub_error_response

log = logging.getLogger(__name__)

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

SECURITY_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    # Not no-referrer: Log Out falls back on Referer where a browser sends no Sec-Fetch-Site.
    "Referrer-Policy": "same-origin",
}
HSTS = "max-age=15552000"


@web.middleware
async def around(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Bind the request's id and who asks; turn errors into answers."""
    request[REQUEST_ID] = secrets.token_hex(6)
    id_token = request_id.set(request[REQUEST_ID])
    name_token = user_name.set("")
    try:
        return await _answer(request, handler)
    finally:
        request_id.reset(id_token)
        user_name.reset(name_token)


async def _answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    deps = request.app[DEPS]
    request[TRANSLATOR] = request.app[CATALOGUES].choose(
        request.cookies.get(LANGUAGE_COOKIE),
        request.headers.get(hdrs.ACCEPT_LANGUAGE, ""),
        deps.settings.hub.default_language,
    )
    try:
        await _prepare(request)
        return await handler(request)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        answer = error_response(request, error.status)
        if hdrs.ALLOW in error.headers:
            answer.headers[hdrs.ALLOW] = error.headers[hdrs.ALLOW]
        return answer
    except HubError as error:
        if error.http_status >= 500:
            log.warning("%s %s: %s", request.method, request.path, error)
        return hub_error_response(request, error)
    except ConnectionResetError:
        raise  # the browser is gone
    except Exception:
        log.exception("%s %s failed", request.method, request.path)
        return error_response(request, 500)


async def _prepare(request: web.Request) -> None:
    urls = request.app[URLS]
    # `TurnedAway` finds out by itself who knocks at a server.
    if not request.path.startswith((f"{urls.hub}static/", f"{urls.base}user/")):
        await find_login(request)
    # Whatever else comes here may be answered with a page.
    if not request.path.startswith((f"{urls.hub}static/", f"{urls.api}/")):
        await request.app[BOARD].refresh()


async def find_login(request: web.Request) -> None:
    """Note who asks, if a login cookie says so."""
    deps = request.app[DEPS]
    principal, cookie = await resolve_cookies(deps.identity, login_cookies(request, deps.settings.hub))
    if principal is not None:
        request[PRINCIPAL], request[LOGIN_COOKIE] = principal, cookie
        user_name.set(principal.user)


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """on_response_prepare: pages, errors and streams alike."""
    headers = response.headers
    for name, value in SECURITY_HEADERS.items():
        headers.setdefault(name, value)
    headers.setdefault("Cache-Control", "no-store")
    headers[hdrs.SERVER] = "minihub"
    if REQUEST_ID in request:
        headers["X-Request-ID"] = request[REQUEST_ID]
    settings = request.app[DEPS].settings
    # Never for the self-signed certificate: the browser would refuse to go past it from then on.
    if not settings.tls.self_signed and is_secure(request, settings.hub):
        headers.setdefault("Strict-Transport-Security", HSTS)
