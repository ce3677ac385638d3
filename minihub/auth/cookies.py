"""The hub's own cookies: names and attributes. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CookieRule:
    """How one cookie is set; HttpOnly and SameSite=Lax always."""

    name: str
    path: str
    secure: bool

    def attributes(self) -> dict[str, str | bool]:
        """Keyword arguments for aiohttp's set_cookie and (but for `secure` ...) del_cookie."""
        return {"path": self.path, "secure": self.secure, "httponly": True, "samesite": "Lax"}


def login_cookie(*, tls: bool, base_path: str) -> CookieRule:
    """The cookie that holds a login session's secret."""
    return _rule("login", tls=tls, base_path=base_path)


def form_cookie(*, tls: bool, base_path: str) -> CookieRule:
    """The cookie that the login form is tied to before anybody is logged in (see csrf.py)."""
    return _rule("form", tls=tls, base_path=base_path)


def _rule(what: str, *, tls: bool, base_path: str) -> CookieRule:
    # A __Host- cookie cannot be set by another host of the domain, nor over plain http; browsers insist on Path=/.
    if tls and base_path == "/":
        name = "__Host-minihub" if what == "login" else f"__Host-minihub-{what}"
        return CookieRule(name, "/", secure=True)
    return CookieRule(f"minihub-{what}", base_path, secure=tls)
