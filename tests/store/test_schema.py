"""The schema: made, brought up to date, or left alone."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from minihub.errors import StoreError
from minihub.store.database import open_engine
from minihub.store.schema import MIGRATIONS, prepare_schema
from minihub.store.tables import HEAD, metadata

NEXT_STEP = """
import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = "{before}"

def upgrade() -> None:
    op.add_column("users", sa.Column("shoe_size", sa.Integer))
    {more}
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "minihub.sqlite"


@pytest.fixture
def longer(tmp_path):
    """Our migrations and one more, which tables.py does not know."""

    def make(more: str = ""):
        copy = tmp_path / "migrations"
        shutil.copytree(MIGRATIONS, copy)
        step = NEXT_STEP.format(revision="9999", before=HEAD, more=more)
        (copy / "versions" / "9999_next.py").write_text(step)
        return copy

    return make


def schema_of(path):
    with closing(sqlite3.connect(path)) as connection:
        return sorted(connection.execute("SELECT type, name, tbl_name FROM sqlite_master").fetchall())


def start_at_nothing(path):
    """A store before the first step: stamped with nothing, but with Alembic's table."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")


def scripts():
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    return ScriptDirectory.from_config(config)


def test_head_is_the_newest_step():
    assert scripts().get_heads() == [HEAD]


def test_all_steps_from_the_first_make_what_tables_py_says(path, tmp_path):
    """A store made by running every migration equals one made from the tables at once."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    engine = open_engine(path)
    with engine.execution_options(writes=True).begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, metadata) == []
    engine.dispose()

    prepare_schema(tmp_path / "fresh.sqlite")
    assert schema_of(path) == schema_of(tmp_path / "fresh.sqlite")
    with closing(sqlite3.connect(path)) as old, closing(sqlite3.connect(tmp_path / "fresh.sqlite")) as new:
        live = "SELECT replace(lower(sql), '  ', ' ') FROM sqlite_master WHERE name = 'attempts_one_live'"
        assert old.execute(live).fetchone() == new.execute(live).fetchone()


def test_an_older_store_is_brought_up_to_date_and_keeps_its_rows(path, longer):
    prepare_schema(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("INSERT INTO users (name, admin, created_at) VALUES ('ada', 1, 5.0)")
    migrations = longer()
    prepare_schema(path, migrations=migrations, head="9999")
    prepare_schema(path, migrations=migrations, head="9999")

    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT name, admin, shoe_size FROM users").fetchall() == [("ada", 1, None)]
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [("9999",)]


def test_a_step_that_fails_midway_leaves_the_old_store(path, longer):
    prepare_schema(path)
    before = schema_of(path)

    with pytest.raises(StoreError, match="no such table"):
        prepare_schema(path, migrations=longer('op.execute("DELETE FROM nowhere")'), head="9999")
    assert schema_of(path) == before
    with closing(sqlite3.connect(path)) as connection:
        assert "shoe_size" not in [row[1] for row in connection.execute("PRAGMA table_info(users)")]
    prepare_schema(path)


def test_a_newer_store_is_refused_and_not_changed(path, longer):
    prepare_schema(path)
    prepare_schema(path, migrations=longer(), head="9999")
    before = path.read_bytes()

    with pytest.raises(StoreError, match=rf"newer minihub \(schema 9999, newest known here {HEAD}\)"):
        prepare_schema(path)
    assert path.read_bytes() == before
    assert list(path.parent.glob(f"{path.name}-*")) == [], "not even by looking"


def test_a_newer_store_left_by_a_killed_hub_keeps_its_write_ahead_log(path, longer, tmp_path):
    """Opened the usual way, SQLite would move the log into the file and delete it."""
    prepare_schema(path)
    prepare_schema(path, migrations=longer(), head="9999")
    killed = tmp_path / "killed"
    killed.mkdir()
    with closing(sqlite3.connect(path)) as running:
        running.execute("INSERT INTO users (name, admin, created_at) VALUES ('ada', 1, 5.0)")
        running.commit()
        for name in (path.name, f"{path.name}-wal"):
            shutil.copy(path.with_name(name), killed)
    before = [file.read_bytes() for file in sorted(killed.iterdir())]
    assert len(before) == 2

    with pytest.raises(StoreError, match="newer minihub"):
        prepare_schema(killed / path.name)
    assert [(killed / name).read_bytes() for name in (path.name, f"{path.name}-wal")] == before


def test_a_store_without_its_tables_is_refused(path):
    prepare_schema(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DROP TABLE tokens")

    with pytest.raises(StoreError, match=r"tables are missing \(tokens\)"):
        prepare_schema(path)


def test_another_programs_database_is_refused_and_not_changed(path):
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE spawners (id INTEGER)")
    before = path.read_bytes()

    with pytest.raises(StoreError, match="not a store of minihub"):
        prepare_schema(path)
    assert path.read_bytes() == before


def test_an_empty_file_is_made_a_store(path):
    path.touch()
    prepare_schema(path)

    assert ("table", "attempts", "attempts") in schema_of(path)
