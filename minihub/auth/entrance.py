"""The auth room put together: one login from the form to the canonical name, and all that keeps him logged in."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from minihub.auth.csrf import Csrf
from minihub.auth.identity import IdentityService
from minihub.auth.logins import LoginSessions
from minihub.auth.policy import Policy
from minihub.auth.throttle import Throttle
from minihub.auth.tokens import ApiTokens
from minihub.clock import Clock
from minihub.config import Settings
from minihub.errors import StoreError
from minihub.store.store import Store
from minihub.tasks import TaskKeeper

log = logging.getLogger(__name__)


class Passwords(Protocol):
    """Asks PAM."""

    async def authenticate(self, username: str, password: str) -> str:
        """Return the canonical user name; raises AuthError or HelperError."""
        ...


class Entrance:
    """Who comes in, and who is in."""

    def __init__(self, settings: Settings, store: Store, passwords: Passwords, clock: Clock) -> None:
        self._passwords = passwords
        self._policy = Policy(settings.auth, clock, is_admitted=store.users.is_admitted)
        self._throttle = Throttle(clock)
        self._keeper = TaskKeeper()
        self.logins = LoginSessions(store, settings.auth, clock, self._policy)
        self.tokens = ApiTokens(store, settings.auth, clock, self._policy)
        self.identity = IdentityService(self.logins, self.tokens)
        self.csrf = Csrf(store.keys.derive("csrf"))

    def start(self) -> None:
        """Begin to write uses back and to purge what has expired."""
        self._keeper.keep(self.logins.run, name="logins")
        self._keeper.keep(self.tokens.run, name="tokens")

    async def authenticate(self, username: str, password: str, address: str) -> str:
        """Check a login; return the canonical user name.

        Raises:
            AuthError: No; its message may be shown.
            HelperError: PAM could not be asked.
        """
        user = await self._throttle.run(
            username, address, lambda: self._passwords.authenticate(username, password)
        )
        await self._policy.admit(user)
        return user

    async def admit(self, user: str) -> None:
        """Return if `user` may come in; raises NotAllowed."""
        await self._policy.admit(user)

    async def verify_admissible(self, user: str) -> None:
        """Return if an admin may let `user` in; raises NotAllowed."""
        await self._policy.verify_admissible(user)

    async def groups_of(self, users: Sequence[str]) -> dict[str, frozenset[str]]:
        """The Unix groups of each of `users`."""
        return await self._policy.groups_of(users)

    async def revoke_user(self, user: str) -> tuple[int, int]:
        """End all login sessions and all tokens of `user`; return how many there were of each."""
        return await self.logins.revoke_user(user), await self.tokens.revoke_user(user)

    def is_admin(self, user: str) -> bool:
        """Whether `user`, if asked about lately, manages others."""
        return self._policy.is_known_admin(user)

    def on_revoked(self, callback: Callable[[str, str], None]) -> None:
        """Have `callback(user, key)` called when a login session or token ends."""
        self.logins.on_revoked(callback)
        self.tokens.on_revoked(callback)

    async def close(self) -> None:
        """Write back what is in memory."""
        await self._keeper.close()
        await self._throttle.close()
        for flush in (self.logins.flush, self.tokens.flush):
            try:
                await flush()
            except StoreError as error:
                log.warning("last uses of logins and tokens are not written back: %s", error)
