"""Whether a browser's request came from the hub's own pages. Pure.

For requests that a cookie authenticates and that do something: unsafe methods, and websockets. Any site can make a
browser send those with our cookie (SameSite=Lax lets sibling hosts through), but it cannot forge these headers.

Note: under `Referrer-Policy: no-referrer` browsers send `Origin: null` with form posts; use `same-origin` or more.

Source: the Fetch standard (Origin, Sec-Fetch-Site); W3C Fetch Metadata Request Headers.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from minihub.errors import Forbidden

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def verify_origin(method: str, headers: Mapping[str, str], allowed: str, *, websocket: bool = False) -> None:
    """Return if the request is safe, or comes from a page of the origin `allowed`.

    Args:
        method: The request's.
        headers: The request's; names in any case.
        allowed: The hub's origin as the browser sees it: "https://hub.example:8443", or only "hub.example:8443"
            (the Host header) where a front proxy hides which scheme the browser used.
        websocket: The request asks for a websocket: unsafe in spite of GET.

    Raises:
        Forbidden: It comes from elsewhere, or does not say where from.
    """
    if method.upper() in SAFE_METHODS and not websocket:
        return
    # Not sent over plain http, except to localhost; where it is sent, no front proxy can have confused it.
    site = _one(headers, "sec-fetch-site")
    if site is not None:
        # "none": the user himself, from the address bar or a bookmark.
        if site in {"same-origin", "none"}:
            return
        raise _refusal(f"Sec-Fetch-Site {site!r}")
    origin = _one(headers, "origin")
    if origin is None:
        referer = _one(headers, "referer")
        if referer is None:
            raise _refusal("neither Origin nor Referer")
        origin = _origin_of(referer)
    if not _matches(origin, allowed):
        raise _refusal(f"origin {origin!r}")


def _refusal(detail: str) -> Forbidden:
    return Forbidden(
        "This request did not come from a page of this hub. Open the hub's own page and try again.",
        detail[:200],
    )


def _one(headers: Mapping[str, str], name: str) -> str | None:
    found = {value.strip() for key, value in headers.items() if key.lower() == name}
    if len(found) > 1:
        raise _refusal(f"several values of {name}")
    return found.pop() if found else None


def _origin_of(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}{rest.partition('/')[0].partition('?')[0].partition('#')[0]}"


def _matches(origin: str, allowed: str) -> bool:
    theirs = _split(origin)
    if theirs is None:
        return False
    if "://" in allowed:
        return theirs == _split(allowed)
    return any(theirs == _split(f"{scheme}://{allowed}") for scheme in ("http", "https"))


def _split(origin: str) -> tuple[str, str, int] | None:
    """Scheme, host and port, None if it is no plain origin ("null", a path, a user name)."""
    try:
        parts = urlsplit(origin)
        port = parts.port
    except ValueError:
        return None
    default = {"http": 80, "https": 443}.get(parts.scheme)
    if (
        default is None
        or not parts.hostname
        or parts.path
        or parts.query
        or parts.fragment
        or "@" in parts.netloc
    ):
        return None
    return parts.scheme, parts.hostname.lower(), default if port is None else port
