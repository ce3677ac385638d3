"""A server that is gone, a login that is over, and the ways back to where one was."""

from __future__ import annotations

import contextlib
import re
import sqlite3

import pytest
from playwright.async_api import expect

from tests.e2e.browsing import log_in, take
from tests.e2e.kit import fresh_home, jobs, person, slurm, until, visitor

pytestmark = [pytest.mark.cluster, pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

DEEP = "/user/{}/lab/tree/notes.txt"


async def test_a_deep_link_leads_through_login_and_start_to_its_place(hub, page, passwords):
    fresh_home("bob")
    slurm(
        "setpriv",
        "--reuid=bob",
        "--regid=bob",
        "--clear-groups",
        "sh",
        "-c",
        "echo hello > /home/bob/notes.txt",
    )
    deep = DEEP.format("bob")
    await log_in(page, hub, "bob", passwords, deep)
    # No server: the page says so with 424 and offers one.
    await expect(page).to_have_url(hub.url + deep)
    await expect(page.get_by_role("heading", name="Your server is not running")).to_be_visible()
    assert (await page.request.get(hub.url + deep, headers={"Sec-Fetch-Mode": "navigate"})).status == 424
    await take(page, "not-running")
    await page.locator("#choose").click()
    await page.locator("#start").click()
    await expect(page).to_have_url(hub.url + deep)
    await expect(page.locator(".lm-TabBar-tab", has_text="notes.txt")).to_be_visible()
    # The tab comes before the file, and Lab has another dialog for files that do not.
    await expect(page.locator(".jp-FileEditor:visible .cm-content")).to_contain_text("hello")

    # Cancelled from outside, with Lab open: Lab's own dialog.
    [job] = jobs(hub, "bob")
    slurm("scancel", job.id)
    dialog = page.locator(".jp-Dialog", has_text="Server unavailable or unreachable")
    await expect(dialog).to_be_visible(timeout=60_000)
    await take(page, "server-unavailable")
    # And whoever reloads reads what happened, and comes back to the same place.
    await page.goto(hub.url + deep)
    await expect(page.locator("#failure-message")).to_have_text("The job was cancelled outside the hub.")
    await take(page, "not-running-cancelled")
    await page.locator("#again").click()
    await expect(page).to_have_url(hub.url + deep)
    await expect(page.locator(".lm-TabBar-tab", has_text="notes.txt")).to_be_visible()
    async with person(hub, "bob", passwords["bob"]) as bob:
        # By the hub, for the next test's sake: of jobs that are cancelled elsewhere it hears half a minute later.
        await bob.stop()


async def test_what_programs_are_told_of_a_server_that_is_not_there(hub, passwords):
    async with person(hub, "carol", passwords["carol"]) as carol:
        for path in ("/user/carol/api/contents", "/user/carol/api/kernels"):
            async with carol.client.get(hub.url + path, headers={"Accept": "application/json"}) as answer:
                assert answer.status == 424, "404 would make Lab ask for ever"
                assert answer.content_type == "application/json"
    async with (
        visitor(hub) as nobody,
        nobody.client.get(f"{hub.url}/user/carol/api/contents", headers={"Accept": "*/*"}) as answer,
    ):
        assert answer.status == 403


async def test_a_login_that_ends_while_lab_is_open_leads_back(make_hub, page, passwords):
    fresh_home("carol")
    # Lab asks its server all the time, which renews the login: only the absolute life ends while it is open.
    with make_hub(auth={"absolute_lifetime_s": 30}) as hub:
        hub.start()
        # Started beforehand and by a token: all of the login's life is left for Lab to come up.
        async with visitor(hub, "carol") as carol:
            await carol.log_in(passwords["carol"])
            carol.client.cookie_jar.clear()
            carol.client.headers["Authorization"] = f"token {hub.token('carol', 'self')}"
            async with carol.client.post(f"{hub.url}/hub/api/users/carol/server", json={}) as answer:
                assert answer.status == 202, await answer.text()
            await carol.wait_state("ready")
        await log_in(page, hub, "carol", passwords, "/user/carol/lab")
        await page.wait_for_url(re.compile("/user/carol/lab"))
        await expect(page.locator(".jp-Launcher:visible")).to_be_visible()
        here = page.url
        # The first request that is refused is the end of it.
        async with page.expect_response(
            lambda r: "/user/carol/api/" in r.url and r.status == 403, timeout=60_000
        ):
            pass
        await page.reload()
        await expect(page).to_have_url(re.compile("/hub/login"))
        await take(page, "login-over")
        await page.locator("#username").fill("carol")
        await page.locator("#password").fill(passwords["carol"])
        await page.locator("#login").click()
        await expect(page).to_have_url(re.compile(re.escape(here.split("?")[0])))
        await expect(page.locator("#jp-main-dock-panel")).to_be_visible()
        [job] = jobs(hub, "carol")
        assert job.state == "RUNNING", "the server never noticed"


def logins_in_store(hub):
    with contextlib.closing(sqlite3.connect(f"file:{hub.store}?mode=ro", uri=True)) as store:
        return store.execute("SELECT key FROM login_sessions").fetchall()


async def test_an_idle_login_ends(make_hub, passwords):
    with make_hub(auth={"idle_lifetime_s": 5}) as hub:
        hub.start()
        async with visitor(hub, "alice") as alice:
            await alice.log_in(passwords["alice"])
            assert (await alice.get("/hub/home", allow_redirects=False))[0] == 200
            assert len(logins_in_store(hub)) == 1
            # Not by asking with it: that would be a use.
            await until(lambda: not logins_in_store(hub), "the login is over")
            async with alice.client.get(f"{hub.url}/hub/home", allow_redirects=False) as answer:
                assert answer.status in (302, 303)
                assert answer.headers["Location"].startswith("/hub/login?next=%2Fhub%2Fhome")
