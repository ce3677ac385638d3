"""Links, and the one check that a path stays on this hub."""

from __future__ import annotations

from minihub.web.urls import Urls


def test_a_path_outside_the_base_path_is_dropped():
    assert Urls("/jupyter/").safe_path("/hub/home") == ""
    assert Urls("/jupyter/").safe_path("/jupyter/hub/home") == "/jupyter/hub/home"


def test_what_leads_in_circles_is_no_next():
    assert Urls("/jupyter/").safe_next("/jupyter/hub/login") == ""
    assert Urls("/jupyter/").safe_next("/jupyter/hub/home") == "/jupyter/hub/home"


def test_every_link_begins_with_the_base_path_and_encodes_names():
    urls = Urls("/jupyter/")

    assert urls.home == "/jupyter/hub/home"
    assert (
        urls.login("/jupyter/hub/spawn?cores=2")
        == "/jupyter/hub/login?next=%2Fjupyter%2Fhub%2Fspawn%3Fcores%3D2"
    )
    assert urls.pending("a@b/c") == "/jupyter/hub/spawn-pending/a%40b%2Fc"
    assert urls.server("ada", "lab") == "/jupyter/user/ada/lab"
