"""Login sessions. Only hashes of cookies come in here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, delete, insert, or_, select, update

from minihub.store.database import Database
from minihub.store.rows import LoginRow
from minihub.store.tables import login_sessions

_COLUMNS = tuple(login_sessions.c[name] for name in LoginRow.__dataclass_fields__)


class Logins:
    """Reads and writes login sessions."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, row: LoginRow) -> None:
        """Write a new one; its user must be known."""

        def work(connection: Connection) -> None:
            connection.execute(
                insert(login_sessions).values(
                    key=row.key,
                    user=row.user,
                    created_at=row.created_at,
                    last_seen=row.last_seen,
                    address=row.address[:64],
                    user_agent=row.user_agent[:256],
                )
            )

        await self._database.write(work)

    async def get(self, key: str) -> LoginRow | None:
        """The one with that hash, alive or not."""

        def work(connection: Connection) -> LoginRow | None:
            query = select(*_COLUMNS).where(login_sessions.c.key == key)
            row = connection.execute(query).first()
            return None if row is None else LoginRow(*row)

        return await self._database.read(work)

    async def list(self, user: str | None = None) -> list[LoginRow]:
        """All, or one user's, the latest used first."""
        query = select(*_COLUMNS).order_by(login_sessions.c.last_seen.desc(), login_sessions.c.key)
        if user is not None:
            query = query.where(login_sessions.c.user == user)

        def work(connection: Connection) -> list[LoginRow]:
            return [LoginRow(*row) for row in connection.execute(query)]

        return await self._database.read(work)

    async def touch(self, last_seen: Mapping[str, float]) -> None:
        """Note the last use of several, by key; keys that are gone are passed over."""
        if not last_seen:
            return

        def work(connection: Connection) -> None:
            for key, when in last_seen.items():
                connection.execute(
                    update(login_sessions).where(login_sessions.c.key == key).values(last_seen=when)
                )

        await self._database.write(work)

    async def delete(self, key: str) -> bool:
        """Delete one; False if there was none."""

        def work(connection: Connection) -> bool:
            done = connection.execute(delete(login_sessions).where(login_sessions.c.key == key))
            return bool(done.rowcount)

        return await self._database.write(work)

    async def delete_user(self, user: str) -> Sequence[str]:
        """Delete all of a user's and return their keys."""

        def work(connection: Connection) -> Sequence[str]:
            mine = login_sessions.c.user == user
            keys = list(connection.execute(select(login_sessions.c.key).where(mine)).scalars())
            connection.execute(delete(login_sessions).where(mine))
            return keys

        return await self._database.write(work)

    async def purge_expired(self, *, used_before: float, created_before: float) -> Sequence[tuple[str, str]]:
        """Delete those not used or not created since then; return (key, user) of each."""
        over = or_(login_sessions.c.last_seen < used_before, login_sessions.c.created_at < created_before)

        def work(connection: Connection) -> Sequence[tuple[str, str]]:
            found = connection.execute(select(login_sessions.c.key, login_sessions.c.user).where(over))
            gone = [(key, user) for key, user in found]
            if gone:
                connection.execute(delete(login_sessions).where(over))
            return gone

        return await self._database.write(work)
