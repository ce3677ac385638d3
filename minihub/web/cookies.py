"""Our cookies on aiohttp's requests and responses: the login session, the login form's, the chosen language."""

from __future__ import annotations

from aiohttp import web

from minihub.auth.cookies import CookieRule, form_cookie, login_cookie
from minihub.config import HubSettings
from minihub.proxy.headers import read_cookies
from minihub.web.client import is_secure

LANGUAGE_COOKIE = "minihub-language"
MAX_COOKIES_TRIED = 4
YEAR_S = 365 * 86400


def login_cookie_name(base_path: str, *, secure: bool) -> str:
    """For the proxy, which strips it."""
    return login_cookie(tls=secure, base_path=base_path).name


def own_cookie_names(base_path: str) -> frozenset[str]:
    """All names of the hub's cookies: users' servers neither see nor set them."""
    rules = [
        make(tls=tls, base_path=base_path) for make in (login_cookie, form_cookie) for tls in (True, False)
    ]
    return frozenset(rule.name for rule in rules) | {LANGUAGE_COOKIE}


def login_cookies(request: web.Request, settings: HubSettings) -> list[str]:
    """Values of the login cookie: more than one if somebody planted another beside it."""
    return _values(request, _login_rule(request, settings).name)


def set_login_cookie(
    request: web.Request, response: web.StreamResponse, settings: HubSettings, value: str
) -> None:
    """Log this browser in. Without an age: it goes when the browser closes; the store knows how long it is valid."""
    _set(response, _login_rule(request, settings), value)


def drop_login_cookie(request: web.Request, response: web.StreamResponse, settings: HubSettings) -> None:
    """Make this browser forget its login."""
    rule = _login_rule(request, settings)
    response.del_cookie(rule.name, path=rule.path, secure=rule.secure, httponly=True, samesite="Lax")


def get_form_cookie(request: web.Request, settings: HubSettings) -> str | None:
    """The cookie that the login form is tied to."""
    found = _values(request, _form_rule(request, settings).name)
    return found[0] if found else None


def set_form_cookie(
    request: web.Request, response: web.StreamResponse, settings: HubSettings, value: str
) -> None:
    """Tie the login form to this browser."""
    _set(response, _form_rule(request, settings), value)


def set_language_cookie(response: web.StreamResponse, base_path: str, language: str) -> None:
    """Remember the chosen language for a year."""
    response.set_cookie(
        LANGUAGE_COOKIE, language, path=base_path, max_age=YEAR_S, samesite="Lax", httponly=True
    )


def _login_rule(request: web.Request, settings: HubSettings) -> CookieRule:
    return login_cookie(tls=is_secure(request, settings), base_path=settings.base_path)


def _form_rule(request: web.Request, settings: HubSettings) -> CookieRule:
    return form_cookie(tls=is_secure(request, settings), base_path=settings.base_path)


def _values(request: web.Request, name: str) -> list[str]:
    return read_cookies(tuple(request.headers.items()), name)[:MAX_COOKIES_TRIED]


def _set(response: web.StreamResponse, rule: CookieRule, value: str) -> None:
    response.set_cookie(rule.name, value, path=rule.path, secure=rule.secure, httponly=True, samesite="Lax")
