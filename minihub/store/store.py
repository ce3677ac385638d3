"""Opens the store: state directory, lock, keys, schema, database, in this order."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, insert, select

from minihub.clock import Clock
from minihub.errors import ConfigError, StoreError
from minihub.store.announcements import Announcements
from minihub.store.attempts import Attempts
from minihub.store.audit import Audit
from minihub.store.database import Database
from minihub.store.keys import (
    KEY_FILE,
    STORE_FILE,
    HubKeys,
    StoreLock,
    create_private,
    load_hub_id,
    load_keys,
    prepare_state_dir,
    verify_private_file,
)
from minihub.store.logins import Logins
from minihub.store.schema import prepare_schema
from minihub.store.tables import facts
from minihub.store.tokens import Tokens
from minihub.store.users import Users


@dataclass(frozen=True, slots=True)
class _Prepared:
    lock: StoreLock | None
    keys: HubKeys
    hub_id: str


class Store:
    """What survives a restart. Make it with `open`."""

    def __init__(self, path: Path, prepared: _Prepared, clock: Clock) -> None:
        self._database = Database(path)
        self._lock = prepared.lock
        self.clock = clock
        self.path = path
        self.keys = prepared.keys
        self.hub_id = prepared.hub_id
        self.attempts = Attempts(self._database, self.keys)
        self.users = Users(self._database, clock)
        self.login_sessions = Logins(self._database)
        self.tokens = Tokens(self._database)
        self.audit = Audit(self._database)
        self.announcements = Announcements(self._database)

    @classmethod
    async def open(cls, state_dir: Path, clock: Clock, *, exclusive: bool = True) -> Store:
        """Open the store in `state_dir`, made at the first start and brought up to date where it is older.

        Args:
            state_dir: Its directory.
            clock: The hub's.
            exclusive: False for a command beside a running hub (`minihub tokens`): takes no lasting lock. What it
                changes reaches the hub's caches within `minihub.auth.tokens.RECHECK_S`.

        Raises:
            ConfigError: Directory or key file unusable, or another hub runs on this store; with the cure.
            StoreError: Newer than this hub, damaged or unreadable; nothing was changed.
        """
        path = state_dir / STORE_FILE
        prepared = await asyncio.to_thread(_prepare, state_dir, path, exclusive=exclusive)
        store = cls(path, prepared, clock)
        try:
            await store._verify_key()
        except BaseException:
            await store.close()
            raise
        return store

    async def close(self) -> None:
        """Finish what is being written, close, let another hub in."""
        await self._database.close()
        if self._lock is not None:
            self._lock.release()

    @property
    def commits(self) -> int:
        """Transactions written since the start, for metrics."""
        return self._database.commits

    @property
    def failures(self) -> int:
        """Transactions that could not be written or read since the start, for metrics."""
        return self._database.failures

    async def _verify_key(self) -> None:
        """Note which key the store is encrypted with; refuse another one."""
        name, mine = "key_fingerprint", self.keys.fingerprint

        def look(connection: Connection) -> str | None:
            return (
                connection.execute(select(facts.c.value).where(facts.c.name == name))
            ).scalar_one_or_none()

        def note(connection: Connection) -> None:
            connection.execute(insert(facts).values(name=name, value=mine))

        known = await self._database.read(look)
        if known is None:
            await self._database.write(note)
        elif known != mine:
            raise ConfigError(
                f"{self.path.parent / KEY_FILE} is not the key that {STORE_FILE} was written with. "
                "Restore both from the same backup."
            )


def _prepare(state_dir: Path, path: Path, *, exclusive: bool) -> _Prepared:
    """Do all that blocks and comes before the database is opened."""
    prepare_state_dir(state_dir)
    lock: StoreLock | None = StoreLock(state_dir)
    assert lock is not None
    try:
        lock.acquire()
    except OSError as error:
        raise ConfigError(f"{state_dir}: cannot be written: {error.strerror}") from error
    except ConfigError:
        if exclusive:
            raise
        lock = None
    try:
        keys = load_keys(state_dir)
        hub_id = load_hub_id(state_dir)
        try:
            create_private(path)
        except OSError as error:
            raise StoreError(detail=f"{path}: cannot be opened: {error.strerror}") from error
        verify_private_file(path)
        prepare_schema(path)
    except BaseException:
        if lock is not None:
            lock.release()
        raise
    if lock is not None and not exclusive:
        lock.release()
        lock = None
    return _Prepared(lock, keys, hub_id)
