"""Bad input and broken surroundings, row by row: a clear error with its cure, and nothing is lost.

One hub state serves all rows. Bob's server runs in it from the first row to the last, whatever is broken meanwhile, and
alice stays logged in.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import socket
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncssh
import pytest
import pytest_asyncio

from tests.cluster.conftest import Cluster
from tests.cluster.sshd import file_of, own_sshd
from tests.cluster.test_check import private_data
from tests.e2e.kit import PATIENCE_S, Hub, Person, cancel_jobs, jobs, merge, slurm, text_of, until, visitor

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="session")]

CHOICE = {"account": "rrg-prof2", "time_hours": "0.7", "cores": "2", "memory_mb": "900"}


@dataclass
class Town:
    """The hub, its people, and what must outlive every row."""

    hub: Hub
    cluster: Cluster
    alice: Person
    bob: Person
    job_id: str = ""
    kernel: str = ""
    good: dict[str, Any] = field(default_factory=dict)

    @property
    def state(self) -> Path:
        return self.hub.directory / "state"

    def make(self, name: str, mode: int = 0o755) -> Path:
        """An empty folder for one row."""
        folder = self.hub.directory / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        folder.chmod(mode)
        return folder

    def set(self, tables: dict[str, Any]) -> None:
        """The good settings, with these laid over."""
        self.hub.settings = {}
        self.hub.change(**merge(self.good, tables))

    def begin(self, tables: dict[str, Any]) -> None:
        """Start the hub with other settings than the good ones."""
        self.hub.end()
        self.set(tables)
        self.hub.start()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def town(cluster, make_hub, passwords):
    with make_hub(slurm={"command_timeout_s": 5}, servers={"start_timeout_s": 30}) as hub:
        state = hub.directory / "state"
        state.mkdir()
        # A disk of its own, that a row can fill.
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m,mode=0700", "none", state], check=True)
        shutil.chown(state, "minihub", "minihub")
        try:
            hub.start()
            async with visitor(hub, "alice") as alice, visitor(hub, "bob") as bob:
                for one in (alice, bob):
                    await one.log_in(passwords[one.name])
                running = await bob.start_and_wait(time_hours="0.5")
                kernel = await bob.new_kernel()
                await bob.run_cell("kept = 6 * 7", kernel)
                yield Town(hub, cluster, alice, bob, running["job"]["id"], kernel, hub.settings)
                hub.end()
        finally:
            # The hub's id goes with its disk.
            cancel_jobs([hub])
            subprocess.run(["umount", "-l", state], check=True)


@pytest.fixture(autouse=True)
def nothing_left():
    """Instead of the usual one: bob's server stays."""


@pytest.fixture(autouse=True)
def bobs_server_goes_on(town):
    yield
    left = jobs(town.hub, "alice")
    for job in left:
        slurm("scancel", job.id)
    assert [job.id for job in jobs(town.hub, "bob")] == [town.job_id]
    assert left == []


# ---- what the hub does not start with -------------------------------------------------------------------------------


@contextlib.contextmanager
def port_in_use(town):
    with socket.create_server((town.good["hub"]["host"], town.good["hub"]["port"]), reuse_port=False):
        yield {}


@contextlib.contextmanager
def tables(_town, **tables):
    yield tables


@contextlib.contextmanager
def other_key(town):
    key = town.state / "store.key"
    kept = key.read_bytes()
    shutil.copy2(key, town.state / "kept")
    key.write_bytes(b"x" * 43 + b"=\n")
    try:
        yield {}
    finally:
        key.write_bytes(kept)
        (town.state / "kept").unlink()


REFUSED = {
    "an unknown key": (
        lambda town: tables(town, ssh={"login_node": ["login"]}),
        r"minihub\.toml:\d+: ssh\.login_node: unknown key; did you mean login_nodes\?",
    ),
    "a wrong type": (
        lambda town: tables(town, servers={"spawn_timeout_s": "soon"}),
        r"minihub\.toml:\d+: servers\.spawn_timeout_s: .*number",
    ),
    "a wrong word": (
        lambda town: tables(town, servers={"via": "pigeon"}),
        r"minihub\.toml:\d+: servers\.via: .*'direct' or 'ssh'",
    ),
    "a port in use": (
        port_in_use,
        r"cannot listen on [\d.]+:\d+: another program listens there .*: end it, or set hub\.port",
    ),
    "an address of another machine": (
        lambda town: tables(town, hub={"host": "192.0.2.1"}),
        r"cannot listen on 192\.0\.2\.1:\d+: this machine has no such address: set hub\.host",
    ),
    "beyond loopback in the clear": (
        lambda town: tables(town, tls={"self_signed": False}),
        r"hub\.host: listening beyond loopback needs tls\.cert_file, tls\.self_signed or hub\.trusted_proxies",
    ),
    "another hub's key file": (other_key, r"store\.key is not the key .* Restore both"),
}


