"""The waiting page and Stop."""

from __future__ import annotations

import pytest

from minihub.servers import explain
from minihub.servers.model import State, StopCause
from tests.web.fakes import make_attempt

LIVE = [State.SUBMITTING, State.QUEUED, State.STARTING, State.READY]
WAITING = [State.SUBMITTING, State.QUEUED, State.STARTING]


async def test_a_queued_server_shows_state_reason_queue_and_both_limits(browser):
    browser.log_in().world.servers.attempts["ada"] = make_attempt(State.QUEUED)
    page = await (await browser.get("/hub/spawn-pending/ada")).text()

    for words in (
        "Waiting in the queue",
        "Other jobs with a higher priority are ahead in the queue.",
        "PENDING (Priority)",
        "37 jobs wait in the whole cluster",
        "Expected to start",
        "1 min 40 s",
        "5 min",
        "4242",
    ):
        assert words in page
    assert 'http-equiv="refresh"' in page


async def test_a_starting_server_shows_its_node_and_log(browser):
    browser.log_in().world.servers.attempts["ada"] = make_attempt(State.STARTING, log_tail="<b>hello</b>")
    page = await (await browser.get("/hub/spawn-pending/ada")).text()

    assert "node7" in page
    assert "&lt;b&gt;hello&lt;/b&gt;" in page
    assert "Waiting for Jupyter to answer" in page


@pytest.mark.parametrize("state", WAITING)
async def test_cancel_is_there_at_every_moment_and_works_as_a_plain_form(browser, state):
    servers = browser.log_in().world.servers
    servers.attempts["ada"] = make_attempt(state)
    page = await (await browser.get("/hub/spawn-pending/ada")).text()
    assert 'action="/hub/stop"' in page
    assert 'id="cancel"' in page

    answer = await browser.send("/hub/stop")

    assert (answer.status, answer.headers["Location"]) == (303, "/hub/spawn-pending/ada")
    assert servers.asked == [("stop", "ada", StopCause.USER)]
    page = await (await browser.get("/hub/spawn-pending/ada")).text()
    assert "Your server is stopping" in page
    assert 'id="cancel"' not in page


@pytest.mark.parametrize("state", [*LIVE, State.STOPPING, State.STOPPED, State.FAILED, None])
async def test_stop_works_in_every_state_and_twice(browser, state):
    if state:
        browser.log_in().world.servers.attempts["ada"] = make_attempt(state)
    browser.log_in()
    for _ in range(2):
        assert (await browser.send("/hub/stop")).status == 303


async def test_stop_and_start_with_other_resources(browser):
    servers = browser.log_in().world.servers
    servers.attempts["ada"] = make_attempt(State.READY)
    answer = await browser.send("/hub/stop", next="/hub/spawn")
    assert answer.headers["Location"] == "/hub/spawn-pending/ada?next=%2Fhub%2Fspawn"
    page = await (await browser.get(answer.headers["Location"])).text()
    assert 'data-after-stop="/hub/spawn"' in page

    servers.attempts["ada"] = make_attempt(State.STOPPED)

    assert (await browser.get(answer.headers["Location"])).headers["Location"] == "/hub/spawn"


async def test_ready_leads_on_to_the_server_or_the_deep_link(browser):
    browser.log_in().world.servers.attempts["ada"] = make_attempt(State.READY)

    assert (await browser.get("/hub/spawn-pending/ada")).headers["Location"] == "/user/ada/lab"
    deep = "/hub/spawn-pending/ada?next=/user/ada/lab/tree/x.ipynb"
    assert (await browser.get(deep)).headers["Location"] == "/user/ada/lab/tree/x.ipynb"
    evil = "/hub/spawn-pending/ada?next=//evil.example"
    assert (await browser.get(evil)).headers["Location"] == "/user/ada/lab"


async def test_a_cancelled_deep_link_does_not_offer_to_start_again(browser):
    browser.log_in().world.servers.attempts["ada"] = make_attempt(State.STOPPED)
    answer = await browser.get("/hub/spawn-pending/ada?next=/user/ada/lab")

    assert answer.headers["Location"] == "/hub/home"


async def test_without_a_server_there_is_nothing_to_wait_for(browser):
    assert (await browser.log_in().get("/hub/spawn-pending/ada")).headers["Location"] == "/hub/home"
    assert (await browser.get("/hub/spawn-pending/ada/state")).status == 404
    assert (await browser.get("/hub/spawn-pending/ada/events")).status == 404


async def test_a_failure_offers_to_try_again_and_keeps_the_deep_link(browser):
    queued = make_attempt(State.QUEUED)
    failed = queued.with_(state=State.FAILED, failure=explain.spawn_timeout(queued, 300), log_tail="the end")
    browser.log_in().world.servers.attempts["ada"] = failed
    page = await (await browser.get("/hub/spawn-pending/ada?next=/user/ada/lab/x")).text()

    for words in ("Spawn failed: Timeout", "within 5 min.", "Try again", "Change the options", "the end"):
        assert words in page
    assert 'name="next" value="/user/ada/lab/x"' in page
    assert 'href="/hub/spawn?next=%2Fuser%2Fada%2Flab%2Fx"' in page
    assert 'http-equiv="refresh"' not in page


async def test_the_state_for_polling(browser):
    browser.log_in().world.servers.attempts["ada"] = make_attempt(State.QUEUED)
    found = await (await browser.get("/hub/spawn-pending/ada/state")).json()

    assert (found["state"], found["job_id"], found["ready"]) == ("queued", "4242", False)
    assert found["scheduler_age"] == "As Slurm said 3 s ago."
    assert "secret" not in str(found)
    assert browser.world.servers.watching == 0
