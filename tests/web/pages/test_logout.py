"""Log Out: in every state of the server, only by its user's own wish."""

from __future__ import annotations

import asyncio

import pytest

from minihub.errors import StoreError
from minihub.servers.model import State, StopCause
from tests.fakes import until
from tests.web.fakes import make_attempt

CLICK = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
LIVE = [State.SUBMITTING, State.QUEUED, State.STARTING, State.READY, State.STOPPING]


@pytest.mark.parametrize("path", ["/hub/logout", "/user/ada/logout"])
@pytest.mark.parametrize("state", LIVE)
async def test_a_click_stops_the_server_in_any_state_and_ends_the_login(browser, path, state):
    world = browser.log_in().world
    world.servers.attempts["ada"] = make_attempt(state)
    answer = await browser.get(path, **CLICK)
    page = await answer.text()

    assert answer.status == 200
    assert ("stop", "ada", StopCause.LOGOUT) in world.servers.asked
    assert not world.identity.logins
    assert 'minihub-login=""' in answer.headers["Set-Cookie"]
    assert "You are logged out" in page
    assert "Your server was stopped." in page
    if state is not State.SUBMITTING:
        assert "Job 4242 is being cancelled" in page
    assert "Hub Control Panel" not in page
    assert [line[0] for line in world.audit_lines] == ["stop", "logout"]


async def test_over_plain_http_the_referer_tells_a_click(browser):
    world = browser.log_in().world
    answer = await browser.get("/hub/logout", Referer=str(browser.client.make_url("/user/ada/lab")))

    assert answer.status == 200
    assert not world.identity.logins


@pytest.mark.parametrize("path", ["/hub/logout", "/user/ada/logout"])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {**CLICK, "Sec-Fetch-Site": "cross-site"},
        {**CLICK, "Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
        {"Referer": "https://evil.example/"},
    ],
)
async def test_anything_else_is_asked_first(browser, path, headers):
    world = browser.log_in().world
    world.servers.attempts["ada"] = make_attempt(State.READY)
    answer = await browser.get(path, **headers)
    if answer.status == 403:  # not a navigation at all: Jupyter's path gives a program no page
        assert path == "/user/ada/logout"
    else:
        assert "Your server will be stopped and its job cancelled." in await answer.text()

    assert world.identity.logins
    assert world.servers.asked == []


async def test_the_confirmation_logs_out(browser):
    world = browser.log_in().world
    answer = await browser.send("/hub/logout")

    assert answer.status == 200
    assert not world.identity.logins
    # There is no server, but perhaps a start that has not come to one yet.
    assert world.servers.asked == [("stop", "ada", StopCause.LOGOUT)]
    assert not [line for line in world.audit_lines if line[0] == "stop"]


async def test_the_page_follows_the_job_until_it_is_gone_without_a_login(browser):
    world = browser.log_in().world
    world.servers.attempts["ada"] = make_attempt(State.READY)
    page = await (await browser.get("/hub/logout", **CLICK)).text()
    link = page.split('data-poll-gone="')[1].split('"')[0].replace("&amp;", "&")
    browser.client.session.cookie_jar.clear()

    assert await (await browser.get(link)).json() == {"gone": False}
    world.servers.attempts["ada"] = world.servers.attempts["ada"].with_(state=State.STOPPED)
    assert await (await browser.get(link)).json() == {"gone": True}


async def test_the_jobs_fate_is_told_to_nobody_else(browser):
    answer = await browser.get("/hub/logout/state?user=ada&attempt=0123456789ab&token=guess")

    assert answer.status == 403


async def test_a_site_may_let_servers_run_on(make_browser):
    browser = (await make_browser({"servers": {"stop_on_logout": False}})).log_in()
    browser.world.servers.attempts["ada"] = make_attempt(State.READY)
    page = await (await browser.get("/hub/logout", **CLICK)).text()

    assert "Your server keeps running until its time limit." in page
    assert browser.world.servers.asked == []


async def test_a_stop_that_cannot_be_written_down_keeps_the_login(browser):
    world = browser.log_in().world
    world.servers.attempts["ada"] = make_attempt(State.READY)
    world.servers.stop_error = StoreError()
    answer = await browser.get("/hub/logout", **CLICK)

    assert answer.status == 503
    assert world.identity.logins


async def test_who_closes_the_window_at_once_is_logged_out_nevertheless(browser):
    world = browser.log_in().world
    world.servers.attempts["ada"] = make_attempt(State.READY)
    world.servers.stop_gate = asyncio.Event()
    click = asyncio.ensure_future(browser.get("/hub/logout", **CLICK))
    await until(lambda: world.servers.asked)
    click.cancel()
    await until(lambda: not browser.client.server.runner.server.connections)
    world.servers.stop_gate.set()

    await until(lambda: not world.identity.logins)


async def test_who_is_not_logged_in_is_told_so(browser):
    answer = await browser.get("/hub/logout")

    assert answer.status == 200
    assert "You are logged out" in await answer.text()


async def test_a_log_out_that_cannot_be_written_down_is_one_and_says_so(browser, monkeypatch):
    world = browser.log_in().world

    async def fail(cookie):
        raise StoreError

    monkeypatch.setattr(world.logins, "revoke", fail)
    answer = await browser.send("/hub/logout")
    page = await answer.text()

    assert answer.status == 200
    assert "You are logged out" in page
    assert 'id="unwritten"' in page
    assert answer.cookies["minihub-login"].value == ""
