"""Who the browser is: which headers are believed, and from whom."""

from __future__ import annotations

import pytest

from minihub.auth.request import Client, find_client, parse_networks, read_tokens, resolve_client
from minihub.config import HubSettings

TRUSTED = parse_networks(["10.0.0.0/8", "::1"])


@pytest.mark.parametrize(
    ("peer", "pairs", "expected"),
    [
        ("192.0.2.1", {"X-Forwarded-For": "1.1.1.1", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil"},
         Client("192.0.2.1", "http", "hub")),
        ("10.0.0.1", {"X-Forwarded-For": "1.1.1.1", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "pub"},
         Client("1.1.1.1", "https", "pub")),
        ("10.0.0.1", {"X-Forwarded-For": "6.6.6.6, 1.1.1.1, 10.9.9.9"}, Client("1.1.1.1", "http", "hub")),
        ("10.0.0.1", {"X-Forwarded-For": "10.1.1.1"}, Client("10.1.1.1", "http", "hub")),
        ("10.0.0.1", {}, Client("10.0.0.1", "http", "hub")),
        ("::1", {"X-Forwarded-Proto": "javascript"}, Client("::1", "http", "hub")),
        ("10.0.0.1", {"X-Forwarded-Proto": "https, http"}, Client("10.0.0.1", "http", "hub")),
        ("", {"X-Forwarded-Proto": "https"}, Client("", "http", "hub")),
    ],
)  # fmt: skip
def test_only_trusted_front_proxies_are_believed(peer, pairs, expected):
    assert resolve_client((("Host", "hub"), *pairs.items()), peer, "http", TRUSTED) == expected


PAIRS = (("Host", "hub"), ("X-Forwarded-For", "1.1.1.1"), ("X-Forwarded-Proto", "https"))


@pytest.mark.parametrize(
    ("hub", "expected"),
    [
        ({}, Client("10.0.0.1", "http", "hub")),
        ({"trusted_proxies": ("10.0.0.0/8",)}, Client("1.1.1.1", "https", "hub")),
        ({"public_url": "https://pub:8443/x"}, Client("10.0.0.1", "https", "pub:8443")),
        (
            {"public_url": "http://pub", "trusted_proxies": ("10.0.0.1",)},
            Client("1.1.1.1", "http", "pub"),
        ),
    ],
)
def test_the_settings_say_what_is_believed(hub, expected):
    assert find_client(PAIRS, "10.0.0.1", "http", HubSettings(**hub)) == expected


@pytest.mark.parametrize(
    ("values", "tokens"),
    [
        (["token x"], ["x"]),
        (["Bearer x"], ["x"]),
        (["TOKEN  x "], ["x"]),
        (["Basic eDp5"], []),
        (["token"], []),
        ([""], []),
        (["token a", "bearer b"], ["a", "b"]),
    ],
)
def test_schemes_of_authorization(values, tokens):
    assert read_tokens([("authorization", value) for value in values]) == tokens
