"""The options form, its estimate, the start."""

from __future__ import annotations

import asyncio

import pytest

from minihub.errors import Conflict, OptionsError, SchedulerUnavailable, StoreError, SubmitRejected
from minihub.schedulers.base import Estimate
from minihub.servers.model import State
from tests.web.fakes import NOW, make_attempt, make_form


async def test_the_form_shows_choices_and_age(browser):
    page = await (await browser.log_in().get("/hub/spawn")).text()

    for words in ('<option value="rrg-prof">', "JupyterLab", "40 cores idle", "as Slurm said 42 s ago"):
        assert words in page
    assert page.count("<label") >= 8


async def test_a_link_fills_the_form_by_known_names_only(browser):
    await browser.log_in().get("/hub/spawn?cores=4&opt-memory_mb=8192&evil=1&next=/hub/token")

    assert browser.world.servers.asked == [("form", "ada", {"cores": "4", "memory_mb": "8192"})]


async def test_a_start_passes_the_words_on_and_waits(browser):
    answer = await browser.log_in().send(
        "/hub/spawn", cores="2", time_hours="1,5", next="/user/ada/lab/tree/x.ipynb", account="def-ada"
    )

    assert answer.status == 303
    assert answer.headers["Location"] == "/hub/spawn-pending/ada?next=%2Fuser%2Fada%2Flab%2Ftree%2Fx.ipynb"
    started = [call for call in browser.world.servers.asked if call[0] == "start"]
    assert started == [
        ("start", "ada", {"cores": "2", "time_hours": "1.5", "account": "def-ada", "rescue": False})
    ]
    assert browser.world.audit_lines == [("start", "ada", "ok", "")]


async def test_a_second_post_shows_the_one_that_exists(browser):
    browser.log_in()
    answers = await asyncio.gather(*(browser.send("/hub/spawn", cores="1") for _ in range(2)))
    targets = sorted(answer.headers["Location"] for answer in answers)

    assert targets == ["/hub/spawn-pending/ada", "/hub/spawn-pending/ada?existing=1"]
    assert len(browser.world.audit_lines) == 1
    assert "You have a server already" in await (await browser.get(targets[1])).text()


async def test_again_repeats_the_last_options(browser):
    await browser.log_in().send("/hub/spawn", again="1", cores="99")

    assert browser.world.servers.asked == [("start", "ada", None)]


async def test_errors_stand_beside_their_fields_and_nothing_typed_is_lost(browser):
    browser.log_in().world.servers.start_error = OptionsError(
        {"cores": "At most 64 on one node.", "qos": "You may not."}
    )
    answer = await browser.send("/hub/spawn", cores="9999", time_hours="<7>", next="/hub/token")
    page = await answer.text()

    assert answer.status == 400
    assert 'value="9999"' in page
    assert 'value="&lt;7&gt;"' in page
    assert 'id="cores-error">At most 64 on one node.' in page
    assert 'aria-describedby="cores-error cores-hint" aria-invalid="true"' in page
    assert "qos: You may not." in page
    assert 'name="next" value="/hub/token"' in page


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Conflict("Your last server is still stopping. Wait a moment until its job is gone."), 409),
        (SchedulerUnavailable("The scheduler is not responding."), 503),
        (StoreError(), 503),
    ],
)
async def test_other_refusals_keep_the_form_too(browser, error, status):
    browser.log_in().world.servers.start_error = error
    answer = await browser.send("/hub/spawn", cores="7")
    page = await answer.text()

    assert answer.status == status
    assert error.user_message in page
    assert 'value="7"' in page


async def test_a_problem_is_explained_and_nothing_can_be_sent(browser):
    browser.log_in().world.servers.form_now = make_form(
        limits=None, accounts=(), problem="Slurm does not answer right now."
    )
    page = await (await browser.get("/hub/spawn")).text()

    assert "Slurm does not answer right now." in page
    assert 'id="start" disabled' in page


@pytest.mark.parametrize(
    ("state", "target"),
    [
        (State.READY, "/user/ada/lab"),
        (State.QUEUED, "/hub/spawn-pending/ada"),
        (State.STOPPING, "/hub/spawn-pending/ada"),
    ],
)
async def test_who_has_a_server_is_led_to_it(browser, state, target):
    browser.log_in().world.servers.attempts["ada"] = make_attempt(state)

    assert (await browser.get("/hub/spawn")).headers["Location"] == target


async def test_a_ready_server_opens_the_deep_link(browser):
    browser.log_in().world.servers.attempts["ada"] = make_attempt(State.READY)

    assert (await browser.get("/hub/spawn?next=/user/ada/tree/x")).headers["Location"] == "/user/ada/tree/x"


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (Estimate(NOW + 600), {"starts_at": NOW + 600, "at_once": False, "message": "", "refused": False}),
        (Estimate(NOW + 5), {"starts_at": NOW + 5, "at_once": True, "message": "", "refused": False}),
        (
            Estimate(None, "Who knows"),
            {"starts_at": None, "at_once": False, "message": "Who knows", "refused": False},
        ),
        (
            SubmitRejected("No node has that many cores."),
            {"starts_at": None, "message": "No node has that many cores.", "refused": True},
        ),
    ],
)
async def test_an_estimate(browser, result, expected):
    browser.log_in().world.servers.estimate_result = result
    answer = await browser.send("/hub/spawn/estimate", cores="2")

    assert (answer.status, await answer.json()) == (200, expected)
    assert browser.world.servers.asked[-1] == ("estimate", "ada", {"cores": "2", "rescue": False})


async def test_an_estimate_of_wrong_options_says_which(browser):
    browser.log_in().world.servers.estimate_result = OptionsError({"cores": "A number is needed."})
    answer = await browser.client.post(
        "/hub/spawn/estimate",
        data={"_xsrf": browser.world.xsrf()},
        headers={"Accept": "*/*", "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"},
    )

    assert answer.status == 400
    assert (await answer.json())["fields"] == {"cores": "A number is needed."}


async def test_one_estimate_at_a_time(browser):
    servers = browser.log_in().world.servers
    servers.estimate_gate = asyncio.Event()
    first = asyncio.ensure_future(browser.send("/hub/spawn/estimate"))
    while not any(call[0] == "estimate" for call in servers.asked):
        await asyncio.sleep(0.01)
    second = await browser.send("/hub/spawn/estimate")
    servers.estimate_gate.set()

    assert second.status == 429
    assert (await first).status == 200
    assert (await browser.send("/hub/spawn/estimate")).status == 200
