"""What a hostile or mistaken hub gets from the helper."""

from __future__ import annotations

import json
import os
import signal
import struct
import time
from dataclasses import asdict
from pathlib import Path

import pytest

from minihub.errors import HelperError
from minihub.helper.wire import Unpacker, pack
from tests.helper.machine import PROCESSES, children_of, wait_end

STANDIN = "tests.helper.standin"


@pytest.fixture
def raw(machine):
    """A helper to be spoken to byte by byte: `raw.ask({...})`."""

    class Raw:
        def __init__(self):
            self.handle = machine.helper(STANDIN)
            self.handle.sock.settimeout(30)
            self.unpacker = Unpacker()
            self.answers = []

        def send(self, data):
            self.handle.sock.sendall(data)

        def answer(self):
            while not self.answers:
                data = self.handle.sock.recv(65536)
                if not data:
                    return None
                self.answers += self.unpacker.feed(data)
            return self.answers.pop(0)

        def ask(self, message):
            self.send(pack(message))
            return self.answer()

        def workers(self):
            return children_of(self.handle.pid)

        def wait_busy(self, count):
            """Wait until so many workers hang: then each has a child of its own."""
            deadline = time.monotonic() + 30
            while sum(bool(children_of(worker)) for worker in self.workers()) < count:
                assert time.monotonic() < deadline
                time.sleep(0.02)

        def configure(self, **changes):
            return self.ask({"id": 1, "op": "configure", **asdict(machine.settings(**changes))})

    raw = Raw()
    yield raw
    wait_end(raw.handle)


def test_nothing_works_before_the_settings_are_known(raw):
    answer = raw.ask({"id": 1, "op": "authenticate", "username": "alice", "password": "x"})
    assert answer == {"id": 1, "error": "refused", "message": "not configured"}


def test_settings_are_taken_once(raw):
    assert raw.configure()["root"] is True
    assert raw.configure(hub_user="mh-alice")["error"] == "refused"


@pytest.mark.parametrize(
    "changes",
    [
        {"hub_user": "mh-nobody-there"},
        {"hub_user": ""},
        {"runtime_dir": "relative"},
        {"runtime_dir": ""},
        {"pam_timeout_s": 0},
    ],
)
def test_wrong_settings_are_refused(raw, changes):
    answer = raw.configure(**changes)
    assert answer["error"] == "refused"
    assert answer["message"]


def test_a_foreign_directory_is_not_used(raw, machine, tmp_path_factory):
    directory = machine.base / "foreign"
    (directory / "jobs").mkdir(parents=True, exist_ok=True)
    os.chown(directory / "jobs", machine.hub_uid, machine.hub_uid)
    assert "belongs to somebody else" in raw.configure(runtime_dir=str(directory))["message"]


@pytest.mark.parametrize(
    "message",
    [
        {"op": "shell"},
        {"op": None},
        {"op": ["run"]},
        {"op": {"run": 1}},
        {},
        {"op": "run"},
        {"op": "run", "argv": ["squeue"], "user": "root", "timeout_s": 5},
        {"op": "run", "argv": ["squeue"], "user": 0, "timeout_s": 5},
        {"op": "run", "argv": ["squeue"], "user": "mh-alice", "timeout_s": 1e9},
        {"op": "run", "argv": ["squeue"], "user": "mh-alice", "timeout_s": 5, "stdin": "!"},
        {"op": "start", "user": "mh-alice", "tag": "../x", "script": "id", "log_path": "/x", "limit_s": 5},
        {"op": "start", "user": "mh-alice", "tag": "x", "script": 5, "log_path": "/x", "limit_s": 5},
        {"op": "start", "user": "mh-alice", "tag": "x", "script": "id", "log_path": "x", "limit_s": 5},
        {"op": "start", "user": "../x", "tag": "x", "script": "id", "log_path": "/x", "limit_s": 5},
        {"op": "prepare", "user": "a/b"},
        {"op": "kill", "job_id": "../../etc/passwd"},
        {"op": "kill", "job_id": 1},
        {"op": "forget", "job_id": "../1-1"},
        {"op": "authenticate"},
        {"op": "authenticate", "username": ["x"], "password": {"a": 1}},
        {"op": "authenticate", "username": "x", "password": ""},
    ],
)
def test_odd_questions_are_refused_and_harm_nobody(raw, message):
    raw.configure()
    answer = raw.ask({"id": 7, **message})
    assert answer["id"] == 7
    assert answer["error"] in {"refused", "failed", "bad_credentials"}
    assert raw.ask({"id": 8, "op": "authenticate", "username": "alice", "password": "x"}) == {
        "id": 8,
        "user": "alice",
    }


