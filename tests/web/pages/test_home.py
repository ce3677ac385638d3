"""Hub Control Panel, history, front door."""

from __future__ import annotations

from dataclasses import replace

import pytest

from minihub.errors import Conflict, StoreError
from minihub.servers import explain
from minihub.servers.model import State, StopCause, StopClock
from minihub.servers.service import SchedulerHealth
from tests.web.fakes import NOW, make_attempt


async def home(browser):
    return await (await browser.get("/hub/home")).text()


async def test_without_a_server_it_offers_to_start_one(browser):
    page = await home(browser.log_in())

    assert "You have no server." in page
    assert 'id="start" href="/hub/spawn"' in page
    assert "Servers that have ended will be listed here." in page
    assert 'id="stop"' not in page


async def test_a_running_server_shows_what_it_is_and_how_long_it_has(browser):
    browser.log_in().world.servers.attempts["ada"] = make_attempt(State.READY)
    page = await home(browser)

    for words in (
        "4242",
        "node7",
        "2 cores · 4 GB · 3 h",
        "def-ada",
        "JupyterLab",
        "2 h 01 min",
        "As Slurm said 3 s ago.",
    ):
        assert words in page
    assert 'id="open" href="/user/ada/lab"' in page
    assert 'id="stop"' in page
    assert f'data-until="{NOW + 7260}"' in page


@pytest.mark.parametrize("state", [State.SUBMITTING, State.QUEUED, State.STARTING])
async def test_a_waiting_server_can_be_watched_and_cancelled(browser, state):
    browser.log_in().world.servers.attempts["ada"] = make_attempt(state)
    page = await home(browser)

    assert 'id="progress" href="/hub/spawn-pending/ada"' in page
    assert 'action="/hub/stop"' in page
    assert 'id="open"' not in page


async def test_a_failure_is_explained_with_its_log(make_browser):
    urls = {"help_url": "https://help.example", "status_page_url": "https://status.example"}
    browser = (await make_browser({"hub": urls})).log_in()
    queued = make_attempt(State.QUEUED)
    failed = queued.with_(
        state=State.FAILED, failure=explain.spawn_timeout(queued, 300), log_tail="no <space> left"
    )
    browser.world.servers.attempts["ada"] = failed
    page = await home(browser)

    for words in (
        "Spawn failed: Timeout",
        "Other jobs with a higher priority are ahead in the queue.",
        "What to do:",
        "https://help.example",
        "https://status.example",
        "no &lt;space&gt; left",
    ):
        assert words in page
    assert 'name="again" value="1"' in page


async def test_a_scheduler_that_never_answered_is_named(browser):
    browser.log_in().world.servers.scheduler_health = SchedulerHealth("slurm", None)

    assert "Slurm has not answered yet." in await home(browser)


@pytest.mark.parametrize(
    ("state", "target"),
    [
        (None, "/hub/spawn"),
        (State.STOPPED, "/hub/spawn"),
        (State.READY, "/user/ada/lab"),
        (State.QUEUED, "/hub/spawn-pending/ada"),
        (State.STOPPING, "/hub/spawn-pending/ada"),
        (State.FAILED, "/hub/home"),
    ],
)
async def test_the_front_door_leads_where_a_user_wants_to_be(browser, state, target):
    if state:
        browser.world.servers.attempts["ada"] = make_attempt(state)

    assert (await browser.log_in().get("/hub/")).headers["Location"] == target


async def test_history_is_only_ones_own_and_comes_in_pages(browser):
    servers = browser.log_in().world.servers
    servers.ended = [make_attempt(State.STOPPED, job_id=f"job-{n}-") for n in range(30)]
    servers.ended.append(make_attempt(State.STOPPED, "bob", job_id="bobs-job"))
    first = await (await browser.get("/hub/history")).text()
    second = await (await browser.get("/hub/history?page=2")).text()

    assert "job-24-" in first
    assert "job-25-" not in first
    assert "Stopped by you." in first
    assert 'href="/hub/history?page=2"' in first
    assert "job-25-" in second
    assert 'rel="next"' not in second
    assert "bobs-job" not in first + second


@pytest.mark.parametrize("number", ["0", "-1", "x", "9999999999", "٣"])
async def test_a_page_that_is_none_is_not_found(browser, number):
    assert (await browser.log_in().get(f"/hub/history?page={number}")).status == 404


async def test_health_needs_no_login(browser):
    answer = await browser.get("/hub/health")

    assert (answer.status, await answer.text()) == (200, "ok\n")


async def test_recent_servers_are_listed_without_the_live_one(browser):
    servers = browser.log_in().world.servers
    servers.attempts["ada"] = make_attempt(State.READY, job_id="live-job")
    servers.ended = [
        servers.attempts["ada"],
        *(make_attempt(State.STOPPED, job_id=f"job-{n}-") for n in range(9)),
    ]
    table = (await home(browser)).split("<table>")[1]

    assert "live-job" not in table
    assert "job-4-" in table
    assert "job-5-" not in table


