"""A user's way in the browser: in, Lab, a cell, a terminal, other interfaces, out."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import Page, expect

from tests.e2e.browsing import TerminalWire, log_in, menu, take
from tests.e2e.kit import fresh_home, jobs, slurm, until, visitor

pytestmark = [pytest.mark.cluster, pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


class Album:
    """Pictures of the way, for people to look at."""

    def __init__(self):
        self.count = 0

    async def take(self, page: Page, name: str) -> None:
        self.count += 1
        await take(page, f"way-{self.count:02d}-{name}")


async def fill(page: Page, **fields: str) -> None:
    for name, value in fields.items():
        place = page.locator(f"[name={name}]")
        if name == "interface":
            await page.locator(f"[name=interface][value={value}]").check()
        elif await place.evaluate("e => e.tagName") == "SELECT":
            await place.select_option(value)
        else:
            await place.fill(value)


async def run_cell(page: Page, code: str, printed: str) -> None:
    """Type into the first cell of the open notebook, run it, and wait for what it prints."""
    cell = page.locator(".jp-Notebook:visible .jp-Cell.jp-CodeCell").first
    # Before the kernel is there, Lab drops what is run.
    await expect(page.locator("#jp-main-statusbar")).to_contain_text("| Idle")
    await cell.locator(".cm-content").click()
    await page.keyboard.insert_text(code)
    await page.keyboard.press("Shift+Enter")
    await expect(cell.locator(".jp-OutputArea-output pre").first).to_have_text(printed)


async def start(page: Page, **fields: str) -> None:
    await fill(page, **fields)
    await page.locator("#start").click()


async def test_in_and_out(hub, page, passwords):
    album = Album()
    fresh_home("alice")
    await page.goto(hub.url)
    await expect(page).to_have_url(re.compile("/hub/login"))
    await album.take(page, "login")
    await page.locator("#username").fill("alice")
    await page.locator("#password").fill("not this one")
    await page.locator("#login").click()
    await expect(page.locator("#login-error")).to_be_visible()
    await album.take(page, "login-error")
    await page.locator("#password").fill(passwords["alice"])
    await page.locator("#login").click()

    # The options form.
    await expect(page).to_have_url(re.compile("/hub/spawn$"))
    accounts = page.locator("[name=account] option")
    await expect(accounts).to_have_count(2)
    assert sorted(await accounts.all_inner_texts()) == ["def-prof1", "rrg-prof2"]
    wanted = {"account": "rrg-prof2", "time_hours": "0.5", "cores": "2", "memory_mb": "1500"}
    await fill(page, **wanted, interface="lab")
    await page.locator("#estimate").click()
    await expect(page.locator("#estimate-answer")).to_contain_text("would start")
    await album.take(page, "form")
    await start(page)

    # The wait, and Lab by itself.
    await expect(page).to_have_url(re.compile("/hub/spawn-pending/alice"))
    await album.take(page, "waiting")
    await expect(page).to_have_url(re.compile("/user/alice/lab"))
    await expect(page.locator(".jp-Launcher:visible")).to_be_visible()
    [job] = await until(lambda: jobs(hub, "alice"), "alice's job")
    shown = slurm("squeue", "-h", "-j", job.id, "-o", "%a|%C|%m|%l|%T")
    assert shown == "rrg-prof2|2|1500M|30:00|RUNNING"
    await album.take(page, "lab")

    # A notebook cell.
    await page.locator(".jp-LauncherCard[data-category=Notebook]").first.click()
    await run_cell(
        page,
        "import os, socket; print(os.environ['SLURM_JOB_ID'], socket.gethostname(), os.environ['USER'])",
        f"{job.id} {job.node} alice",
    )
    await album.take(page, "notebook-cell")

    # A terminal.
    terminal = TerminalWire(page)
    await menu(page, "New Launcher")
    await page.locator(".jp-LauncherCard:visible", has_text="Terminal").first.click()
    await terminal.type(page, "echo job-$SLURM_JOB_ID-$((6*7))", f"job-{job.id}-42")
    await terminal.type(page, "echo shell:${BASH_VERSION:+bash}:$((6*7))", "shell:bash:42")
    await album.take(page, "terminal-in-lab")

    # Hub Control Panel, in a tab of its own; stop there.
    async with page.context.expect_page() as opened:
        await menu(page, "Hub Control Panel")
    panel = await opened.value
    await expect(panel.locator("#job-id")).to_have_text(job.id)
    await album.take(panel, "control-panel")
    await panel.locator("#stop").click()
    await panel.wait_for_url(re.compile("/hub/home"))
    await expect(panel.locator("#start")).to_be_visible()
    await album.take(panel, "control-panel-stopped")
    assert jobs(hub, "alice") == []
    await page.close()

    # Again, as Notebook.
    await panel.locator("#start").click()
    assert await panel.locator("[name=cores]").input_value() == "2", "the last choice is shown again"
    await start(panel, interface="notebook", cores="1")
    await expect(panel).to_have_url(re.compile("/user/alice/tree"))
    await expect(panel.locator(".jp-DirListing:visible")).to_be_visible()
    await album.take(panel, "notebook-tree")
    async with panel.context.expect_page() as opened:
        await menu(panel, "Hub Control Panel")
    second = await opened.value
    await second.locator("#restart").click()

    # And as Terminal: "stop and start with other resources".
    await second.wait_for_url(re.compile("/hub/spawn$"))
    await panel.close()
    terminal = TerminalWire(second)
    await start(second, interface="terminal")
    await expect(second).to_have_url(re.compile("/user/alice/terminals/"))
    [third] = jobs(hub, "alice")
    await terminal.type(second, "echo $SLURM_JOB_ID:$((6*7))", f"{third.id}:42")
    await album.take(second, "terminal")

    # Out, by Jupyter's own menu.
    await logs_out(hub, second, album)


async def logs_out(hub, page, album):
    cookies = {
        c["name"]: c["value"] for c in await page.context.cookies() if not c["path"].startswith("/user/")
    }
    # A workspace of its own: the usual one would ask for the kernel that went with the first server.
    await page.goto(f"{hub.url}/user/alice/lab/workspaces/farewell")
    await page.locator(".jp-Launcher:visible").wait_for()
    await menu(page, "Log Out")
    await page.wait_for_url(re.compile("/user/alice/logout|/hub/logout"))
    await expect(page.get_by_role("heading", name="You are logged out")).to_be_visible()
    await album.take(page, "logged-out")
    await expect(page.locator("[data-done]")).to_be_visible()
    await album.take(page, "logged-out-job-gone")
    await until(lambda: slurm("squeue", "-h", "-u", "alice") == "", "nothing is left in squeue")

    # The old cookie opens nothing any more.
    assert any("minihub" in name for name in cookies), cookies
    async with visitor(hub) as thief:
        header = "; ".join(f"{name}={value}" for name, value in cookies.items())
        for path in ("/hub/home", "/user/alice/lab"):
            async with thief.client.get(
                hub.url + path, headers={"Cookie": header}, allow_redirects=False
            ) as answer:
                assert answer.status in (302, 303)
                assert "/hub/login" in answer.headers["Location"]
        async with thief.client.get(
            f"{hub.url}/user/alice/api/status", headers={"Cookie": header, "Accept": "*/*"}
        ) as answer:
            assert answer.status == 403
    await page.goto(f"{hub.url}/hub/home")
    await expect(page).to_have_url(re.compile("/hub/login"))


async def test_the_classic_notebook_has_the_ways_out_too(hub, page, passwords):
    await log_in(page, hub, "carol", passwords)
    await start(page, interface="nbclassic")
    await expect(page).to_have_url(re.compile("/user/carol/nbclassic/tree"))
    await expect(page.locator("#notebook_list")).to_be_visible()
    await take(page, "nbclassic")
    async with page.context.expect_page() as opened:
        await page.locator("#minihub-control-panel").click()
    panel = await opened.value
    await expect(panel.locator("#job-id")).to_be_visible()
    await page.locator("#logout").click()
    await expect(page.get_by_role("heading", name="You are logged out")).to_be_visible()
    await expect(page.locator("[data-done]")).to_be_visible()
    await until(lambda: jobs(hub, "carol") == [], "the job is gone")
