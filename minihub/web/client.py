"""Who the browser is on the network, and from which page a request comes. Reads headers only."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

from aiohttp import web

from minihub.config import HubSettings

Network = IPv4Network | IPv6Network


@lru_cache(maxsize=8)
def _networks(names: tuple[str, ...]) -> tuple[Network, ...]:
    return tuple(ip_network(name, strict=False) for name in names)


def _is_trusted(address: str, settings: HubSettings) -> bool:
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in _networks(settings.trusted_proxies))


def client_address(request: web.Request, settings: HubSettings) -> str:
    """The browser's address: the nearest one that is no declared front proxy."""
    address = request.remote or ""
    if _is_trusted(address, settings):
        for hop in reversed(request.headers.get("X-Forwarded-For", "").split(",")):
            if not hop.strip():
                break
            address = hop.strip()
            if not _is_trusted(address, settings):
                break
    return address


def is_secure(request: web.Request, settings: HubSettings) -> bool:
    """Whether the browser speaks TLS, to us or to a declared front proxy."""
    if settings.public_url:
        return settings.public_url.startswith("https://")
    if _is_trusted(request.remote or "", settings):
        forwarded = request.headers.get("X-Forwarded-Proto", "")
        if forwarded:
            return forwarded.split(",")[-1].strip() == "https"
    return request.secure


def own_origin(request: web.Request, settings: HubSettings) -> str:
    """Scheme, host and port as the browser sees them."""
    if settings.public_url:
        parts = urlsplit(settings.public_url)
        return f"{parts.scheme}://{parts.netloc}".lower()
    scheme = "https" if is_secure(request, settings) else "http"
    host = request.host
    if _is_trusted(request.remote or "", settings):
        host = request.headers.get("X-Forwarded-Host", host).split(",")[-1].strip()
    return f"{scheme}://{host}".lower()


def comes_from_here(request: web.Request, settings: HubSettings) -> bool | None:
    """Whether a page of this very origin made the request; None if the browser did not say.

    Sec-Fetch-Site says it best but is not sent over plain http except to localhost; then Origin, then Referer.
    A browser sends Origin with every cross-site POST, so None on a POST is no browser.

    Source: W3C Fetch Metadata section 2.3; RFC 6454 section 7.
    """
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site == "same-origin"
    origin = request.headers.get("Origin")
    if origin is not None:
        return origin.lower() == own_origin(request, settings)
    referer = request.headers.get("Referer")
    if referer is not None:
        parts = urlsplit(referer)
        return f"{parts.scheme}://{parts.netloc}".lower() == own_origin(request, settings)
    return None


def is_navigation(request: web.Request) -> bool:
    """Whether a person waits for a page (else a program waits for data)."""
    mode = request.headers.get("Sec-Fetch-Mode")
    if mode is not None:
        return mode == "navigate"
    return "text/html" in request.headers.get("Accept", "")
