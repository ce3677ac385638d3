"""Called by Alembic: runs the steps on the connection that store/schema.py hands over, in its transaction."""

from __future__ import annotations

from alembic import context

from minihub.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    # SQLite's DDL is transactional once BEGIN is really sent, which database.py sees to.
    transactional_ddl=True,
)
context.run_migrations()
