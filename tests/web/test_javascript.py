"""What the scripts add to the pages, in a real browser."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from aiohttp import web
from playwright.async_api import async_playwright, expect

from minihub.schedulers.base import Estimate
from minihub.servers.model import State, StopCause, StopClock
from minihub.servers.service import Progress
from tests.web.fakes import NOW, make_app, make_attempt, make_world

pytestmark = pytest.mark.browser

expect.set_options(timeout=30_000)  # five seconds are little on a busy machine

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
]


@pytest.fixture
async def hub():
    """A hub of fakes on a free port, with a browser page that is logged in as ada."""
    world = make_world()
    app = make_app(world)

    async def lab(_):
        return web.Response(text="<title>Lab</title>", content_type="text/html")

    app.router.add_get("/elsewhere/lab", lab)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path="/usr/bin/chromium", args=ARGUMENTS)
        context = await chromium.new_context(base_url=url, locale="en-GB")
        await context.add_cookies([{"name": "minihub-login", "value": world.log_in(), "url": url}])
        page = await context.new_page()
        faults: list[str] = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        yield page, world
        await chromium.close()
    await runner.cleanup()
    assert faults == []


class Steps:
    """A progress that the test drives."""

    def __init__(self, world):
        self.servers = world.servers
        self.changed = asyncio.Event()
        world.servers.progress = self.progress

    def to(self, attempt):
        self.servers.attempts["ada"] = attempt
        self.changed.set()

    async def progress(self, user):
        while True:
            attempt = self.servers.attempts[user]
            final = {f"{attempt.state}": True} if attempt.state in {"ready", "failed", "stopped"} else {}
            yield Progress(50, "", attempt=attempt, **final)
            if final:
                return
            self.changed.clear()
            await self.changed.wait()


async def test_the_waiting_page_follows_the_events_to_the_server(hub):
    page, world = hub
    steps = Steps(world)
    steps.to(make_attempt(State.QUEUED))
    await page.goto("/hub/spawn-pending/ada?next=/elsewhere/lab")
    await expect(page.locator("#wait .badge")).to_have_text("Waiting in the queue")
    await expect(page.locator("#wait dd", has_text="node7")).to_be_hidden()

    steps.to(make_attempt(State.STARTING))
    await expect(page.locator("#wait .badge")).to_have_text("Starting")
    await expect(page.locator("#wait dd", has_text="node7")).to_be_visible()
    await expect(page.locator("#wait dd", has_text="37 jobs wait")).to_be_hidden()
    await expect(page).to_have_title("Starting · minihub")

    steps.to(make_attempt(State.READY))
    await expect(page).to_have_title("Lab")


async def test_polling_takes_over_where_events_do_not_come_through(hub):
    page, world = hub
    await page.route("**/events", lambda route: route.abort())
    steps = Steps(world)
    steps.to(make_attempt(State.QUEUED))
    await page.goto("/hub/spawn-pending/ada?next=/elsewhere/lab")
    steps.to(make_attempt(State.READY))

    await expect(page).to_have_title("Lab")


async def test_cancel_leads_through_stopping_to_the_control_panel(hub):
    page, world = hub
    steps = Steps(world)
    steps.to(make_attempt(State.QUEUED))
    await page.goto("/hub/spawn-pending/ada")
    await page.click("#cancel")
    await expect(page.locator("h1")).to_have_text("Your server is stopping")

    steps.to(make_attempt(State.STOPPED))
    await expect(page.locator("h1")).to_have_text("Hub Control Panel")


async def test_the_estimate_is_shown_in_the_readers_time(hub):
    page, world = hub
    await page.goto("/hub/spawn")
    await page.click("#estimate")
    await expect(page.locator("#estimate-answer")).to_contain_text("It would start about")
    await page.fill("#cores", "3")
    await expect(page.locator("#estimate-answer")).to_have_text("")

    world.servers.estimate_result = Estimate(NOW)
    await page.click("#estimate")
    await expect(page.locator("#estimate-answer")).to_have_text("It would start right away.")
    assert world.servers.asked[-1][2]["cores"] == "3"


async def test_a_gpu_type_brings_a_number(hub):
    page, _ = hub
    await page.goto("/hub/spawn")
    await page.select_option("#gpu_type", "a100")
    await expect(page.locator("#gpu_count")).to_have_value("1")
    await page.select_option("#gpu_type", "")
    await expect(page.locator("#gpu_count")).to_have_value("0")


async def test_log_out_by_a_click_tells_when_the_job_is_gone(hub):
    page, world = hub
    world.servers.attempts["ada"] = make_attempt(State.READY)
    await page.goto("/hub/home")
    await page.click("#logout")
    await expect(page.locator("[data-while]")).to_be_visible()
    world.servers.attempts["ada"] = make_attempt(State.STOPPED)

    await expect(page.get_by_text("Your server was stopped and job 4242 is gone.")).to_be_visible()


async def test_the_control_panel_shows_a_warning_by_itself(hub):
    page, world = hub
    clock = StopClock(StopCause.IDLE, 7200, NOW + 1, NOW + 600, NOW - 6600, False, 1, 3600)
    world.servers.attempts["ada"] = make_attempt(State.READY, clock=clock)
    await page.goto("/hub/home")
    await expect(page.locator("#stops-at")).to_be_visible()
    world.servers.attempts["ada"] = make_attempt(State.READY, clock=replace(clock, is_warning=True))
    await expect(page.locator("#stop-warning")).to_be_visible()
