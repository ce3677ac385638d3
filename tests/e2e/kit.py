"""A hub process under test, people who use it without a browser, and what Slurm says of it all."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import importlib.metadata
import itertools
import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import aiohttp

from tests.cluster.conftest import Cluster

T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "configs/dev-cluster.toml"
IS_INSTALLED = any(importlib.metadata.distributions(name="minihub"))
"""scripts/test installs the wheel: then that is what runs, as at a site, and else this checkout."""
PATIENCE_S = 60
START_S = PATIENCE_S
END_S = 30

_numbers = itertools.count(1)


async def until(look: Callable[[], T], what: str, timeout_s: float = PATIENCE_S) -> T:
    """Look again and again until it is something: for what happens outside the hub and is told to nobody."""
    end = time.monotonic() + timeout_s
    while not (found := look()):
        assert time.monotonic() < end, f"not so after {timeout_s:g} s: {what}"
        await asyncio.sleep(0.1)
    return found


def insecure() -> ssl.SSLContext:
    """Takes the hub's self-signed certificate."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


# ---- settings -------------------------------------------------------------------------------------------------------


def merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Lay one tree of tables over another."""
    merged = copy.deepcopy(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def dump_toml(tables: dict[str, Any]) -> str:
    """Write tables of simple values; JSON's strings, numbers, booleans and lists are TOML's too."""
    lines: list[str] = []

    def table(name: str, values: dict[str, Any]) -> None:
        lines.append(f"[{name}]")
        lines.extend(f"{k} = {json.dumps(v)}" for k, v in values.items() if not isinstance(v, dict))
        for key, value in values.items():
            if isinstance(value, dict):
                table(f"{name}.{key}", value)

    for name, values in tables.items():
        table(name, values)
    return "\n".join(lines) + "\n"


def cluster_settings(cluster: Cluster) -> dict[str, Any]:
    """The shipped example, for this cluster and with a free port."""
    text = EXAMPLE.read_text().replace("/minihub-cluster/dev/", f"/minihub-cluster/{cluster.name}/")
    settings = tomllib.loads(text.replace("10.77.0.1", cluster.addresses["hub"]))
    return merge(settings, {"hub": {"port": 0}, "slurm": {"listing_waiting_s": 0.5}})


def local_settings() -> dict[str, Any]:
    """The embedded default: no Slurm, servers on this very machine."""
    bin_dir = str(Path(sys.executable).parent)
    return {
        "hub": {"host": "127.0.0.1", "port": 0},
        "servers": {"scheduler": "local"},
        "local": {"listing_s": 0.3},
        "jupyter": {"bin_dir": bin_dir},
    }


# ---- the hub --------------------------------------------------------------------------------------------------------


@dataclass
class Hub:
    """One hub: its settings and state on disk, and the process while it runs."""

    directory: Path
    settings: dict[str, Any]
    user: str | None = None
    """Started by this user rather than by root."""
    process: subprocess.Popen[bytes] | None = None
    url: str = ""
    starts: int = 0
    extra_env: dict[str, str] = field(default_factory=dict)
    prefix: tuple[str, ...] = ()
    """Words before every command: unshare, say."""
    program: tuple[str, ...] = ("-m", "minihub")
    """What Python runs."""

    @property
    def config(self) -> Path:
        return self.directory / "minihub.toml"

    @property
    def store(self) -> Path:
        return Path(self.settings["hub"]["state_dir"]) / "minihub.sqlite"

    @property
    def id(self) -> str:
        """Part of every job's name; "" before the first start."""
        file = self.directory / "state" / "hub_id"
        return file.read_text().strip() if file.exists() else ""

    @property
    def log(self) -> str:
        file = self.directory / "log"
        return file.read_text(errors="replace") if file.exists() else ""

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def argv(self, *words: str) -> list[str]:
        """A `minihub` command with this hub's settings."""
        prefix = list(self.prefix)
        if self.user is not None:
            prefix += ["setpriv", f"--reuid={self.user}", f"--regid={self.user}", "--init-groups"]
        return [*prefix, sys.executable, *self.program, *words, "--config", str(self.config)]

    def environment(self) -> dict[str, str]:
        path = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
        base = {"PATH": path, "LANG": "C.UTF-8"}
        if not IS_INSTALLED:
            base["PYTHONPATH"] = str(ROOT)
        if self.user is not None:
            base |= {"HOME": f"/home/{self.user}", "USER": self.user, "LOGNAME": self.user}
        return base | self.extra_env

    def change(self, **tables: dict[str, Any]) -> None:
        """Other settings from the next start on."""
        self.settings = merge(self.settings, tables)
        self.config.write_text(dump_toml(self.settings))
        self.config.chmod(0o644)

    def launch(self) -> None:
        """Start the process and do not wait."""
        self.starts += 1
        with (self.directory / "log").open("ab") as log:
            log.write(f"---- start {self.starts}\n".encode())
            self._log_from = log.tell()
            self.process = subprocess.Popen(
                self.argv("serve"),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=self.environment(),
            )

    def start(self, patience_s: float = START_S) -> Hub:
        """Start the process and wait until it answers."""
        self.launch()
        end = time.monotonic() + patience_s
        while not self._answers():
            assert self.process is not None
            assert self.process.poll() is None, f"the hub ended: {self.log[-4000:]}"
            assert time.monotonic() < end, f"no hub after {patience_s:g} s: {self.log[-4000:]}"
            time.sleep(0.05)
        if self.settings["hub"]["port"] == 0:
            # A restarted hub is found where it was.
            self.change(hub={"port": int(self.url.rstrip("/").rpartition(":")[2])})
        return self

    def _answers(self) -> bool:
        found = re.search(r"is ready at (\S+)", self.log[self._log_from :])
        if found is None:
            return False
        self.url = found[1].rstrip("/")
        try:
            with urllib.request.urlopen(
                f"{self.url}/hub/health", context=self._context(), timeout=5
            ) as answer:
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False

    def _context(self) -> ssl.SSLContext | None:
        return insecure() if self.url.startswith("https:") else None

    def kill(self) -> None:
        """As a power failure would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        """SIGTERM, as systemd would."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(END_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise

    def command(self, *words: str, stdin: str = "") -> str:
        """Run another `minihub` command on this hub's settings; it must succeed."""
        done = subprocess.run(
            self.argv(*words),
            input=stdin,
            capture_output=True,
            text=True,
            cwd="/",
            env=self.environment(),
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"minihub {words}: {done.stdout}{done.stderr}"
        return done.stdout

    def check_fails(self, *words: str) -> str:
        """Run `minihub check`, which must find something; returns what it says."""
        done = subprocess.run(
            self.argv("check", *words),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            cwd="/",
            env=self.environment(),
            timeout=120,
            check=False,
        )
        assert done.returncode == 1, f"minihub check {words}: {done.stdout}{done.stderr}"
        return done.stdout

    def token(self, user: str, *scopes: str) -> str:
        """Make an API token."""
        more = [word for scope in scopes for word in ("--scope", scope)]
        return self.command("tokens", "create", "--user", user, *more).strip()

    def pss_mib(self) -> float:
        """Memory of the listening process. Source: proc(5), smaps_rollup."""
        text = Path(f"/proc/{self.pid}/smaps_rollup").read_text()
        return int(re.search(r"Pss:\s+(\d+)", text)[1]) / 1024


@contextlib.contextmanager
def new_hub(
    cluster: Cluster, settings: dict[str, Any], user: str | None = None, **tables: dict[str, Any]
) -> Iterator[Hub]:
    """A hub with a state of its own, not started yet; ended and removed afterwards."""
    name = f"h{next(_numbers)}"
    directory = cluster.directory / "e2e" / name
    runtime = Path(f"/run/minihub-e2e-{name}")
    shutil.rmtree(directory, ignore_errors=True)
    shutil.rmtree(runtime, ignore_errors=True)
    directory.mkdir(parents=True)
    for folder in (directory, directory.parent):
        folder.chmod(0o755)
    state = directory / "state"
    if user is not None:
        # What root would have made for itself.
        for folder in (state, runtime):
            folder.mkdir()
            shutil.chown(folder, user, user)
    hub = Hub(directory, {}, user)
    base = merge(settings, {"hub": {"state_dir": str(state), "runtime_dir": str(runtime)}})
    hub.change(**merge(base, tables))
    try:
        yield hub
    finally:
        hub.end()
        cancel_jobs([hub])
        shutil.rmtree(runtime, ignore_errors=True)


# ---- people ---------------------------------------------------------------------------------------------------------


class Person:
    """Somebody with a browser's cookies but without the browser."""

    def __init__(self, hub: Hub, name: str, client: aiohttp.ClientSession) -> None:
        self.hub = hub
        self.name = name
        self.client = client
        """With the cookies."""

    @property
    def server_url(self) -> str:
        return f"{self.hub.url}/user/{self.name}"

    async def get(self, path: str, **more: Any) -> tuple[int, str]:
        async with self.client.get(self.hub.url + path, **more) as answer:
            return answer.status, await answer.text()

    async def wait_page(self, path: str, *words: str) -> str:
        """Wait until the page says all of it: what comes from the store is written a moment after a state changes."""
        end = time.monotonic() + PATIENCE_S
        while True:
            _, page = await self.get(path)
            if all(word in page for word in words):
                return page
            assert time.monotonic() < end, f"{words} not on {path}: {text_of(page)}"
            await asyncio.sleep(0.1)

    async def log_in(self, password: str) -> None:
        _, page = await self.get("/hub/login")
        form = {"_xsrf": xsrf_of(page), "username": self.name, "password": password, "next": ""}
        async with self.client.post(f"{self.hub.url}/hub/login", data=form, allow_redirects=False) as answer:
            assert answer.status == 303, text_of(await answer.text())

    async def xsrf(self) -> str:
        return xsrf_of((await self.get("/hub/token"))[1])

    async def post(self, path: str, **form: str) -> tuple[int, str, str]:
        """Send a form of ours; returns status, Location and text."""
        data = {"_xsrf": await self.xsrf(), **form}
        async with self.client.post(self.hub.url + path, data=data, allow_redirects=False) as answer:
            return answer.status, answer.headers.get("Location", ""), await answer.text()

    async def start(self, **options: Any) -> None:
        status, _, page = await self.post("/hub/spawn", **{k: str(v) for k, v in options.items()})
        assert status == 303, text_of(page)

    async def server(self) -> dict[str, Any]:
        """The server as the REST API shows it; {} if there never was one."""
        status, text = await self.get(f"/hub/api/users/{self.name}/server")
        return json.loads(text) if status == 200 else {}

    async def wait_state(self, *states: str, timeout_s: float = PATIENCE_S) -> dict[str, Any]:
        """Wait until the server is in one of these states; any end that is not wanted fails at once."""
        end = time.monotonic() + timeout_s
        while True:
            server = await self.server()
            state = server.get("state")
            if state in states:
                return server
            assert state not in ("failed", "stopped"), f"{self.name} is {state}: {server}"
            assert time.monotonic() < end, f"{self.name} is {state} and not {states}: {server}"
            await asyncio.sleep(0.1)

    async def start_and_wait(self, **options: Any) -> dict[str, Any]:
        await self.start(**options)
        return await self.wait_state("ready")

    async def stop(self) -> None:
        """Stop whatever there is and wait until it is gone."""
        server = await self.server()
        if server and not server["stopped"]:
            await self.post("/hub/stop")
            await self.wait_state("stopped", "failed")

    async def run_cell(self, code: str, kernel: str = "") -> str:
        """Run code in a kernel (a new one, if none is named) and return what it printed."""
        async with contextlib.AsyncExitStack() as stack:
            kernel = kernel or await self.new_kernel()
            url = f"{self.server_url}/api/kernels/{kernel}/channels"
            socket = await stack.enter_async_context(self.client.ws_connect(url, max_msg_size=0))
            await stack.enter_async_context(asyncio.timeout(PATIENCE_S))
            await socket.send_str(json.dumps(execute_request(code)))
            printed = ""
            async for message in socket:
                data = json.loads(message.data)
                if data["msg_type"] == "stream":
                    printed += data["content"]["text"]
                idle = data["msg_type"] == "status" and data["content"]["execution_state"] == "idle"
                if idle and data["parent_header"].get("msg_type") == "execute_request":
                    return printed
            raise AssertionError("the kernel's websocket closed")

    async def new_kernel(self) -> str:
        async with self.client.post(f"{self.server_url}/api/kernels", json={"name": "python3"}) as answer:
            assert answer.status == 201, await answer.text()
            return (await answer.json())["id"]


def execute_request(code: str) -> dict[str, Any]:
    """An execute_request. Source: Jupyter messaging protocol 5.3."""
    header = {"msg_id": os.urandom(8).hex(), "msg_type": "execute_request", "username": "", "version": "5.3"}
    return {
        "header": {**header, "session": os.urandom(8).hex()},
        "parent_header": {},
        "metadata": {},
        "content": {"code": code, "silent": False},
        "channel": "shell",
    }


@contextlib.asynccontextmanager
async def visitor(hub: Hub, name: str = "") -> AsyncIterator[Person]:
    """Somebody who is not logged in yet."""
    client = aiohttp.ClientSession(
        cookie_jar=aiohttp.CookieJar(unsafe=True),
        headers={"Accept": "text/html", "Origin": hub.url},
        connector=aiohttp.TCPConnector(ssl=insecure()),
        timeout=aiohttp.ClientTimeout(total=PATIENCE_S),
    )
    async with client:
        yield Person(hub, name, client)


@contextlib.asynccontextmanager
async def person(hub: Hub, name: str, password: str) -> AsyncIterator[Person]:
    """Somebody logged in, whose server is gone afterwards."""
    async with visitor(hub, name) as someone:
        await someone.log_in(password)
        try:
            yield someone
        finally:
            if hub.process is not None and hub.process.poll() is None:
                await someone.stop()


def xsrf_of(page: str) -> str:
    found = re.search(r'name="_xsrf" value="([^"]+)"', page)
    assert found, f"no form token on the page: {text_of(page)}"
    return found[1]


def text_of(page: str) -> str:
    """What a reader sees of a page."""
    main = re.search(r"(?s)<main.*?</main>", page)
    text = re.sub(r"(?s)<(script|style).*?</\1>|<[^>]+>", " ", main[0] if main else page)
    return " ".join(text.split())[:1500]


def fresh_home(user: str) -> None:
    """Remove what Jupyter has left: Lab opens again what was open."""
    home = Path(f"/home/{user}")
    for entry in (
        *home.glob("*.ipynb"),
        home / ".jupyter",
        home / ".local",
        home / ".ipython",
        home / ".cache",
    ):
        if entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink(missing_ok=True)


# ---- Slurm ----------------------------------------------------------------------------------------------------------


def slurm(*argv: str, stdin: str = "") -> str:
    """Run one of Slurm's commands as root; it must succeed."""
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{argv}: {done.stderr}"
    return done.stdout.strip()


@dataclass(frozen=True, slots=True)
class SlurmJob:
    """One line of squeue."""

    id: str
    user: str
    state: str
    name: str
    node: str
    reason: str


def jobs(hub: Hub | None = None, user: str = "") -> list[SlurmJob]:
    """The jobs that exist now, ended ones left out; of this hub only, of this user only."""
    text = slurm("squeue", "-h", "-t", "PD,R,S,CF,ST", "-o", "%A|%u|%T|%j|%N|%r")
    found = [SlurmJob(*line.split("|")) for line in text.splitlines()]
    if hub is not None:
        found = [job for job in found if hub.id and hub.id in job.name]
    return [job for job in found if user in ("", job.user)]


def cancel_jobs(hubs: Sequence[Hub]) -> None:
    """End all jobs of these hubs."""
    if ids := [job.id for job in jobs() if any(hub.id and hub.id in job.name for hub in hubs)]:
        slurm("scancel", *ids)


def final_state(job_id: str) -> str:
    """How accounting says that a job ended, "" while it has not."""
    text = slurm("sacct", "-n", "-X", "-P", "-j", job_id, "-o", "State")
    return "" if text in ("", "PENDING", "RUNNING") else text


@contextlib.contextmanager
def busy_cluster() -> Iterator[list[str]]:
    """Somebody else's jobs fill all nodes: whatever is submitted now waits for resources; what comes afterwards does not."""
    held = [
        slurm("sbatch", "--parsable", "--uid=bob", "-A", "def-prof1", "-D", "/", "-o", "/dev/null", "-t", "10",
              "--exclusive", "--mem=0", "-w", node, stdin="#!/bin/sh\nsleep 600\n")
        for node in ("node1", "node2")
    ]  # fmt: skip
    try:
        _wait_for_jobs(held, "R", len(held))
        yield held
    finally:
        slurm("scancel", *held)
        # A job that is completing still has its node.
        _wait_for_jobs(held, "PD,R,CG", 0)


def _wait_for_jobs(ids: Sequence[str], states: str, count: int) -> None:
    """Wait until so many of the jobs are in one of these states."""
    end = time.monotonic() + PATIENCE_S
    while len(slurm("squeue", "-h", "-t", states, "-o", "%A", "-j", ",".join(ids)).split()) != count:
        assert time.monotonic() < end, slurm("squeue")
        time.sleep(0.1)


def signal_daemon(name: str, number: signal.Signals) -> None:
    """Stop or wake one of this cluster's daemons, found by the cluster's own pid file."""
    os.kill(int(Path(f"/run/slurm/{name}.pid").read_text()), number)
