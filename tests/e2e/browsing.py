"""What tests do again and again in the browser."""

from __future__ import annotations

import json
import re
from pathlib import Path

from playwright.async_api import BrowserContext, Locator, Page, expect

from tests.e2e.kit import PATIENCE_S, ROOT, Hub, until

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


async def open_notebook(page: Page) -> None:
    """Open a new notebook from Lab's launcher, with its kernel: before that is there, Lab drops what is run."""
    await page.locator(".jp-LauncherCard[data-category=Notebook]").first.click()
    await expect(page.locator("#jp-main-statusbar")).to_contain_text("| Idle")


async def run_cell(page: Page, number: int, code: str) -> Locator:
    """Type into a cell of the open notebook and run it; returns the cell."""
    cell = page.locator(".jp-Notebook:visible .jp-Cell.jp-CodeCell").nth(number)
    await cell.locator(".cm-content").click()
    await page.keyboard.insert_text(code)
    await page.keyboard.press("Shift+Enter")
    return cell


class TerminalWire:
    """What a page's terminals print, as its websockets bring it: Lab draws it on a canvas that no test can read."""

    KEPT = 10_000

    def __init__(self, page: Page):
        self.heard = ""
        """The end of it, so that a flood is no burden."""
        self.count = 0
        """Characters of all of it."""
        page.on("websocket", self._listen)

    def _listen(self, socket):
        if "/terminals/websocket/" in socket.url:
            socket.on("framereceived", self._hear)

    def _hear(self, frame):
        kind, *words = json.loads(frame)
        if kind == "stdout":
            self.heard = (self.heard + words[0])[-self.KEPT :]
            self.count += len(words[0])

    async def type(self, page: Page, command: str, answer: str, timeout_s: float = PATIENCE_S) -> None:
        """Type a command whose output is `answer`, which the command itself must not hold."""
        assert answer not in command
        await page.locator(".xterm:visible").wait_for()
        # What is typed before the shell is up may be lost.
        await until(lambda: "$ " in self.heard, "a prompt in the terminal")
        await page.locator(".xterm-helper-textarea:visible").first.focus()
        await page.keyboard.type(command)
        await page.keyboard.press("Enter")
        said = f"{answer} in the terminal, which says {self.heard!r}"
        await until(lambda: answer in self.heard, said, timeout_s)


async def pictures_of(context: BrowserContext, name: str) -> None:
    """What all pages of a failed test showed."""
    PICTURES.mkdir(exist_ok=True)
    for number, page in enumerate(context.pages):
        file = Path(PICTURES) / f"failed-{re.sub(r'[^A-Za-z0-9_]+', '-', name)}-{number}.png"
        await page.screenshot(path=file)
