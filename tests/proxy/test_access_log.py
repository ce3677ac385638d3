"""One line per exchange, whatever became of it."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager

import pytest

from minihub.clock import ManualClock, SystemClock
from minihub.errors import ConfigError
from minihub.proxy.access_log import AccessLog
from tests.proxy.kit import COOKIE, PATIENCE_S, run_hub, serve, until

LOGIN = f"Host: h\r\nCookie: {COOKIE}=alice-cookie\r\nOrigin: http://h\r\n"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "access.log"


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def clock():
    return ManualClock(1_800_000_000.5)


@pytest.fixture
def access(path, clock):
    made = AccessLog(path, clock)
    yield made
    made.close()


def note(access, target="/x", status=200):
    record = access.begin("GET", target, "192.0.2.1")
    record.status = status
    access.end(record)


# -- the file ------------------------------------------------------------------------------------------------


def test_a_line(access, path, clock):
    record = access.begin("GET", "/user/alice/lab?a=1", "192.0.2.1")
    record.user, record.status, record.sent = "alice", 200, 1234
    clock.advance(1.25)
    access.end(record)
    access.flush()
    assert lines(path) == [
        {
            "time": "2027-01-15T08:00:01.750+00:00",
            "address": "192.0.2.1",
            "user": "alice",
            "method": "GET",
            "target": "/user/alice/lab?a=1",
            "status": 200,
            "bytes": 1234,
            "seconds": 1.25,
        }
    ]


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        ("/x?token=secret", "/x"),
        ("/x?a=1&token=secret&b=2", "/x?a=1&b=2"),
        ("/x?%74oken=secret&a", "/x?a"),
        ("/x?token=secret&token=secret", "/x"),
        ("/x?a=1?token", "/x?a=1?token"),
        ("/x?", "/x"),
        ("/x", "/x"),
        ("", ""),
    ],
)
def test_tokens_are_left_out(access, path, target, shown):
    note(access, target)
    access.flush()
    assert lines(path)[0]["target"] == shown
    assert "secret" not in path.read_text()


def test_what_clients_send_stays_in_its_line(access, path):
    note(access, '/"\\\u00e9\u2028{}')
    access.flush()
    assert path.read_bytes().count(b"\n") == 1
    assert path.read_bytes().isascii()
    assert lines(path)[0]["target"] == '/"\\\u00e9\u2028{}'


def test_lines_are_added_to_what_there_is(path, clock):
    for _ in range(2):
        made = AccessLog(path, clock)
        note(made)
        made.close()
    assert len(lines(path)) == 2
    assert path.stat().st_mode & 0o007 == 0, "nobody else reads it"


def test_nothing_to_write_writes_nothing(access, path):
    access.flush()
    note(access)
    access.flush()
    access.flush()
    assert len(lines(path)) == 1


def test_a_moved_file_is_opened_anew(access, path):
    note(access, "/1")
    access.flush()
    moved = path.rename(path.with_suffix(".1"))
    note(access, "/2")
    access.flush()
    assert [line["target"] for line in lines(moved)] == ["/1"]
    assert [line["target"] for line in lines(path)] == ["/2"]


def test_a_file_that_was_replaced_is_opened_anew(access, path):
    moved = path.rename(path.with_suffix(".1"))
    path.touch()
    note(access)
    access.flush()
    assert moved.read_text() == ""
    assert len(lines(path)) == 1


def test_it_goes_on_once_the_file_can_be_written_again(access, path):
    path.unlink()
    path.mkdir()
    for _ in range(2):
        note(access, "/lost")
        with pytest.raises(OSError):
            access.flush()
    path.rmdir()
    path.touch()
    note(access, "/kept")
    access.flush()
    assert [line["target"] for line in lines(path)] == ["/kept"]


def test_it_closes_though_the_file_cannot_be_written(path, clock):
    made = AccessLog(path, clock)
    path.unlink()
    path.mkdir()
    note(made)
    with pytest.raises(IsADirectoryError):
        made.close()


def test_a_full_disk_is_told_and_costs_lines_only(path, clock):
    path.symlink_to("/dev/full")
    made = AccessLog(path, clock)
    note(made, "/lost")
    with pytest.raises(OSError, match="No space"):
        made.flush()
    path.unlink()
    note(made, "/kept")
    made.flush()
    made.close()
    assert [line["target"] for line in lines(path)] == ["/kept"]


@pytest.mark.parametrize("name", ["none/access.log", "."])
def test_what_cannot_be_opened_is_said_at_the_start(tmp_path, clock, name):
    with pytest.raises(ConfigError, match=r"proxy\.access_log"):
        AccessLog(tmp_path / name, clock)


# -- what the door writes there --------------------------------------------------------------------------------


@asynccontextmanager
async def running(path, backend, settings=None):
    made = AccessLog(path, SystemClock())
    async with run_hub(settings, access=made) as hub, serve(backend) as endpoint:
        hub.route_to(endpoint)
        yield hub, made
    made.close()


async def raw(hub, text):
    reader, writer = await asyncio.open_connection(hub.host, hub.port)
    writer.write(text.encode("latin-1"))
    try:
        async with asyncio.timeout(PATIENCE_S):
            return await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()


def short(path, access):
    access.flush()
    return [
        (line["method"], line["target"], line["user"], line["status"], line["bytes"]) for line in lines(path)
    ]


async def test_one_line_per_exchange(path, backend, browser):
    async with running(path, backend) as (hub, access):
        async with browser.get(
            hub.url("download?size=2000000&length=1&token=no"), headers=hub.login
        ) as answer:
            assert len(await answer.read()) == 2_000_000
        async with browser.head(hub.url("status?s=404"), headers=hub.login) as answer:
            assert answer.status == 404
        async with browser.post(f"{hub.origin}/hub/page", data=b"body") as answer:
            size = len(await answer.read())
        async with browser.get(hub.url("x")) as answer:
            refused = len(await answer.read())
        await until(lambda: len(short(path, access)) == 4)
        assert short(path, access) == [
            ("GET", "/user/alice/download?size=2000000&length=1", "alice", 200, 2_000_000),
            ("HEAD", "/user/alice/status?s=404", "alice", 404, 0),
            ("POST", "/hub/page", "", 200, size),
            ("GET", "/user/alice/x", "", 403, refused),
        ]
        assert {line["address"] for line in lines(path)} == {"127.0.0.1"}
        assert all(0 <= line["seconds"] < 60 for line in lines(path))


async def test_what_was_sent_ahead_has_lines_of_its_own(path, backend):
    async with running(path, backend) as (hub, access):
        await raw(
            hub,
            f"GET /user/alice/1 HTTP/1.1\r\n{LOGIN}\r\nGET /hub/2 HTTP/1.1\r\n{LOGIN}\r\n"
            f"GET /user/alice/3 HTTP/1.1\r\n{LOGIN}Connection: close\r\n\r\n",
        )
        await until(lambda: len(short(path, access)) == 3)
        assert [row[1:4] for row in short(path, access)] == [
            ("/user/alice/1", "alice", 200),
            ("/hub/2", "", 200),
            ("/user/alice/3", "alice", 200),
        ]


@pytest.mark.parametrize(
    ("text", "row"),
    [
        ("nonsense\r\n\r\n", ("", "", "", 400, 0)),
        ("GET / HTTP/1.1\r\nHost: h\r\nCookie : secret\r\n\r\n", ("", "", "", 400, 0)),
        ("GET / HTTP/3.0\r\nHost: h\r\n\r\n", ("", "", "", 505, 0)),
        ("BREW /hub/pot?token=secret HTTP/1.1\r\nHost: h\r\n\r\n", ("BREW", "/hub/pot", "", 405, 0)),
    ],
)
async def test_what_is_refused_has_a_line(path, backend, text, row):
    async with running(path, backend) as (hub, access):
        answer = await raw(hub, text)
        assert answer.split()[1] == str(row[3]).encode()
        await until(lambda: len(short(path, access)) == 1)
        assert short(path, access) == [row]
        assert "secret" not in path.read_text()


async def test_one_too_many_has_a_line(path, backend):
    async with running(path, backend, {"proxy": {"max_connections": 1}}) as (hub, access):
        _, writer = await asyncio.open_connection(hub.host, hub.port)
        await until(lambda: len(hub.proxy) == 1)
        assert b" 503 " in await raw(hub, "")
        assert short(path, access) == [("", "", "", 503, 0)]
        writer.close()


async def test_a_websocket_has_a_line_when_it_begins(path, backend, browser):
    async with running(path, backend) as (hub, access):
        async with browser.ws_connect(hub.url("ws"), headers=hub.login) as ws:
            await ws.send_str("x")
            assert (await ws.receive()).data == "x"
            assert short(path, access) == [("GET", "/user/alice/ws", "alice", 101, 0)]
        await until(lambda: len(hub.proxy) == 0 or not hub.proxy._tunnels)
        assert len(short(path, access)) == 1


async def test_who_goes_away_has_a_line(path, backend, browser):
    async with running(path, backend) as (hub, access):
        async with browser.get(hub.url("slow"), headers=hub.login) as answer:
            await answer.content.readline()
            answer.close()
        await until(lambda: len(short(path, access)) == 1)
        ((_, target, user, status, size),) = short(path, access)
        assert (target, user, status) == ("/user/alice/slow", "alice", 200)
        assert size == len(b"4\r\none\n\r\n"), "as framed"


async def test_who_goes_away_before_the_answer_has_a_line_without_a_status(path, backend):
    async with running(path, backend) as (hub, access):
        _, writer = await asyncio.open_connection(hub.host, hub.port)
        writer.write(f"POST /user/alice/upload HTTP/1.1\r\n{LOGIN}Content-Length: 9\r\n\r\nabc".encode())
        await until(lambda: backend.received == 3)
        assert short(path, access) == []
        writer.transport.abort()
        await until(lambda: len(short(path, access)) == 1)
        assert short(path, access)[0][3] == 0


async def test_lines_are_written_without_being_asked(path, backend, browser):
    async with running(path, backend, {"proxy": {"head_timeout_s": 0.2}}) as (hub, _):
        async with browser.get(f"{hub.origin}/hub/page") as answer:
            assert answer.status == 200
        await until(lambda: lines(path))
        moved = path.rename(path.with_suffix(".1"))
        async with browser.get(f"{hub.origin}/hub/other") as answer:
            assert answer.status == 200
        await until(path.exists)
        await until(lambda: lines(path))
        assert len(lines(moved)) == len(lines(path)) == 1


async def test_a_full_disk_stops_nobody(tmp_path, path, backend, browser, caplog):
    path.symlink_to("/dev/full")
    async with running(path, backend, {"proxy": {"head_timeout_s": 0.2}}) as (hub, _):
        for _ in range(2):
            caplog.clear()
            async with browser.get(hub.url("x"), headers=hub.login) as answer:
                assert answer.status == 200
            await until(lambda: "lines of the access log are lost" in caplog.text)


async def test_off_it_notes_nothing(served, browser):
    assert served.proxy.access is None
    async with browser.get(served.url("slow"), headers=served.login) as answer:
        assert answer.status == 200
        (client,) = served.proxy._clients
        assert client._record is None
