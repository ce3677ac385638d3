"""Real Jupyter servers, started by real job scripts, as a user who is nobody else on this machine."""

from __future__ import annotations

import http.client
import http.server
import itertools
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from minihub.servers.identity import client_context, make_secrets
from minihub.servers.jobscript import LaunchSpec, build_job_script
from minihub.servers.model import Secrets

BIN_DIR = str(Path(sys.executable).parent)
_uids = itertools.count(70_000 + os.getpid() % 20_000)


@dataclass
class Somebody:
    """An unprivileged user with a home and a TMPDIR of their own."""

    uid: int
    home: Path
    tmp: Path
    shared: Path
    """A directory that root made for them, for sockets."""
    path: list[str] = field(default_factory=lambda: ["/usr/bin", "/bin"])
    env: dict[str, str] = field(default_factory=dict)

    def write(self, name: str, text: str, mode: int = 0o644) -> Path:
        """Put a file of theirs into their home."""
        path = self.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        for entry in (path, *path.parents):
            if self.home in (entry, *entry.parents):
                os.chown(entry, self.uid, self.uid)
        return path

    def environment(self) -> dict[str, str]:
        base = {"PATH": os.pathsep.join(self.path), "HOME": str(self.home), "USER": "ada", "LOGNAME": "ada"}
        return {**base, "TMPDIR": str(self.tmp), "SHELL": "/bin/bash", **self.env}

    def processes(self) -> dict[int, str]:
        """Their processes: id -> command line."""
        found = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    if (
                        entry.stat().st_uid == self.uid
                        and "\nState:\tZ" not in (entry / "status").read_text()
                    ):
                        line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                        found[int(entry.name)] = line
                except (OSError, UnicodeDecodeError):
                    continue
        return found


@dataclass
class Hub:
    """The hub's end of the report."""

    url: str
    reports: list[dict[str, Any]]
    notices: list[dict[str, Any]]
    """That the job runs, before there is a port."""
    arrived: threading.Event
    pin: str = ""


@dataclass
class Job:
    """A job script that runs."""

    process: subprocess.Popen[bytes]
    spec: LaunchSpec
    secrets: Secrets
    log_file: Path
    owner: Somebody
    hub: Hub
    port: int = 0

    @property
    def log(self) -> str:
        return self.log_file.read_text() if self.log_file.exists() else ""

    def wait_ready(self, timeout_s: float = 120) -> Job:
        """Wait for the report of the port."""
        deadline = time.monotonic() + timeout_s
        while not self.hub.arrived.wait(0.05):
            if self.process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"no report; exit status {self.process.poll()}\n{self.log}")
        assert self.hub.reports[0]["secret"] == self.secrets.report
        self.port = self.hub.reports[0]["port"]
        return self

    def stop(self, timeout_s: float = 30) -> int:
        """End it as the hub does."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout_s)

    def connect(self, context: ssl.SSLContext | None = None) -> http.client.HTTPConnection:
        if self.spec.listen:
            connection = http.client.HTTPConnection("localhost", timeout=60)
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.connect(self.spec.listen)
            return connection
        if self.spec.tls:
            used = context or client_context(self.secrets)
            return http.client.HTTPSConnection("127.0.0.1", self.port, context=used, timeout=60)
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def request(
        self, path: str, method: str = "GET", *, token: str | None = "", context: ssl.SSLContext | None = None
    ) -> Answer:
        """Ask Jupyter; token: "" = the right one, None = none."""
        connection = self.connect(context)
        headers = {} if token is None else {"Authorization": f"token {token or self.secrets.token}"}
        try:
            connection.request(method, self.spec.base_url + path, headers=headers)
            answer = connection.getresponse()
            return Answer(answer.status, answer.read().decode(), answer.getheader("Location") or "")
        finally:
            connection.close()

    def jupyter_pid(self) -> int:
        return next(p for p, line in self.owner.processes().items() if "base_url=" in line)


@dataclass
class Answer:
    status: int
    text: str
    location: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


@pytest.fixture
def somebody() -> Iterator[Somebody]:
    assert os.getuid() == 0, "these tests start servers as another user and need root"
    root = Path(tempfile.mkdtemp(prefix="mh-test-", dir="/tmp"))
    root.chmod(0o755)
    user = Somebody(next(_uids), root / "home", root / "tmp", root / "shared")
    for folder in (user.home, user.tmp, user.shared):
        folder.mkdir(mode=0o700)
        os.chown(folder, user.uid, user.uid)
    yield user
    left = user.processes()
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    shutil.rmtree(root)
    assert not left, f"processes left behind: {left}"


@pytest.fixture
def make_hub() -> Iterator[Callable[..., Hub]]:
    servers = []

    def make(context: ssl.SSLContext | None = None, statuses: tuple[int, ...] = ()) -> Hub:
        reports: list[dict[str, Any]] = []
        notices: list[dict[str, Any]] = []
        arrived = threading.Event()
        answers = iter(statuses)

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if body["port"] is None:
                    notices.append({**body, "path": self.path})
                    self.send_response(204)
                    self.end_headers()
                    return
                status = next(answers, 204)
                if status < 300:
                    reports.append({**body, "path": self.path})
                self.send_response(status)
                self.end_headers()
                if status < 300:
                    arrived.set()

            def log_message(self, *_: object) -> None:
                pass

        class Server(http.server.ThreadingHTTPServer):
            def handle_error(self, *_: object) -> None:
                pass

        server = Server(("127.0.0.1", 0), Handler)
        if context:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        scheme = "https" if context else "http"
        return Hub(f"{scheme}://127.0.0.1:{server.server_port}/hub/api/report", reports, notices, arrived)

    yield make
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def launch(somebody: Somebody, make_hub: Callable[..., Hub]) -> Iterator[Callable[..., Job]]:
    jobs = []

    def start(
        *,
        tls: bool = False,
        hub: Hub | None = None,
        shell: str = "sh",
        log: str = ".minihub-77.log",
        clock: Callable[[], float] = time.time,
        **changes: Any,
    ) -> Job:
        hub = hub or make_hub()
        secrets, server_tls = make_secrets("ada", tls=tls, not_before=clock(), lifetime=timedelta(hours=1))
        spec = LaunchSpec(
            user="ada",
            tag="minihub-h-1",
            base_url="/user/ada/",
            hub_prefix="/hub/",
            interface="lab",
            secrets=secrets,
            tls=server_tls,
            report_url=hub.url,
            report_pin=hub.pin or None,
            log_path=str(somebody.home / ".minihub-%j.log"),
            bin_dir=BIN_DIR,
        )
        spec = replace(spec, **changes)
        log_file = somebody.write(log, "", 0o600)
        with log_file.open("ab") as output:
            process = subprocess.Popen(
                [shell],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                env=somebody.environment(),
                cwd=somebody.home,
                user=somebody.uid,
                group=somebody.uid,
                extra_groups=[],
            )
        assert process.stdin
        process.stdin.write(build_job_script(spec).encode())
        process.stdin.close()
        jobs.append(Job(process, spec, secrets, log_file, somebody, hub))
        return jobs[-1]

    yield start
    for job in jobs:
        if job.process.poll() is None:
            job.process.send_signal(signal.SIGTERM)
        job.process.wait(30)
