"""The tables. A change here needs a step in migrations/versions and a new HEAD; a test compares the two."""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    event,
    false,
)

HEAD = "0002"
"""The newest migration; known here so that Alembic need not be imported to see that nothing is to be done."""

metadata = MetaData()

facts = Table(
    "facts",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)
"""Single values about the store itself."""

users = Table(
    "users",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("admin", Boolean, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("last_seen", Double),
    Column("last_options", Text),
    Column("admitted", Boolean, nullable=False, server_default=false()),
)
"""Everybody whom the hub knows. `admitted`: by an admin, beyond the allow lists of the settings."""

# No foreign key to users: history stays when a user is forgotten.
attempts = Table(
    "attempts",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("user", String(64), nullable=False),
    Column("tag", String(128), nullable=False, unique=True),
    Column("state", String(32), nullable=False),
    Column("live", Boolean, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("changed_at", Double, nullable=False),
    Column("ended_at", Double),
    Column("job_id", String(64)),
    Column("data", Text, nullable=False),
    Column("secrets", Text, nullable=False),
)
Index("attempts_user_created_at", attempts.c.user, attempts.c.created_at)
Index("attempts_created_at", attempts.c.created_at)
Index(
    "attempts_one_live",
    attempts.c.user,
    unique=True,
    sqlite_where=attempts.c.live,
    postgresql_where=attempts.c.live,
)

login_sessions = Table(
    "login_sessions",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("user", String(64), ForeignKey("users.name", ondelete="CASCADE"), nullable=False, index=True),
    Column("created_at", Double, nullable=False),
    Column("last_seen", Double, nullable=False),
    Column("address", String(64), nullable=False),
    Column("user_agent", String(256), nullable=False),
)

tokens = Table(
    "tokens",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("hash", String(64), nullable=False, unique=True),
    Column("user", String(64), ForeignKey("users.name", ondelete="CASCADE"), nullable=False, index=True),
    Column("note", String(256), nullable=False),
    Column("scopes", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
    Column("last_used_at", Double),
)

audit = Table(
    "audit",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("at", Double, nullable=False, index=True),
    Column("actor", String(64), nullable=False, index=True),
    Column("action", String(64), nullable=False),
    Column("target", String(128), nullable=False, index=True),
    Column("address", String(64), nullable=False),
    Column("outcome", String(64), nullable=False),
    Column("detail", Text, nullable=False),
)

AUDIT_GUARDS = tuple(
    f"CREATE TRIGGER audit_no_{action} BEFORE {action.upper()} ON audit "
    "BEGIN SELECT RAISE(ABORT, 'the audit log is only ever appended to'); END"
    for action in ("update", "delete")
)
"""Against bugs of ours: what is written down stays."""


@event.listens_for(audit, "after_create")
def _guard_audit(_table: Table, connection: Connection, **_more: object) -> None:
    if connection.dialect.name == "sqlite":
        for guard in AUDIT_GUARDS:
            connection.exec_driver_sql(guard)


announcements = Table(
    "announcements",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("text", Text, nullable=False),
    Column("level", String(16), nullable=False),
    Column("by", String(64), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double),
)
