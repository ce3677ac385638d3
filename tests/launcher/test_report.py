"""What Jupyter's process tells the hub and the launcher, on real sockets."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading
from contextlib import contextmanager

import pytest

from minihub import launcher
from minihub.launcher.report import Reporter, start, tell

NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"


class Hub:
    """Answers each request with the next answer; None: closes the connection without one."""

    def __init__(self, *answers):
        self.connections = 0
        self.bodies = []
        self.heads = []
        self.answered = threading.Event()
        """The first request was."""
        self._answers = iter(answers)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/hub/api/report"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            with connection, connection.makefile("rb") as reader:
                while self._serve(connection, reader):
                    pass

    def _serve(self, connection, reader):
        head = []
        while line := reader.readline().strip():
            head.append(line.decode())
        if not head:
            return False
        length = next(int(h.split(":")[1]) for h in head if h.lower().startswith("content-length:"))
        self.heads.append(head)
        self.bodies.append(json.loads(reader.read(length)))
        answer = next(self._answers)
        if answer is None:
            return False
        connection.sendall(answer)
        self.answered.set()
        return b"close" not in answer and b"HTTP/1.0" not in answer

    def close(self):
        self._listener.close()


@contextmanager
def hub_answering(*answers):
    hub = Hub(*answers)
    try:
        yield hub
    finally:
        hub.close()


@pytest.fixture
def pipe(tmp_path):
    os.mkfifo(tmp_path / "notify")
    return str(tmp_path / "notify")


@pytest.fixture
def heard(pipe):
    """What the launcher hears: call it for the lines so far."""
    descriptor = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)

    def read():
        try:
            return os.read(descriptor, 4096).decode().splitlines()
        except BlockingIOError:
            return []

    yield read
    os.close(descriptor)


def report(hub, pipe):
    """The whole way: the notice, and when that was answered, the report."""
    reporter = Reporter(hub.url, None, "secret", pipe)
    thread = threading.Thread(target=reporter.run)
    thread.start()
    assert hub.answered.wait(30)
    assert reporter.listening(4711)
    thread.join(60)
    assert not thread.is_alive()


def test_a_port_that_is_there_at_once_needs_no_notice(pipe, heard):
    with hub_answering(NO_CONTENT) as hub:
        reporter = Reporter(hub.url, None, "secret", pipe)
        assert reporter.listening(4711)
        reporter.run()
    assert hub.bodies == [{"secret": "secret", "port": 4711}]
    assert heard() == ["listening 4711", "taken"]


def test_notice_and_report_take_one_connection(pipe, heard):
    with hub_answering(NO_CONTENT, NO_CONTENT) as hub:
        report(hub, pipe)
    assert hub.bodies == [{"secret": "secret", "port": None}, {"secret": "secret", "port": 4711}]
    assert hub.connections == 1
    assert hub.heads[0][0] == "POST /hub/api/report HTTP/1.1"
    assert f"Host: {hub.url.split('/')[2]}" in hub.heads[0]
    assert heard() == ["listening 4711", "taken"]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n",
        b"HTTP/1.0 204 No Content\r\n\r\n",
        b"HTTP/1.1 409 Conflict\r\nContent-Length: 2\r\n\r\n{}",
    ],
    ids=["close", "HTTP/1.0", "body"],
)
def test_what_the_hub_does_not_keep_is_not_used_again(pipe, heard, answer):
    with hub_answering(answer, NO_CONTENT) as hub:
        report(hub, pipe)
    assert hub.bodies[-1]["port"] == 4711
    assert hub.connections == 2
    assert heard() == ["listening 4711", "taken"]


def test_a_kept_connection_that_the_hub_has_closed_is_no_failure(pipe, heard):
    with hub_answering(NO_CONTENT, None, NO_CONTENT) as hub:
        report(hub, pipe)
    assert [b["port"] for b in hub.bodies] == [None, 4711, 4711]
    assert heard() == ["listening 4711", "taken"]


def test_the_launcher_hears_of_a_failure_at_once_and_of_the_success_later(pipe, heard):
    unavailable = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
    with hub_answering(unavailable, unavailable, NO_CONTENT) as hub:
        report(hub, pipe)
    lines = heard()
    assert sorted(lines) == ["failed", "failed", "listening 4711", "taken"]
    assert lines[-2:] == ["failed", "taken"]


def test_a_refusal_is_said_and_not_repeated(pipe, heard, capsys):
    refused = b"HTTP/1.1 409 Conflict\r\nContent-Length: 0\r\n\r\n"
    with hub_answering(NO_CONTENT, refused) as hub:
        report(hub, pipe)
    assert len(hub.bodies) == 2
    assert heard() == ["listening 4711", "failed"]
    assert "did not take the report of the port: refused" in capsys.readouterr().err


def test_it_imports_what_jupyter_has_anyway(pipe):
    """Not `typing`, and no tables for names in other alphabets."""
    with hub_answering(NO_CONTENT) as hub:
        code = (
            "import hashlib, json, os, socket, ssl, sys, threading, time; before = set(sys.modules)\n"
            "exec(sys.stdin.read()); reporter = Reporter(sys.argv[1], None, 'secret', sys.argv[2])\n"
            "assert reporter.send(4711); print(*set(sys.modules) - before)"
        )
        done = subprocess.run(
            ["/usr/bin/python3", "-I", "-S", "-c", code, hub.url, pipe],
            input=launcher.source("report.py"), capture_output=True, text=True, check=True,
        )  # fmt: skip
    assert set(done.stdout.split()) <= {"__future__"}


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://hub:8000/hub/api/report", ("https", "hub", 8000, "/hub/api/report")),
        (
            "https://hub.example/jupyter/hub/api/report",
            ("https", "hub.example", 443, "/jupyter/hub/api/report"),
        ),
        ("http://[fd00::1]:80/x", ("http", "fd00::1", 80, "/x")),
        ("http://[fd00::1]/x", ("http", "fd00::1", 80, "/x")),
        ("http://10.0.0.1", ("http", "10.0.0.1", 80, "/")),
    ],
)
def test_addresses(url, address, pipe):
    assert Reporter(url, None, "secret", pipe).address() == address


@pytest.mark.parametrize("url", ["", "hub:8000/x", "ftp://hub/x", "https:///x", "https://hub:http/x"])
def test_what_is_no_address_is_a_failure_and_no_crash(url, pipe, heard):
    reporter = Reporter(url, None, "secret", pipe)
    with pytest.raises(ValueError, match=r"not a URL|invalid literal"):
        reporter.send(1)


def test_without_an_address_only_the_launcher_is_told(pipe, heard):
    reporter = start({"report_url": None, "report_pin": None, "report_secret": "x"}, pipe)
    assert start({}, pipe) is reporter
    assert reporter.listening(0)
    assert heard() == ["listening 0"]


def test_a_launcher_that_is_gone_hears_nothing(pipe):
    assert not tell(pipe, "listening 1")
    assert not tell(pipe + "-not-there", "listening 1")
