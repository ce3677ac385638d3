"""Personal tokens."""

from __future__ import annotations


async def test_a_token_is_shown_once(browser):
    page = await (await browser.log_in().send("/hub/token", note="  my  laptop ", lifetime="86400")).text()

    assert "mh_the-secret-itself" in page
    assert "mh_the-secret-itself" not in await (await browser.get("/hub/token")).text()
    (record,) = browser.world.tokens.records
    assert (record.user, record.note, record.scopes) == ("ada", "my laptop", frozenset({"self"}))
    assert record.expires_at - record.created_at == 86400
    assert browser.world.audit_lines == [("token-create", "ada", "ok", "t1")]


async def test_a_lifetime_beyond_the_hubs_is_refused(make_browser):
    browser = (await make_browser({"auth": {"token_lifetime_s": 100000}})).log_in()
    page = await (await browser.get("/hub/token")).text()
    assert 'value="86400"' in page
    assert 'value="604800"' not in page

    for lifetime in ("604800", "1e9", "-1", "x"):
        answer = await browser.send("/hub/token", lifetime=lifetime)

        assert answer.status == 400
    assert browser.world.tokens.records == []


async def test_a_short_lived_hub_still_offers_something(make_browser):
    browser = (await make_browser({"auth": {"token_lifetime_s": 60}})).log_in()

    assert (await browser.send("/hub/token", lifetime="60")).status == 200


async def test_an_admins_token_needs_the_password_again(browser):
    browser.log_in("root-of-all")
    for password in ("", "wrong", "correct horse"):
        answer = await browser.send("/hub/token", "root-of-all", admin="1", password=password)

        assert answer.status == 403
    assert browser.world.tokens.records == []

    await browser.send("/hub/token", "root-of-all", admin="1", password="battery staple")

    assert browser.world.tokens.records[0].scopes == {"self", "admin"}


async def test_nobody_else_gets_one(browser):
    await browser.log_in().send("/hub/token", admin="1", password="correct horse")

    assert browser.world.tokens.records[0].scopes == {"self"}
    assert 'name="admin"' not in await (await browser.get("/hub/token")).text()


async def test_revoking_ends_only_ones_own(browser):
    await browser.log_in().send("/hub/token", note="a")
    assert "Revoke" in await (await browser.get("/hub/token")).text()
    browser.world.log_in("bob")
    browser.client.session.cookie_jar.update_cookies({"minihub-login": "cookie-of-bob"})
    assert (await browser.send("/hub/token/revoke", "bob", id="t1")).status == 404
    assert browser.world.tokens.records

    browser.log_in()
    answer = await browser.send("/hub/token/revoke", id="t1")

    assert (answer.status, answer.headers["Location"]) == (303, "/hub/token")
    assert browser.world.tokens.records == []


async def test_a_note_is_text(browser):
    await browser.log_in().send("/hub/token", note="<script>x</script>")

    assert "&lt;script&gt;x" in await (await browser.get("/hub/token")).text()