async def test_a_store_that_cannot_be_read_hides_neither_the_server_nor_its_stop(browser):
    browser.world.servers.attempts["ada"] = make_attempt(State.READY)

    async def fail(*_, **__):
        raise StoreError(
            "The hub cannot use its records: the store is damaged. Nothing was changed; try again later."
        )

    browser.world.servers.history = browser.world.servers.last_options = fail
    answer = await browser.log_in().get("/hub/home", **{"Accept-Language": "fr"})
    page = await answer.text()

    assert answer.status == 200
    assert 'id="stop"' in page
    assert "Le hub ne peut pas utiliser ses registres : leur fichier est endommagé." in page


@pytest.mark.parametrize("user", ["ada", "root-of-all"])
async def test_what_only_admins_can_mend_is_shown_to_them(browser, user):
    browser.world.logins.admins.add("root-of-all")
    browser.world.servers.scheduler_health = SchedulerHealth(
        "slurm",
        NOW - 900,
        NOW - 890,
        "The login node is not who it was.",
        "ssh-keygen <R>",
        unknown_jobs=tuple((str(n), "bob", "minihub-<b>") for n in range(1000, 1060)),
    )
    browser.log_in(user)
    page = await home(browser)

    assert "The login node is not who it was." in page
    for text in ("ssh-keygen &lt;R&gt;", "<td>1000</td><td>bob</td>", "minihub-&lt;b&gt;", "60 in all."):
        assert (text in page) == (user == "root-of-all"), text
    assert "<td>1055</td>" not in page, "a page is no list of thousands"


# ---- servers that will be stopped -----------------------------------------------------------------------------------


def put_clock(browser, cause=StopCause.IDLE, **changes):
    clock = StopClock(cause, 7200, NOW + 60, NOW + 660, NOW - 6540, False, 2, 3600)
    attempt = make_attempt(State.READY, clock=replace(clock, **changes))
    browser.log_in().world.servers.attempts["ada"] = attempt


async def test_nothing_is_said_of_stops_where_there_are_none(browser):
    browser.log_in().world.servers.attempts["ada"] = make_attempt(State.READY)
    page = await home(browser)
    assert "Stops by itself" not in page
    assert "stop-warning" not in page
    assert "data-reload-at" not in page


async def test_when_an_idle_server_will_be_stopped_stands_there_long_before(browser):
    put_clock(browser)
    page = await home(browser)
    assert "after 2 h without work: at" in page
    assert f'data-reload-at="{NOW + 60}"' in page, "the page shows the warning by itself"
    assert "stop-warning" not in page
    assert 'id="postpone"' not in page


async def test_a_warning_shows_its_clock_and_a_button(browser):
    put_clock(browser, is_warning=True)
    page = await home(browser)
    assert "Nothing has been done in this server since" in page
    assert f'id="stops-in" data-until="{NOW + 660}">11 min<' in page
    assert f'data-reload-at="{NOW + 660}"' in page
    assert "Keep it for 1 h more" in page
    assert "Stops by itself" not in page


async def test_where_it_may_not_be_kept_there_is_no_button(browser):
    put_clock(browser, is_warning=True, postpones_left=0)
    page = await home(browser)
    assert "stop-warning" in page
    assert 'id="postpone"' not in page


async def test_a_server_that_is_too_old(browser):
    put_clock(browser, StopCause.AGE, is_warning=True, postpones_left=0)
    page = await home(browser)
    assert "Servers run for 2 h at most on this hub" in page
    assert "Any work in it keeps it" not in page
    put_clock(browser, StopCause.AGE)
    assert "2 h after its start" in await home(browser)


async def test_keeping_it_is_audited_and_leads_back(browser):
    put_clock(browser, is_warning=True)
    answer = await browser.send("/hub/postpone")
    assert (answer.status, answer.headers["Location"]) == (303, "/hub/home")
    assert ("postpone", "ada", "ada") in browser.world.servers.asked
    assert [line[0] for line in browser.world.audit_lines] == ["postpone"]
    put_clock(browser)
    await browser.send("/hub/postpone")
    assert len(browser.world.audit_lines) == 1, "nothing was put off"


async def test_keeping_it_needs_the_form_and_a_login(browser):
    assert (await browser.send("/hub/postpone")).headers["Location"].startswith("/hub/login")
    put_clock(browser, is_warning=True)
    assert (await browser.post("/hub/postpone")).status == 403
    assert (await browser.get("/hub/postpone")).status == 405
    assert browser.world.servers.asked == []


async def test_what_cannot_be_put_off_says_so(browser):
    put_clock(browser, is_warning=True)
    browser.world.servers.postpone_error = Conflict("The stop of this server cannot be put off any more.")
    answer = await browser.send("/hub/postpone")
    assert answer.status == 409
    assert "cannot be put off any more" in await answer.text()


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        (StopCause.IDLE, "Stopped because nothing was done in it for 2 h."),
        (StopCause.AGE, "Stopped because it reached the greatest age that this hub allows, 2 h."),
    ],
)
async def test_why_it_was_stopped(browser, cause, words):
    stopped = make_attempt(State.STOPPED, stop_cause=cause, stop_limit_s=7200)
    browser.log_in().world.servers.attempts["ada"] = stopped
    assert words in await home(browser)
