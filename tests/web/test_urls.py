"""Links, and the one check that a path stays on this hub."""

from __future__ import annotations

import pytest

from minihub.web.urls import Urls


@pytest.mark.parametrize(
    "raw",
    [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example",
        "\\/evil.example",
        "/\t/evil.example",
        "/hub//evil.example",
        "javascript:alert(1)",
        "hub/home",
        "",
        None,
        "/hub/home\r\nSet-Cookie: a=b",
        "/hub/" + "x" * 5000,
    ],
)
def test_a_path_that_may_leave_the_hub_is_dropped(raw):
    assert Urls("/").safe_path(raw) == ""


def test_a_path_outside_the_base_path_is_dropped():
    assert Urls("/jupyter/").safe_path("/hub/home") == ""
    assert Urls("/jupyter/").safe_path("/jupyter/hub/home") == "/jupyter/hub/home"


def test_a_deep_link_stays_as_it_is():
    path = "/user/ada/lab/tree/th%20esis.ipynb?x=1&y=a%2Fb"

    assert Urls("/").safe_next(path) == path


@pytest.mark.parametrize(
    "path",
    [
        "/hub/login?next=/",
        "/hub/logout",
        "/hub/logout#x",
        "/hub/%6cogout",
        "/hub/./logout",
        "/hub/x/../logout",
        "/hub/x/%2e%2E/logout",
        "/user/ada/logout",
    ],
)
def test_what_leads_in_circles_is_no_next(path):
    assert Urls("/").safe_next(path) == ""
    assert Urls("/").safe_path(path) == path


def test_every_link_begins_with_the_base_path_and_encodes_names():
    urls = Urls("/jupyter/")

    assert urls.home == "/jupyter/hub/home"
    assert (
        urls.login("/jupyter/hub/spawn?cores=2")
        == "/jupyter/hub/login?next=%2Fjupyter%2Fhub%2Fspawn%3Fcores%3D2"
    )
    assert urls.pending("a@b/c") == "/jupyter/hub/spawn-pending/a%40b%2Fc"
    assert urls.server("ada", "lab") == "/jupyter/user/ada/lab"
