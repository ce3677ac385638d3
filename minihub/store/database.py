"""The engine: reads, and writes gathered into one transaction. SQL errors stop here and become StoreError.

Every write waits in one line; whoever comes first commits all that wait by then, so that concurrent writers share
one fsync. Each has its own savepoint: a Conflict of one does not touch the others.

A transaction runs in a thread from begin to commit. With an asynchronous driver each of its statements went to the thread
and back several times, which took half of all that a start cost the hub.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.pool import QueuePool

from minihub.errors import HubError, StoreError
from minihub.tasks import TaskKeeper

log = logging.getLogger(__name__)

T = TypeVar("T")
Work = Callable[[Connection], T]
"""Runs in a thread: touches nothing but the connection and values of its own."""

BUSY_TIMEOUT_MS = 5000
_READERS = 2

ADVICE = {
    "FULL": "the disk is full; free some space",
    "BUSY": "the store is locked by another program; end it",
    "LOCKED": "the store is locked by another program; end it",
    "READONLY": "the store or its directory cannot be written; check owner, mode and mount",
    "CANTOPEN": "the store cannot be opened; check owner, mode and mount of its directory",
    "PERM": "the store cannot be opened; check owner and mode",
    "CORRUPT": "the store is damaged; restore it from the backup",
    "NOTADB": "the store is damaged: not an SQLite file; restore it from the backup",
    "IOERR": "the disk cannot be read or written (full, over quota, or failing)",
    "MOVED": "the store's file was moved, removed or replaced while the hub runs; put it back, or restart the hub",
}


def store_error(error: Exception, path: Path) -> StoreError:
    """Tell in words what went wrong with the store at `path`."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    exact = str(getattr(cause, "sqlite_errorname", type(cause).__name__)).removeprefix("SQLITE_")
    return _told(_name_of(error), path, f"{exact}: {cause}")


