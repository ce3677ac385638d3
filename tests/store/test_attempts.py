from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from minihub.errors import Conflict
from minihub.store.rows import HistoryQuery


async def test_save_writes_and_overwrites(store, attempt):
    await store.attempts.save(attempt())
    later = attempt(state="ready", job_id="42", changed_at=2000.0, data="{}", secrets='{"token": "new"}')
    await store.attempts.save(later)

    assert await store.attempts.get(later.id) == later
    assert await store.attempts.get("nobody") is None


async def test_a_user_has_at_most_one_live_attempt(store, attempt):
    await store.attempts.save(attempt(1))
    with pytest.raises(Conflict, match="server already"):
        await store.attempts.save(attempt(2))
    await store.attempts.save(attempt(1, live=False, state="stopped", ended_at=1500.0))
    await store.attempts.save(attempt(2))
    with pytest.raises(Conflict):
        await store.attempts.save(attempt(1, live=True))

    assert [row.id for row in await store.attempts.live()] == [attempt(2).id]


async def test_of_two_starts_at_once_one_wins(store, attempt):
    results = await asyncio.gather(
        *(store.attempts.save(attempt(number)) for number in range(10)), return_exceptions=True
    )
    assert [type(result) for result in results].count(Conflict) == 9
    assert len(await store.attempts.live()) == 1


async def test_a_tag_is_used_once(store, attempt):
    await store.attempts.save(attempt(1))
    with pytest.raises(Conflict):
        await store.attempts.save(attempt(2, "bob", tag=attempt(1).tag))


async def test_live_has_everybodys_live_attempts_oldest_first(store, attempt):
    await store.attempts.save(attempt(3, "cyd"))
    await store.attempts.save(attempt(1, "ada", live=False))
    await store.attempts.save(attempt(2, "bob"))

    assert await store.attempts.live() == [attempt(2, "bob"), attempt(3, "cyd")]


async def test_newest_per_user(store, attempt):
    await store.attempts.save(attempt(1, "ada", live=False))
    await store.attempts.save(attempt(2, "ada", live=False, changed_at=5000.0))
    await store.attempts.save(attempt(3, "bob", live=False))
    await store.attempts.save(attempt(4, "cyd"))

    everybody = await store.attempts.newest_per_user()
    assert [(row.user, row.id[-1]) for row in everybody] == [("ada", "2"), ("bob", "3"), ("cyd", "4")]
    lately = await store.attempts.newest_per_user(changed_since=4000.0)
    assert [(row.user, row.id[-1]) for row in lately] == [("ada", "2"), ("cyd", "4")]
    assert lately[1].secrets == attempt().secrets


async def test_history_is_newest_first_paged_and_without_secrets(store, attempt):
    for number in range(5):
        await store.attempts.save(attempt(number, "ada", live=False))
    await store.attempts.save(attempt(9, "bob"))

    rows, total = await store.attempts.find(HistoryQuery("ada", limit=2, offset=1))
    assert ([row.id[-1] for row in rows], total) == (["3", "2"], 5)
    rows, total = await store.attempts.find(HistoryQuery(limit=2))
    assert ([row.id[-1] for row in rows], total) == (["9", "4"], 6)
    rows, _ = await store.attempts.find(HistoryQuery())
    assert {row.secrets for row in rows} == {""}
    assert rows[0] == replace(attempt(9, "bob"), secrets="")


async def test_history_of_a_time(store, attempt):
    for number in range(5):
        await store.attempts.save(attempt(number, "ada", live=False))
    begun = sorted(attempt(number).created_at for number in range(5))

    rows, total = await store.attempts.find(HistoryQuery(since=begun[1], until=begun[3]))
    assert ([row.created_at for row in rows], total) == ([begun[2], begun[1]], 2)
    assert await store.attempts.find(HistoryQuery("bob")) == ([], 0)


def test_a_rows_repr_shows_no_secret(attempt):
    assert "geheim" not in repr(attempt())
