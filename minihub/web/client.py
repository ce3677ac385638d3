"""Who the browser is on the network, and from which page a request comes: the proxy's and auth's rules, for aiohttp."""

from __future__ import annotations

from functools import lru_cache

from aiohttp import web

from minihub.config import HubSettings
from minihub.proxy import gate
from minihub.proxy.headers import Client, Networks, parse_networks, resolve_client


@lru_cache(maxsize=8)
def _networks(names: tuple[str, ...]) -> Networks:
    return parse_networks(names)


def client_of(request: web.Request, settings: HubSettings) -> Client:
    """Address, scheme and host as the browser has them, declared front proxies believed."""
    pairs = tuple(request.headers.items())
    peer = request.remote or ""
    client = resolve_client(pairs, peer, request.scheme, _networks(settings.trusted_proxies))
    if not settings.public_url:
        return client
    scheme, _, rest = settings.public_url.partition("://")
    return Client(client.address, scheme, rest.partition("/")[0])


def client_address(request: web.Request, settings: HubSettings) -> str:
    """The browser's IP address."""
    return client_of(request, settings).address


def is_secure(request: web.Request, settings: HubSettings) -> bool:
    """Whether the browser speaks TLS, to us or to a declared front proxy."""
    return client_of(request, settings).scheme == "https"


def own_origin(request: web.Request, settings: HubSettings) -> str:
    """Scheme, host and port as the browser sees them."""
    client = client_of(request, settings)
    return f"{client.scheme}://{client.host}"


def is_logout_click(request: web.Request, settings: HubSettings) -> bool:
    """Whether a person clicked Log Out on a page of this origin."""
    pairs = tuple(request.headers.items())
    head = gate.Head(request.method, request.raw_path, pairs, client_of(request, settings))
    return gate.is_logout_click(head)


def is_navigation(request: web.Request) -> bool:
    """Whether a person waits for a page (else a program waits for data)."""
    mode = request.headers.get("Sec-Fetch-Mode")
    if mode is not None:
        return mode == "navigate"
    return "text/html" in request.headers.get("Accept", "")