def _name_of(error: Exception) -> str:
    """SQLite's word for what went wrong, such as FULL; "" if the error is not its own."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    name = str(getattr(cause, "sqlite_errorname", "")).removeprefix("SQLITE_")
    return name.partition("_")[0]


def _told(name: str, path: Path, cause: str) -> StoreError:
    advice = ADVICE.get(name, "the store failed")
    problem = advice.partition(";")[0]
    return StoreError(
        f"The hub cannot use its records: {problem}. Nothing was changed; try again later.",
        f"{path}: {advice} ({cause})",
    )


def open_engine(path: Path, *, pool_size: int = 1, may_make: bool = True) -> Engine:
    """An engine for the store at `path`, for threads outside the event loop.

    Args:
        path: The file.
        pool_size: Most connections.
        may_make: False where a missing file is an error: while a hub runs, a new one in the place of one that was moved
            away would be a hub without memory.
    """
    uri = f"{path.resolve().as_uri()}?mode={'rwc' if may_make else 'rw'}"

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(uri, uri=True, check_same_thread=False)

    engine = create_engine(
        "sqlite:///",
        creator=connect,
        poolclass=QueuePool,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=30,
    )
    _configure(engine)
    return engine


def _configure(engine: Engine) -> None:
    """Durable commits, real transactions, foreign keys."""

    def connected(connection: Any, _record: object) -> None:
        # Python's sqlite3 would send BEGIN late and commit by itself before DDL; `begun` does it right.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        cursor.execute("PRAGMA journal_mode = WAL")
        # NORMAL would lose the last commits in a power cut: an attempt must be known before sbatch runs.
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute("PRAGMA foreign_keys = ON")
        # KiB of pages kept for each connection: with SQLite's 2000 the hub grows with its history, and the kernel has the pages too.
        cursor.execute("PRAGMA cache_size = -500")
        cursor.close()

    def begun(connection: Connection) -> None:
        # A writer that starts as a reader may find the database changed under it (SQLITE_BUSY_SNAPSHOT).
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    event.listen(engine, "connect", connected)
    event.listen(engine, "begin", begun)


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file has this name; None if none has."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


@dataclass(slots=True, eq=False)
class _Write:
    work: Work[Any]
    future: asyncio.Future[Any]
    result: Any = None
    error: Exception | None = None


class Database:
    """The open store."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = _identity(path)
        # The one writer plus two readers are enough for what the hub asks.
        self._engine = open_engine(path, pool_size=1 + _READERS, may_make=False)
        self._writer_engine = self._engine.execution_options(writes=True)
        self._write_thread = ThreadPoolExecutor(1, thread_name_prefix="store-writer")
        self._read_threads = ThreadPoolExecutor(_READERS, thread_name_prefix="store-reader")
        self._waiting: list[_Write] = []
        self._tasks = TaskKeeper()
        self._writer: asyncio.Task[Any] | None = None
        self._closed = False
        self.commits = 0
        """Transactions written so far."""
        self.failures = 0
        """Transactions that could not be written, or not be read."""

    async def read(self, work: Work[T]) -> T:
        """Run `work` in a transaction of its own that sees one state of the store.

        Raises:
            StoreError: It cannot be read.
        """
        if self._closed:
            raise StoreError(detail="the store is closed")
        return await asyncio.get_running_loop().run_in_executor(self._read_threads, self._read, work)

    def _read(self, work: Work[T]) -> T:
        try:
            with self._engine.begin() as connection:
                return work(connection)
        except (SQLAlchemyError, sqlite3.Error, OSError) as error:
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> StoreError:
        """Count it and tell it in words."""
        self.failures += 1
        if _name_of(error) in ("CORRUPT", "NOTADB"):
            # An open connection would go on believing the pages that it has read. Not so on a full disk: there a new one
            # might find no room for its side files, and nothing could be read any more.
            self._engine.dispose()
        return store_error(error, self._path)

    async def write(self, work: Work[T]) -> T:
        """Run `work` together with others' and return its result once it is on the disk.

        If the caller is cancelled meanwhile, the write is done nevertheless.

        Raises:
            StoreError: It cannot be written; nothing was changed.
            HubError: Whatever `work` raised; nothing of it was changed.
        """
        if self._closed:
            raise StoreError(detail="the store is closed")
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Write(work, future))
        if self._writer is None:
            self._writer = self._tasks.start(self._write_all(), name="store writer")
        return await future

    async def _write_all(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
                await self._write_batch(batch)
        finally:
            self._writer = None

    async def _write_batch(self, batch: list[_Write]) -> None:
        loop = asyncio.get_running_loop()
        try:
            failed = await loop.run_in_executor(self._write_thread, self._commit, batch)
        except RuntimeError as error:  # no thread to be had: whoever waits must hear of it
            failed = StoreError(detail=repr(error))
        for write in batch:
            problem = failed or write.error
            if write.future.done():
                continue  # Its caller was cancelled.
            if problem is not None:
                write.future.set_exception(problem)
            else:
                write.future.set_result(write.result)

    def _commit(self, batch: list[_Write]) -> Exception | None:
        """Write them all, in the writer's thread; return what made all of them fail."""
        try:
            if _identity(self._path) != self._file:
                # SQLite would go on writing to a file that nobody finds any more.
                raise _told("MOVED", self._path, "another file, or none, has its name")
            with self._writer_engine.begin() as connection:
                for write in batch:
                    self._write_one(connection, write, alone=len(batch) == 1)
            self.commits += 1
        except StoreError as error:
            self.failures += 1
            log.error("%s", error.detail)
            return error
        except HubError as error:
            return error
        except (SQLAlchemyError, sqlite3.Error, OSError) as error:
            failed = self._failed(error)
            failed.__cause__ = error
            log.error("%s", failed.detail)
            return failed
        except Exception as error:  # noqa: BLE001 - a bug in `work` must reach its callers, not end the writer
            return error
        return None

    @staticmethod
    def _write_one(connection: Connection, write: _Write, *, alone: bool) -> None:
        try:
            with ExitStack() as stack:
                if not alone:
                    stack.enter_context(connection.begin_nested())
                write.result = write.work(connection)
        except HubError as error:
            if alone:
                raise
            write.error = error

    async def close(self) -> None:
        """Finish what was begun, then close. Later calls raise StoreError."""
        self._closed = True
        if self._writer is not None:
            await asyncio.wait([self._writer])
        # Reads that are under way end first: with their connections closed under them they would fail as a bug does.
        await asyncio.to_thread(self._end_threads)

    def _end_threads(self) -> None:
        self._write_thread.shutdown()
        self._read_threads.shutdown()
        self._engine.dispose()
