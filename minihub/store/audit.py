"""The audit log: who did what, from where, and what came of it. Only ever appended to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, insert, select

from minihub.store.database import Database
from minihub.store.rows import AuditRow
from minihub.store.tables import audit

_COLUMNS = tuple(audit.c[name] for name in AuditRow.__dataclass_fields__)


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

    async def list(self, *, actor: str | None = None, limit: int = 50, offset: int = 0) -> list[AuditRow]:
        """Lines, newest first; of one actor or of all."""
        query = select(*_COLUMNS).order_by(audit.c.id.desc()).limit(limit).offset(offset)
        if actor is not None:
            query = query.where(audit.c.actor == actor)

        def work(connection: Connection) -> list[AuditRow]:
            return [AuditRow(*row) for row in connection.execute(query)]

        return await self._database.read(work)
