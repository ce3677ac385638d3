"""The hub's own cookies: names and attributes. Pure.

Browsers keep cookies by host, not by port: two hubs on different ports of one host share these names, and so log each
other's users out. Give each a host name of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypedDict

LANGUAGE_COOKIE = "minihub-language"


class CookieAttributes(TypedDict):
    """Keyword arguments of aiohttp's set_cookie and del_cookie."""

    path: str
    secure: bool
    httponly: bool
    samesite: Literal["Lax"]


@dataclass(frozen=True, slots=True)
class CookieRule:
    """How one cookie is set; HttpOnly and SameSite=Lax always."""

    name: str
    path: str
    secure: bool

    def attributes(self) -> CookieAttributes:
        """Say how to set it, and how to drop it."""
        return {"path": self.path, "secure": self.secure, "httponly": True, "samesite": "Lax"}


def login_cookie(*, tls: bool, base_path: str) -> CookieRule:
    """The cookie that holds a login session's secret."""
    return _rule("login", tls=tls, base_path=base_path)


def form_cookie(*, tls: bool, base_path: str) -> CookieRule:
    """The cookie that the login form is tied to before anybody is logged in (see csrf.py)."""
    return _rule("form", tls=tls, base_path=base_path)


def own_cookie_names(base_path: str) -> frozenset[str]:
    """All names of the hub's cookies: users' servers neither see nor set them."""
    rules = [
        make(tls=tls, base_path=base_path) for make in (login_cookie, form_cookie) for tls in (True, False)
    ]
    return frozenset(rule.name for rule in rules) | {LANGUAGE_COOKIE}


def _rule(what: str, *, tls: bool, base_path: str) -> CookieRule:
    # A __Host- cookie cannot be set by another host of the domain, nor over plain http; browsers insist on Path=/.
    if tls and base_path == "/":
        name = "__Host-minihub" if what == "login" else f"__Host-minihub-{what}"
        return CookieRule(name, "/", secure=True)
    return CookieRule(f"minihub-{what}", base_path, secure=tls)
