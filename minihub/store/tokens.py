"""API tokens. Only their hashes come in here."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from minihub.store.database import Database
from minihub.store.rows import TokenRow
from minihub.store.tables import tokens

_COLUMNS = tuple(tokens.c[name] for name in TokenRow.__dataclass_fields__)


class Tokens:
    """Reads and writes tokens."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, row: TokenRow) -> None:
        """Write a new one; its user must be known."""

        def work(connection: Connection) -> None:
            connection.execute(
                insert(tokens).values(
                    id=row.id,
                    hash=row.hash,
                    user=row.user,
                    note=row.note[:256],
                    scopes=json.dumps(row.scopes),
                    created_at=row.created_at,
                    expires_at=row.expires_at,
                    last_used_at=row.last_used_at,
                )
            )

        await self._database.write(work)

    async def get_by_hash(self, token_hash: str) -> TokenRow | None:
        """The one with that hash, expired or not."""

        def work(connection: Connection) -> TokenRow | None:
            row = connection.execute(select(*_COLUMNS).where(tokens.c.hash == token_hash)).first()
            return None if row is None else _token(row)

        return await self._database.read(work)

    async def list(self, user: str | None = None) -> list[TokenRow]:
        """All, or one user's, newest first; the expired too."""
        query = select(*_COLUMNS).order_by(tokens.c.created_at.desc(), tokens.c.id)
        if user is not None:
            query = query.where(tokens.c.user == user)

        def work(connection: Connection) -> list[TokenRow]:
            return [_token(row) for row in connection.execute(query)]

        return await self._database.read(work)

    async def touch(self, last_used_at: Mapping[str, float]) -> None:
        """Note the last use of several, by id; ids that are gone are passed over."""
        if not last_used_at:
            return

        def work(connection: Connection) -> None:
            for token_id, when in last_used_at.items():
                connection.execute(update(tokens).where(tokens.c.id == token_id).values(last_used_at=when))

        await self._database.write(work)

    async def delete(self, token_id: str) -> TokenRow | None:
        """Delete one and return what it was, None if there was none."""

        def work(connection: Connection) -> TokenRow | None:
            mine = tokens.c.id == token_id
            row = connection.execute(select(*_COLUMNS).where(mine)).first()
            connection.execute(delete(tokens).where(mine))
            return None if row is None else _token(row)

        return await self._database.write(work)

    async def delete_user(self, user: str) -> Sequence[TokenRow]:
        """Delete all of a user's and return what they were."""

        def work(connection: Connection) -> Sequence[TokenRow]:
            mine = tokens.c.user == user
            rows = [_token(row) for row in connection.execute(select(*_COLUMNS).where(mine))]
            connection.execute(delete(tokens).where(mine))
            return rows

        return await self._database.write(work)

    async def purge_expired(self, *, expired_before: float) -> int:
        """Delete those that ended before then; return how many."""

        def work(connection: Connection) -> int:
            done = connection.execute(delete(tokens).where(tokens.c.expires_at < expired_before))
            return done.rowcount

        return await self._database.write(work)


def _token(row: Row[Any]) -> TokenRow:
    values = dict(row._mapping)  # noqa: SLF001 - public, underscored to stay clear of column names
    return TokenRow(**{**values, "scopes": tuple(json.loads(values["scopes"]))})
