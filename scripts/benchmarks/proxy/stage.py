"""All that stands while one run lasts: a directory, certificates, the backend, and each proxy once somebody asks for it."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import http.client
import ipaddress
import itertools
import json
import os
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from cryptography import x509

from minihub.servers.identity import make_secrets, make_self_signed

from .cpu import family
from .heads import SMALL_PATH, Site
from .peers import PEERS, Order
from .processes import SCRIPTS, Program, python

PLAIN, TLS, NODE_TLS = "plain", "TLS in front", "TLS to the node"
OURS, DIRECT, BARE = "minihub", "direct", "aiohttp"
"""Our proxy; no proxy at all; the hub's application without the proxy."""

_LIFETIME = dt.timedelta(days=2)
_ANSWER_S = 10.0


@dataclass(frozen=True, slots=True)
class Cores:
    """Which core is whose."""

    proxy: int
    load: int
    """The backend's too."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A proxy that listens."""

    site: Site
    program: Program | None
    ca: str
    """File of its certificate, "" for plain."""

    @property
    def pids(self) -> list[int]:
        """Of all its processes."""
        return family(self.program.pid) if self.program else []


class Stage:
    """Starts things, and ends them all at `close`."""

    def __init__(self, cache: Path, cores: Cores) -> None:
        self.cores = cores
        self._cache = cache
        self._known: dict[tuple[str, str], Standing] = {}
        self._numbers = itertools.count()
        with ExitStack() as stack:
            self._directory = Path(stack.enter_context(TemporaryDirectory(prefix="minihub-bench-")))
            self._env = {"PYTHONPATH": f"{SCRIPTS}:{SCRIPTS.parent}", "PYTHONDONTWRITEBYTECODE": "1"}
            self._certificate, self._key = self._make_front_pair()
            self._secrets, node_files = self._make_node_secrets()
            self._backend = self._start_python(stack, "backend", *node_files, core=cores.load)
            self._ports: dict[str, int] = self._backend.read_line()
            self._stack = stack.pop_all()

    def close(self) -> None:
        """End everything, remove the directory."""
        self._stack.close()

    @property
    def backend_pids(self) -> list[int]:
        """Of the backend."""
        return family(self._backend.pid)

    def let_backend_wait(self, *, wait: bool) -> None:
        """Say whether the backend waits until the load tool, on the same core, has nothing to do.

        Where it does not, every single request may make it take the core at once. Then requests go round one by one instead
        of in batches, and that costs a proxy up to three times the CPU for each; with TLS in the load tool this
        happened in every third measurement, whatever the proxy. Where single answers are timed, it must not wait.
        """
        policy = os.SCHED_BATCH if wait else os.SCHED_OTHER
        os.sched_setscheduler(self._backend.pid, policy, os.sched_param(0))

    @property
    def env(self) -> dict[str, str]:
        """What our own programs need to find their modules."""
        return self._env

    def get(self, name: str, variant: str = PLAIN) -> Standing:
        """The proxy `name`, started at the first call."""
        key = (name, variant)
        if key not in self._known:
            self._known[key] = self._start(self._stack, name, variant)
        return self._known[key]

    @contextlib.contextmanager
    def fresh(self, name: str, variant: str = PLAIN) -> Iterator[Standing]:
        """Another process of it that has done nothing yet."""
        with ExitStack() as stack:
            yield self._start(stack, name, variant)

    def _start(self, stack: ExitStack, name: str, variant: str) -> Standing:
        cookie = f"{'__Host-minihub' if variant == TLS else 'minihub-login'}={'x' * 43}"
        if name == DIRECT:
            return Standing(Site(self._ports["port"], tls=False, cookie=cookie), None, "")
        ca = str(self._certificate) if variant == TLS else ""
        if name in (OURS, BARE):
            program, port, cookie = self._start_ours(stack, name, variant)
        else:
            program, port = self._start_peer(stack, name, variant)
        return Standing(Site(port, tls=bool(ca), cookie=cookie), program, ca)

    def _start_ours(self, stack: ExitStack, name: str, variant: str) -> tuple[Program, int, str]:
        spec: dict[str, Any] = {
            "bare": name == BARE,
            "state_dir": str(self._new_directory(name)),
            "backend_port": self._ports["tls_port" if variant == NODE_TLS else "port"],
        }
        if variant == TLS:
            spec |= {"certificate": str(self._certificate), "key": str(self._key)}
        if variant == NODE_TLS:
            spec["secrets"] = self._secrets
        path = self._new_directory("spec") / "spec.json"
        path.write_text(json.dumps(spec))
        program = self._start_python(stack, "target", str(path), core=self.cores.proxy)
        said = program.read_line()
        return program, said["port"], said["cookie"]

    def _start_peer(self, stack: ExitStack, name: str, variant: str) -> tuple[Program, int]:
        tls = variant == TLS
        order = Order(
            self._new_directory(name),
            self._ports["port"],
            self.cores.proxy,
            self._certificate if tls else None,
            self._key if tls else None,
            self._cache,
        )
        program, port = PEERS[name](order)
        stack.callback(program.end)
        _wait_answer(port, order.certificate)
        return program, port

    def _start_python(self, stack: ExitStack, module: str, *arguments: str, core: int) -> Program:
        log = self._new_directory(module) / "log"
        program = Program(python(module, *arguments), core=core, log=log, env=self._env)
        stack.callback(program.end)
        return program

    def _new_directory(self, name: str) -> Path:
        path = self._directory / f"{next(self._numbers)}-{name}"
        path.mkdir(mode=0o700)
        return path

    def _make_front_pair(self) -> tuple[Path, Path]:
        """One EC P-256 pair for all that end TLS in front."""
        now = dt.datetime.now(dt.UTC)
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        certificate, key = make_self_signed(
            "benchmark", now - dt.timedelta(hours=1), now + _LIFETIME, [(names, False)]
        )
        paths = (self._directory / "front.pem", self._directory / "front.key")
        paths[0].write_text(certificate)
        paths[1].touch(0o600)
        paths[1].write_text(key)
        return paths

    def _make_node_secrets(self) -> tuple[dict[str, str], list[str]]:
        """The hub's part of one attempt's mutual TLS, and the files of the server's part."""
        secrets, server = make_secrets("alice", tls=True, not_before=time.time(), lifetime=_LIFETIME)
        assert server is not None
        files = []
        for name in ("certificate", "key", "client"):
            path = self._directory / f"node-{name}.pem"
            path.touch(0o600)
            path.write_text(getattr(server, name))
            files.append(str(path))
        return {field.name: getattr(secrets, field.name) for field in dataclasses.fields(secrets)}, files


def _wait_answer(port: int, ca: Path | None) -> None:
    """Wait until what listens has found its settings, too."""
    until = time.monotonic() + _ANSWER_S
    status: int | OSError
    while True:
        connection = (
            http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            if ca is None
            else http.client.HTTPSConnection(
                "127.0.0.1", port, timeout=5, context=ssl.create_default_context(cafile=str(ca))
            )
        )
        with contextlib.closing(connection):
            try:
                connection.request("GET", SMALL_PATH)
                status = connection.getresponse().status
            except OSError as error:
                status = error
        if status == 200:
            return
        if time.monotonic() > until:
            raise RuntimeError(f"port {port} does not answer: {status}")
        time.sleep(0.05)


def choose_cores() -> Cores:
    """The first two that we may use."""
    mine = sorted(os.sched_getaffinity(0))
    if len(mine) < 2:
        raise SystemExit("bench proxy: needs two cores: one for the proxy, one for load and backend")
    return Cores(proxy=mine[0], load=mine[1])
