"""A restart of the hub, as somebody sees it who works in JupyterLab: nothing is lost, nothing has to be loaded again."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.e2e.browsing import log_in, open_notebook, run_cell, take
from tests.e2e.kit import visitor

pytestmark = [pytest.mark.browser, pytest.mark.cluster, pytest.mark.asyncio(loop_scope="session")]


async def test_lab_goes_on_by_itself(hub, page, passwords):
    async with visitor(hub, "alice") as alice:
        await alice.log_in(passwords["alice"])
        await alice.start_and_wait(time_hours="0.5")
        await log_in(page, hub, "alice", passwords, "/user/alice/lab?reset")
        await open_notebook(page)
        cell = await run_cell(page, 0, "x = 42; print('before', x)")
        await expect(cell.locator(".jp-OutputArea-output")).to_contain_text("before 42")

        # If it asks just then, Lab says that the server cannot be reached, and offers to start one.
        warning = page.locator(".jp-Dialog", has_text="unreachable")
        await page.add_locator_handler(warning, lambda shown: shown.get_by_text("Dismiss").click())
        hub.end()
        hub.start()

        # The page is not loaded again, and the kernel is the same one. Lab itself waits for half a minute before it
        # tries a second time; what is run meanwhile waits with it.
        cell = await run_cell(page, 1, "print('after', x)")
        await expect(cell.locator(".jp-OutputArea-output")).to_contain_text("after 42", timeout=90_000)
        await take(page, "lab-after-a-restart")
        await alice.stop()
