"""The audit log: who did what, from where, and what came of it. Only ever appended to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, insert, or_, select

from minihub.store.database import Database
from minihub.store.paging import Conditions, read_page, wanted_by
from minihub.store.rows import AuditQuery, AuditRow
from minihub.store.tables import audit

_COLUMNS = tuple(audit.c[name] for name in AuditRow.__dataclass_fields__)
_CONDITIONS: Conditions = {
    "about": lambda who: or_(audit.c.actor == who, audit.c.target == who),
    "actor": lambda actor: audit.c.actor == actor,
    "action": lambda action: audit.c.action == action,
    "since": lambda since: audit.c.at >= since,
    "until": lambda until: audit.c.at < until,
}


class Audit:
    """Appends and reads audit lines."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def append(
        self,
        at: float,
        actor: str,
        action: str,
        *,
        target: str = "",
        address: str = "",
        outcome: str = "ok",
        detail: Mapping[str, Any] | None = None,
    ) -> None:
        """Write one line. `actor` is a canonical user name, or "" where nobody proved who he is; never a typed name."""
        values = {
            "at": at,
            "actor": actor[:64],
            "action": action[:64],
            "target": target[:128],
            "address": address[:64],
            "outcome": outcome[:64],
            "detail": json.dumps(dict(detail or {})),
        }

        def work(connection: Connection) -> None:
            connection.execute(insert(audit).values(values))

        await self._database.write(work)

    async def find(self, query: AuditQuery) -> tuple[list[AuditRow], int]:
        """Lines that are asked for, newest first; and how many there are without limit and offset."""
        rows = select(*_COLUMNS).where(*wanted_by(query, _CONDITIONS)).order_by(audit.c.id.desc())

        def work(connection: Connection) -> tuple[list[AuditRow], int]:
            found, total = read_page(connection, rows, query.limit, query.offset)
            return [AuditRow(*row) for row in found], total

        return await self._database.read(work)
