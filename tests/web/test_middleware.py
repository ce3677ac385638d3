"""What surrounds every request: ids, headers, languages, errors."""

from __future__ import annotations

import logging

import pytest

from minihub.errors import StoreError
from minihub.servers.service import SchedulerHealth
from tests.web.fakes import NOW


async def test_every_answer_has_an_id_and_the_security_headers(browser):
    for path in ("/hub/login", "/hub/nothing", "/hub/health"):
        answer = await browser.get(path)

        assert len(answer.headers["X-Request-ID"]) == 12
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "same-origin"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Server"] == "minihub"
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
        assert "unsafe-inline" not in answer.headers["Content-Security-Policy"]
        assert "Strict-Transport-Security" not in answer.headers


async def test_no_page_has_a_script_or_style_inside(browser):
    browser.log_in()
    for path in (
        "/hub/login",
        "/hub/home",
        "/hub/spawn",
        "/hub/token",
        "/hub/history",
        "/hub/logout",
        "/hub/x",
    ):
        page = await (await browser.get(path)).text()

        assert "<script>" not in page
        assert "<style" not in page
        assert " style=" not in page
        assert " onclick=" not in page


async def test_hsts_only_under_tls_that_browsers_trust(make_browser):
    public = {"hub": {"public_url": "https://hub.example"}}
    browser = await make_browser(public)
    assert "Strict-Transport-Security" in (await browser.get("/hub/login")).headers

    browser = await make_browser({**public, "tls": {"self_signed": True}})
    assert "Strict-Transport-Security" not in (await browser.get("/hub/login")).headers


async def test_french_by_the_browser_and_by_the_switch(browser):
    browser.log_in()
    page = await (await browser.get("/hub/home", **{"Accept-Language": "fr-CA"})).text()
    assert '<html lang="fr"' in page
    assert "Panneau de contrôle du hub" in page

    answer = await browser.get("/hub/language?to=fr&next=/hub/history?page=2")
    assert (answer.status, answer.headers["Location"]) == (303, "/hub/history?page=2")
    assert "Historique" in await (await browser.get("/hub/history")).text()


async def test_the_switch_goes_nowhere_else_and_knows_its_languages(browser):
    assert (await browser.get("/hub/language?to=fr&next=//evil.example")).headers["Location"] == "/hub/"
    assert (await browser.get("/hub/language?to=xx")).status == 404


async def test_a_fault_is_a_page_with_its_number_and_tells_nothing_more(browser, caplog):
    browser.log_in()

    async def crash(*_, **__):
        raise RuntimeError("the inner secret")

    browser.world.servers.history = crash
    with caplog.at_level(logging.CRITICAL):
        answer = await browser.get("/hub/home")
    page = await answer.text()

    assert answer.status == 500
    assert "This is a fault of the hub" in page
    assert answer.headers["X-Request-ID"] in page
    assert "inner secret" not in page


async def test_an_error_of_ours_gives_its_status_and_words(browser):
    browser.log_in()

    async def fail(*_, **__):
        raise StoreError(detail="disk full at /var/lib")

    browser.world.servers.history = fail
    answer = await browser.get("/hub/history")
    page = await answer.text()

    assert answer.status == 503
    assert "The hub cannot write its records right now." in page
    assert "/var/lib" not in page


async def test_programs_get_json(browser):
    answer = await browser.get("/hub/nothing", Accept="*/*")

    assert answer.status == 404
    assert await answer.json() == {"status": 404, "message": "Nothing here"}


async def test_a_wrong_method_says_which_are_right(browser):
    browser.log_in()
    answer = await browser.get("/hub/stop")

    assert (answer.status, answer.headers["Allow"]) == (405, "POST")


async def test_a_planted_second_cookie_locks_nobody_out(browser):
    cookie = browser.world.log_in()
    answer = await browser.get("/hub/home", Cookie=f"minihub-login=planted; minihub-login={cookie}")

    assert answer.status == 200


@pytest.mark.parametrize("path", ["/", "/hub"])
async def test_the_root_leads_to_the_hub(browser, path):
    answer = await browser.get(path)

    assert (answer.status, answer.headers["Location"]) == (303, "/hub/")


async def test_everything_works_under_a_base_path(make_browser):
    browser = (await make_browser({"hub": {"base_path": "/jupyter/"}})).log_in()

    assert (await browser.get("/jupyter/")).headers["Location"] == "/jupyter/hub/"
    assert (await browser.get("/hub/home")).status == 404
    page = await (await browser.get("/jupyter/hub/home")).text()
    links = [part.split('"')[0] for key in ("href", "action", "src") for part in page.split(f'{key}="')[1:]]
    assert links
    assert all(link.startswith(("/jupyter/", "#")) for link in links)


async def test_the_outage_is_on_every_page(browser):
    browser.world.servers.scheduler_health = SchedulerHealth(
        "slurm", NOW - 900, NOW - 890, "No route to host."
    )
    browser.log_in()
    for path in ("/hub/home", "/hub/token", "/hub/history"):
        page = await (await browser.get(path)).text()

        assert "Slurm has not answered since" in page
        assert "No route to host." in page
        assert "Running servers are untouched." in page


async def test_the_announcement_is_text(make_browser):
    browser = await make_browser({"hub": {"announcement": "<b>Maintenance</b>"}})

    assert "&lt;b&gt;Maintenance&lt;/b&gt;" in await (await browser.get("/hub/login")).text()
