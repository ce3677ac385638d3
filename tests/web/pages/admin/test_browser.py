"""What the script adds to the admins' table, and announcements that are dismissed, in a real browser."""

from __future__ import annotations

import re

import pytest
import pytest_asyncio
from aiohttp import web
from playwright.async_api import async_playwright, expect

from minihub.servers.model import State
from minihub.servers.service import SchedulerHealth
from minihub.store.rows import AuditRow
from tests.web.fakes import NOW, make_app, make_attempt, make_world
from tests.web.pages.admin.conftest import ADMIN
from tests.web.test_javascript import ARGUMENTS

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium():
    """One for all tests; each has a profile of its own."""
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path="/usr/bin/chromium", args=ARGUMENTS)
        yield chromium
        await chromium.close()


@pytest_asyncio.fixture(loop_scope="module")
async def hub(chromium):
    """A hub of fakes with five servers, and an admin's page."""
    world = make_world()
    for n, name in enumerate(("ada", "bob", "cy", "dan", "eve")):
        world.servers.attempts[name] = make_attempt(user=name, id=f"{n:012x}", job_id=str(70 + n))
    runner = web.AppRunner(make_app(world), handler_cancellation=True, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    context = await chromium.new_context(base_url=url, locale="en-GB")
    await context.add_cookies([{"name": "minihub-login", "value": world.log_in(ADMIN), "url": url}])
    page = await context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on(
        "console", lambda message: faults.append(message.text) if "Content Security" in message.text else None
    )
    yield page, world
    await context.close()
    await runner.cleanup()
    assert faults == []


def change(world, user, **changes):
    world.servers.attempts[user] = world.servers.attempts[user].with_(**changes)


def names(page):
    return page.locator("#rows tr td:nth-child(2)")


def row(page, user):
    return page.locator(f'#rows tr[data-key="{user}"]')


async def test_the_table_follows_and_keeps_what_is_ticked_focused_and_sorted(hub):
    page, world = hub
    await page.goto("/hub/admin?sort=-user")
    await expect(names(page)).to_have_text(["eve", "dan", "cy", "bob", "ada"])
    await page.evaluate("window.same = true")
    await row(page, "cy").locator("input").check()
    await row(page, "bob").locator("td:nth-child(5) a").focus()

    change(world, "bob", node="node9")
    change(world, "cy", state=State.STOPPING)
    change(world, "eve", state=State.STOPPED)
    world.servers.attempts["zoe"] = make_attempt(State.QUEUED, "zoe", id="9" * 12)
    await expect(names(page)).to_have_text(["zoe", "dan", "cy", "bob", "ada"])
    await expect(row(page, "cy").locator(".badge")).to_have_text("Stopping")
    await expect(row(page, "cy").locator("input")).to_be_checked()
    await expect(page.locator("#chosen")).to_have_text("1 chosen")
    await expect(row(page, "bob").locator("td:nth-child(5) a")).to_have_text("node9")
    await expect(row(page, "bob").locator("td:nth-child(5) a")).to_be_focused()
    await expect(page.locator("#sums")).to_contain_text("Waiting in the queue 1")
    assert await page.evaluate("window.same"), "the page was not loaded anew"


async def test_it_fills_and_empties(hub):
    page, world = hub
    before, world.servers.attempts = world.servers.attempts, {}
    await page.goto("/hub/admin")
    await expect(page.locator("#empty")).to_be_visible()
    world.servers.attempts = before
    await expect(names(page)).to_have_count(5)
    await expect(page.locator("#empty")).to_be_hidden()
    world.servers.attempts = {}
    await expect(page.locator("#empty")).to_be_visible()


async def test_polling_takes_over_where_events_do_not_come_through(hub):
    page, world = hub
    await page.clock.install()
    await page.route("**/events*", lambda route: route.abort())
    await page.goto("/hub/admin?node=node7")
    change(world, "ada", state=State.STOPPING)
    await page.clock.fast_forward(20_000)

    await expect(row(page, "ada").locator(".badge")).to_have_text("Stopping")


async def test_an_outage_comes_and_goes(hub):
    page, world = hub
    await page.goto("/hub/admin")
    health = world.servers.scheduler_health
    world.servers.scheduler_health = SchedulerHealth("slurm", NOW - 120, NOW - 100)
    change(world, "ada", state=State.STOPPING)
    await expect(page.locator("#age")).to_have_text(
        "Slurm last answered 2 min ago; this is what it said then."
    )
    await expect(page.locator("#age")).to_have_class(re.compile("outage"))
    await page.reload()
    await expect(page.locator("#outage")).to_be_visible()
    world.servers.scheduler_health = health
    await expect(page.locator("#outage")).to_be_hidden()


async def test_stop_two_by_the_keyboard(hub):
    page, _ = hub
    await page.goto("/hub/admin")
    await row(page, "bob").locator("input").focus()
    await page.keyboard.press("Space")
    await row(page, "dan").locator("input").focus()
    await page.keyboard.press("Space")
    await expect(page.locator("#chosen")).to_have_text("2 chosen")
    await page.locator("#stop-chosen").press("Enter")
    await expect(page.locator("#to-stop tbody tr")).to_have_count(2)
    await page.locator("#confirm-stop").press("Enter")
    await expect(page.locator("#stopping li")).to_have_text([re.compile("bob"), re.compile("dan")])
    await page.locator("#back").click()
    await expect(row(page, "bob").locator(".badge")).to_have_text("Stopping")
    await expect(row(page, "ada").locator(".badge")).to_have_text("Running")


async def test_all_on_a_page_are_ticked_at_once(hub):
    page, _ = hub
    await page.goto("/hub/admin")
    await page.locator("#pick-all").check()
    await expect(page.locator("#chosen")).to_have_text("5 chosen")
    await row(page, "ada").locator("input").uncheck()
    await expect(page.locator("#pick-all")).not_to_be_checked()
    await page.locator("#stop-chosen").click()
    await expect(page.locator("#to-stop tbody tr")).to_have_count(4)


async def test_every_page_keeps_to_the_policy_and_to_a_phones_width(hub):
    page, world = hub
    world.users.names.add("ada")
    world.servers.ended = [make_attempt(State.STOPPED)]
    world.deps.audit_log.rows = [AuditRow(1, NOW, "ada", "login", "ada", "192.0.2.7", "ok", "{}")]
    await world.tokens.create("ada", lifetime_s=60)
    await page.set_viewport_size({"width": 390, "height": 844})
    for path in (
        "",
        "/stop?user=ada",
        "/users",
        "/users/ada",
        "/users/ada/revoke",
        "/history",
        "/trends",
        "/audit",
        "/announcements",
    ):
        answer = await page.goto(f"/hub/admin{path}")
        assert answer.status == 200
        width = await page.evaluate("document.scrollingElement.scrollWidth")
        assert width <= 390, f"{path} is {width} wide"


async def test_a_dismissed_announcement_stays_away_and_others_come(hub):
    page, world = hub
    await world.deps.announcements.add("Old news", level="info", by=ADMIN, at=NOW)
    await page.goto("/hub/home")
    await page.locator(".announcement .dismiss").click()
    await expect(page.locator(".announcement")).to_be_hidden()
    await world.deps.announcements.add("New news", level="warning", by=ADMIN, at=NOW)
    world.clock.advance(10)
    await page.goto("/hub/admin")

    await expect(page.get_by_text("New news")).to_be_visible()
    await expect(page.get_by_text("Old news")).to_be_hidden()


async def test_without_scripts_everything_can_be_done(hub):
    page, world = hub
    context = await page.context.browser.new_context(java_script_enabled=False)
    await context.add_cookies(await page.context.cookies())
    plain = await context.new_page()
    await page.goto("/hub/admin")
    await plain.goto(page.url)
    await plain.locator("thead a", has_text="User").click()
    await expect(names(plain)).to_have_text(["eve", "dan", "cy", "bob", "ada"])
    await plain.locator("#f-user").fill("d")
    await plain.locator("#filter").click()
    await expect(names(plain)).to_have_text(["dan", "ada"])
    await row(plain, "dan").locator("input").check()
    await plain.locator("#stop-chosen").click()
    await plain.locator("#confirm-stop").click()
    await expect(plain.locator("#stopping li")).to_have_count(1)
    assert world.servers.attempts["dan"].state is State.STOPPING
    await context.close()
