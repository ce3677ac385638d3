"""Our cookies on aiohttp's requests and responses: the login session, the login form's, the chosen language."""

from __future__ import annotations

from aiohttp import web

from minihub.auth.cookies import LANGUAGE_COOKIE, CookieRule, form_cookie, login_cookie
from minihub.config import HubSettings
from minihub.proxy.headers import read_cookies
from minihub.web.client import is_secure, pairs_of

YEAR_S = 365 * 86400


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
    response.del_cookie(rule.name, **rule.attributes())


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
    return read_cookies(pairs_of(request), name)


def _set(response: web.StreamResponse, rule: CookieRule, value: str) -> None:
    response.set_cookie(rule.name, value, **rule.attributes())
