"""Takes the pictures of scripts/screenshots, which calls this inside the test cluster."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from playwright.async_api import Browser, BrowserContext, Page, async_playwright  # noqa: E402

from tests.cluster.conftest import Cluster  # noqa: E402
from tests.e2e.browsing import CHROMIUM, CHROMIUM_ARGS, log_in  # noqa: E402
from tests.e2e.kit import (  # noqa: E402
    Hub,
    busy_cluster,
    cluster_settings,
    new_hub,
    person,
    signal_daemon,
)

KINDS: dict[str, dict[str, Any]] = {
    "light": {"viewport": {"width": 1280, "height": 800}, "locale": "en-CA"},
    "dark": {"viewport": {"width": 1280, "height": 800}, "locale": "en-CA", "color_scheme": "dark"},
    "phone": {
        "viewport": {"width": 390, "height": 844},
        "locale": "en-CA",
        "device_scale_factor": 2,
        "is_mobile": True,
        "has_touch": True,
    },
    "french": {"viewport": {"width": 1280, "height": 800}, "locale": "fr-CA"},
}
PROLOGUE = """\
if [ "$USER" = carol ]; then echo "Traceback (most recent call last):"; echo "OSError: [Errno 122] Disk quota exceeded: '/home/carol/.local'"; exit 3; fi
if [ "$USER" = bob ]; then echo "loading modules"; sleep 600; fi
"""


class Camera:
    """One browser profile for each kind and user."""

    def __init__(self, browser: Browser, hub: Hub, passwords: dict[str, str]) -> None:
        self._browser = browser
        self._hub = hub
        self._passwords = passwords
        self._profiles: dict[tuple[str, str], BrowserContext] = {}

    async def page(self, kind: str, user: str = "") -> Page:
        """A new tab of a user (logged in), or of nobody."""
        key = (kind, user)
        if key not in self._profiles:
            profile = await self._browser.new_context(ignore_https_errors=True, **KINDS[kind])
            self._profiles[key] = profile
            if user:
                first = await profile.new_page()
                await log_in(first, self._hub, user, self._passwords, "/hub/home")
                await first.close()
        return await self._profiles[key].new_page()

    async def shoot(self, name: str, path: str, user: str = "", wait_for: str = "main") -> None:
        """Take one page in all kinds."""
        for kind in KINDS:
            page = await self.page(kind, user)
            await page.goto(self._hub.url + path)
            await page.locator(wait_for).first.wait_for()
            await self.keep(page, kind, name)

    async def keep(self, page: Page, kind: str, name: str) -> None:
        """Keep what a page shows, and close it."""
        folder = ROOT / "screenshots" / kind
        folder.mkdir(parents=True, exist_ok=True)
        await page.screenshot(path=folder / f"{name}.png", full_page=True)
        print(f"screenshots/{kind}/{name}.png")
        await page.close()


async def before_any_server(camera: Camera, hub: Hub) -> None:
    """Login, forms, what is wrong with them."""
    await camera.shoot("login", "/hub/login")
    for kind in KINDS:
        page = await camera.page(kind)
        await page.goto(f"{hub.url}/hub/login")
        await page.locator("#username").fill("alice")
        await page.locator("#password").fill("wrong")
        await page.locator("#login").click()
        await page.locator("#login-error").wait_for()
        await camera.keep(page, kind, "login-error")
    await camera.shoot("home-empty", "/hub/home", "alice")
    await camera.shoot("options", "/hub/spawn", "alice")
    await camera.shoot("options-no-account", "/hub/spawn", "dave")
    for kind in KINDS:
        page = await camera.page(kind, "alice")
        await page.goto(f"{hub.url}/hub/spawn")
        await page.locator("#options").evaluate("form => { form.noValidate = true; }")
        for field, value in {"time_hours": "99", "cores": "64", "memory_mb": "1"}.items():
            await page.locator(f"[name={field}]").fill(value)
        await page.locator("#start").click()
        await page.locator("#time_hours-error").wait_for()
        await camera.keep(page, kind, "options-errors")
    await camera.shoot("not-running", "/user/alice/lab/tree/thesis.ipynb", "alice")
    await camera.shoot("not-yours", "/user/bob/lab", "alice")
    await camera.shoot("no-such-page", "/hub/nothing-here", "alice")
    for kind in KINDS:
        page = await camera.page(kind, "alice")
        await page.goto(f"{hub.url}/hub/token")
        await page.locator("#note").fill("nightly copy")
        await page.locator("#make-token").click()
        await page.locator("#secret").wait_for()
        # A picture is no place for a secret, even one of a test.
        await page.locator("#secret").evaluate("e => { e.value = 'mh_' + '•'.repeat(40); }")
        await camera.keep(page, kind, "token")


async def with_servers(camera: Camera, hub: Hub, passwords: dict[str, str]) -> None:
    """Waiting, running, failing, ending."""
    async with person(hub, "alice", passwords["alice"]) as alice:
        with busy_cluster():
            await alice.start(time_hours="1", account="rrg-prof2", gpu_type="a100", gpu_count="1")
            await camera.shoot("waiting", "/hub/spawn-pending/alice", "alice", "#wait .reason:visible")
            await alice.stop()
        await alice.start_and_wait(time_hours="1.5", account="rrg-prof2", cores="2")
        await camera.shoot("home-running", "/hub/home", "alice")
        signal_daemon("slurmctld", signal.SIGSTOP)
        try:
            for _ in range(200):
                if 'id="outage"' in (await alice.get("/hub/home"))[1]:
                    break
                await asyncio.sleep(0.2)
            await camera.shoot("scheduler-silent", "/hub/home", "alice", "#outage")
        finally:
            signal_daemon("slurmctld", signal.SIGCONT)
    async with person(hub, "carol", passwords["carol"]) as carol:
        await carol.start(time_hours="1")
        await carol.wait_state("failed")
        await camera.shoot("failed", "/hub/spawn-pending/carol", "carol")
        await camera.shoot("home-failed", "/hub/home", "carol")
    async with person(hub, "bob", passwords["bob"]) as bob:
        await bob.start(time_hours="1")
        await bob.wait_state("starting")
        await camera.shoot("starting", "/hub/spawn-pending/bob", "bob", ".log pre:visible")
    await camera.shoot("history", "/hub/history", "alice")


async def for_admins(camera: Camera, hub: Hub, passwords: dict[str, str]) -> None:
    """What Carol, an admin, sees while two others have servers."""
    async with person(hub, "alice", passwords["alice"]) as alice, person(hub, "bob", passwords["bob"]) as bob:
        await alice.start_and_wait(time_hours="1.5", account="rrg-prof2", cores="2")
        await bob.start(time_hours="1")
        await bob.wait_state("starting")
        page = await camera.page("light", "carol")
        await page.goto(f"{hub.url}/hub/admin/announcements")
        await page.locator("#text").fill("The file system /scratch is slow today.")
        await page.locator("#announce").click()
        await page.locator(".announcement").wait_for()
        await page.close()
        for name, path, wait_for in (
            ("admin", "", "#rows tr"),
            ("admin-stop", "/stop?user=alice&user=bob", "#confirm-stop"),
            ("admin-users", "/users", "main"),
            ("admin-user", "/users/alice", "main"),
            ("admin-revoke", "/users/alice/revoke", "#confirm-revoke"),
            ("admin-history", "/history", "main"),
            ("admin-trends", "/trends", "svg.plot"),
            ("admin-audit", "/audit", "main"),
            ("admin-announcements", "/announcements", "main"),
        ):
            await camera.shoot(name, f"/hub/admin{path}", "carol", wait_for)


async def on_the_way_out(camera: Camera, hub: Hub) -> None:
    """The question, then the answer."""
    await camera.shoot("logout-question", "/hub/logout", "alice")
    for kind in KINDS:
        page = await camera.page(kind, "alice")
        await page.goto(f"{hub.url}/hub/home")
        await page.locator("#logout").click()
        await page.wait_for_url(re.compile("/hub/logout"))
        await camera.keep(page, kind, "logged-out")


@contextlib.asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Debian's Chromium."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGS)
        yield browser
        await browser.close()


async def main() -> None:
    """All pictures."""
    cluster = Cluster(os.environ["MINIHUB_CLUSTER_NAME"])
    settings = cluster_settings(cluster)
    more = {
        "hub": {
            "site_name": "Example cluster",
            "help_url": "https://help.example/",
            "status_page_url": "https://status.example/",
            "announcement": "Maintenance on Friday from 8:00: jobs that do not end before will wait.",
        },
        "slurm": {"command_timeout_s": 3, "listing_quiet_s": 2},
        "jupyter": {"prologue": PROLOGUE},
    }
    with new_hub(cluster, settings, **more) as hub:
        hub.start()
        async with chromium() as browser:
            camera = Camera(browser, hub, cluster.passwords)
            await before_any_server(camera, hub)
            await with_servers(camera, hub, cluster.passwords)
            await for_admins(camera, hub, cluster.passwords)
            await on_the_way_out(camera, hub)


if __name__ == "__main__":
    asyncio.run(main())
