"""The audit log as a file: JSON lines that may be moved away, and that hinder nobody."""

from __future__ import annotations

import json

import pytest

from minihub.auditing import TOKEN_QUIET_S, AuditLog, TokenUses
from minihub.clock import ManualClock
from minihub.errors import ConfigError, StoreError
from minihub.logs import request_id
from minihub.store.rows import AuditQuery
from minihub.tasks import TaskKeeper
from tests.fakes import until


class Lines:
    """The store's part."""

    def __init__(self):
        self.lines = []
        self.fails = False

    async def append(self, at, actor, action, *, target="", address="", outcome="ok"):
        if self.fails:
            raise StoreError(detail="full")
        self.lines.append((at, actor, action, target, address, outcome))

    async def find(self, query):
        return self.lines, len(self.lines)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "audit.jsonl"


@pytest.fixture
def store():
    return Lines()


@pytest.fixture
def clock():
    return ManualClock(1_800_000_000.0)


@pytest.fixture
def audit(path, store, clock):
    audit = AuditLog(store, clock, path)
    yield audit
    audit.close()


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


async def test_a_line_is_in_the_store_and_in_the_file(audit, path, store):
    request_id.set("r1")
    await audit("stop", user="root-of-all", address="192.0.2.7", detail="ada")
    assert lines_of(path) == [
        {
            "time": "2027-01-15T08:00:00.000+00:00",
            "actor": "root-of-all",
            "action": "stop",
            "target": "ada",
            "address": "192.0.2.7",
            "outcome": "ok",
            "request": "r1",
        }
    ]
    assert store.lines == [(1_800_000_000.0, "root-of-all", "stop", "ada", "192.0.2.7", "ok")]
    assert await audit.find(AuditQuery()) == (store.lines, 1)
    assert path.stat().st_mode & 0o007 == 0


async def test_what_stands_in_it_cannot_break_a_line(audit, path):
    await audit("login", user="ada", address="\n\u2028", outcome='"}\nforged')
    (line,) = lines_of(path)
    assert (line["address"], line["outcome"]) == ("\n\u2028", '"}\nforged')


async def test_a_file_that_was_moved_away_is_made_anew(audit, path):
    await audit("login", user="ada", address="")
    path.rename(path.with_suffix(".1"))
    await audit("logout", user="ada", address="")
    assert [line["action"] for line in lines_of(path)] == ["logout"]
    assert [line["action"] for line in lines_of(path.with_suffix(".1"))] == ["login"]


async def test_neither_a_failing_store_nor_a_failing_file_hinders_anybody(audit, path, store, caplog):
    store.fails = True
    await audit("login", user="ada", address="")
    assert "not in the store" in caplog.text
    assert len(lines_of(path)) == 1

    store.fails = False
    path.unlink()
    path.mkdir()
    await audit("logout", user="ada", address="")
    assert f"not in {path}" in caplog.text
    assert len(store.lines) == 1


async def test_a_full_disk_is_said(store, caplog):
    audit = AuditLog(store, ManualClock(0.0), "/dev/full")
    await audit("login", user="ada", address="")
    audit.close()
    assert "not in /dev/full" in caplog.text
    assert len(store.lines) == 1


async def test_no_file_where_none_is_wanted(store):
    audit = AuditLog(store, ManualClock(0.0), None)
    await audit("login", user="ada", address="")
    audit.close()
    assert len(store.lines) == 1


def test_a_file_that_cannot_be_made_is_said_at_the_start(store, tmp_path):
    with pytest.raises(ConfigError, match=r"hub\.audit_log"):
        AuditLog(store, ManualClock(0.0), tmp_path / "nowhere" / "audit.jsonl")


async def test_what_nobody_in_particular_does_is_written_once_a_minute(audit, clock, store):
    async def refuse(address="192.0.2.7", outcome="BadCredentials"):
        await audit("login", user="", address=address, outcome=outcome)

    for _ in range(5):
        await refuse()
    await refuse(outcome="TooManyAttempts")
    await refuse(address="192.0.2.8")
    said = [(target, address, outcome) for _, _, _, target, address, outcome in store.lines]
    assert said == [
        ("", "192.0.2.7", "BadCredentials"),
        ("", "192.0.2.7", "TooManyAttempts"),
        ("", "192.0.2.8", "BadCredentials"),
    ]
    clock.advance(61)
    await refuse()
    await refuse()
    assert [line[3] for line in store.lines[3:]] == ["5 times"]
    clock.advance(61)
    await refuse()
    assert [line[3] for line in store.lines[4:]] == ["2 times"]
    assert audit.counts["login", "BadCredentials"] == 9
    assert audit.counts["login", "TooManyAttempts"] == 1


async def test_what_people_do_is_written_each_time(audit, store):
    for _ in range(3):
        await audit("login", user="ada", address="192.0.2.7")
    assert len(store.lines) == 3


async def test_use_of_a_token_is_written_once_an_hour_for_each_address(audit, clock, store):
    keeper = TaskKeeper()
    uses = TokenUses(audit, clock, keeper)
    for _ in range(3):
        uses.note("ada", "t1", "192.0.2.7")
    uses.note("ada", "t1", "192.0.2.8")
    uses.note("ada", "t2", "192.0.2.7")
    await until(lambda: len(store.lines) == 3)
    said = sorted((user, action, target, address) for _, user, action, target, address, _ in store.lines)
    assert said == [
        ("ada", "token-use", "t1", "192.0.2.7"),
        ("ada", "token-use", "t1", "192.0.2.8"),
        ("ada", "token-use", "t2", "192.0.2.7"),
    ]
    clock.advance(TOKEN_QUIET_S)
    uses.note("ada", "t1", "192.0.2.7")
    await until(lambda: len(store.lines) == 4)
    await keeper.close()
