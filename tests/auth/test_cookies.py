from __future__ import annotations

from http.cookies import SimpleCookie

import pytest

from minihub.auth.cookies import form_cookie, login_cookie, own_cookie_names


@pytest.mark.parametrize(
    ("tls", "base_path", "name", "path", "secure"),
    [
        (True, "/", "__Host-minihub", "/", True),
        (True, "/jupyter/", "minihub-login", "/jupyter/", True),
        (False, "/", "minihub-login", "/", False),
        (False, "/jupyter/", "minihub-login", "/jupyter/", False),
    ],
)
def test_the_login_cookie(tls, base_path, name, path, secure):
    rule = login_cookie(tls=tls, base_path=base_path)
    assert rule.name == name
    assert rule.attributes() == {"path": path, "secure": secure, "httponly": True, "samesite": "Lax"}


def test_the_form_cookie_has_another_name_and_the_same_rules():
    assert form_cookie(tls=True, base_path="/").name == "__Host-minihub-form"
    assert form_cookie(tls=False, base_path="/").name == "minihub-form"


def test_a_host_cookie_keeps_what_browsers_demand_of_it():
    """Secure, Path=/, no Domain; else the browser drops it silently."""
    rule = login_cookie(tls=True, base_path="/")
    jar = SimpleCookie({rule.name: "x"})
    for name, value in rule.attributes().items():
        jar[rule.name][name] = value
    header = jar.output(header="").strip()
    assert "Secure" in header
    assert "Path=/" in header.split("; ")
    assert "Domain" not in header


def test_every_cookie_of_ours_is_known_by_name():
    for base_path in ("/", "/jupyter/"):
        for make in (login_cookie, form_cookie):
            for tls in (True, False):
                assert make(tls=tls, base_path=base_path).name in own_cookie_names(base_path)
    assert "minihub-language" in own_cookie_names("/")
