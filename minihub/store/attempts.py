"""Server attempts, current and past."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Select, insert, literal, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.sql import func

from minihub.errors import Conflict
from minihub.store.database import Database
from minihub.store.keys import HubKeys
from minihub.store.paging import Conditions, read_page, wanted_by
from minihub.store.rows import AttemptRow, HistoryQuery
from minihub.store.tables import attempts

_COLUMNS = (
    attempts.c.id,
    attempts.c.user,
    attempts.c.tag,
    attempts.c.state,
    attempts.c.live,
    attempts.c.created_at,
    attempts.c.changed_at,
    attempts.c.ended_at,
    attempts.c.job_id,
    attempts.c.data,
)
_NEWEST_FIRST = (attempts.c.created_at.desc(), attempts.c.id.desc())
_CONDITIONS: Conditions = {
    "user": lambda user: attempts.c.user == user,
    "since": lambda since: attempts.c.created_at >= since,
    "until": lambda until: attempts.c.created_at < until,
}


class Attempts:
    """Reads and writes attempts; their secrets are encrypted on the way in and decrypted on the way out."""

    def __init__(self, database: Database, keys: HubKeys) -> None:
        self._database = database
        self._keys = keys

    async def save(self, row: AttemptRow) -> None:
        """Write one attempt, new or known; on the disk when this returns.

        Raises:
            Conflict: The user has another live attempt.
            StoreError: Not written.
        """
        values = {
            "user": row.user,
            "tag": row.tag,
            "state": row.state,
            "live": row.live,
            "created_at": row.created_at,
            "changed_at": row.changed_at,
            "ended_at": row.ended_at,
            "job_id": row.job_id,
            "data": row.data,
            "secrets": self._keys.encrypt(row.secrets),
        }

        def work(connection: Connection) -> None:
            try:
                known = connection.execute(update(attempts).where(attempts.c.id == row.id).values(values))
                if known.rowcount == 0:
                    connection.execute(insert(attempts).values(id=row.id, **values))
            except IntegrityError as error:
                raise Conflict(
                    "You have a server already.", f"{row.user}: attempt {row.id}: {error.orig}"
                ) from error

        await self._database.write(work)

    async def get(self, attempt_id: str) -> AttemptRow | None:
        """One attempt with its secrets."""
        return await self._one(self._select_all().where(attempts.c.id == attempt_id))

    async def live(self) -> list[AttemptRow]:
        """Every attempt of which a job exists or may exist, oldest first."""
        return await self._many(
            self._select_all().where(attempts.c.live).order_by(attempts.c.created_at, attempts.c.id)
        )

    async def newest_per_user(self, changed_since: float = 0.0) -> list[AttemptRow]:
        """The newest attempt of every user: the live ones, and of the ended those changed since then."""
        place = func.row_number().over(partition_by=attempts.c.user, order_by=_NEWEST_FIRST)
        ranked = select(attempts.c.id, place.label("place")).subquery()
        wanted = select(ranked.c.id).where(ranked.c.place == 1)
        query = self._select_all().where(
            attempts.c.live | (attempts.c.id.in_(wanted) & (attempts.c.changed_at >= changed_since))
        )
        rows = await self._many(query.order_by(attempts.c.user, attempts.c.created_at))
        return list({row.user: row for row in rows}.values())

    async def find(self, query: HistoryQuery) -> tuple[list[AttemptRow], int]:
        """Past and present attempts that are asked for, newest first, and how many there are without limit and offset.

        Without secrets: not to be saved again.
        """
        rows = select(*_COLUMNS, literal("")).where(*wanted_by(query, _CONDITIONS)).order_by(*_NEWEST_FIRST)

        def work(connection: Connection) -> tuple[list[AttemptRow], int]:
            found, total = read_page(connection, rows, query.limit, query.offset)
            return [AttemptRow(*row) for row in found], total

        return await self._database.read(work)

    @staticmethod
    def _select_all() -> Select[Any]:
        return select(*_COLUMNS, attempts.c.secrets)

    async def _one(self, query: Select[Any]) -> AttemptRow | None:
        rows = await self._many(query)
        return rows[0] if rows else None

    async def _many(self, query: Select[Any]) -> list[AttemptRow]:
        def work(connection: Connection) -> list[AttemptRow]:
            return [AttemptRow(*row) for row in connection.execute(query)]

        rows = await self._database.read(work)
        return [replace(row, secrets=self._keys.decrypt(row.secrets)) for row in rows]
