"""The gate: every rule of who may pass, as a table."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minihub.auth.model import Principal
from minihub.auth.request import Client
from minihub.proxy import gate
from minihub.schedulers.base import Endpoint
from minihub.servers.model import Attempt, Route, Secrets, ServerOptions, State

COOKIE = "minihub-login"
CLIENT = Client("192.0.2.1", "https", "hub.example")
ALICE = Principal("alice", admin=False, kind="login", key="k1")
ADMIN = Principal("root1", admin=True, kind="login", key="k2")
TOKEN = Principal("alice", admin=False, kind="token", key="t1", scopes=frozenset({"self"}))
SERVICE = Principal("svc", admin=False, kind="token", key="t2", scopes=frozenset({"access:servers"}))
ROUTE = Route("alice", "a1", Endpoint(host="n1", port=1), Secrets("T", "R"))
SAME = {"Sec-Fetch-Site": "same-origin"}
NAVIGATE = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "none"}


def head(target="/user/alice/lab", method="GET", client=CLIENT, **headers):
    pairs = tuple((k.replace("_", "-"), v) for k, v in headers.items())
    return gate.Head(method, target, pairs, client)


def read(target="/user/alice/lab", method="GET", base_path="/", **headers):
    return gate.read(head(target, method, **headers), base_path=base_path, login_cookie=COOKIE)


def decide(knock, principal=ALICE, route=ROUTE, attempt=None):
    assert isinstance(knock, gate.Knock)
    return gate.decide(knock, principal, route, attempt)


def attempt(state):
    return Attempt("a1", "alice", "t", ServerOptions(1, 1, 1), Secrets("T", "R"), state, 0.0, 0.0)


# -- paths ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "user"),
    [
        ("/user/alice/", "alice"),
        ("/user/alice/api/contents/a%20b?x=1", "alice"),
        ("/user/a.b-c_d~1/", "a.b-c_d~1"),
        ("/user/a%40site/lab", "a@site"),
        ("/user/%C3%A9mile/lab", "émile"),
        ("/user/alice/files/100%.txt", "alice"),
        ("/user/alice/a?x=\\y|{}", "alice"),
    ],
)
def test_canonical_paths_name_a_user(target, user):
    assert read(target).user == user


@pytest.mark.parametrize(
    "target",
    [
        "/user/%61lice/lab",
        "/user/a@site/lab",
        "/user/alice%2fx/lab",
        "/user/alice%2Fx/lab",
        "/user/../alice/",
        "/user/%2e%2e/alice",
        "/user/./x",
        "/user//lab",
        "/user/",
        "/user/%zz/",
        "/user/al%00ice/",
        "/user/al ice/",
        "/user/%c3%a9mile/",
        "/user/%ff/",
        "/user/alice/#x",
        "/user/alice/a\\b",
        "/user/alice/\u00e9",
        "/user/alice/a b",
        "/hub/home",
        "/useralice/",
        "/%75ser/alice/",
        "http://hub.example/user/alice/",
        "*",
    ],
)
def test_every_other_path_is_refused(target):
    assert read(target) == gate.Refuse(400, "bad_path")


@given(st.text(min_size=1, max_size=30))
def test_exactly_one_spelling_leads_to_a_user(text):
    knock = read(f"/user/{text}/")
    if isinstance(knock, gate.Knock):
        segment = text.partition("/")[0]
        assert knock.user == unquote(segment)
        assert quote(knock.user, safe="") == segment
        assert knock.prefix == f"/user/{segment}/"


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20))
def test_every_user_is_reached_by_the_canonical_spelling(user):
    knock = read(f"/user/{quote(user, safe='')}/lab")
    if user not in (".", "..") and user.isprintable() and "/" not in user:
        assert knock.user == user


def test_the_base_path_stands_before():
    assert read("/jupyter/user/alice/lab", base_path="/jupyter/").prefix == "/jupyter/user/alice/"
    assert read("/user/alice/lab", base_path="/jupyter/") == gate.Refuse(400, "bad_path")


def test_a_missing_slash_is_added_and_the_token_dropped():
    assert read("/user/alice") == gate.ToSlash("/user/alice/")
    assert read("/user/alice?a=1&token=s") == gate.ToSlash("/user/alice/?a=1")


@pytest.mark.parametrize("method", ["TRACE", "TRACK", "CONNECT"])
def test_methods_no_server_needs_are_refused(method):
    assert read(method=method) == gate.Refuse(405, "bad_method")


# -- credentials ---------------------------------------------------------------------------------------------


def test_credentials_are_found():
    knock = read(
        "/user/alice/lab?a=b&token=q%2Bq&c",
        Cookie=f"x=1; {COOKIE}=c1; y; {COOKIE}=c2",
        Authorization="token h",
    )
    assert knock.cookies == ("c1", "c2")
    assert knock.tokens == ("h", "q+q")
    assert knock.query == "a=b&c"
    assert knock.target == "/user/alice/lab?a=b&c"


@pytest.mark.parametrize(
    ("query", "rest", "tokens"),
    [
        ("token=a", "", ("a",)),
        ("token=a&token=b", "", ("a", "b")),
        ("x=1&%74oken=a&y=%20", "x=1&y=%20", ("a",)),
        ("Token=a&xtoken=b&token2=c", "Token=a&xtoken=b&token2=c", ()),
        ("token", "", ()),
        ("a=token", "a=token", ()),
        ("a&&b=", "a&&b=", ()),
    ],
)
def test_tokens_leave_the_query(query, rest, tokens):
    assert gate.strip_tokens(query) == (rest, tokens)


@given(st.text(st.sampled_from("token=&%74+x;ab"), max_size=40))
def test_no_query_keeps_a_token(query):
    rest, _ = gate.strip_tokens(query)
    assert gate.strip_tokens(rest) == (rest, ())


# -- who may -------------------------------------------------------------------------------------------------


def test_the_owner_gets_in():
    assert decide(read()) == gate.Forward(ROUTE, ALICE)


@pytest.mark.parametrize(
    ("principal", "opens"),
    [
        (ALICE, True),
        (TOKEN, True),
        (SERVICE, True),
        (replace(TOKEN, scopes=frozenset({"read:servers"})), False),
        (replace(TOKEN, scopes=frozenset({"admin"}), admin=True), True),
        (replace(TOKEN, scopes=frozenset({"access:servers!user=alice"})), True),
        (replace(SERVICE, scopes=frozenset({"access:servers!user=alice"})), True),
        (replace(SERVICE, scopes=frozenset({"access:servers!user=bob"})), False),
        (replace(SERVICE, scopes=frozenset({"admin", "self"}), admin=True), False),
        (ADMIN, False),
        (replace(ADMIN, scopes=frozenset({"access:servers"})), False),
        (replace(ALICE, user="Alice"), False),
        (replace(ALICE, user="alic"), False),
    ],
)
def test_who_opens_alices_server(principal, opens):
    expected = gate.Forward(ROUTE, principal) if opens else gate.NotOwner("alice", principal)
    assert decide(read(), principal) == expected


def test_others_learn_nothing_about_a_server():
    """Somebody else's server answers the same whether it runs or not."""
    assert decide(read(), ADMIN, route=None) == decide(read(), ADMIN) == gate.NotOwner("alice", ADMIN)


