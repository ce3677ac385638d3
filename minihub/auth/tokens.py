"""API tokens: shown once, kept hashed, expiring, scoped, revoked at once."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import re
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from minihub.auth.lru import Lru
from minihub.auth.model import Principal
from minihub.auth.policy import Policy
from minihub.auth.scopes import effective_scopes, verify_scopes
from minihub.clock import Clock
from minihub.config import AuthSettings
from minihub.errors import NotAllowed, OptionsError, StoreError
from minihub.store.rows import TokenRow
from minihub.store.store import Store

log = logging.getLogger(__name__)

PREFIX = "mh_"
RECHECK_S = 5.0
"""How long a cached token is believed before store and policy are asked again: `minihub tokens revoke` is another
process, which cannot empty this cache."""
WRITE_BACK_S = 60.0
NOTE_LENGTH = 256

# Notebook 7 sends its own server's token with every request: what does not look like ours is never looked up.
_TOKEN = re.compile(r"mh_[A-Za-z0-9_-]{43}")


@dataclass(slots=True)
class _Entry:
    row: TokenRow
    principal: Principal
    checked_at: float


class ApiTokens:
    """Makes, finds and ends API tokens."""

    def __init__(self, store: Store, settings: AuthSettings, clock: Clock, policy: Policy) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock
        self._policy = policy
        self._cache: Lru[_Entry] = Lru(5_000)
        self._revoked: Lru[bool] = Lru(5_000)  # ids; see logins.py
        self._uses: dict[str, float] = {}
        self._listeners: list[Callable[[str, str], None]] = []

    def on_revoked(self, callback: Callable[[str, str], None]) -> None:
        """Have `callback(user, id)` called when a token is revoked. It must not raise or block."""
        self._listeners.append(callback)

    async def create(
        self, user: str, *, note: str = "", scopes: Iterable[str] = (), lifetime_s: float | None = None
    ) -> tuple[str, TokenRow]:
        """Make a token of `user`; return the secret, which is never told again, and what is kept.

        Args:
            user: Its owner.
            note: What it is for, in its owner's words.
            scopes: See scopes.py; none means "self".
            lifetime_s: None means the longest, auth.token_lifetime_s.

        Raises:
            OptionsError: Lifetime or a scope is wrong.
            Forbidden: More than the owner may do himself.
            NotAllowed: The owner is not admitted.
        """
        longest = self._settings.token_lifetime_s
        lifetime = longest if lifetime_s is None else lifetime_s
        if not 0 < lifetime <= longest:
            raise OptionsError({"expires_in": f"More than 0 and at most {longest:.0f} seconds."})
        await self._policy.admit(user)
        wanted = verify_scopes(scopes, user, admin=await self._policy.is_admin(user))
        secret = PREFIX + secrets.token_urlsafe(32)
        now = self._clock.wall()
        row = TokenRow(
            id=secrets.token_hex(6),
            hash=_hash(secret),
            user=user,
            note="".join(c for c in note if c.isprintable())[:NOTE_LENGTH],
            scopes=tuple(sorted(wanted)),
            created_at=now,
            expires_at=now + lifetime,
        )
        await self._store.users.know(user, now)
        await self._store.tokens.create(row)
        return secret, row

    async def resolve(self, token: str) -> Principal | None:
        """Whose `token` it is and what it may do now; None if unknown, expired, revoked, or its owner not admitted.

        One that was good a moment ago stays so while the store cannot be read.

        Raises:
            StoreError: The store cannot be read, and this token was not asked about lately.
        """
        if not _TOKEN.fullmatch(token):
            return None
        hashed = _hash(token)
        entry = self._cache.get(hashed)
        now = self._clock.wall()
        if entry is None or now - entry.checked_at >= RECHECK_S:
            try:
                entry = await self._load(hashed)
            except StoreError as error:
                if entry is None:
                    raise
                log.warning("a token of %s is believed as it was: %s", entry.row.user, error.detail)
        if entry is None or now >= entry.row.expires_at:
            return None
        self._uses[entry.row.id] = now
        return entry.principal

    async def list(self, user: str | None = None) -> list[TokenRow]:
        """The valid tokens of `user` (None: of all), newest first."""
        with contextlib.suppress(StoreError):  # then the last uses shown are those of before
            await self.flush()
        now = self._clock.wall()
        return [row for row in await self._store.tokens.list(user) if row.expires_at > now]

    async def revoke(self, user: str, token_id: str) -> bool:
        """End a token of `user`; False if he has none with this id."""
        if all(row.id != token_id for row in await self._store.tokens.list(user)):
            return False
        self._end(user, token_id)
        await self._store.tokens.delete(token_id)
        return True

    async def revoke_user(self, user: str) -> int:
        """End all tokens of `user`; return how many there were."""
        rows = await self._store.tokens.delete_user(user)
        for row in rows:
            self._end(user, row.id)
        return len(rows)

    async def flush(self) -> None:
        """Write the uses of late back to the store."""
        uses, self._uses = self._uses, {}
        try:
            await self._store.tokens.touch(uses)
        except StoreError:
            self._uses = {**uses, **self._uses}
            raise

    async def purge(self) -> None:
        """Write back, and delete what has expired."""
        await self.flush()
        await self._store.tokens.purge_expired(expired_before=self._clock.wall())

    async def run(self) -> None:
        """Write back and purge, for ever. Start it with a TaskKeeper; call `flush` before the store is closed."""
        while True:
            await asyncio.sleep(WRITE_BACK_S)
            try:
                await self.purge()
            except StoreError as error:
                log.warning("uses of tokens are not written back: %s", error.detail)

    async def _load(self, hashed: str) -> _Entry | None:
        row = await self._store.tokens.get_by_hash(hashed)
        if row is None:
            gone = self._cache.pop(hashed)
            if gone is not None:
                self._end(gone.row.user, gone.row.id)
            return None
        try:
            await self._policy.admit(row.user)
        except NotAllowed as refusal:
            log.info("a token is not accepted: %s", refusal.detail)
            self._cache.pop(hashed)
            return None
        scopes = effective_scopes(row.scopes, row.user, admin=await self._policy.is_admin(row.user))
        if row.id in self._revoked:
            return None
        principal = Principal(
            row.user,
            admin="admin" in scopes,
            kind="token",
            key=row.id,
            scopes=scopes,
            expires_at=row.expires_at,
        )
        entry = _Entry(row, principal, self._clock.wall())
        self._cache.put(hashed, entry)
        return entry

    def _end(self, user: str, token_id: str) -> None:
        self._revoked.put(token_id, value=True)
        self._cache.pop_where(lambda entry: entry.row.id == token_id)
        self._uses.pop(token_id, None)
        for callback in self._listeners:
            try:
                callback(user, token_id)
            except Exception:
                log.exception("somebody could not be told that a token of %s is revoked", user)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("ascii")).hexdigest()