@pytest.mark.parametrize(("broken", "said"), REFUSED.values(), ids=REFUSED)
async def test_the_hub_does_not_start_and_says_why(town, broken, said):
    town.hub.end()
    with broken(town) as changes:
        town.set(changes)
        line = len(town.hub.log)
        town.hub.launch()
        assert town.hub.process.wait(PATIENCE_S) == 1
    log = town.hub.log[line:]
    assert re.search(said, log), log
    assert "Traceback" not in log
    assert "the helper has ended" not in log, "no other error hides the cause"


# ---- what it starts with, and then cannot do for its users ----------------------------------------------------------


@contextlib.asynccontextmanager
async def login_node_unreachable(town):
    town.begin({"ssh": {"login_nodes": ["login:2222"]}})
    yield


@contextlib.asynccontextmanager
async def wrong_host_key(town):
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    known_hosts = town.make("keys") / "known_hosts"
    known_hosts.write_text(f"login {other}")
    town.begin({"ssh": {"known_hosts": str(known_hosts)}})
    yield


@contextlib.asynccontextmanager
async def certificate_expired(town):
    """The hub's clock is a day late: what it signs has expired for the login node."""
    folder = town.make("late")
    (folder / "sitecustomize.py").write_text(
        "import time\nnow = time.time\ntime.time = lambda: now() - 86400\n"
    )
    before = dict(town.hub.extra_env)
    town.hub.extra_env |= {"PYTHONPATH": f"{folder}:{town.hub.environment().get('PYTHONPATH', '')}"}
    try:
        town.begin({})
    finally:
        town.hub.extra_env = before
    yield


@contextlib.asynccontextmanager
async def sbatch_missing(town):
    folder = town.make("bin")
    (folder / "sbatch").write_text("#!/bin/sh\nexec sbatch-is-not-there\n")
    (folder / "sbatch").chmod(0o755)
    town.begin({"slurm": {"bin_dir": str(folder)}})
    yield


@contextlib.asynccontextmanager
async def jupyter_missing(town):
    town.begin({"jupyter": {"bin_dir": str(town.make("empty"))}})
    yield


@contextlib.asynccontextmanager
async def jupyter_closed(town):
    folder = town.make("closed", 0o700)
    (folder / "jupyter").write_text("#!/bin/sh\n")
    (folder / "jupyter").chmod(0o755)
    town.begin({"jupyter": {"bin_dir": str(folder)}})
    yield


@contextlib.asynccontextmanager
async def names_that_do_not_resolve(town):
    """On the hub's machine; Slurm and the login node know them."""
    hosts = town.make("etc") / "hosts"
    lines = Path("/etc/hosts").read_text().splitlines(keepends=True)
    hosts.write_text("".join(line for line in lines if "node" not in line))
    hosts.chmod(0o644)
    town.hub.prefix = (
        "unshare",
        "--mount",
        "sh",
        "-c",
        f'mount --bind {hosts} /etc/hosts && exec "$@"',
        "sh",
    )
    try:
        town.begin({})
    finally:
        town.hub.prefix = ()
    yield


@contextlib.asynccontextmanager
async def bashrc(town, text, command_timeout_s=10):
    """On a login node whose sshd does not keep bash from reading it."""
    async with own_sshd(town.cluster.facts, town.make("sshd"), shlvl=False) as sshd:
        sshd.known_hosts.chmod(0o644)
        with file_of("alice", ".bashrc", text, 0o644):
            ssh = {
                "login_nodes": [sshd.node],
                "known_hosts": str(sshd.known_hosts),
                "source_address": "",
                "service_key": "",
            }
            town.begin({"ssh": ssh, "slurm": {"command_timeout_s": command_timeout_s}})
            try:
                yield
            finally:
                town.hub.end()


@contextlib.asynccontextmanager
async def private_without_operator(town):
    """Listings show neither bob's job nor any other's."""
    with private_data():
        town.begin({"slurm": {"service_user": "carol", "listing_quiet_s": 0.3}, "ssh": {"service_key": ""}})
        async with asyncio.timeout(PATIENCE_S):
            while "hides users" not in (await town.alice.get("/hub/spawn"))[1]:
                await asyncio.sleep(0.1)
        yield
        town.hub.end()


