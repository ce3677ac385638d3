"""Login nodes of one's own, each a real sshd on a port of its own: to be rebooted, reinstalled, overcrowded, frozen."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import asyncssh

from minihub.transports.ca import load_ca, sshd_lines
from tests.cluster.conftest import Cluster

PATIENCE_S = 60


class LoginNode:
    """One sshd. The hub's CA is trusted there as `minihub ca show` says."""

    def __init__(self, cluster: Cluster, folder: Path, name: str) -> None:
        self.folder = folder
        self.name = name
        self.address = cluster.addresses["hub"]
        self._process: subprocess.Popen[bytes] | None = None
        with socket.create_server((self.address, 0)) as probe:
            self.port = probe.getsockname()[1]
        facts = cluster.facts
        authority = load_ca(Path(facts["user_ca"]))
        Path("/etc/ssh/minihub_user_ca.pub").write_text(authority.public_line() + "\n")
        self._lines = sshd_lines(
            authority.public_line(),
            [self.address],
            facts["users_group"],
            service_user=facts["service_user"],
            forwarding=True,
        )
        self.known_key = self.install()

    @property
    def node(self) -> str:
        """As ssh.login_nodes names it."""
        return f"{self.address}:{self.port}"

    def known_hosts_line(self) -> str:
        return f"[{self.address}]:{self.port} {self.known_key}\n"

    def install(self, key: bytes | None = None) -> str:
        """Give it a host key, a new one if none is named; returns the public half."""
        made = asyncssh.generate_private_key("ssh-ed25519")
        file = self._host_key
        file.write_bytes(key or made.export_private_key())
        file.chmod(0o600)
        return asyncssh.read_private_key(file).export_public_key().decode().strip()

    @property
    def _host_key(self) -> Path:
        return self.folder / f"host_key-{self.name}"

    def start(self, *options: str) -> None:
        """Boot, and wait until it takes connections; `options` as sshd -o."""
        config = self.folder / f"sshd_config-{self.name}"
        config.write_text(
            f"HostKey {self._host_key}\nPidFile none\nUsePAM yes\nPermitRootLogin yes\n{self._lines}"
        )
        more = [word for option in options for word in ("-o", option)]
        self._process = subprocess.Popen(
            ["/usr/sbin/sshd", "-D", "-e", "-f", config, "-p", str(self.port),
             "-o", f"ListenAddress={self.address}", *more],
            stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        end = time.monotonic() + PATIENCE_S
        while True:
            with socket.socket() as probe:
                if probe.connect_ex((self.address, self.port)) == 0:
                    return
            assert time.monotonic() < end, f"no sshd on {self.node}"
            time.sleep(0.02)

    def stop(self) -> None:
        """As a reboot would: the listener, every connection and what runs on them are gone at once."""
        if self._process is not None:
            self._signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    @contextlib.contextmanager
    def down(self) -> Iterator[None]:
        """Not there for a while."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    @contextlib.contextmanager
    def rebooted_as(self, *options: str) -> Iterator[None]:
        """Another configuration for a while."""
        self.stop()
        self.start(*options)
        try:
            yield
        finally:
            self.stop()
            self.start()

    @contextlib.contextmanager
    def reinstalled(self) -> Iterator[None]:
        """Down, and up again with another host key, for a while."""
        key = self._host_key.read_bytes()
        self.stop()
        self.install()
        self.start()
        try:
            yield
        finally:
            self.stop()
            self.install(key)
            self.start()

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """The kernel takes connections; nothing else happens any more."""
        self._signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._signal(signal.SIGCONT)

    def crowd(self, places: int) -> list[socket.socket]:
        """Take places among the connections that have not logged in yet; close them to leave."""
        taken: list[socket.socket] = []
        end = time.monotonic() + PATIENCE_S
        while len(taken) < places:
            assert time.monotonic() < end, f"others were quicker on {self.node}"
            place = socket.create_connection((self.address, self.port))
            with contextlib.suppress(ConnectionResetError):
                if place.recv(8).startswith(b"SSH-2.0"):
                    taken.append(place)
                    continue
            place.close()
        return taken

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        for pid in [self._process.pid, *_descendants(self._process.pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


def _descendants(pid: int) -> Sequence[int]:
    found = []
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, children.read_text().split()):
                found += [child, *_descendants(child)]
    return found
