"""Queries, bodies and paths that are wrong, and the many ways to be so: a 4xx that says what, never a 5xx."""

from __future__ import annotations

import gzip
import json

import pytest


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=%00", "limit"),
        ("name_filter=%00", "name_filter"),
        ("nam_filter=a", "nam_filter"),
        ("limit=1&limit=2", "limit"),
        ("limit=1_000", "limit"),
        ("limit=%201", "limit"),
        ("limit=true", "limit"),
        ("limit=", "limit"),
        ("%00=1", "\\0"),
        ("name_filter=" + "x" * 300, "name_filter"),
        ("x" * 300 + "=1", "x" * 64),
    ],
)
async def test_a_wrong_query_names_its_parameter(api, query, field):
    answer = await api.program("admin", user="root-of-all").ask("GET", f"/users?{query}")

    assert (answer.status, list(answer.body["fields"])) == (400, [field])


@pytest.mark.parametrize("query", ["%ff=1", "name_filter=%ff", "name_filter=%ed%a0%80", "=", "&&", "%", "a%"])
async def test_queries_that_are_no_text_do_no_harm(api, query):
    answer = await api.program("admin", user="root-of-all").ask("GET", f"/users?{query}")

    assert answer.status in (200, 400)


@pytest.mark.parametrize(
    "body",
    [
        rb'{"text": "a\u0000b"}',
        rb'{"text": "\ud800"}',
        rb'{"\ud800": 1}',
        rb'{"a\u0000": 1}',
        rb'{"text": ["\udfff"]}',
        b'{"text": NaN}',
        b'{"text": "x", "expires_in": Infinity}',
        b'{"text": "x", "expires_in": 1e999}',
        b'{"text": "x", "expires_in": ' + b"9" * 5000 + b"}",
        b'{"text": "\xff"}',
        b"\xef\xbb\xbf{}",
        b'{"text": "x"',
        b'{"a":' * 5000 + b"1" + b"}" * 5000,
        b"null",
        b"[]",
        b"true",
    ],
    ids=lambda body: repr(body[:24]),
)
async def test_bodies_that_are_no_json_of_ours(api, body):
    answer = await api.program("admin", user="root-of-all").ask("POST", "/announcements", body)

    assert answer.status == 400
    assert answer.body["message"]
    assert json.dumps(answer.body)
    assert api.world.deps.announcements.rows == []


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
async def test_numbers_that_json_does_not_know_are_no_json(api, number):
    body = f'{{"older_than_s": {number}}}'.encode()
    answer = await api.program("admin", user="root-of-all").ask("POST", "/servers/stop", body)

    assert (answer.status, answer.body["message"]) == (400, "The body is not valid JSON.")


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("application/json", 201),
        ("Application/JSON; charset=UTF-8", 201),
        ("application/merge-patch+json", 201),
        ("application/json; charset=latin-1", 415),
        ("application/json; charset=no-such", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data; boundary=x", 415),
        ("text/plain", 415),
        ("nonsense", 415),
        ("", 415),
    ],
)
async def test_bodies_must_be_declared_as_json(api, kind, status):
    program = api.program("admin", user="root-of-all")
    answer = await program.ask("POST", "/announcements", {"text": "x"}, **{"Content-Type": kind})

    assert answer.status == status


@pytest.mark.parametrize(
    "packed", [b"{}", gzip.compress(b'{"text": "x"}'), gzip.compress(b" " * 10_000_000)], ids=len
)
@pytest.mark.parametrize("coding", ["gzip", "GZIP", "gzip, identity"])
async def test_compressed_bodies_are_refused(api, coding, packed):
    program = api.program("admin", user="root-of-all")
    answer = await program.ask("POST", "/announcements", packed, **{"Content-Encoding": coding})

    assert answer.status == 415
    assert api.world.deps.announcements.rows == []


async def test_an_empty_body_needs_no_declaration(api):
    program = api.program("self")
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        assert (await program.ask("POST", "/users/ada/server", b"", **{"Content-Type": kind})).status == 202


@pytest.mark.parametrize(
    "body",
    [
        {"user_options": {"cores": True}},
        {"user_options": {"cores": [1]}},
        {"user_options": {"cors": 1}},
        {"user_options": {"account": 7}},
        {"user_options": {"account": "x" * 200}},
        {"user_options": {"cores": 1}, "memory_mb": 2},
        {"user_options": 7},
        {"environment": {"LD_PRELOAD": "x"}},
        {"display_name": 7},
    ],
)
async def test_wrong_options_start_nothing(api, body):
    answer = await api.program("self").ask("POST", "/users/ada/server", body)

    assert (answer.status, bool(answer.body["fields"])) == (400, True)
    assert api.world.servers.asked == []


async def test_options_are_named_alike_in_either_form(api):
    program = api.program("self")
    for body in ({"cores": []}, {"user_options": {"cores": []}}):
        answer = await program.ask("POST", "/users/ada/server", body)
        assert all(field.startswith("cores") for field in answer.body["fields"])


@pytest.mark.parametrize(
    "path",
    [
        "/users/%00",
        "/users/a%00b/server",
        "/users/%ff",
        "/users/%ed%a0%80",
        "/users/..%2f..",
        "/users/%2e%2e/server",
        "/users/" + "x" * 5000,
    ],
)
@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_names_that_nobody_can_have(api, path, method):
    for program in (api.program("self"), api.program("admin", user="root-of-all")):
        answer = await program.ask(method, path)
        assert answer.status in (400, 404, 405)


async def test_what_takes_no_body_takes_none(api):
    answer = await api.program("admin", user="root-of-all").ask("DELETE", "/users/bob", {"force": True})

    assert (answer.status, list(answer.body["fields"])) == (400, ["force"])
    assert "bob" in api.world.users.names


async def test_messages_are_in_the_readers_language(api):
    answer = await api.program("self").ask("POST", "/users/ada/server", {"x": 1}, **{"Accept-Language": "fr"})

    assert answer.body["message"].startswith("La requête")
