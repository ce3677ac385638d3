"""Templates and static files: found, overridden, kept."""

from __future__ import annotations

import pytest

from minihub.web.assets import StaticFiles, templates_dir
from minihub.web.urls import Urls


def test_the_templates_of_a_checkout_are_found():
    assert (templates_dir() / "base.html").is_file()


def test_the_link_changes_with_the_content_and_a_site_may_replace_a_file(tmp_path):
    ours = StaticFiles([templates_dir()], Urls())
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "hub.css").write_text("body { color: red }")
    theirs = StaticFiles([tmp_path, templates_dir()], Urls())

    assert ours.url("hub.css") != theirs.url("hub.css")
    assert ours.url("hub.js") == theirs.url("hub.js")
    with pytest.raises(KeyError):
        ours.url("no.css")


async def test_static_files_are_kept_for_ever_by_their_version(browser):
    page = await (await browser.get("/hub/login")).text()
    link = page.split('rel="stylesheet" href="')[1].split('"')[0]
    answer = await browser.get(link)

    assert answer.status == 200
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert answer.content_type == "text/css"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    again = await browser.get(link, **{"If-None-Match": answer.headers["ETag"]})
    assert (again.status, await again.read()) == (304, b"")


async def test_an_old_version_is_not_kept_and_strange_names_are_not_found(browser):
    assert (await browser.get("/hub/static/hub.css?v=old")).headers["Cache-Control"] == "no-cache"
    for name in ("no.css", "..%2fbase.html", "%2e%2e/base.html", "base.html"):
        assert (await browser.get(f"/hub/static/{name}")).status == 404


async def test_a_site_may_replace_a_page(make_browser, tmp_path):
    (tmp_path / "login.html").write_text(
        '{% extends "base.html" %}{% block main %}Our own words{% endblock %}'
    )
    browser = await make_browser({"hub": {"templates_dir": str(tmp_path)}})

    assert "Our own words" in await (await browser.get("/hub/login")).text()


async def test_a_broken_page_of_the_site_still_gives_an_answer(make_browser, tmp_path):
    (tmp_path / "404.html").write_text("{{ no_such_thing }}")
    browser = await make_browser({"hub": {"templates_dir": str(tmp_path)}})
    answer = await browser.get("/hub/nothing")

    assert (answer.status, (await answer.text()).splitlines()[0]) == (404, "404 Nothing here")
