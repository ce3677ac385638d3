from __future__ import annotations

import pytest
from multidict import CIMultiDict

from minihub.auth.origin import verify_origin
from minihub.errors import Forbidden

HUB = "https://hub.example:8443"

ACCEPTED = [
    {"Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "none"},
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
    {"Sec-Fetch-Site": ""},
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
    {"Origin": "", "Referer": HUB},
    {"Origin": "https://evil.example", "Referer": f"{HUB}/hub/"},
    {"Referer": "https://evil.example/https://hub.example:8443/"},
    {"Referer": f"{HUB}.evil.example/"},
    {"Referer": "about:blank"},
]


@pytest.mark.parametrize("headers", ACCEPTED)
def test_our_own_pages_are_accepted(headers):
    verify_origin("POST", headers, HUB)
    verify_origin("GET", headers, HUB, websocket=True)


@pytest.mark.parametrize("headers", REFUSED)
@pytest.mark.parametrize("method", ["POST", "DELETE", "PUT", "PATCH", "post", "FROB"])
def test_everybody_else_is_refused(headers, method):
    with pytest.raises(Forbidden):
        verify_origin(method, headers, HUB)


@pytest.mark.parametrize("headers", REFUSED)
def test_safe_methods_pass_but_not_websockets(headers):
    for method in ("GET", "HEAD", "OPTIONS", "get"):
        verify_origin(method, headers, HUB)
    with pytest.raises(Forbidden):
        verify_origin("GET", headers, HUB, websocket=True)


def test_default_ports_need_not_be_named():
    verify_origin("POST", {"Origin": "https://hub.example"}, "https://hub.example:443")
    verify_origin("POST", {"Origin": "http://hub.example:80"}, "http://hub.example")


@pytest.mark.parametrize(
    ("host", "origin", "accepted"),
    [
        ("hub.example", "https://hub.example", True),
        ("hub.example", "http://hub.example", True),
        ("hub.example:8000", "http://hub.example:8000", True),
        ("[::1]:8000", "http://[::1]:8000", True),
        ("hub.example", "https://hub.example:8443", False),
        ("hub.example", "ftp://hub.example", False),
        ("", "null", False),
    ],
)
def test_where_the_scheme_is_unknown_the_host_decides(host, origin, accepted):
    if accepted:
        verify_origin("POST", {"Origin": origin}, host)
    else:
        with pytest.raises(Forbidden):
            verify_origin("POST", {"Origin": origin}, host)


def test_two_different_origins_are_refused():
    headers = CIMultiDict([("Origin", HUB), ("origin", "https://evil.example")])
    with pytest.raises(Forbidden, match="several"):
        verify_origin("POST", headers, HUB)