def test_a_question_without_a_number_gets_an_answer(raw):
    raw.configure()
    assert raw.ask({"op": "jobs"})["error"] == "busy"
    assert raw.ask({"id": "x", "op": "jobs"})["id"] == 0


@pytest.mark.parametrize(
    "data", [struct.pack("!I", 2**32 - 1), struct.pack("!I", 2) + b"[]", b"GET / HTTP/1.1\r\n\r\n"]
)
def test_other_languages_end_it(raw, data):
    raw.configure()
    raw.send(data)
    assert raw.answer() is None
    assert PROCESSES[raw.handle.pid].wait(30) == 0


def test_questions_cut_in_pieces_are_understood(raw):
    raw.configure()
    for byte in pack({"id": 3, "op": "jobs"}):
        raw.send(bytes([byte]))
    assert raw.answer()["id"] == 3


def test_workers_hold_no_descriptor_of_the_hubs(raw):
    raw.configure()
    raw.send(pack({"id": 1, "op": "authenticate", "username": "hang", "password": "x"}))
    raw.wait_busy(1)
    [worker] = raw.workers()
    held = [os.readlink(f"/proc/{worker}/fd/{fd}") for fd in os.listdir(f"/proc/{worker}/fd")]
    assert len([what for what in held if what.startswith("socket")]) == 1
    assert len(held) == 4


def test_it_ends_with_the_hub_and_takes_its_workers_along(raw):
    raw.configure(pam_workers=3)
    for number in range(3):
        raw.send(pack({"id": number, "op": "authenticate", "username": "hang", "password": "x"}))
    raw.wait_busy(3)
    pid = raw.handle.pid
    children = raw.workers()
    assert len(children) == 3
    raw.handle.sock.close()
    assert PROCESSES[pid].wait(30) == 0
    deadline = time.monotonic() + 30
    while any(
        Path(f"/proc/{child}").exists() and "Z" not in Path(f"/proc/{child}/stat").read_text()
        for child in children
    ):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_signals_meant_for_the_hub_do_not_end_it(raw):
    raw.configure()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(raw.handle.pid, number)
    assert "jobs" in raw.ask({"id": 3, "op": "jobs"})


def test_its_memory_cannot_be_read_by_others_and_its_environment_is_clean(machine):
    handle = machine.helper(STANDIN, env={"LD_DEBUG_X": "1", "KRB5CCNAME": "x", "MH_SECRET": "y"})
    handle.configure(machine.settings())
    reader = "import sys; open(f'/proc/{sys.argv[1]}/mem').close()"
    as_hub = [
        "setpriv",
        "--reuid",
        str(machine.hub_uid),
        "--clear-groups",
        "python3",
        "-c",
        reader,
        str(handle.pid),
    ]
    assert machine.enter(as_hub, stderr=-3).wait(30) != 0
    assert Path(f"/proc/{handle.pid}/status").read_text().count("Uid:\t0\t0\t0\t0") == 1
    wait_end(handle)


async def test_a_helper_that_dies_is_noticed(start_helper):
    helper = await start_helper(STANDIN)
    os.kill(helper.pid, signal.SIGKILL)
    await helper.closed
    with pytest.raises(HelperError, match="has ended"):
        await helper.authenticate("alice", "x")


def test_answers_hold_no_secret(raw):
    raw.configure()
    secret = "S3cret-" + "x" * 20
    for message in (
        {"op": "authenticate", "username": "raise", "password": secret},
        {"op": "authenticate", "username": "crash", "password": secret},
        {"op": "start", "user": "root", "tag": "x", "script": secret, "log_path": "/dev/null", "limit_s": 5},
        {
            "op": "start",
            "user": "mh-alice",
            "tag": "x",
            "script": secret + "\ud800",
            "log_path": "/x",
            "limit_s": 5,
        },
    ):
        answer = raw.ask({"id": 1, **message})
        assert "error" in answer
        assert secret not in json.dumps(answer)