def test_people_without_login_are_sent_to_it_and_back():
    knock = read("/user/alice/lab/tree/a%20b?x=1&token=old", **NAVIGATE)
    assert decide(knock, None) == gate.ToLogin("/user/alice/lab/tree/a%20b?x=1")


@pytest.mark.parametrize(
    ("target", "headers"),
    [
        ("/user/alice/api/contents", {"Sec-Fetch-Mode": "cors"}),
        ("/user/alice/api/contents", {"Accept": "text/html"}),
        ("/user/alice/lab", {"Accept": "*/*"}),
        ("/user/alice/lab", {"Accept": "text/html", "Sec-Fetch-Mode": "websocket"}),
        ("/user/alice/api/events", {"Accept": "text/html", "Upgrade": "websocket"}),
    ],
)
def test_programs_without_login_get_403(target, headers):
    assert decide(read(target, **headers), None) == gate.Refuse(403, "no_login")


def test_old_browsers_over_plain_http_count_as_people():
    assert isinstance(decide(read(Accept="text/html,*/*;q=0.8"), None), gate.ToLogin)
    assert decide(read(method="POST", Accept="text/html"), None) == gate.Refuse(403, "no_login")


# -- other sites' requests -----------------------------------------------------------------------------------

OWN = "https://hub.example"


