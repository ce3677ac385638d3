"""One hub process: started as root as a site starts it, watched through its log and /proc, ended by its pid."""

from __future__ import annotations

import asyncio
import calendar
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

from .site import Site, build_settings, free_port

_PATIENCE_S = 30.0
_STAMP = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),(\d{3}) ")


class Hub:
    """A hub that runs; use it in a `with`."""

    def __init__(self, site: Site, *, name: str = "hub", **settings: Any) -> None:
        self.site = site
        self.port = free_port(site.address)
        self.url = f"https://{site.address}:{self.port}"
        self.state = site.directory / f"state-{name}"
        self.config = site.directory / f"{name}.toml"
        self.log_file = site.directory / f"{name}.log"
        self.config.write_text(build_settings(site, self.port, self.state, **settings))
        self.process: subprocess.Popen[bytes] | None = None
        self.started = 0.0

    def __enter__(self) -> Self:
        self.boot()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def boot(self) -> float:
        """Start it; return the seconds from exec to the first 200 on /hub/health."""
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(self.site.package),
            "PYTHONDONTWRITEBYTECODE": "1",
            "TZ": "UTC",
            "LANG": "C.UTF-8",
        }
        argv = [sys.executable, "-m", "minihub", "serve", "--config", str(self.config)]
        with self.log_file.open("ab") as log:
            self.started = time.time()
            self.process = subprocess.Popen(argv, env=environment, cwd="/", stdout=log, stderr=log)
        while not self._is_healthy():
            if self.process.poll() is not None:
                raise SystemExit(f"the hub did not start:\n{self.log_file.read_text()[-3000:]}")
            if time.time() - self.started > _PATIENCE_S:
                self.end()
                raise SystemExit(f"the hub does not answer:\n{self.log_file.read_text()[-3000:]}")
            time.sleep(0.004)
        return time.time() - self.started

    def _is_healthy(self) -> bool:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        try:
            with (
                socket.create_connection((self.site.address, self.port), timeout=5) as plain,
                context.wrap_socket(plain) as secured,
            ):
                secured.sendall(
                    b"GET /hub/health HTTP/1.1\r\nHost: %s:%d\r\nConnection: close\r\n\r\n"
                    % (self.site.address.encode(), self.port)
                )
                return secured.recv(64).startswith(b"HTTP/1.1 200")
        except OSError:
            return False

    def end(self) -> None:
        """End it as an admin does; servers would stay."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def log_time(self, pattern: str) -> float | None:
        """When the log's last line that matches was written, to the millisecond."""
        found = None
        for line in self.log_file.read_text(errors="replace").splitlines():
            stamp = _STAMP.match(line)
            if stamp is not None and re.search(pattern, line):
                whole = calendar.timegm(time.strptime(stamp[1], "%Y-%m-%d %H:%M:%S"))
                found = whole + int(stamp[2]) / 1000
        return found

    def pids(self) -> list[int]:
        """The hub's process and all below it: helper, PAM workers."""
        assert self.process is not None
        children: dict[int, list[int]] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    parent = int(entry.joinpath("stat").read_text().rpartition(") ")[2].split()[1])
                except OSError:
                    continue
                children.setdefault(parent, []).append(int(entry.name))
        found, queue = [], [self.process.pid]
        while queue:
            pid = queue.pop()
            found.append(pid)
            queue += children.get(pid, [])
        return found


async def wait_until(happened, timeout_s: float = 60.0, pause_s: float = 0.005):
    """Return what `happened()` returns once that is true."""
    ends = time.monotonic() + timeout_s
    while not (result := happened()):
        if time.monotonic() > ends:
            raise TimeoutError
        await asyncio.sleep(pause_s)
    return result
