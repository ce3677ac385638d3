"""Login sessions: from a cookie's opaque value to who sends it.

The value is random and nowhere but in the browser; the store and this cache know its SHA-256, which is the login's
`key`. Uses are noted in memory and written back once a minute, so that proxied traffic costs no I/O.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import re
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from minihub.auth.lru import Lru
from minihub.auth.model import Principal
from minihub.auth.policy import Policy
from minihub.clock import Clock
from minihub.config import AuthSettings
from minihub.errors import NotAllowed, StoreError
from minihub.store.rows import LoginRow
from minihub.store.store import Store

log = logging.getLogger(__name__)

RECHECK_S = 300.0
"""How long a cached login is believed before the policy is asked again (lists, groups, admin)."""
USE_S = 1.0
"""How exactly a use is noted, and lifetimes are kept: requests within this time of another one cost nothing."""
WRITE_BACK_S = 60.0

Revoked = Callable[[str, str], None]
"""Told (user, key) of a login that is over."""

_COOKIE = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(slots=True)
class _Entry:
    principal: Principal
    created_at: float
    last_seen: float
    checked_at: float
    cookie: str = ""
    """Under which it is in `_by_cookie` too."""


class LoginSessions:
    """Makes, finds and ends login sessions."""

    def __init__(self, store: Store, settings: AuthSettings, clock: Clock, policy: Policy) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock
        self._policy = policy
        self._cache: Lru[_Entry] = Lru(20_000)
        # The same entries by cookie, believed only while they are in the cache: the front door asks on every request,
        # and hashing would be the greater part of the answer.
        self._by_cookie: Lru[_Entry] = Lru(5_000)
        # Keys that were revoked, and when: a read that began before must not bring them back; nor a store that could not
        # delete. When it has, and such reads are over, they are unknown like any other.
        self._revoked: Lru[float] = Lru(20_000)
        # When each read that is under way began.
        self._reads: dict[object, float] = {}
        # Keys that nobody has: a browser's old tabs keep asking with theirs.
        self._unknown: Lru[bool] = Lru(2_000)
        # Revoked keys that the store still holds, because it could not be written.
        self._unwritten: set[str] = set()
        self._uses: dict[str, float] = {}
        self._listeners: list[Revoked] = []

    def on_revoked(self, callback: Revoked) -> None:
        """Have `callback(user, key)` called when a login ends: revoked, or expired. It must not raise or block."""
        self._listeners.append(callback)

    async def create(self, user: str, address: str, user_agent: str) -> str:
        """Begin a login session of `user`, who has proved who he is and was admitted; return the cookie's value."""
        cookie = secrets.token_urlsafe(32)
        key = _hash(cookie)
        now = self._clock.wall()
        admin = await self._policy.is_admin(user)
        await self._store.users.seen(user, now, admin=admin)
        row = LoginRow(key, user, now, now, address, user_agent)
        await self._store.login_sessions.create(row)
        self._remember(row, admin=admin)
        return cookie

    def cached_login(self, cookie: str) -> Principal | None:
        """Who sends `cookie`, if that is known without I/O; None means: ask `login`. Counts as use."""
        entry = self._by_cookie.peek(cookie)
        now = self._clock.wall()
        if entry is not None and self._cache.peek(entry.principal.key) is entry:
            if 0 <= now - entry.last_seen < USE_S:
                return entry.principal
        else:
            if not _COOKIE.fullmatch(cookie):
                return None
            entry = self._cache.get(_hash(cookie))
            if entry is None:
                self._by_cookie.pop(cookie)
                return None
            entry.cookie = cookie
            self._by_cookie.put(cookie, entry)
        if now - entry.checked_at >= RECHECK_S:
            return None
        return self._use(entry.principal.key, entry, now)

    async def login(self, cookie: str) -> Principal | None:
        """Who sends `cookie`; None if it is unknown, expired or revoked, or its user is not admitted now. Counts as use.

        Raises:
            StoreError: The store cannot be read.
        """
        if not _COOKIE.fullmatch(cookie):
            return None
        key = _hash(cookie)
        if key in self._revoked or key in self._unknown:
            return None
        entry = self._cache.get(key)
        if entry is not None and self._clock.wall() - entry.checked_at < RECHECK_S:
            return self._use(key, entry, self._clock.wall())
        with self._read():
            if entry is not None:
                user = entry.principal.user
                return await self._admit(LoginRow(key, user, entry.created_at, entry.last_seen, "", ""))
            row = await self._store.login_sessions.get(key)
            if row is None:
                self._unknown.put(key, value=True)
                return None
            return await self._admit(row)

    @contextlib.contextmanager
    def _read(self) -> Iterator[None]:
        mark = object()
        self._reads[mark] = self._clock.monotonic()
        try:
            yield
        finally:
            del self._reads[mark]

    def touch(self, key: str) -> None:
        """Traffic of this login passes (a websocket, say): counts as use."""
        entry = self._cache.get(key)
        if entry is not None:
            self._use(key, entry, self._clock.wall())

    async def revoke(self, cookie: str) -> None:
        """End the login session of a cookie; an unknown one is no error."""
        if _COOKIE.fullmatch(cookie):
            await self.revoke_key(_hash(cookie))

    async def revoke_key(self, key: str) -> None:
        """End one login session. In this process it is over at once, even if the store cannot write it down.

        Raises:
            StoreError: Not written down yet; `purge` tries again. Until then it would live again after a restart.
        """
        entry = self._cache.get(key)
        user = entry.principal.user if entry is not None else ""
        self._end(key, user)
        self._unwritten.add(key)
        if not user:
            row = await self._store.login_sessions.get(key)
            if row is not None:
                self._tell(row.user, key)
        await self._store.login_sessions.delete(key)
        self._unwritten.discard(key)

    async def revoke_user(self, user: str) -> int:
        """End all login sessions of `user`; return how many there were."""
        mine = self._cache.pop_where(lambda entry: entry.principal.user == user)
        self._by_cookie.pop_where(lambda entry: entry.principal.user == user)
        for key in mine:
            self._end(key, user)
        self._unwritten.update(mine)
        stored = await self._store.login_sessions.delete_user(user)
        self._unwritten.difference_update(mine)
        # One that was read before the deletion may have come into the cache meanwhile.
        for key in stored:
            if key not in mine:
                self._end(key, user)
        return len({*mine, *stored})

    async def list(self, user: str) -> list[LoginRow]:
        """The live login sessions of `user`, the latest used first."""
        with contextlib.suppress(StoreError):  # then the last uses shown are those of before
            await self.flush()
        return [row for row in await self._store.login_sessions.list(user) if not self._is_over(row)]

    async def flush(self) -> None:
        """Write the uses of late back to the store, and the ends that it could not take when they came."""
        for key in list(self._unwritten):
            await self._store.login_sessions.delete(key)
            self._unwritten.discard(key)
        uses, self._uses = self._uses, {}
        try:
            await self._store.login_sessions.touch(uses)
        except StoreError:
            self._uses = {**uses, **self._uses}
            raise

    async def purge(self) -> None:
        """End and delete what has expired."""
        await self.flush()
        now = self._clock.wall()
        gone = await self._store.login_sessions.purge_expired(
            used_before=now - self._settings.idle_lifetime_s,
            created_before=now - self._settings.absolute_lifetime_s,
        )
        for key, user in gone:
            self._end(key, user)
        # The store has deleted them, see `flush`.
        oldest = min(self._reads.values(), default=self._clock.monotonic())
        self._revoked.pop_where(lambda at: at < oldest)

    async def run(self) -> None:
        """Write back and purge, for ever. Start it with a TaskKeeper; call `flush` before the store is closed."""
        # Uses that are not written yet are lost in a crash: that must stay little against the idle lifetime.
        pause = min(WRITE_BACK_S, self._settings.idle_lifetime_s / 4)
        while True:
            await asyncio.sleep(pause)
            try:
                await self.purge()
            except StoreError as error:
                log.warning("login sessions are not written back: %s", error.detail)

    async def _admit(self, row: LoginRow) -> Principal | None:
        """Take a login into the cache (anew), if its user is still admitted."""
        try:
            await self._policy.admit(row.user)
        except NotAllowed as refusal:
            # Not deleted: whoever is admitted again tomorrow is logged in again.
            log.info("a login is not accepted: %s", refusal.detail)
            self._cache.pop(row.key)
            self._tell(row.user, row.key)
            return None
        admin = await self._policy.is_admin(row.user)
        if row.key in self._revoked:
            return None
        return self._use(row.key, self._remember(row, admin=admin), self._clock.wall())

    def _remember(self, row: LoginRow, *, admin: bool) -> _Entry:
        ends = row.created_at + self._settings.absolute_lifetime_s
        principal = Principal(row.user, admin=admin, kind="login", key=row.key, expires_at=ends)
        last_seen = max(row.last_seen, self._uses.get(row.key, 0.0))
        entry = _Entry(principal, row.created_at, last_seen, self._clock.wall())
        self._cache.put(row.key, entry)
        return entry

    def _use(self, key: str, entry: _Entry, now: float) -> Principal | None:
        if self._over(entry.created_at, entry.last_seen, now):
            self._cache.pop(key)
            return None
        entry.last_seen = now
        self._uses[key] = now
        return entry.principal

    def _is_over(self, row: LoginRow) -> bool:
        return self._over(row.created_at, row.last_seen, self._clock.wall())

    def _over(self, created_at: float, last_seen: float, now: float) -> bool:
        idle = now - last_seen >= self._settings.idle_lifetime_s
        return idle or now - created_at >= self._settings.absolute_lifetime_s

    def _end(self, key: str, user: str) -> None:
        self._revoked.put(key, self._clock.monotonic())
        entry = self._cache.pop(key)
        if entry is not None:
            self._by_cookie.pop(entry.cookie)
        self._uses.pop(key, None)
        if user:
            self._tell(user, key)

    def _tell(self, user: str, key: str) -> None:
        for callback in self._listeners:
            try:
                callback(user, key)
            except Exception:
                log.exception("somebody could not be told that a login of %s is over", user)


def _hash(cookie: str) -> str:
    # A plain hash will do: the value has 256 random bits, there is nothing to guess.
    return hashlib.sha256(cookie.encode("ascii")).hexdigest()
