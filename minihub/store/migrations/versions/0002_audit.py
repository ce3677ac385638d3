"""The audit log is found by time and target, and only ever appended to; announcements; users whom admins admitted."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make indexes, guards, the new table and column."""
    op.add_column("users", sa.Column("admitted", sa.Boolean, nullable=False, server_default=sa.false()))
    op.create_index("ix_audit_at", "audit", ["at"])
    op.create_index("ix_audit_target", "audit", ["target"])
    if op.get_bind().dialect.name == "sqlite":
        for action in ("update", "delete"):
            op.execute(
                f"CREATE TRIGGER audit_no_{action} BEFORE {action.upper()} ON audit "
                "BEGIN SELECT RAISE(ABORT, 'the audit log is only ever appended to'); END"
            )
    op.create_table(
        "announcements",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("level", sa.String(16), nullable=False),
        sa.Column("by", sa.String(64), nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("expires_at", sa.Double),
    )
