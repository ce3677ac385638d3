"""Users the hub knows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.sql import func

from minihub.clock import Clock
from minihub.store.database import Database
from minihub.store.rows import UserRow
from minihub.store.tables import users

_COLUMNS = (users.c.name, users.c.admin, users.c.created_at, users.c.last_seen)


class Users:
    """Reads and writes users."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def seen(self, user: str, now: float, *, admin: bool) -> None:
        """Note that `user` is here."""

        def work(connection: Connection) -> None:
            known = connection.execute(
                update(users).where(users.c.name == user).values(last_seen=now, admin=admin)
            )
            if known.rowcount == 0:
                connection.execute(
                    insert(users).values(name=user, admin=admin, created_at=now, last_seen=now)
                )

        await self._database.write(work)

    async def active(self, user: str, at: float) -> bool:
        """Note that `user` was active then, unless he was later; False if unknown."""

        def work(connection: Connection) -> bool:
            mine = users.c.name == user
            connection.execute(
                update(users)
                .where(mine & (users.c.last_seen.is_(None) | (users.c.last_seen < at)))
                .values(last_seen=at)
            )
            return connection.execute(select(users.c.name).where(mine)).first() is not None

        return await self._database.write(work)

    async def know(self, user: str, now: float) -> None:
        """Make `user` known without a login."""

        def work(connection: Connection) -> None:
            _know(connection, user, now)

        await self._database.write(work)

    async def admit(self, user: str, now: float) -> bool:
        """Make `user` known, and let him in beyond the allow lists of the settings; False if both were so already."""

        def work(connection: Connection) -> bool:
            made = _know(connection, user, now)
            fresh = users.c.admitted.is_(False) & (users.c.name == user)
            admitted = connection.execute(update(users).where(fresh).values(admitted=True)).rowcount
            return made or bool(admitted)

        return await self._database.write(work)

    async def is_admitted(self, user: str) -> bool:
        """Whether an admin admitted `user`."""

        def work(connection: Connection) -> bool:
            found = select(users.c.name).where(users.c.admitted, users.c.name == user)
            return connection.execute(found).first() is not None

        return await self._database.read(work)

    async def forget(self, user: str) -> bool:
        """Delete `user` with his login sessions, tokens and last options; his history stays. False if unknown.

        Caches know nothing of it: revoke his logins and tokens in the auth room first.
        """

        def work(connection: Connection) -> bool:
            return bool(connection.execute(delete(users).where(users.c.name == user)).rowcount)

        return await self._database.write(work)

    async def get(self, user: str) -> UserRow | None:
        """One user, None if unknown."""

        def work(connection: Connection) -> UserRow | None:
            row = connection.execute(select(*_COLUMNS).where(users.c.name == user)).first()
            return None if row is None else UserRow(*row)

        return await self._database.read(work)

    async def list(
        self, name_filter: str = "", *, offset: int = 0, limit: int = 50
    ) -> tuple[list[UserRow], int]:
        """Users whose name contains `name_filter`, by name; and how many there are in all."""
        query = select(*_COLUMNS).order_by(users.c.name).offset(offset).limit(limit)
        count = select(func.count()).select_from(users)
        if name_filter:
            matches = users.c.name.icontains(name_filter, autoescape=True)
            query, count = query.where(matches), count.where(matches)

        def work(connection: Connection) -> tuple[list[UserRow], int]:
            total = connection.execute(count).scalar_one()
            return [UserRow(*row) for row in connection.execute(query)], total

        return await self._database.read(work)

    async def last_options(self, user: str) -> dict[str, Any] | None:
        """What `user` asked for last, as JSON values."""

        def work(connection: Connection) -> str | None:
            found = connection.execute(select(users.c.last_options).where(users.c.name == user))
            return found.scalar_one_or_none()

        text = await self._database.read(work)
        options: dict[str, Any] | None = None if text is None else json.loads(text)
        return options

    async def set_last_options(self, user: str, options: Mapping[str, Any]) -> None:
        """Remember what `user` asked for."""
        text = json.dumps(dict(options))
        now = self._clock.wall()

        def work(connection: Connection) -> None:
            known = connection.execute(update(users).where(users.c.name == user).values(last_options=text))
            if known.rowcount == 0:
                connection.execute(
                    insert(users).values(name=user, admin=False, created_at=now, last_options=text)
                )

        await self._database.write(work)


def _know(connection: Connection, user: str, now: float) -> bool:
    """Make `user` known; False if he is already."""
    if connection.execute(select(users.c.name).where(users.c.name == user)).first() is not None:
        return False
    connection.execute(insert(users).values(name=user, admin=False, created_at=now))
    return True
