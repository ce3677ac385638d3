"""Who may ask, and which forms are really ours."""

from __future__ import annotations

from urllib.parse import quote

import pytest

PAGES = ["/hub/", "/hub/home", "/hub/history", "/hub/spawn?cores=4", "/hub/token", "/hub/spawn-pending/ada"]
FORMS = ["/hub/spawn", "/hub/stop", "/hub/token", "/hub/token/revoke", "/hub/logout", "/hub/spawn/estimate"]


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_asks_for_a_login_and_comes_back(browser, path):
    answer = await browser.get(path)

    assert (answer.status, answer.headers["Location"]) == (303, f"/hub/login?next={quote(path, safe='')}")


async def test_a_program_gets_401(browser):
    answer = await browser.get("/hub/spawn-pending/ada/state", Accept="application/json")

    assert answer.status == 401
    assert (await answer.json())["status"] == 401


@pytest.mark.parametrize("path", FORMS)
async def test_a_form_without_its_token_does_nothing(browser, path):
    browser.log_in()
    for data in ({}, {"_xsrf": "wrong"}, {"_xsrf": browser.world.xsrf("root-of-all")}):
        answer = await browser.post(path, data)

        assert answer.status == 403
    assert browser.world.servers.asked == []
    assert browser.world.tokens.records == []
    assert browser.world.identity.logins


@pytest.mark.parametrize("path", FORMS)
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://127.0.0.1.evil.example"},
    ],
)
async def test_a_form_of_another_site_does_nothing_even_with_the_token(browser, path, headers):
    browser.log_in()
    answer = await browser.post(path, {"_xsrf": browser.world.xsrf()}, **headers)

    assert answer.status == 403
    assert browser.world.servers.asked == []
    assert browser.world.identity.logins


@pytest.mark.parametrize("path", FORMS)
async def test_a_form_without_a_login_leads_to_the_login(browser, path):
    answer = await browser.post(path, {"cores": "2"})

    assert (answer.status, answer.headers["Location"]) == (303, "/hub/login?next=%2Fhub%2Fhome")


async def test_another_users_pages_are_not_found(browser):
    browser.log_in()
    for path in ("/hub/spawn-pending/bob", "/hub/spawn-pending/bob/state", "/hub/spawn-pending/bob/events"):
        assert (await browser.get(path)).status == 404


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/x-www-form-urlencoded", b"username=\xff"),
        ("application/x-www-form-urlencoded; charset=no-such", b"username=ada"),
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=x", b"--x\r\n\r\n"),
    ],
)
@pytest.mark.parametrize("path", ["/hub/login", "/hub/spawn", "/hub/token"])
async def test_what_is_no_form_is_refused(browser, path, kind, body):
    browser.log_in()
    own = {"Origin": str(browser.client.make_url("/")).rstrip("/"), "Content-Type": kind}
    answer = await browser.client.post(path, data=body, headers={**browser.headers, **own})

    assert answer.status == 400
    assert "not understood" in await answer.text()
