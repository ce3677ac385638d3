"""An admin in the browser: sees everybody's servers as they change, stops some, looks at a user, announces something."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import Page, expect

from tests.e2e.browsing import log_in
from tests.e2e.kit import jobs, person, text_of, until, visitor

pytestmark = [pytest.mark.cluster, pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


def row(page: Page, user: str):
    return page.locator(f'#rows tr[data-key="{user}"]')


async def test_an_admin_sees_all_and_stops_two(hub, page, passwords):
    await log_in(page, hub, "carol", passwords, "/hub/admin")
    async with person(hub, "alice", passwords["alice"]) as alice, person(hub, "bob", passwords["bob"]) as bob:
        assert (await alice.get("/hub/admin"))[0] == 404
        for someone in (alice, bob):
            await expect(row(page, someone.name)).to_have_count(0)
            await someone.start(time_hours="0.5")
        # The page is not loaded again: the events bring all this.
        for someone in (alice, bob):
            server = await someone.wait_state("ready")
            await expect(row(page, someone.name).locator(".badge")).to_have_text("Running")
            await expect(row(page, someone.name)).to_contain_text(server["job"]["id"])
            await expect(row(page, someone.name)).to_contain_text(server["job"]["node"])
            await row(page, someone.name).locator("input").check()
        assert await page.locator('a[href*="/user/"]').count() == 0

        await page.locator("#stop-chosen").click()
        await expect(page.locator("#to-stop tbody tr")).to_have_count(2)
        assert len(jobs(hub, "alice")) == len(jobs(hub, "bob")) == 1, "only asked so far"
        await page.locator("#confirm-stop").click()
        await expect(page.locator("#stopping li")).to_have_text([re.compile("alice"), re.compile("bob")])
        for someone in (alice, bob):
            await until(
                lambda name=someone.name: not jobs(hub, name), f"{someone.name}'s job is gone from squeue"
            )
            await someone.wait_page("/hub/history", "Stopped by an administrator.")
        await page.locator("#back").click()
        await expect(row(page, "alice")).to_have_count(0)

        await page.goto(f"{hub.url}/hub/admin/users/alice")
        await expect(page.locator("table.past")).to_contain_text("Stopped by an administrator.")
        await expect(page.locator("table.audit tbody tr").first).to_contain_text(
            re.compile("carol.*Stop of a server.*alice", re.DOTALL)
        )
        await page.goto(f"{hub.url}/hub/admin/trends")
        await expect(page.locator("svg.plot title").first).to_have_text("Servers")

        await page.goto(f"{hub.url}/hub/admin/users/alice")
        await page.locator("#revoke-all").click()
        await page.locator("#confirm-revoke").click()
        await expect(page.locator("#revoked")).to_be_visible()
        assert "You have no server" not in text_of((await alice.get("/hub/home"))[1])
        await alice.log_in(passwords["alice"])


async def test_an_announcement_reaches_the_login_page_and_ends(hub, page, passwords):
    await log_in(page, hub, "carol", passwords, "/hub/admin/announcements")
    await page.locator("#text").fill("Maintenance on <Friday>")
    await page.locator("#level").select_option("warning")
    await page.locator("#announce").click()
    await expect(page.locator(".announcement")).to_contain_text("Maintenance on <Friday>")
    async with visitor(hub) as anybody:
        assert "Maintenance on &lt;Friday&gt;" in (await anybody.get("/hub/login"))[1]
        await page.get_by_role("button", name=re.compile("Remove: Maintenance")).click()
        await expect(page.get_by_text("Nothing is announced.")).to_be_visible()
        assert "Friday" not in (await anybody.get("/hub/login"))[1]
