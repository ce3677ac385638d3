"""What passes between browser and Jupyter: rules one by one, then for anything at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minihub.auth.request import Client, Fields
from minihub.proxy import headers as h
from minihub.proxy.framing import Chunked, UntilClose
from minihub.proxy.wire import HeaderBlock, ResponseHead

OWN = frozenset({"minihub-login", "__Host-minihub-login", "minihub-language"})
CLIENT = Client("192.0.2.7", "https", "hub.example")
ADDED = [
    ("X-Forwarded-For", "192.0.2.7"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Host", "hub.example"),
]


def inbound(*pairs):
    return h.build_inbound(pairs, own_cookies=OWN, client=CLIENT)


def outbound(*pairs):
    return h.build_outbound(pairs, own_cookies=OWN, prefix="/user/alice/")


def test_ordinary_fields_pass_in_order_and_as_they_are():
    pairs = [
        ("Host", "hub.example"),
        ("accept", "a"),
        ("Accept", "b"),
        ("Origin", "https://x"),
        ("X-XSRFToken", "z"),
    ]
    assert inbound(*pairs) == pairs + ADDED


@pytest.mark.parametrize(
    "name",
    [
        "Connection", "Keep-Alive", "TE", "Trailer", "Transfer-Encoding", "Upgrade", "Proxy-Connection",
        "Proxy-Authorization", "Proxy-Anything", "Authorization", "AUTHORIZATION", "X-Forwarded-For",
        "X-Forwarded-Prefix", "x_forwarded_for", "Forwarded", "X-Real-IP", "X-Scheme", "X_Scheme",
        "HTTP2-Settings",
    ],
)  # fmt: skip
def test_not_sent_on(name):
    assert inbound((name, "x")) == ADDED


def test_fields_named_by_connection_are_not_sent_on():
    pairs = [
        ("Connection", "close, X-One"),
        ("x-one", "1"),
        ("connection", "X_Two"),
        ("X-Two", "2"),
        ("X-Three", "3"),
    ]
    assert inbound(*pairs) == [("X-Three", "3"), *ADDED]


def test_connection_cannot_remove_what_makes_the_message():
    pairs = [("Host", "h"), ("Content-Length", "3"), ("Cookie", "a=1")]
    assert inbound(*pairs, ("Connection", "host, content-length, cookie")) == pairs + ADDED


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("a=1; b=2", "a=1; b=2"),
        ("minihub-login=s", None),
        ("a=1; minihub-login=s", "a=1"),
        ("minihub-login=s; a=1", "a=1"),
        ("a=1;minihub-login=s;b=2", "a=1;b=2"),
        ("a=1;  MINIHUB-login =s; __Host-minihub-login=t", "a=1"),
        ("minihub-login", None),
        ("minihub-login2=s; xminihub-login=t", "minihub-login2=s; xminihub-login=t"),
        ('q="; minihub-login=s"', 'q="'),
    ],
)
def test_our_cookies_are_not_sent_on(sent, kept):
    assert inbound(("Cookie", sent)) == ([("Cookie", kept)] if kept else []) + ADDED


def test_each_cookie_field_is_stripped():
    assert inbound(("Cookie", "minihub-login=s"), ("cookie", "a=1; minihub-login=t")) == [
        ("cookie", "a=1"),
        *ADDED,
    ]


def block(*pairs, framing=None):
    fields = Fields(pairs)
    fields.by_name = {name.lower(): [value] for name, value in pairs}
    return HeaderBlock(b"", 11, fields, "h", framing, keep_alive=True, upgrade="", expect_continue=False)


def test_what_goes_to_jupyter_on_the_wire():
    header = block(("Host", "h"), ("Sec-WebSocket-Key", "k"), ("Expect", "100-continue"), framing=Chunked())
    ours = "X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: hub.example\r\n"
    sent = "Host: h\r\nExpect: 100-continue\r\n" + ours
    assert h.build_server_fields(header, own_cookies=OWN, client=CLIENT, websocket=False) == (
        (sent + "Transfer-Encoding: chunked\r\n").encode()
    )
    handshake = block(
        ("Host", "h"), ("Upgrade", "websocket"), ("Connection", "upgrade"), ("Sec-WebSocket-Key", "k")
    )
    assert h.build_server_fields(handshake, own_cookies=OWN, client=CLIENT, websocket=True) == (
        (
            "Host: h\r\nSec-WebSocket-Key: k\r\n" + ours + "Connection: Upgrade\r\nUpgrade: websocket\r\n"
        ).encode()
    )


def test_the_hubs_own_pages_see_what_was_sent_but_nothing_of_the_connection():
    header = block(
        ("Host", "h"), ("Authorization", "token x"), ("Cookie", "minihub-login=s"), ("X-Forwarded-For", "1.1.1.1"),
        ("Connection", "keep-alive, X-Hop"), ("X-Hop", "1"), ("Upgrade", "websocket"),
        ("X-Minihub-Problem", "forged"), ("x_minihub_upgrade", "forged"),
    )  # fmt: skip
    assert h.build_hub_fields(header) == (
        b"Host: h\r\nAuthorization: token x\r\nCookie: minihub-login=s\r\nX-Forwarded-For: 1.1.1.1\r\n"
        b"X-Minihub-Upgrade: websocket\r\n"
    )


@pytest.mark.parametrize(
    ("framing", "unchunked", "added"),
    [
        (Chunked(), False, b"Transfer-Encoding: chunked\r\n"),
        (Chunked(), True, b""),
        (UntilClose(), False, b""),
    ],
)
def test_an_answer_on_the_wire(framing, unchunked, added):
    head = ResponseHead(200, "Fine", 11, (), framing, keep_alive=True, upgrade="")
    assert (
        h.build_answer(head, [("A", "é")], unchunked=unchunked) == b"HTTP/1.1 200 Fine\r\nA: \xe9\r\n" + added
    )


TOKEN_TEXT = st.text(st.sampled_from("abAB-_019"), min_size=1, max_size=12)
NAMES = st.one_of(
    TOKEN_TEXT,
    st.sampled_from(
        ["Cookie", "Connection", "Authorization", "X-Forwarded-For", "X_Forwarded-Host", "Upgrade", "TE"]
    ),
)
VALUES = st.text(st.sampled_from("minhub-login=; ,abcXY\t"), max_size=50)
PAIRS = st.lists(st.tuples(NAMES, VALUES), max_size=12)


@given(PAIRS)
def test_inbound_for_anything(pairs):
    result = inbound(*pairs)
    body, added = result[: -len(ADDED)], result[-len(ADDED) :]
    assert added == ADDED
    for name, value in body:
        key = name.lower().replace("_", "-")
        assert key not in h.HOP_BY_HOP
        assert key != "authorization"
        assert not key.startswith("x-forwarded-")
        if key == "cookie":
            assert not h.read_cookies([(name, value)], "minihub-login")
        else:
            assert (name, value) in pairs
    for name, value in pairs:
        if name.lower().startswith("b") and "connection" not in [n.lower() for n, _ in pairs]:
            assert (name, value) in body


@given(st.text(st.sampled_from('minihub-login=; \t\x0b"ab'), max_size=60))
def test_what_lets_in_is_what_is_stripped(cookie):
    stripped = h.strip_cookies(cookie, OWN)
    assert h.read_cookies([("Cookie", stripped)], "minihub-login") == []
    others = [c for c in cookie.split(";") if c.partition("=")[0].strip().lower() not in OWN]
    assert (
        [c.strip(" \t") for c in stripped.split(";")] == [c.strip(" \t") for c in others]
        or not others
        or (stripped.strip(" \t") == ";".join(others).strip(" \t"))
    )


# -- what comes back -----------------------------------------------------------------------------------------


def test_ordinary_answers_pass_as_they_are():
    pairs = [
        ("Content-Type", "text/html"), ("Content-Length", "3"), ("Content-Encoding", "gzip"), ("Location", "/x"),
        ("Content-Security-Policy", "frame-ancestors 'self'"), ("ETag", "a"), ("X-Accel-Buffering", "no"),
    ]  # fmt: skip
    assert outbound(*pairs) == pairs


@pytest.mark.parametrize(
    "name",
    [
        "Service-Worker-Allowed", "Clear-Site-Data", "Strict-Transport-Security", "Alt-Svc", "NEL", "Report-To",
        "Reporting-Endpoints", "Connection", "Keep-Alive", "Transfer-Encoding", "Upgrade", "Trailer",
        "Proxy-Authenticate", "Set-Cookie2", "X-Accel-Redirect", "X-Sendfile", "clear_site_data",
    ],
)  # fmt: skip
def test_not_let_out(name):
    assert outbound((name, "x")) == []


def test_fields_named_by_connection_are_not_let_out():
    assert outbound(("Connection", "X-A"), ("X-A", "1"), ("X-B", "2")) == [("X-B", "2")]


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("a=1; Path=/user/alice/; HttpOnly; Secure", "a=1; HttpOnly; Secure; Path=/user/alice/"),
        ("a=1; Path=/user/alice/rstudio", "a=1; Path=/user/alice/rstudio"),
        ("a=1; Path=/", "a=1; Path=/user/alice/"),
        ("a=1; Path=/user/bob/", "a=1; Path=/user/alice/"),
        ("a=1; Path=/user/alice", "a=1; Path=/user/alice/"),
        ("a=1; path=", "a=1; Path=/user/alice/"),
        ("a=1; Path=/user/alice/; PATH = /", "a=1; Path=/user/alice/"),
        ("a=1; Domain=example; domain=.x; Max-Age=3", "a=1; Max-Age=3"),
        ("a=1", "a=1"),
        ("a==; Path=/", "a==; Path=/user/alice/"),
        ("minihub-login=x; Path=/user/alice/", None),
        (" MINIHUB-LOGIN =x", None),
        ("__Host-minihub-login=x; Secure; Path=/", None),
        ("minihub-language=fr", None),
        ("=minihub-login=x", None),
        ("minihub-login", None),
        ("", None),
    ],
)
def test_cookies_stay_within_their_user(sent, kept):
    assert outbound(("Set-Cookie", sent)) == ([("Set-Cookie", kept)] if kept is not None else [])


@given(st.text(st.sampled_from("minihub-login=; \tPathDom/user.,alce"), max_size=80))
def test_no_cookie_leaves_its_user(sent):
    kept = h.confine_cookie(sent, OWN, "/user/alice/")
    if kept is None:
        return
    pair, *attributes = kept.split(";")
    assert pair.partition("=")[0].strip().lower() not in {"", *OWN}
    parsed = [
        (key.strip().lower(), value.strip()) for key, _, value in (a.partition("=") for a in attributes)
    ]
    assert "domain" not in dict(parsed)
    paths = [value for key, value in parsed if key == "path"]
    assert len(paths) <= 1
    assert all(path.startswith("/user/alice/") for path in paths)


@given(PAIRS)
def test_outbound_for_anything(pairs):
    for name, value in outbound(*pairs):
        assert name.lower().replace("_", "-") not in h.HOP_BY_HOP
        assert (name, value) in pairs or name.lower() == "set-cookie"
