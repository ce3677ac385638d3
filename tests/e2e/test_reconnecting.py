"""A restart of the hub, as somebody sees it who works in JupyterLab: nothing is lost, nothing has to be clicked."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.e2e.browsing import log_in, open_notebook, run_cell, take
from tests.e2e.kit import visitor

pytestmark = [pytest.mark.browser, pytest.mark.cluster, pytest.mark.asyncio(loop_scope="session")]


@pytest.mark.parametrize("how", ["ended", "killed"])
async def test_lab_goes_on_by_itself(hub, page, passwords, how):
    async with visitor(hub, "alice") as alice:
        await alice.log_in(passwords["alice"])
        await alice.start_and_wait(time_hours="0.5")
        await log_in(page, hub, "alice", passwords, "/user/alice/lab?reset")
        await open_notebook(page)
        cell = await run_cell(page, 0, "x = 42; print('before', x)")
        await expect(cell.locator(".jp-OutputArea-output")).to_contain_text("before 42")

        if how == "ended":
            hub.end()
        else:
            hub.kill()
        hub.start()

        # The page was not loaded again, and the kernel is the same one.
        await expect(page.locator("#jp-main-statusbar")).to_contain_text("| Idle", timeout=60_000)
        cell = await run_cell(page, 1, "print('after', x)")
        await expect(cell.locator(".jp-OutputArea-output")).to_contain_text("after 42", timeout=60_000)
        await take(page, f"lab-after-the-hub-was-{how}")
        await alice.stop()
