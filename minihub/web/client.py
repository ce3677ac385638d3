"""Who the browser is on the network, and from which page a request comes: auth's rules, for aiohttp."""

from __future__ import annotations

from aiohttp import web

from minihub.auth import origin
from minihub.auth.request import Client, Pairs, find_client
from minihub.config import HubSettings
from minihub.web.local import ADDRESS, is_local


def pairs_of(request: web.Request) -> Pairs:
    """The header fields as sent."""
    return tuple(request.headers.items())


def client_of(request: web.Request, settings: HubSettings) -> Client:
    """Address, scheme and host as the browser has them, declared front proxies believed."""
    return find_client(pairs_of(request), request.remote or "", request.scheme, settings)


def client_address(request: web.Request, settings: HubSettings) -> str:
    """The browser's IP address; "local" for the admin socket."""
    if is_local(request):
        return ADDRESS
    return client_of(request, settings).address


def is_secure(request: web.Request, settings: HubSettings) -> bool:
    """Whether the browser speaks TLS, to us or to a declared front proxy."""
    return client_of(request, settings).scheme == "https"


def own_origin(request: web.Request, settings: HubSettings) -> str:
    """Scheme, host and port as the browser sees them."""
    client = client_of(request, settings)
    return f"{client.scheme}://{client.host}"


def verify_own_page(request: web.Request, settings: HubSettings) -> None:
    """Return if the request was sent by a page of this origin; raises Forbidden."""
    origin.verify_same_origin(pairs_of(request), client_of(request, settings))


def is_logout_click(request: web.Request, settings: HubSettings) -> bool:
    """Whether a person clicked Log Out on a page of this origin."""
    return origin.is_click(request.method, pairs_of(request), client_of(request, settings))


def is_navigation(request: web.Request) -> bool:
    """Whether a person waits for a page (else a program waits for data)."""
    mode = request.headers.get("Sec-Fetch-Mode")
    if mode is not None:
        return mode == "navigate"
    return "text/html" in request.headers.get("Accept", "")
