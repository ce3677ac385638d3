"""The login page."""

from __future__ import annotations

from aiohttp import hdrs, web

from minihub.errors import AuthError, BadCredentials, Forbidden
from minihub.web.client import client_address, is_secure
from minihub.web.cookies import get_form_cookie, set_form_cookie, set_login_cookie
from minihub.web.guard import PAGE_TOO_OLD
from minihub.web.keys import DEPS, LOGIN_COOKIE, PRINCIPAL, URLS
from minihub.web.respond import page, redirect, translator

# Longer ones are nobody's; PAM modules have been broken by less.
MAX_NAME_LENGTH = 256
MAX_PASSWORD_LENGTH = 4096


async def show(request: web.Request) -> web.Response:
    """The form; who is logged in already goes on."""
    urls = request.app[URLS]
    next_path = urls.safe_next(request.query.get("next"))
    if PRINCIPAL in request:
        return redirect(next_path or urls.hub)
    return _form(request, next_path, username=request.query.get("username", ""))


async def submit(request: web.Request) -> web.Response:
    """Check name and password; begin a login session."""
    deps, urls = request.app[DEPS], request.app[URLS]
    posted = await request.post()
    username, password = str(posted.get("username", "")), str(posted.get("password", ""))
    next_path = urls.safe_next(str(posted.get("next", "")))
    address = client_address(request, deps.settings.hub)
    try:
        _verify(request, str(posted.get("_xsrf", "")))
        if not username.strip() or len(username) > MAX_NAME_LENGTH or len(password) > MAX_PASSWORD_LENGTH:
            raise BadCredentials
        user = await deps.authenticate(username, password, address)
    except AuthError as error:
        await deps.audit("login", user="", address=address, outcome=type(error).__name__)
        message = translator(request).message(error.user_message)
        return _form(request, next_path, username=username, error=message, status=error.http_status)
    if LOGIN_COOKIE in request:
        # A browser has one login; the value it had before must not stay valid.
        await deps.logins.revoke(request[LOGIN_COOKIE])
    cookie = await deps.logins.create(user, address, request.headers.get(hdrs.USER_AGENT, "")[:256])
    await deps.audit("login", user=user, address=address)
    response = redirect(next_path or urls.hub)
    set_login_cookie(request, response, deps.settings.hub, cookie)
    return response


def _verify(request: web.Request, token: str) -> None:
    """Refuse a login that another site begins in this browser, as somebody else than its user thinks.

    Who is logged in already sent the token of that login (`guard.verify_form`).
    """
    deps = request.app[DEPS]
    if PRINCIPAL not in request and not deps.csrf.verify_form(
        get_form_cookie(request, deps.settings.hub), token
    ):
        raise Forbidden(PAGE_TOO_OLD)


def _form(
    request: web.Request, next_path: str, *, username: str = "", error: str = "", status: int = 200
) -> web.Response:
    deps = request.app[DEPS]
    host = request.url.host or ""
    loopback = host in {"localhost", "::1"} or host.startswith("127.")
    cookie, token = deps.csrf.make_form(get_form_cookie(request, deps.settings.hub))
    response = page(
        request,
        "login.html",
        status=status,
        next_path=next_path,
        username=username[:MAX_NAME_LENGTH],
        error=error,
        only_user=deps.only_user,
        form_token=token,
        insecure=not loopback and not is_secure(request, deps.settings.hub),
    )
    set_form_cookie(request, response, deps.settings.hub, cookie)
    return response
