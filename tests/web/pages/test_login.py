"""The login page."""

from __future__ import annotations

import pytest

from minihub.errors import HelperError, NotAllowed, TooManyAttempts


async def log_in(browser, username="ada", password="correct horse", **more):
    page = await (await browser.get("/hub/login")).text()
    token = page.split('name="_xsrf" value="')[1].split('"')[0]
    return await browser.post(
        "/hub/login", {"username": username, "password": password, "_xsrf": token, **more}
    )


async def test_a_right_password_logs_in(browser):
    answer = await log_in(browser)

    assert (answer.status, answer.headers["Location"]) == (303, "/hub/")
    cookie = answer.headers.getall("Set-Cookie")[0]
    assert cookie.startswith("minihub-login=cookie-1-ada")
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert browser.world.audit_lines == [("login", "ada", "ok", "")]
    assert (await browser.get("/hub/home")).status == 200


async def test_under_tls_the_cookie_is_bound_to_the_host(make_browser):
    browser = await make_browser({"hub": {"public_url": "https://hub.example"}})
    page = await browser.get("/hub/login")
    token = (await page.text()).split('name="_xsrf" value="')[1].split('"')[0]
    form_cookie = page.headers["Set-Cookie"].split(";")[0]
    answer = await browser.post(
        "/hub/login",
        {"username": "ada", "password": "correct horse", "_xsrf": token},
        Origin="https://hub.example",
        Cookie=form_cookie,
    )
    cookie = answer.headers["Set-Cookie"]

    assert cookie.startswith("__Host-minihub=")
    assert "Secure" in cookie
    assert "Path=/" in cookie


async def test_a_wrong_password_keeps_the_name_and_says_not_which_half(browser):
    for name, password in (
        ("ada", "wrong"),
        ("nobody", "wrong"),
        ("", ""),
        ("a" * 300, "x"),
        ("ada", "x" * 5000),
    ):
        answer = await log_in(browser, name, password, next="/hub/token")
        page = await answer.text()

        assert answer.status == 403
        assert "Invalid username or password." in page
        assert 'name="next" value="/hub/token"' in page
    assert not browser.world.logins.made
    assert browser.world.audit_lines == [("login", "", "BadCredentials", "")] * 5


async def test_the_name_is_kept_and_escaped_and_the_password_is_not(browser):
    page = await (await log_in(browser, '"><script>x', "my-pass-word")).text()

    assert 'value="&#34;&gt;&lt;script&gt;x"' in page
    assert "my-pass-word" not in page


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (NotAllowed(), 403, "Your account is not admitted to this hub."),
        (TooManyAttempts(), 429, "Too many login attempts are waiting."),
        (
            HelperError("The login service did not answer in time. Please try again."),
            503,
            "did not answer in time",
        ),
    ],
)
async def test_other_refusals_say_why(browser, error, status, words):
    browser.world.refusal = error
    answer = await log_in(browser)

    assert answer.status == status
    assert words in await answer.text()
    assert not browser.world.logins.made


async def test_a_form_that_this_browser_did_not_get_logs_nobody_in(browser):
    data = {"username": "ada", "password": "correct horse"}
    for token in ({}, {"_xsrf": "made-up"}):
        answer = await browser.post("/hub/login", {**data, **token})

        assert answer.status == 403
        assert "This page was too old" in await answer.text()
    assert not browser.world.logins.made


async def test_another_site_logs_nobody_in(browser):
    page = await (await browser.get("/hub/login")).text()
    token = page.split('name="_xsrf" value="')[1].split('"')[0]
    data = {"username": "ada", "password": "correct horse", "_xsrf": token}
    answer = await browser.post("/hub/login", data, Origin="https://evil.example")

    assert answer.status == 403
    assert not browser.world.logins.made


@pytest.mark.parametrize(
    "target", ["//evil.example", "https://evil.example/", "/\\evil.example", "/hub/logout"]
)
async def test_next_leads_nowhere_else(browser, target):
    assert (await log_in(browser, next=target)).headers["Location"] == "/hub/"
    browser.log_in()
    assert (await browser.get("/hub/login?next=" + target)).headers["Location"] == "/hub/"


async def test_next_leads_on(browser):
    target = "/user/ada/lab/tree/a%20b.ipynb?x=1"
    assert (await log_in(browser, next=target)).headers["Location"] == target


async def test_a_new_login_ends_the_old_one(browser):
    browser.log_in("ada")
    old = browser.world.log_in("ada")
    answer = await browser.send("/hub/login", username="ada", password="correct horse")

    assert answer.status == 303
    assert old not in browser.world.identity.logins


async def test_a_hub_for_one_user_says_so(make_browser):
    browser = await make_browser(only_user="ada")
    page = await (await browser.get("/hub/login")).text()

    assert "This hub runs as ada, so only ada can log in." in page
    assert 'name="username" value="ada"' in page


async def test_plain_http_beyond_this_machine_is_warned_of(browser):
    assert "not encrypted" not in await (await browser.get("/hub/login")).text()
    assert "not encrypted" in await (await browser.get("/hub/login", Host="hub.example")).text()