@contextlib.asynccontextmanager
async def disk_full(town):
    town.begin({})
    filler = town.state / "filler"
    with filler.open("wb") as file, contextlib.suppress(OSError):
        while True:
            file.write(b"\0" * 65536)
            file.flush()
    try:
        yield
    finally:
        filler.unlink()


FAILING = {
    "an unreachable login node": (
        login_node_unreachable,
        r"The cluster's login node cannot be reached right now",
        r"ssh to login:2222 as minihub: .*Connection refused",
    ),
    "a wrong host key": (
        wrong_host_key,
        r"did not show the host key that the hub knows for it",
        r"ssh-keygen -R 'login'",
    ),
    "an expired certificate": (
        certificate_expired,
        r"login node does not let the hub in as alice",
        r"do both clocks agree\?",
    ),
    "missing sbatch": (
        sbatch_missing,
        r"There is no working sbatch command on the cluster's login node",
        r"sbatch-is-not-there: not found; is slurm\.bin_dir right\?",
    ),
    "missing Jupyter": (
        jupyter_missing,
        r"there is no jupyter on node\d that alice may run, in \S+/empty",
        r"-> FAILED",
    ),
    "Jupyter that the user may not execute": (
        jupyter_closed,
        r"there is no jupyter on node\d that alice may run, in \S+/closed",
        r"other users cannot enter \S+/closed",
    ),
    "node names that do not resolve": (
        names_that_do_not_resolve,
        r"Jupyter came up, but the hub cannot reach it.*The hub's machine does not know the name node\d\..*minihub check",
        r"alice: job \d+ runs, but .*gaierror",
    ),
    "a failing .bashrc": (
        lambda town: bashrc(town, "echo bye >&2; exit 1\n"),
        r"ended before the hub's command could start.*start-up files.*~/\.bashrc",
        r"login shell's exit status 1 before the marker; it said: 'bye'",
    ),
    "a hanging .bashrc": (
        lambda town: bashrc(town, "sleep 600\n", command_timeout_s=2),
        r"takes longer than 2 s to start a command.*start-up files.*~/\.bashrc",
        r"no marker: a slow start-up file",
    ),
    "PrivateData without Operator": (
        private_without_operator,
        r"The scheduler hides users' jobs from the hub",
        r"make it an Operator .sacctmgr modify user carol set adminlevel=Operator",
    ),
    "a full disk": (disk_full, r"The hub cannot use its records: the disk is full", r"free some space"),
}


async def what_alice_reads(alice) -> str:
    """Start, and read the page that says how it went."""
    status, where, page = await alice.post("/hub/spawn", **CHOICE, interface="lab")
    if status != 303:
        assert status in (400, 503), text_of(page)
        return text_of(page)
    # Longer than Jupyter has to come up.
    server = await alice.wait_state("failed", "ready", timeout_s=2 * PATIENCE_S)
    assert server["state"] == "failed", server
    return text_of((await alice.get(where))[1])


@pytest.mark.parametrize(("broken", "page", "log"), FAILING.values(), ids=FAILING)
async def test_a_start_fails_with_its_cause_and_its_cure(town, broken, page, log):
    line = len(town.hub.log)
    async with broken(town):
        said = await what_alice_reads(town.alice)
        assert re.search(page, said.replace("&#39;", "'")), said
        for one in (town.alice, town.bob):
            assert (await one.get("/hub/home", allow_redirects=False))[0] == 200, (
                f"{one.name}'s login is gone"
            )
        assert (await town.bob.server())["job"]["id"] == town.job_id
        assert (await town.bob.server())["state"] == "ready"
        # The service account's own connection may meet the trouble after alice's.
        await until(lambda: re.search(log, town.hub.log[line:]), f"the hub's log says {log}")
    assert "Traceback" not in town.hub.log[line:]


async def test_a_noisy_bashrc_does_no_harm(town):
    async with bashrc(town, "echo Welcome to the cluster\necho oops >&2\nprintf 'no end of line'\n"):
        await town.alice.start_and_wait(**CHOICE)
        await town.alice.stop()


async def test_after_all_that_everything_is_there(town):
    town.begin({})
    assert (await town.bob.server())["job"]["id"] == town.job_id
    assert (await town.bob.run_cell("print(kept)", town.kernel)).strip() == "42"
    _, form = await town.alice.get("/hub/spawn")
    assert re.search(r'name="time_hours"[^>]*value="0\.7"', form), "what alice asked for is remembered"
