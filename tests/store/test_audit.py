from __future__ import annotations

import json

from minihub.store.rows import AuditRow


async def test_lines_come_back_newest_first(store):
    await store.audit.append(1.0, "ada", "login", address="192.0.2.7")
    await store.audit.append(2.0, "bob", "stop", target="ada", outcome="refused", detail={"why": "not admin"})
    await store.audit.append(3.0, "ada", "logout")

    newest, middle, oldest = await store.audit.list()
    assert oldest == AuditRow(1, 1.0, "ada", "login", "", "192.0.2.7", "ok", "{}")
    assert (middle.target, middle.outcome, json.loads(middle.detail)) == (
        "ada",
        "refused",
        {"why": "not admin"},
    )
    assert [row.id for row in await store.audit.list(actor="ada", limit=1, offset=1)] == [oldest.id]
    assert newest.action == "logout"
