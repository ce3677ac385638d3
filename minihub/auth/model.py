"""Who is asking: values that the web and the proxy share. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

MAX_COOKIES_TRIED = 4


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody who has proved who he is."""

    user: str
    """Canonical Unix name."""
    admin: bool
    """May manage others (by login: an admin; by token: one with admin scope)."""
    kind: str
    """"login" (cookie), "token", or "local" (the machine's root or the hub's own user, over the admin socket)."""
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


async def resolve_cookies(identity: Identity, cookies: Sequence[str]) -> tuple[Principal | None, str]:
    """Find the first of several login cookies that is valid: somebody may have planted others beside it.

    Returns:
        Whose login session it is, and the cookie; (None, "") if none is valid.
    """
    for cookie in cookies[:MAX_COOKIES_TRIED]:
        principal = identity.cached_login(cookie) or await identity.login(cookie)
        if principal is not None:
            return principal, cookie
    return None, ""
