"""Which requests come from the hub's own pages."""

from __future__ import annotations

import pytest

from minihub.auth.origin import is_click, is_same_origin, verify_same_origin
from minihub.auth.request import Client
from minihub.errors import Forbidden

HUB = "https://hub.example:8443"
CLIENT = Client("192.0.2.1", "https", "hub.example:8443")

ACCEPTED = [
    {"Sec-Fetch-Site": "same-origin"},
    {"sec-fetch-site": "Same-Origin"},
    {"Sec-Fetch-Site": "same-origin", "Origin": "http://inside.proxy"},
    {"Origin": HUB},
    {"origin": "https://HUB.example:8443"},
    {"Referer": f"{HUB}/hub/home?x=1"},
    {"Referer": HUB},
    {"Referer": f"{HUB}?x"},
]
REFUSED = [
    {},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "same-site", "Origin": HUB},
    {"Sec-Fetch-Site": "none"},
    {"Sec-Fetch-Site": "none", "Origin": HUB},
    {"Sec-Fetch-Site": ""},
    {"Sec-Fetch-Site": "same-origin", "sec-fetch-site": "cross-site"},
    {"Origin": "null"},
    {"Origin": "https://evil.example"},
    {"Origin": "http://hub.example:8443"},
    {"Origin": "https://hub.example"},
    {"Origin": "https://hub.example:8443.evil.example"},
    {"Origin": "https://hub.example:8443@evil.example"},
    {"Origin": "https://user@hub.example:8443"},
    {"Origin": f"{HUB}/"},
    {"Origin": "https://[bad"},
    {"Origin": "https://hub.example:99999"},
    {"Origin": "ftp://hub.example:8443"},
    {"Origin": "", "Referer": HUB},
    {"Origin": "https://evil.example", "Referer": f"{HUB}/hub/"},
    {"Origin": HUB, "origin": "https://evil.example"},
    {"Referer": "https://evil.example/https://hub.example:8443/"},
    {"Referer": f"{HUB}.evil.example/"},
    {"Referer": "about:blank"},
    {"Referer": ""},
    {"Referer": HUB, "referer": "https://evil.example"},
]


@pytest.mark.parametrize("headers", ACCEPTED)
def test_our_own_pages_are_accepted(headers):
    assert is_same_origin(tuple(headers.items()), CLIENT)
    verify_same_origin(tuple(headers.items()), CLIENT)


@pytest.mark.parametrize("headers", REFUSED)
def test_everybody_else_is_refused(headers):
    assert not is_same_origin(tuple(headers.items()), CLIENT)
    with pytest.raises(Forbidden):
        verify_same_origin(tuple(headers.items()), CLIENT)


@pytest.mark.parametrize(
    ("scheme", "host", "origin", "accepted"),
    [
        ("https", "hub.example:443", "https://hub.example", True),
        ("http", "hub.example", "http://hub.example:80", True),
        ("http", "[::1]:8000", "http://[::1]:8000", True),
        ("http", "[::1]:8000", "http://[::1]", False),
        # Behind a front proxy that nobody told us of, the host alone is compared.
        ("http", "hub.example", "https://hub.example", True),
        ("http", "hub.example", "https://hub.example:8443", False),
        ("http", "hub.example", "http://evil.example", False),
        ("http", "hub.example", "ftp://hub.example", False),
        ("https", "", "https://hub.example", False),
        ("http", "", "null", False),
    ],
)
def test_ports_and_schemes_are_part_of_the_origin(scheme, host, origin, accepted):
    assert is_same_origin([("Origin", origin)], Client("192.0.2.1", scheme, host)) is accepted


CLICK = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}


@pytest.mark.parametrize(
    ("headers", "is_one"),
    [
        (CLICK, True),
        ({**CLICK, "Sec-Fetch-Dest": ""}, True),
        ({**CLICK, "Sec-Fetch-Site": "none"}, False),
        ({**CLICK, "Sec-Fetch-Site": "cross-site", "Referer": f"{HUB}/hub/home"}, False),
        ({**CLICK, "Sec-Fetch-Mode": "cors"}, False),
        ({**CLICK, "Sec-Fetch-Dest": "iframe"}, False),
        ({"Referer": f"{HUB}/hub/home"}, True),
        ({"Referer": "https://evil.example/"}, False),
        ({"Origin": HUB}, False),
        ({}, False),
    ],
)
def test_only_a_click_on_a_page_of_ours_is_one(headers, is_one):
    assert is_click("GET", tuple(headers.items()), CLIENT) is is_one
    assert not is_click("POST", tuple(headers.items()), CLIENT)
