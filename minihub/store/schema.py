"""Makes a new store, brings an old one up to date, leaves a newer or damaged one alone. Blocking; done once at start.

Alembic costs 12 MB and 0.12 s to import: it is, only where a step is to be made or a revision is unknown.
"""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Column, Connection, MetaData, String, Table, insert
from sqlalchemy.exc import SQLAlchemyError

from minihub.errors import StoreError
from minihub.store.database import open_engine, store_error
from minihub.store.tables import HEAD, metadata

log = logging.getLogger(__name__)

MIGRATIONS = Path(__file__).parent / "migrations"

# Checking reads the whole file: affordable up to this size at every start.
_CHECKED_BYTES = 64 * 2**20

_UNUSABLE = "The hub's store cannot be used. Nothing was changed."

_alembic_version = Table(
    "alembic_version", MetaData(), Column("version_num", String(32), primary_key=True, nullable=False)
)


@dataclass(frozen=True, slots=True)
class _Found:
    revision: str | None
    tables: frozenset[str]


def prepare_schema(path: Path, *, migrations: Path = MIGRATIONS, head: str = HEAD) -> None:
    """Leave the store at `path` with the newest schema; make it if the file is empty or missing.

    Raises:
        StoreError: Newer than this hub, damaged, not a store, or not writable; nothing was changed.
    """
    try:
        found = _look(path)
        if not found.tables:
            _create(path, head)
        elif found.revision is None:
            raise StoreError(_UNUSABLE, f"{path}: not a store of minihub; move it away")
        elif found.revision != head:
            _migrate(path, found.revision, migrations)
        elif missing := metadata.tables.keys() - found.tables:
            tables = ", ".join(sorted(missing))
            raise StoreError(
                _UNUSABLE, f"{path}: damaged, tables are missing ({tables}); restore it from the backup"
            )
    except (SQLAlchemyError, sqlite3.Error, OSError) as error:
        raise store_error(error, path) from error


def _look(path: Path) -> _Found:
    """See what is there without changing a byte (opening it the usual way would write)."""
    if not path.exists() or path.stat().st_size == 0:
        return _Found(None, frozenset())
    # Where nobody has it open and nobody was killed with it there is no write-ahead log, and none shall come of looking.
    quiet = "" if path.with_name(f"{path.name}-wal").exists() else "&immutable=1"
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro{quiet}", uri=True)) as connection:
        names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        tables = frozenset(name for (name,) in names if not name.startswith("sqlite_"))
        if path.stat().st_size <= _CHECKED_BYTES:
            (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if verdict != "ok":
                raise StoreError(
                    _UNUSABLE, f"{path}: damaged ({' '.join(verdict.split())}); restore it from the backup"
                )
        if "alembic_version" not in tables:
            return _Found(None, tables)
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        return _Found(row[0] if row else None, tables)


def _create(path: Path, head: str) -> None:
    def make(connection: Connection) -> None:
        metadata.create_all(connection)
        _alembic_version.create(connection)
        connection.execute(insert(_alembic_version).values(version_num=head))

    _in_transaction(path, make)
    log.info("made a new store: %s", path)


def _migrate(path: Path, revision: str, migrations: Path) -> None:
    from alembic import command  # noqa: PLC0415 - see the module's docstring
    from alembic.config import Config  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(migrations).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if revision not in known:
        raise StoreError(
            _UNUSABLE,
            f"{path}: made by a newer minihub (schema {revision}, newest known here {max(known)}). "
            "Upgrade minihub, or restore the store of before the upgrade.",
        )

    def upgrade(connection: Connection) -> None:
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise StoreError(_UNUSABLE, f"{path}: cannot be brought up to date: {error}") from error

    _in_transaction(path, upgrade)
    log.info("store brought up to date: %s (was schema %s)", path, revision)


def _in_transaction(path: Path, work: object) -> None:
    assert callable(work)
    engine = open_engine(path)
    try:
        with engine.execution_options(writes=True).begin() as connection:
            work(connection)
    finally:
        engine.dispose()