@pytest.mark.parametrize(
    ("headers", "passes"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "same-site", "Origin": OWN}, False),
        ({"Sec-Fetch-Site": "cross-site", "Origin": OWN}, False),
        ({"Sec-Fetch-Site": "none"}, False),
        ({"Origin": OWN}, True),
        ({"Origin": "https://hub.example:443"}, True),
        ({"Origin": "https://HUB.example"}, True),
        ({"Origin": "https://hub.example:8443"}, False),
        ({"Origin": "http://hub.example"}, False),
        ({"Origin": "https://evil.hub.example"}, False),
        ({"Origin": "https://hub.example.evil"}, False),
        ({"Origin": "https://hub.example@evil"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": "null", "Referer": f"{OWN}/user/alice/lab"}, False),
        ({"Origin": "https://["}, False),
        ({"Referer": f"{OWN}/user/alice/lab"}, True),
        ({"Referer": "https://evil/https://hub.example/"}, False),
        ({"Referer": ""}, False),
        ({}, False),
    ],
)
@pytest.mark.parametrize(
    ("method", "more"),
    [
        ("POST", {}),
        ("PUT", {}),
        ("PATCH", {}),
        ("DELETE", {}),
        ("GET", {"Upgrade": "websocket"}),
        ("BREW", {}),
    ],
)
def test_unsafe_methods_and_websockets_must_come_from_here(method, more, headers, passes):
    expected = gate.Forward(ROUTE, ALICE) if passes else gate.Refuse(403, "cross_site")
    assert decide(read(method=method, **headers, **more)) == expected


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_links_from_other_sites_open(method):
    assert decide(read(method=method, **{"Sec-Fetch-Site": "cross-site"})) == gate.Forward(ROUTE, ALICE)


@pytest.mark.parametrize("principal", [TOKEN, SERVICE])
def test_a_hub_token_needs_no_origin(principal):
    assert decide(read(method="POST", Origin="https://evil"), principal) == gate.Forward(ROUTE, principal)


# -- log out -------------------------------------------------------------------------------------------------

CLICK = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}


@pytest.mark.parametrize(
    ("headers", "logs_out"),
    [
        (CLICK, True),
        ({**CLICK, "Sec-Fetch-Site": "cross-site"}, False),
        ({**CLICK, "Sec-Fetch-Site": "same-site"}, False),
        ({**CLICK, "Sec-Fetch-Site": "none"}, False),
        ({**CLICK, "Sec-Fetch-Mode": "no-cors"}, False),
        ({**CLICK, "Sec-Fetch-Dest": "iframe"}, False),
        ({**CLICK, "Sec-Fetch-Site": "cross-site", "Referer": f"{OWN}/user/alice/lab"}, False),
        ({"Referer": f"{OWN}/user/alice/lab"}, True),
        ({"Referer": "https://evil/"}, False),
        ({}, False),
    ],
)
@pytest.mark.parametrize("route", [ROUTE, None])
def test_log_out(headers, logs_out, route):
    decision = decide(read("/user/alice/logout?x=1", **headers), route=route)
    assert decision == (gate.Logout(ALICE) if logs_out else gate.ConfirmLogout(ALICE))


def test_only_a_get_logs_out():
    assert decide(read("/user/alice/logout", method="POST", **CLICK)) == gate.ConfirmLogout(ALICE)


def test_log_out_of_others_tokens_and_strangers():
    path = "/user/alice/logout"
    assert decide(read(path, **CLICK), ADMIN) == gate.NotOwner("alice", ADMIN)
    assert decide(read(path, **CLICK), TOKEN) == gate.Refuse(403, "token_logout")
    assert decide(read(path, **NAVIGATE), None) == gate.ToLogin("/user/alice/")


def test_only_the_exact_path_is_log_out():
    for path in ("/user/alice/logout/", "/user/alice/lab/logout", "/user/alice/logout2"):
        assert isinstance(decide(read(path, **CLICK)), gate.Forward)


# -- no server -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "status"),
    [
        (None, 424),
        (State.SUBMITTING, 503),
        (State.QUEUED, 503),
        (State.STARTING, 503),
        (State.READY, 503),
        (State.STOPPING, 424),
        (State.STOPPED, 424),
        (State.FAILED, 424),
    ],
)
def test_without_a_route_the_status_is_never_404(state, status):
    known = attempt(state) if state else None
    assert decide(read(), route=None, attempt=known) == gate.NotRunning("alice", status)


def test_the_table_knows_every_state():
    assert len(State) == 7
