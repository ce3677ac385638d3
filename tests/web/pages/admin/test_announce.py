"""Announcements: written by admins, shown to everybody."""

from __future__ import annotations

import asyncio

import pytest

from minihub.errors import StoreError
from minihub.servers.model import State
from minihub.web import board
from tests.web.fakes import NOW, make_attempt
from tests.web.pages.admin.conftest import ADMIN

PATH = "/hub/admin/announcements"


async def announce(admin, **fields):
    return await admin.send(
        PATH, ADMIN, **{"text": "Maintenance <today>", "level": "info", "period": "3600", **fields}
    )


@pytest.mark.parametrize(
    "path",
    [
        "/hub/login",
        "/hub/home",
        "/hub/spawn",
        "/hub/spawn-pending/ada",
        "/hub/token",
        "/hub/nothing-here",
        "/user/ada/",
    ],
)
async def test_everybody_reads_it_on_top_of_every_page(browser, path):
    await browser.world.deps.announcements.add("Maintenance <today>", level="warning", by=ADMIN, at=NOW)
    if path != "/hub/login":
        browser.log_in()
    if path == "/hub/spawn-pending/ada":
        browser.world.servers.attempts["ada"] = make_attempt(State.QUEUED)
    text = await (await browser.get(path)).text()

    assert "Maintenance &lt;today&gt;" in text.split("<main")[0]
    assert 'class="banner bad announcement"' in text
    assert 'data-announcement="1"' in text


async def test_it_is_written_down_and_shown_at_once(admin):
    answer = await announce(admin, text=" One.\r\n\x07Two. ")

    assert (answer.status, answer.headers["Location"]) == (303, PATH)
    (row,) = admin.world.deps.announcements.rows
    assert (row.text, row.level, row.by, row.created_at, row.expires_at) == (
        "One.\nTwo.",
        "info",
        ADMIN,
        NOW,
        NOW + 3600,
    )
    assert admin.world.audit_lines == [("announce", ADMIN, "ok", "1")]
    text = await (await admin.get(PATH)).text()
    assert text.count(">One.\nTwo.<") == 2


async def test_it_is_gone_when_its_time_is_over(admin):
    await announce(admin)
    assert "Maintenance" in await (await admin.get("/hub/home")).text()
    admin.world.clock.advance(3600)

    assert "Maintenance" not in await (await admin.get("/hub/home")).text()


async def test_it_is_gone_in_time_though_nothing_was_read_anew(browser):
    await browser.world.deps.announcements.add(
        "Soon over.", level="info", by=ADMIN, at=NOW, expires_at=NOW + 2
    )
    assert "Soon over." in await (await browser.get("/hub/login")).text()
    browser.world.clock.advance(3)

    assert "Soon over." not in await (await browser.get("/hub/login")).text()


async def test_one_without_an_end_stays_until_it_is_removed(admin):
    await announce(admin, period="")
    admin.world.clock.advance(10**8)
    assert "Maintenance" in await (await admin.get("/hub/home")).text()

    for _ in range(2):
        answer = await admin.send(f"{PATH}/remove", ADMIN, id="1")
        assert (answer.status, answer.headers["Location"]) == (303, PATH)
    assert "Maintenance" not in await (await admin.get("/hub/home")).text()
    assert admin.world.audit_lines[1:] == [("announce-end", ADMIN, "ok", "1")]


@pytest.mark.parametrize("number", ["", "x", "-1", "1.0", "9" * 40, "٣"])
async def test_an_id_that_is_none_removes_nothing(admin, number):
    await announce(admin)

    assert (await admin.send(f"{PATH}/remove", ADMIN, id=number)).status == 303
    assert len(admin.world.deps.announcements.rows) == 1


@pytest.mark.parametrize(
    "wrong", [{"text": " \n "}, {"text": "x" * 1001}, {"level": "shout"}, {"period": "1"}, {"period": "nan"}]
)
async def test_what_is_wrong_is_said_and_nothing_is_lost(admin, wrong):
    answer = await announce(admin, **{"text": "Keep <this>", **wrong})
    text = await answer.text()

    assert answer.status == 400
    assert 'id="announce-error"' in text
    assert admin.world.deps.announcements.rows == []
    if "text" not in wrong:
        assert "Keep &lt;this&gt;</textarea>" in text


async def no_answer(_):
    await asyncio.Event().wait()


async def failure(_):
    raise StoreError


@pytest.mark.parametrize("look", [failure, no_answer])
async def test_a_store_that_cannot_be_read_takes_no_page_down(browser, look, monkeypatch):
    await browser.world.deps.announcements.add("Still known.", level="info", by=ADMIN, at=NOW)
    assert "Still known." in await (await browser.get("/hub/login")).text()
    monkeypatch.setattr(board, "PATIENCE_S", 0.05)
    browser.world.deps.announcements.list = look
    browser.world.clock.advance(60)
    answer = await browser.get("/hub/login")

    assert answer.status == 200
    assert "Still known." in await answer.text()


async def test_many_pages_look_into_the_store_once(browser):
    reads = []
    look = browser.world.deps.announcements.list

    async def counted(now):
        reads.append(now)
        return await look(now)

    browser.world.deps.announcements.list = counted
    for _ in range(3):
        await browser.get("/hub/login")
    assert len(reads) == 1
    browser.world.clock.advance(6)
    await browser.get("/hub/login")
    assert len(reads) == 2
