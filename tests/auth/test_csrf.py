from __future__ import annotations

import pytest

from minihub.auth.csrf import Csrf

MINE, OTHER = Csrf(b"k" * 32), Csrf(b"o" * 32)


def test_a_token_is_good_for_its_login_and_no_other():
    token = MINE.make("login-1")
    assert MINE.verify("login-1", token)
    assert MINE.make("login-1") == token
    assert not MINE.verify("login-2", token)
    assert not OTHER.verify("login-1", token)


@pytest.mark.parametrize("token", ["", "x", "é", "\udcff", "a" * 43])
def test_anything_else_is_refused(token):
    assert not MINE.verify("login-1", token)
    assert not MINE.verify_form("c" * 43, token)


def test_the_login_form_is_tied_to_its_cookie():
    cookie, field = MINE.make_form(None)
    assert MINE.verify_form(cookie, field)
    assert MINE.make_form(cookie) == (cookie, field)
    other, _ = MINE.make_form(None)
    assert other != cookie
    assert not MINE.verify_form(other, field)
    assert not MINE.verify_form(None, field)
    assert not MINE.verify_form(cookie, None)
    assert not MINE.verify_form("", "")


def test_a_bad_form_cookie_is_replaced():
    assert MINE.make_form("x")[0] != "x"


def test_kinds_are_not_mixed_up():
    cookie, field = MINE.make_form(None)
    assert not MINE.verify(cookie, field)
