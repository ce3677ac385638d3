"""Writes that share a commit."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from contextlib import closing

import pytest
from sqlalchemy import text

from minihub.errors import Conflict, StoreError
from minihub.store.store import Store


def insert(name):
    def work(connection):
        connection.execute(text("INSERT INTO facts VALUES (:name, 'x')"), {"name": name})
        return name

    return work


async def names(store):
    def work(connection):
        return set(connection.execute(text("SELECT name FROM facts")).scalars())

    return await store._database.read(work) - {"key_fingerprint"}


async def test_concurrent_writes_share_commits(store):
    before = store.commits
    done = await asyncio.gather(*(store._database.write(insert(f"n{i}")) for i in range(50)))

    assert done == [f"n{i}" for i in range(50)]
    assert await names(store) == set(done)
    assert store.commits - before <= 2


async def test_one_writers_conflict_undoes_only_his_own(store):
    def refused(connection):
        insert("half")(connection)
        raise Conflict("no")

    results = await asyncio.gather(
        store._database.write(insert("a")),
        store._database.write(refused),
        store._database.write(insert("b")),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [str, Conflict, str]
    with pytest.raises(Conflict):
        await store._database.write(refused)
    assert await names(store) == {"a", "b"}


async def test_an_sql_error_fails_all_that_shared_the_transaction_and_the_next_write_works(store):
    def broken(connection):
        connection.execute(text("INSERT INTO nowhere VALUES (1)"))

    results = await asyncio.gather(
        store._database.write(insert("a")), store._database.write(broken), return_exceptions=True
    )
    assert [type(result) for result in results] == [StoreError, StoreError]
    await store._database.write(insert("b"))
    assert await names(store) == {"b"}


async def test_a_bug_in_a_write_reaches_its_caller_and_the_writer_lives_on(store):
    def bug(_connection):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await store._database.write(bug)
    await store._database.write(insert("a"))
    assert await names(store) == {"a"}


async def test_a_write_whose_caller_is_cancelled_is_done_nevertheless(store):
    caller = asyncio.get_running_loop().create_task(store._database.write(insert("a")))
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    await store._database.write(insert("b"))

    assert await names(store) == {"a", "b"}


async def test_close_finishes_what_was_begun(state_dir, clock):
    first = await Store.open(state_dir, clock)
    writes = [
        asyncio.get_running_loop().create_task(first._database.write(insert(f"n{i}"))) for i in range(9)
    ]
    await asyncio.sleep(0)
    await first.close()
    await asyncio.gather(*writes)
    again = await Store.open(state_dir, clock)

    assert await names(again) == {f"n{i}" for i in range(9)}
    await again.close()


async def test_a_reader_does_not_wait_for_a_writer(store):
    entered, leave = threading.Event(), threading.Event()

    def slow(connection):
        insert("a")(connection)
        entered.set()
        assert leave.wait(60)

    write = asyncio.get_running_loop().create_task(store._database.write(slow))
    assert await asyncio.to_thread(entered.wait, 30)
    assert await asyncio.wait_for(names(store), 30) == set()
    leave.set()
    await write
    assert await names(store) == {"a"}


async def test_a_store_that_is_moved_away_takes_nothing_until_it_is_back(store):
    aside = store.path.with_name("aside")
    store.path.rename(aside)
    with pytest.raises(StoreError, match="moved, removed or replaced"):
        await store._database.write(insert("a"))
    # A reader's new connection does not make an empty one in its place.
    for _ in range(4):
        await asyncio.gather(*(names(store) for _ in range(4)), return_exceptions=True)
    assert not store.path.exists()
    failures = store.failures
    assert failures >= 1
    aside.rename(store.path)
    await store._database.write(insert("b"))

    assert await names(store) == {"b"}
    assert store.failures == failures


async def test_who_waits_for_a_writer_that_cannot_run_hears_of_it(store):
    store._database._write_thread.shutdown()
    with pytest.raises(StoreError):
        await asyncio.wait_for(store._database.write(insert("a")), 30)


async def test_a_damaged_store_that_is_put_right_works_again(store):
    await asyncio.gather(*(store._database.write(insert(f"n{i}")) for i in range(300)))
    with closing(sqlite3.connect(store.path)) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    good = store.path.read_bytes()
    with store.path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (len(good) - 4096))
    for _ in range(3):
        with pytest.raises(StoreError, match="damaged"):
            await names(store)
        with pytest.raises(StoreError, match="damaged"):
            await store._database.write(insert("lost"))
    with store.path.open("r+b") as file:
        file.write(good)

    await store._database.write(insert("a"))
    assert await names(store) == {"a", *(f"n{i}" for i in range(300))}
