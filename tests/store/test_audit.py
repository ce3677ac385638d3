from __future__ import annotations

import json

import pytest
from sqlalchemy import delete, update

from minihub.errors import StoreError
from minihub.store.rows import AuditQuery, AuditRow
from minihub.store.tables import audit


async def test_lines_come_back_newest_first(store):
    await store.audit.append(1.0, "ada", "login", address="192.0.2.7")
    await store.audit.append(2.0, "bob", "stop", target="ada", outcome="refused", detail={"why": "not admin"})
    await store.audit.append(3.0, "ada", "logout")

    (newest, middle, oldest), total = await store.audit.find(AuditQuery())
    assert oldest == AuditRow(1, 1.0, "ada", "login", "", "192.0.2.7", "ok", "{}")
    assert (middle.target, middle.outcome, json.loads(middle.detail)) == (
        "ada",
        "refused",
        {"why": "not admin"},
    )
    rows, adas = await store.audit.find(AuditQuery(actor="ada", limit=1, offset=1))
    assert ([row.id for row in rows], adas, total) == ([oldest.id], 2, 3)
    assert newest.action == "logout"


async def test_lines_are_found_by_who_what_and_when(store):
    await store.audit.append(1.0, "ada", "login", target="ada")
    await store.audit.append(2.0, "bob", "stop", target="ada")
    await store.audit.append(3.0, "bob", "login", target="bob")

    async def found(**query):
        rows, total = await store.audit.find(AuditQuery(**query))
        assert total == len(rows)
        return [int(row.at) for row in rows]

    assert await found(about="ada") == [2, 1]
    assert await found(about="bob", action="login") == [3]
    assert await found(actor="bob") == [3, 2]
    assert await found(since=2.0, until=3.0) == [2]
    assert await found(about="cyd") == []


@pytest.mark.parametrize("change", [update(audit).values(actor="eve"), delete(audit)])
async def test_what_is_written_down_stays(store, change):
    await store.audit.append(1.0, "ada", "login")
    with pytest.raises(StoreError):
        await store._database.write(lambda connection: connection.execute(change))
    rows, _ = await store.audit.find(AuditQuery())
    assert [row.actor for row in rows] == ["ada"]
