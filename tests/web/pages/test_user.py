"""Paths of servers that do not answer, through the real proxy; and the redirects to servers."""

from __future__ import annotations

import pytest
from yarl import URL

from minihub.servers import explain
from minihub.servers.model import State
from tests.web.fakes import make_attempt

DEEP = "/user/ada/lab/tree/a%20b.ipynb?x=1"


async def test_a_deep_link_offers_a_start_and_comes_back(browser):
    answer = await browser.log_in().get(DEEP)
    page = await answer.text()

    assert answer.status == 424
    assert "Your server is not running" in page
    assert 'href="/hub/spawn?next=%2Fuser%2Fada%2Flab%2Ftree%2Fa%2520b.ipynb%3Fx%3D1"' in page
    assert "/user/ada/lab/tree/a%20b.ipynb?x=1</code>" in page
    assert 'name="again"' not in page
    assert answer.headers["X-Frame-Options"] == "DENY"


async def test_who_had_one_may_repeat_it_and_hears_how_it_ended(browser):
    failure = explain.unavailable("No route to host.")
    browser.log_in().world.servers.attempts["ada"] = make_attempt(State.FAILED, failure=failure)
    page = await (await browser.get(DEEP)).text()

    assert "The scheduler is not responding." in page
    assert 'name="again" value="1"' in page
    assert 'name="next" value="/user/ada/lab/tree/a%20b.ipynb?x=1"' in page


@pytest.mark.parametrize("state", [State.SUBMITTING, State.QUEUED, State.STARTING])
async def test_one_that_is_starting_can_be_waited_for(browser, state):
    browser.log_in().world.servers.attempts["ada"] = make_attempt(state)
    page = await (await browser.get(DEEP)).text()

    assert 'id="wait-for-it" href="/hub/spawn-pending/ada?next=%2Fuser%2Fada' in page


async def test_a_server_that_does_not_answer_is_not_called_stopped(browser):
    browser.log_in().world.servers.attempts["ada"] = make_attempt(State.READY)
    answer = await browser.get(DEEP)
    page = await answer.text()

    assert answer.status in {424, 503}
    assert "Its job still runs, so nothing is lost." in page
    assert answer.headers["Retry-After"] == "5"


async def test_api_calls_get_json(browser):
    answer = await browser.log_in().get("/user/ada/api/contents", Accept="application/json")

    assert answer.status == 424
    assert "message" in await answer.json()


async def test_without_a_login_a_person_logs_in_first(browser):
    answer = await browser.get(DEEP)

    assert answer.status in {302, 303}
    assert answer.headers["Location"] == "/hub/login?next=%2Fuser%2Fada%2Flab%2Ftree%2Fa%2520b.ipynb%3Fx%3D1"


async def test_anothers_server_is_refused_whether_or_not_there_is_one(browser):
    browser.log_in().world.servers.attempts["bob"] = make_attempt(State.READY, "bob")
    pages = []
    for name in ("bob", "eve"):
        answer = await browser.get(f"/user/{name}/lab")
        assert answer.status == 403
        text = await answer.text()
        pages.append(text.replace(name, "NAME").replace(answer.headers["X-Request-ID"], ""))

    assert "you are logged in as ada" in pages[0]
    assert pages[0] == pages[1]


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/hub/user-redirect/lab/tree/a%20b.ipynb?x=1", DEEP),
        ("/hub/user-redirect/", "/user/ada/"),
        ("/hub/user/ada/lab/tree/a%20b.ipynb?x=1", DEEP),
        ("/hub/user/bob/lab", "/user/bob/lab"),
        ("/hub/user-redirect//evil.example/", "/user/ada/"),
        ("/hub/user-redirect/x/..%2f..%2fhub/logout", "/user/ada/"),
    ],
)
async def test_redirects_to_servers(browser, path, target):
    answer = await browser.log_in().client.get(
        URL(path, encoded=True), headers=browser.headers, allow_redirects=False
    )

    assert (answer.status, answer.headers["Location"]) == (303, target)
