"""Whether a browser's request came from the hub's own pages. Pure.

For requests that a cookie authenticates and that do something: unsafe methods, and websockets. Any site can make a
browser send those with our cookie (SameSite=Lax lets sibling hosts through), but it cannot forge these headers.

`Sec-Fetch-Site: none` (the address bar, a bookmark) is no page of ours: people type addresses of pages, and those are
safe methods, which nobody asks about here.

Note: under `Referrer-Policy: no-referrer` browsers send `Origin: null` with form posts; use `same-origin` or more.

Source: the Fetch standard (Origin, Sec-Fetch-Site); W3C Fetch Metadata Request Headers.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from minihub.auth.request import Client, Pairs, first, values
from minihub.errors import Forbidden

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

_DEFAULT_PORTS = {"http": 80, "https": 443}


def is_same_origin(pairs: Pairs, client: Client) -> bool:
    """Whether a browser sent this from a page of this very origin.

    Sec-Fetch-Site decides where there is one (browsers leave it out over plain http, except to localhost), else
    Origin, else Referer. Nothing at all is a refusal: every browser sends Origin with what is asked about here.

    Args:
        pairs: Header fields as sent.
        client: At which address the browser sees us.
    """
    sites = values(pairs, "sec-fetch-site")
    if sites:
        return all(site.strip().lower() == "same-origin" for site in sites)
    origins = values(pairs, "origin")
    if origins:
        return all(_is_own(client, origin, is_origin=True) for origin in origins)
    return _is_referred_here(pairs, client)


def verify_same_origin(pairs: Pairs, client: Client) -> None:
    """Return if a browser sent this from a page of this very origin; see `is_same_origin`.

    Raises:
        Forbidden: It comes from elsewhere, or does not say where from.
    """
    if not is_same_origin(pairs, client):
        said = {name: values(pairs, name) for name in ("sec-fetch-site", "origin", "referer")}
        raise Forbidden(
            "This request did not come from a page of this hub. Open the hub's own page and try again.",
            f"{client.scheme}://{client.host} was asked with {said}"[:300],
        )


def is_click(method: str, pairs: Pairs, client: Client) -> bool:
    """Whether this is a person's click on a page of this origin, and not another site's link, image or frame."""
    if method != "GET":
        return False
    if first(pairs, "sec-fetch-site"):
        return (
            is_same_origin(pairs, client)
            and first(pairs, "sec-fetch-mode").lower() == "navigate"
            and first(pairs, "sec-fetch-dest").lower() in ("document", "")
        )
    return _is_referred_here(pairs, client)


def _is_referred_here(pairs: Pairs, client: Client) -> bool:
    referers = values(pairs, "referer")
    return bool(referers) and all(_is_own(client, referer) for referer in referers)


def _is_own(client: Client, url: str, *, is_origin: bool = False) -> bool:
    """Whether `url` is on the origin the browser sees us at; `is_origin`: and nothing more than an origin.

    Behind a front proxy that we were not told of, we take https for http: then only the host is compared.
    """
    try:
        theirs = urlsplit(url)
        port = theirs.port
        ours = urlsplit(f"//{client.host}")
        our_port = ours.port
    except ValueError:
        return False
    default = _DEFAULT_PORTS.get(theirs.scheme)
    if default is None or (client.scheme == "https" and theirs.scheme != "https"):
        return False
    if is_origin and (theirs.path or theirs.query or theirs.fragment or "@" in theirs.netloc):
        return False
    return (
        bool(ours.hostname)
        and theirs.hostname == ours.hostname
        and (default if port is None else port) == (default if our_port is None else our_port)
    )
