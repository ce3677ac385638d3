"""Our cookies: the login session and the chosen language."""

from __future__ import annotations

from aiohttp import web

from minihub.config import HubSettings
from minihub.web.client import is_secure

LANGUAGE_COOKIE = "minihub-language"
YEAR_S = 365 * 86400


def login_cookie_name(*, secure: bool) -> str:
    """Under TLS the browser itself guarantees host, path and Secure.

    Source: RFC 6265bis section 4.1.3.2.
    """
    return "__Host-minihub-login" if secure else "minihub-login"


def login_cookie(request: web.Request, *, secure: bool) -> str:
    """The cookie's value, "" if there is none."""
    return request.cookies.get(login_cookie_name(secure=secure), "")


def set_login_cookie(
    request: web.Request, response: web.StreamResponse, settings: HubSettings, value: str
) -> None:
    """Log this browser in. Without an age: it goes when the browser closes; the store knows how long it is valid."""
    secure = is_secure(request, settings)
    response.set_cookie(
        login_cookie_name(secure=secure), value, path="/", httponly=True, samesite="Lax", secure=secure
    )


def drop_login_cookie(request: web.Request, response: web.StreamResponse, settings: HubSettings) -> None:
    """Make this browser forget its login."""
    secure = is_secure(request, settings)
    response.del_cookie(
        login_cookie_name(secure=secure), path="/", httponly=True, samesite="Lax", secure=secure
    )


def set_language_cookie(response: web.StreamResponse, urls_base: str, language: str) -> None:
    """Remember the chosen language for a year."""
    response.set_cookie(
        LANGUAGE_COOKIE, language, path=urls_base, max_age=YEAR_S, samesite="Lax", httponly=True
    )
