"""What tests do again and again in the browser."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.async_api import BrowserContext, Page

from tests.e2e.kit import ROOT, Hub

CHROMIUM = "/usr/bin/chromium"
CHROMIUM_ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PICTURES = ROOT / "screenshots"


async def log_in(
    page: Page, hub: Hub, name: str, passwords: dict[str, str], path: str = "/hub/spawn"
) -> None:
    """Log in by the form, on the way to `path`."""
    await page.goto(hub.url + path)
    await page.wait_for_url(re.compile("/hub/login"))
    await page.locator("#username").fill(name)
    await page.locator("#password").fill(passwords[name])
    await page.locator("#login").click()
    await page.wait_for_url(lambda url: "/hub/login" not in url)


async def take(page: Page, name: str, *, full: bool = False) -> None:
    """A picture for people to look at."""
    PICTURES.mkdir(exist_ok=True)
    await page.screenshot(path=PICTURES / f"{name}.png", full_page=full)


async def menu(page: Page, item: str) -> None:
    """Choose from Jupyter's File menu; it holds hidden twins of some items."""
    await page.locator(".lm-MenuBar-item:visible", has_text=re.compile(r"^File$")).click()
    await page.locator(".lm-Menu-item:not(.lm-mod-hidden):visible", has_text=item).click()


async def pictures_of(context: BrowserContext, name: str) -> None:
    """What all pages of a failed test showed."""
    PICTURES.mkdir(exist_ok=True)
    for number, page in enumerate(context.pages):
        file = Path(PICTURES) / f"failed-{re.sub(r'[^A-Za-z0-9_]+', '-', name)}-{number}.png"
        await page.screenshot(path=file)
