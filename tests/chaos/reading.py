"""What store and Slurm have, read without the hub, whether it runs or not."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
import tempfile
from dataclasses import dataclass
from typing import Any

from tests.e2e.kit import Hub, slurm

STORE_FILE = "minihub.sqlite"


@dataclass(frozen=True)
class Row:
    """An attempt as the store has it."""

    id: str
    user: str
    tag: str
    state: str
    live: bool
    created_at: float
    job_id: str | None
    data: dict[str, Any]

    @property
    def failure(self) -> str:
        """Its kind, "" if there is none."""
        return (self.data.get("failure") or {}).get("kind", "")

    @property
    def cause(self) -> str:
        """Who wanted the end."""
        return self.data.get("stop_cause") or ""


@dataclass(frozen=True)
class AnyJob:
    """A job of this hub as squeue shows it, ended ones too."""

    id: str
    user: str
    state: str
    tag: str

    @property
    def is_live(self) -> bool:
        return self.state in ("PENDING", "RUNNING", "CONFIGURING", "SUSPENDED")


def read_rows(hub: Hub) -> list[Row]:
    """All attempts, from a copy of the store: to open the store itself would change it."""
    for _ in range(20):
        with tempfile.TemporaryDirectory() as copy:
            for suffix in ("", "-wal"):
                with contextlib.suppress(FileNotFoundError):
                    shutil.copy(hub.directory / "state" / f"{STORE_FILE}{suffix}", copy)
            try:
                with contextlib.closing(sqlite3.connect(f"{copy}/{STORE_FILE}")) as connection:
                    found = connection.execute(
                        "SELECT id, user, tag, state, live, created_at, job_id, data FROM attempts"
                    ).fetchall()
            except sqlite3.DatabaseError:
                continue  # copied in the middle of a write
        return [Row(*plain, data=json.loads(data)) for *plain, data in found]
    raise AssertionError("the store cannot be copied")


def newest(rows: list[Row], user: str) -> Row | None:
    """The user's newest attempt."""
    mine = [row for row in rows if row.user == user]
    return max(mine, key=lambda row: row.created_at, default=None)


def read_jobs(hub: Hub) -> list[AnyJob]:
    """All jobs of this hub that Slurm still remembers."""
    text = slurm("squeue", "-h", "-t", "all", "-o", "%A|%u|%T|%j")
    found = [AnyJob(*line.split("|")) for line in text.splitlines()]
    return [job for job in found if hub.id and hub.id in job.tag]
