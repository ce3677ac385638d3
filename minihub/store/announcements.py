"""What admins tell everybody, on top of the pages."""

from __future__ import annotations

from sqlalchemy import Connection, delete, insert, or_, select

from minihub.store.database import Database
from minihub.store.rows import AnnouncementRow
from minihub.store.tables import announcements

_COLUMNS = tuple(announcements.c[name] for name in AnnouncementRow.__dataclass_fields__)


class Announcements:
    """Reads and writes announcements."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(
        self, text: str, *, level: str, by: str, at: float, expires_at: float | None = None
    ) -> AnnouncementRow:
        """Keep an announcement of `by`; `level` is "info" or "warning"."""
        values = {"text": text, "level": level, "by": by, "created_at": at, "expires_at": expires_at}

        def work(connection: Connection) -> int:
            key = connection.execute(insert(announcements).values(values)).inserted_primary_key
            assert key is not None
            return int(key[0])

        return AnnouncementRow(await self._database.write(work), text, level, by, at, expires_at)

    async def list(self, now: float) -> list[AnnouncementRow]:
        """Those that have not expired, newest first."""
        valid = or_(announcements.c.expires_at.is_(None), announcements.c.expires_at > now)
        query = select(*_COLUMNS).where(valid).order_by(announcements.c.id.desc())

        def work(connection: Connection) -> list[AnnouncementRow]:
            return [AnnouncementRow(*row) for row in connection.execute(query)]

        return await self._database.read(work)

    async def delete(self, announcement_id: int) -> bool:
        """End one; False if there is none with this id."""

        def work(connection: Connection) -> bool:
            found = connection.execute(delete(announcements).where(announcements.c.id == announcement_id))
            return bool(found.rowcount)

        return await self._database.write(work)
