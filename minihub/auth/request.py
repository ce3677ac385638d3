"""What a request's head says of its sender: address, scheme and host, and the tokens it brings. Pure.

The proxy and the web room ask here, so that what one of them believes the other believes too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from minihub.config import HubSettings

Pairs = Sequence[tuple[str, str]]
"""Header fields as sent."""


class Fields(tuple[tuple[str, str], ...]):  # noqa: SLOT001 - tuples can have no slots but empty ones
    """Header fields as sent, which also finds them by name: the front door asks for many of each request."""

    by_name: dict[str, list[str]]
    """Values by name in lower case."""


Networks = tuple[IPv4Network | IPv6Network, ...]


@dataclass(frozen=True, slots=True)
class Client:
    """The browser's side of a request, after trusted front proxies were believed."""

    address: str
    """IP address, "" if unknown."""
    scheme: str
    """"http" or "https", as the browser sees it."""
    host: str
    """Host[:port] as the browser sees it."""


def values(pairs: Pairs, name: str) -> list[str]:
    """All values of the field `name` (lower case)."""
    if isinstance(pairs, Fields):
        return pairs.by_name.get(name, [])
    return [value for key, value in pairs if key.lower() == name]


def first(pairs: Pairs, name: str) -> str:
    """The first value of the field `name` (lower case), "" if there is none."""
    found = values(pairs, name)
    return found[0] if found else ""


def parse_networks(texts: Iterable[str]) -> Networks:
    """Parse addresses and networks ("10.0.0.1", "10.0.0.0/8").

    Raises:
        ValueError: One is neither.
    """
    return tuple(ip_network(text, strict=False) for text in texts)


@lru_cache(maxsize=8)
def _networks(texts: tuple[str, ...]) -> Networks:
    return parse_networks(texts)


def find_client(pairs: Pairs, peer: str, scheme: str, hub: HubSettings) -> Client:
    """Say who the browser is, and at which address it sees the hub, as far as the settings let us believe it.

    Args:
        pairs: Header fields as sent.
        peer: Address of the connection's other end.
        scheme: "https" if that connection is TLS, else "http".
        hub: Names the front proxies that are believed, and the public URL.
    """
    client = resolve_client(pairs, peer, scheme, _networks(hub.trusted_proxies))
    if not hub.public_url:
        return client
    public_scheme, _, rest = hub.public_url.partition("://")
    return Client(client.address, public_scheme, rest.partition("/")[0])


def resolve_client(pairs: Pairs, peer: str, scheme: str, trusted: Networks) -> Client:
    """Say who the browser is: the connection's other end, or what a trusted front proxy says of it.

    Of several X-Forwarded-For addresses the last one that is no trusted proxy counts: those before it are hearsay.
    """
    host = first(pairs, "host")
    if not trusted or not _is_trusted(peer, trusted):
        return Client(peer, scheme, host)
    hops = [
        hop.strip() for value in values(pairs, "x-forwarded-for") for hop in value.split(",") if hop.strip()
    ]
    address = next(
        (hop for hop in reversed(hops) if not _is_trusted(hop, trusted)), hops[0] if hops else peer
    )
    said = _last_item(pairs, "x-forwarded-proto").lower()
    return Client(
        address,
        said if said in ("http", "https") else scheme,
        _last_item(pairs, "x-forwarded-host") or host,
    )


def is_trusted_proxy(address: str, hub: HubSettings) -> bool:
    """Whether `address` is that of a front proxy which the settings name."""
    return _is_trusted(address, _networks(hub.trusted_proxies))


def may_read_metrics(address: str, hub: HubSettings) -> bool:
    """Whether `address` is one of those that need no token for the metrics."""
    return _is_trusted(address, _networks(hub.metrics_addresses))


def _is_trusted(address: str, trusted: Networks) -> bool:
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in trusted)


def _last_item(pairs: Pairs, name: str) -> str:
    found = values(pairs, name)
    return found[-1].rpartition(",")[2].strip() if found else ""


def read_tokens(pairs: Pairs) -> list[str]:
    """The API tokens in Authorization fields. Source: JupyterHub ("token"); RFC 6750 section 2.1 ("Bearer")."""
    tokens = []
    for value in values(pairs, "authorization"):
        scheme, _, token = value.strip().partition(" ")
        if scheme.lower() in ("token", "bearer") and token.strip():
            tokens.append(token.strip())
    return tokens
