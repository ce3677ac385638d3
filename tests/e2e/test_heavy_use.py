"""Heavy use in the browser: large outputs, 2 GB both ways, floods in a terminal, an application of one's own.

All of it passes through the hub, whose memory stays flat.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import re
import shutil
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import expect

from tests.e2e.browsing import TerminalWire, log_in, open_notebook, run_cell, take
from tests.e2e.kit import PATIENCE_S, fresh_home, person, until

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.browser,
    pytest.mark.asyncio(loop_scope="session"),
]

HOME = Path("/home/alice")
OWN = Path(__file__).parent / "home"
"""What alice has at home: her settings of Jupyter, an application, a server extension."""
MIB = 1 << 20
SIZE = 2048 * MIB
FLAT_MIB = 12
"""Less than this may the hub grow. It grows by 2; by 20 to 400, were it not to wait for those who read slowly."""

LARGE_OUTPUT = """
import os, struct, zlib
from IPython.display import Image, display
for part in range(8):
    print(("%d" % part) * 127 + "\\n", end="")
    print(("x" * 127 + "\\n") * 8191, end="", flush=True)
    display("end of part %d" % part)
side = 1672
def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
rows = b"".join(b"\\0" + os.urandom(3 * side) for _ in range(side))
display(Image(data=b"\\x89PNG\\r\\n\\x1a\\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    + chunk(b"IDAT", zlib.compress(rows, 0)) + chunk(b"IEND", b""), format="png"))
print("%d bytes of picture" % len(rows))
"""


@pytest_asyncio.fixture(loop_scope="session")
async def alice(hub, passwords):
    """Her server, with what she has at home; no trace of it afterwards."""
    places = {
        "jupyter_server_config.py": HOME / ".jupyter/jupyter_server_config.py",
        "echo_app.py": HOME / "echo_app.py",
        "upload_page.py": HOME / "upload_page.py",
    }
    fresh_home("alice")
    (HOME / ".jupyter").mkdir()
    for name, place in places.items():
        shutil.copyfile(OWN / name, place)
        shutil.chown(place, "alice", "alice")
    shutil.chown(HOME / ".jupyter", "alice", "alice")
    try:
        async with person(hub, "alice", passwords["alice"]) as alice:
            await alice.start_and_wait(time_hours="0.5", cores="2", memory_mb="4000")
            yield alice
    finally:
        for place in places.values():
            place.unlink()
        fresh_home("alice")


@contextlib.asynccontextmanager
async def flat_memory(hub):
    """The hub's memory does not grow meanwhile."""
    before = hub.pss_mib()
    seen = [before]

    async def watch():
        while True:
            seen.append(hub.pss_mib())
            await asyncio.sleep(0.05)

    watcher = asyncio.get_running_loop().create_task(watch())
    try:
        yield
    finally:
        watcher.cancel()
    print(f"the hub: {before:.1f} MiB before, {max(seen):.1f} at most")
    assert max(seen) - before < FLAT_MIB, f"{before:.0f} MiB before, {max(seen):.0f} at most"


async def test_a_notebook_with_large_outputs(hub, alice, page, passwords):
    await log_in(page, hub, "alice", passwords, "/user/alice/lab")
    await open_notebook(page)
    async with flat_memory(hub):
        cell = await run_cell(page, 0, LARGE_OUTPUT)
        await expect(cell.locator(".jp-OutputArea-output").last).to_contain_text(
            "bytes of picture", timeout=60_000
        )
        image = cell.locator(".jp-OutputArea-output img")
        await expect(image).to_be_visible()
        assert await image.evaluate("async e => { await e.decode(); return e.naturalWidth; }") == 1672
        outputs = cell.locator(".jp-OutputArea-output")
        # Eight texts, what stands between them, and a picture with its size.
        await expect(outputs).to_have_count(18)

        async def lengths():
            return await outputs.locator("pre").evaluate_all("all => all.map(e => e.textContent.length)")

        # Lab draws long texts piece by piece.
        async with asyncio.timeout(PATIENCE_S):
            while [length for length in await lengths() if length > 1000] != [MIB] * 8:
                await asyncio.sleep(0.2)

        # The kernel goes on.
        cell = await run_cell(page, 1, "print('still', 6 * 7)")
        await expect(cell.locator(".jp-OutputArea-output")).to_contain_text("still 42")
        await take(page, "large-outputs")

        # And all of it goes back to the disk.
        await page.keyboard.press("Control+s")
        rename = page.locator(".jp-Dialog button.jp-mod-accept")
        await rename.click()
        await until(
            lambda: any(file.stat().st_size > 16 * MIB for file in HOME.glob("*.ipynb")),
            "the notebook is saved",
        )


def make_large_file(path: Path) -> str:
    """2 GB with something of its own in each MB, which takes little room on the disk; returns the digest."""
    digest = hashlib.sha256()
    with path.open("wb") as out:
        for number in range(SIZE // MIB):
            stamp = os.urandom(64)
            out.seek(number * MIB)
            out.write(stamp)
            digest.update(stamp + bytes(MIB - len(stamp)))
        out.truncate(SIZE)
    return digest.hexdigest()


def digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@pytest.mark.timeout(420)
async def test_two_gigabytes_down_and_up(hub, alice, page, passwords):
    file = HOME / "large.bin"
    try:
        digest = await asyncio.to_thread(make_large_file, file)
        shutil.chown(file, "alice", "alice")
        await log_in(page, hub, "alice", passwords, "/user/alice/upload")
        async with flat_memory(hub):
            async with page.expect_download() as started:
                await page.evaluate(
                    "() => { const a = document.createElement('a');"
                    " a.href = 'files/large.bin?download=1'; a.click(); }"
                )
            download = await started.value
            got = await download.path()
            assert got.stat().st_size == SIZE
            assert await asyncio.to_thread(digest_of, got) == digest
            await download.delete()
        # One request whose body Chromium reads from the disk; the page's handler rests once and so must Chromium.
        async with flat_memory(hub):
            await page.locator("#file").set_input_files(file)
            await expect(page.locator("#answer")).to_have_text(f"200 {SIZE} {digest}", timeout=180_000)
    finally:
        file.unlink(missing_ok=True)


@pytest.mark.timeout(420)
async def test_floods_in_a_terminal(hub, alice, page, passwords):
    terminal = TerminalWire(page)
    await log_in(page, hub, "alice", passwords, "/user/alice/lab")
    await page.locator(".jp-LauncherCard:visible", has_text="Terminal").first.click()
    # A prompt that leaves the tab's title alone: what sets it has been drawn, with all that came before.
    await terminal.type(page, "PS1='$ '; echo up-$((6*7))", "up-42")
    title = page.locator(".lm-TabBar-tab.lm-mod-current", has=page.locator("[data-icon*=terminal]"))

    async def mark(before: str, word: str) -> None:
        await terminal.type(page, rf"{before}printf '\e]0;{word}-%d\a' $((6*7))", f"{word}-42", 120)
        await expect(title).to_have_text(f"{word}-42", timeout=120_000)

    async with flat_memory(hub):
        before = terminal.count
        await mark("seq 1 2000000; ", "counted")
        # A terminal ends lines with two characters.
        expected = sum(len(str(number)) + 2 for number in range(1, 2_000_001))
        assert 0 <= terminal.count - before - expected < 500, "nothing is lost"

        # What never ends is ended by Ctrl-C.
        before = terminal.count
        await page.keyboard.type("yes")
        await page.keyboard.press("Enter")
        await until(lambda: terminal.count - before > 2 * MIB, "a flood")
        await page.keyboard.press("Control+c")
        await until(lambda: re.search(r"\^C[^y]*\$ $", terminal.heard), "a prompt after Ctrl-C")
        print(f"yes: {(terminal.count - before) / MIB:.0f} MiB")
        await mark("", "back")
        await take(page, "terminal-floods")


async def test_an_application_behind_jupyter_server_proxy(hub, alice, page, passwords):
    await log_in(page, hub, "alice", passwords, "/user/alice/lab")
    async with page.context.expect_page() as opened:
        await page.locator(".jp-LauncherCard:visible", has_text="Echo").click()
    app = await opened.value
    await expect(app).to_have_url(f"{hub.url}/user/alice/echo/")
    await expect(app.locator("#cookies")).to_be_visible()

    async def cookies():
        return {cookie["name"]: cookie for cookie in await page.context.cookies()}

    login = (await cookies())["__Host-minihub"]
    await app.locator("#enter").click()
    # The redirect to /inside/ stays in the application.
    await expect(app).to_have_url(f"{hub.url}/user/alice/echo/inside/")
    shown = app.locator("#cookies")
    await expect(shown).to_contain_text("echo-app=mine")
    await app.locator("#send").click()
    await expect(app.locator("#answer")).to_contain_text("hello, says ")
    await take(app, "server-proxy-application")

    # Its cookie is set for this user's server alone, and the hub's own cookies are neither seen nor replaced.
    after = await cookies()
    assert after["echo-app"]["path"] == "/user/alice/"
    assert after["__Host-minihub"] == login
    for heard in (await shown.inner_text(), await app.locator("#answer").inner_text()):
        assert "echo-app=mine" in heard
        assert "minihub" not in heard
        assert login["value"] not in heard
