"""Who is asking: values that the web and the proxy share. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody who has proved who he is."""

    user: str
    """Canonical Unix name."""
    admin: bool
    """May manage others (by login: an admin; by token: one with admin scope)."""
    kind: str
    """"login" (cookie) or "token"."""
    key: str
    """Id of the login session or token: for the audit, for CSRF, for revoking. Not the secret itself."""
    scopes: frozenset[str] = frozenset()
    """Of a token: "self", "admin", "access:servers" ...; empty for a login, which has its user's full rights."""
    expires_at: float | None = None


class Identity(Protocol):
    """Resolves cookies and tokens; asked for every request, so answers from memory wherever possible."""

    def cached_login(self, cookie: str) -> Principal | None:
        """The login session of a cookie if it is in the cache and alive; counts as use of it. No I/O."""
        ...

    async def login(self, cookie: str) -> Principal | None:
        """The login session of a cookie, None if unknown, expired or revoked; counts as use of it."""
        ...

    async def token(self, token: str) -> Principal | None:
        """The owner and scopes of an API token, None if unknown, expired or revoked."""
        ...
