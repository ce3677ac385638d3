"""Cookies and tokens together: what model.Identity promises to the proxy and the web."""

from __future__ import annotations

from minihub.auth.logins import LoginSessions
from minihub.auth.model import Principal
from minihub.auth.tokens import ApiTokens


class IdentityService:
    """Resolves cookies and tokens."""

    def __init__(self, logins: LoginSessions, tokens: ApiTokens) -> None:
        self._logins = logins
        self._tokens = tokens

    def cached_login(self, cookie: str) -> Principal | None:
        """The login session of a cookie if it is in the cache and alive; counts as use of it. No I/O."""
        return self._logins.cached_login(cookie)

    async def login(self, cookie: str) -> Principal | None:
        """The login session of a cookie, None if unknown, expired or revoked; counts as use of it."""
        return await self._logins.login(cookie)

    async def token(self, token: str) -> Principal | None:
        """The owner and scopes of an API token, None if unknown, expired or revoked."""
        return await self._tokens.resolve(token)
