"""The table identity x transport of docs/identities.md, row by row, with real sshd, sudo, bash and Slurm.

Runs inside the test cluster's mount namespace: scripts/dev-cluster exec hub -- pytest -m cluster.
"""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import secrets
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncssh
import pytest

from minihub.clock import SystemClock
from minihub.config import parse_settings
from minihub.errors import CommandTimedOut, ConnectFailed, ConnectionLost
from minihub.transports.ca import load_ca
from minihub.transports.ssh import SshTransport
from tests.cluster.sshd import Sshd, file_of, own_sshd

pytestmark = pytest.mark.cluster

WRAPPER = "/usr/local/libexec/minihub-job"
IDENTITIES = ["certificate", "sudo"]
SLEEPER = b"#!/bin/sh\nid -un; env; sleep 60\n"


@pytest.fixture(scope="module")
def facts() -> dict:
    name = os.environ.get("MINIHUB_CLUSTER_NAME", "dev")
    return json.loads(Path(f"/var/lib/minihub-cluster/{name}/cluster.json").read_text())


@pytest.fixture(scope="module", autouse=True)
def installed(facts) -> None:
    """The wrapper and its sudoers file are the ones of this checkout."""
    configs = Path(__file__).parents[2] / "configs"
    Path(WRAPPER).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(configs / "minihub-job", WRAPPER)
    Path(WRAPPER).chmod(0o755)
    shutil.copyfile(configs / "sudoers.d/minihub", "/etc/sudoers.d/minihub")
    Path("/etc/sudoers.d/minihub").chmod(0o440)


@asynccontextmanager
async def transport_to(
    facts: dict, identity: str, *, node: str = "", via_ssh: bool = False, **ssh
) -> AsyncIterator[SshTransport]:
    raw = {
        "ssh": {"login_nodes": [node or facts["addresses"]["login"]], **ssh},
        "slurm": {"identity": identity, "service_user": facts["service_user"]},
    }
    state_dir = Path(facts["user_ca"]).parent
    transport = SshTransport(
        parse_settings(raw),
        SystemClock(),
        "minihub",
        state_dir,
        via_ssh=via_ssh,
        runtime_dir=Path("/run/minihub-test"),
    )
    try:
        yield transport
    finally:
        await transport.close()


@pytest.fixture(params=IDENTITIES)
async def transport(request, facts) -> AsyncIterator[SshTransport]:
    async with transport_to(facts, request.param) as transport:
        yield transport


async def submit(transport: SshTransport, user: str, *extra: str, script: bytes = SLEEPER) -> str:
    home = pwd.getpwnam(user).pw_dir
    argv = ["sbatch", "--parsable", "--export=ALL", "--time=5", "--mem=100M", f"--chdir={home}"]
    argv += [f"--output={home}/.minihub-%j.log", "--job-name=minihub-ssh-test", *extra]
    done = await transport.run(argv, user=user, stdin=script, timeout_s=20)
    assert done.exit_status == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.strip()


async def job(transport: SshTransport, job_id: str) -> list[str]:
    """Owner and state as the service account sees them."""
    done = await transport.run(
        ["squeue", "-h", "-t", "all", "-j", job_id, "-o", "%u %T"], user=None, timeout_s=20
    )
    return done.stdout.split()


async def until_state(transport: SshTransport, job_id: str, *states: str) -> None:
    async with asyncio.timeout(60):
        while (await job(transport, job_id))[1] not in states:
            await asyncio.sleep(0.2)


# -- submit, cancel, read the log: both identities


async def test_a_job_is_the_users_and_its_environment_is_clean(transport):
    job_id = await submit(transport, "alice")
    try:
        await until_state(transport, job_id, "RUNNING")
        assert await job(transport, job_id) == ["alice", "RUNNING"]
        log = f"{pwd.getpwnam('alice').pw_dir}/.minihub-{job_id}.log"
        async with asyncio.timeout(20):
            while "PATH=" not in (text := await tail(transport, "alice", log)):
                await asyncio.sleep(0.2)
        assert text.startswith("alice\n")
        names = {line.split("=")[0] for line in text.splitlines()[1:] if not line.startswith("SLURM")}
        ours = {"PATH", "HOME", "USER", "LOGNAME", "LANG"}
        # What Slurm adds by itself, and sh's own.
        assert names - ours <= {"ENVIRONMENT", "TMPDIR", "PWD", "HOSTNAME", "SHELL", "SHLVL", "_"}
        assert names >= ours
        assert Path(log).stat().st_uid == pwd.getpwnam("alice").pw_uid
    finally:
        await transport.run(["scancel", "--user=alice", job_id], user="alice", timeout_s=20)
    await until_state(transport, job_id, "CANCELLED", "COMPLETING")


async def tail(transport: SshTransport, user: str, path: str, size: int = 16384) -> str:
    return (await transport.run(["tail", "-c", str(size), "--", path], user=user, timeout_s=20)).stdout


async def test_nobody_cancels_anothers_job(transport):
    job_id = await submit(transport, "alice")
    try:
        done = await transport.run(["scancel", "--user=bob", job_id], user="bob", timeout_s=20)
        assert done.exit_status in (0, 1)
        await asyncio.sleep(1)
        assert (await job(transport, job_id))[1] in ("PENDING", "RUNNING", "CONFIGURING")
    finally:
        await transport.run(["scancel", "--user=alice", job_id], user="alice", timeout_s=20)


async def test_the_service_account_is_the_second_way_to_cancel(transport):
    job_id = await submit(transport, "alice")
    done = await transport.run(["scancel", job_id], user=None, timeout_s=20)
    assert done.exit_status == 0
    await until_state(transport, job_id, "CANCELLED", "COMPLETING")


async def test_slurms_refusal_is_the_commands_not_the_transports(transport):
    done = await transport.run(
        ["sbatch", "--parsable", "--account=nosuch"], user="alice", stdin=SLEEPER, timeout_s=20
    )
    assert done.exit_status == 1
    assert done.stderr.startswith("sbatch: error: Batch job submission failed: Invalid account")


async def test_the_end_of_ones_own_log(transport):
    with file_of("alice", ".minihub-1.log", "x" * 100 + "the end\n") as path:
        assert await tail(transport, "alice", str(path), 8) == "the end\n"


@pytest.mark.parametrize("target", ["/etc/shadow", "bob", "service key"])
async def test_a_log_that_is_a_link_to_someone_elses_file_gains_nothing(transport, facts, target):
    with file_of("bob", ".minihub-secret.log", "bob's secret\n") as secret:
        paths = {"/etc/shadow": "/etc/shadow", "bob": str(secret), "service key": facts["service_key"]}
        link = Path(pwd.getpwnam("alice").pw_dir) / ".minihub-link.log"
        link.unlink(missing_ok=True)
        link.symlink_to(paths[target])
        try:
            done = await transport.run(["tail", "-c", "500", "--", str(link)], user="alice", timeout_s=20)
        finally:
            link.unlink()
        assert (done.exit_status, done.stdout) == (1, "")
        assert "Permission denied" in done.stderr


async def test_a_command_that_hangs_is_ended_on_the_login_node(transport):
    entry = pwd.getpwnam("alice")
    pipe = Path(entry.pw_dir) / f".minihub-{secrets.token_hex(4)}.log"
    os.mkfifo(pipe)
    os.chown(pipe, entry.pw_uid, entry.pw_gid)
    try:
        # The login shell must come so far in the same time.
        with pytest.raises(CommandTimedOut, match="tail"):
            await transport.run(["tail", "-c", "9", "--", str(pipe)], user="alice", timeout_s=5)
        async with asyncio.timeout(20):
            while subprocess.run(["pgrep", "-f", pipe.name], capture_output=True, check=False).stdout != b"":
                await asyncio.sleep(0.1)
    finally:
        pipe.unlink()


# -- who may not


@pytest.mark.parametrize("user", ["root", "daemon", "slurm", "munge", "sshd", "nobody", "nosuchuser"])
async def test_the_hub_refuses_root_and_system_accounts(transport, user):
    """Debian's slurm has uid 64030, so there sshd and sudo are who refuse."""
    with pytest.raises(
        ConnectFailed, match=r"root|system account|knows no user" if user != "slurm" else "does not let"
    ):
        await transport.run(["tail", "-c", "9", "--", "/x-minihub.log"], user=user, timeout_s=20)


async def login(facts: dict, user: str, principal: str, node: str = "", **signing) -> str:
    """Log in with a certificate that the CA's key signed, without asking the hub's policy."""
    key = load_ca(Path(facts["user_ca"])).sign(
        principal, now=signing.pop("now", SystemClock().wall()), lifetime_s=300, **signing
    )
    async with asyncssh.connect(
        node or facts["addresses"]["login"],
        username=user,
        client_keys=[key],
        known_hosts=facts["known_hosts"],
        config=[],
    ) as connection:
        return (await connection.run("id -un")).stdout.strip()


@pytest.mark.parametrize("user", ["root", "daemon", "slurm", "munge"])
async def test_sshd_refuses_them_too_even_with_the_cas_signature(facts, user):
    assert await login(facts, "alice", "alice") == "alice"
    with pytest.raises(asyncssh.PermissionDenied):
        await login(facts, user, user)


async def test_a_certificate_is_good_for_its_own_user_time_and_address_only(facts):
    hub = facts["addresses"]["hub"]
    assert await login(facts, "alice", "alice", source_address=[hub]) == "alice"
    for user, principal, more in (
        ("bob", "alice", {}),
        ("alice", "alice", {"source_address": ["192.0.2.1"]}),
        ("alice", "alice", {"now": SystemClock().wall() - 3600}),
        ("alice", "alice", {"now": SystemClock().wall() + 3600}),
    ):
        with pytest.raises(asyncssh.PermissionDenied):
            await login(facts, user, principal, **more)


async def test_a_certificate_gets_no_terminal_and_no_forwarding(facts):
    key = load_ca(Path(facts["user_ca"])).sign("alice", now=SystemClock().wall(), lifetime_s=300)
    async with asyncssh.connect(
        facts["addresses"]["login"],
        username="alice",
        client_keys=[key],
        known_hosts=facts["known_hosts"],
        config=[],
    ) as connection:
        with pytest.raises(asyncssh.ChannelOpenError):
            await connection.create_process("tty", request_pty="force")
        with pytest.raises(asyncssh.ChannelOpenError):
            await connection.open_connection("127.0.0.1", 22)


@pytest.mark.parametrize(
    "command",
    [
        ["-u", "root", "--", WRAPPER, "sbatch"],
        ["-u", "slurm", "--", WRAPPER, "sbatch"],
        ["-u", "#0", "--", WRAPPER, "sbatch"],
        ["-u", "#57701", "-g", "root", "--", WRAPPER, "sbatch"],
        ["-u", "alice", "--", "/bin/sh", "-c", "id"],
        ["-u", "alice", "--", "/usr/bin/sbatch"],
        ["-u", "alice", "BASH_ENV=/tmp/x", WRAPPER, "sbatch"],
        ["-u", "alice", "-i"],
        ["--", "/bin/sh"],
    ],
    ids=" ".join,
)
async def test_sudo_lets_the_service_account_do_nothing_else(facts, command):
    async with transport_to(facts, "sudo") as transport:
        done = await transport.run(["sudo", "-n", *command], user=None, timeout_s=20)
    assert done.exit_status == 1
    assert done.stdout == ""
    assert done.stderr.startswith("sudo: ") or "not allowed" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["sh"],
        ["squeue"],
        ["sbatch", "/etc/passwd"],
        ["sbatch", "--wrap=id"],
        ["sbatch", "--uid=0"],
        ["sbatch", "--get-user-env"],
        ["sbatch", "--export=NONE"],
        ["sbatch", "--prolog=/tmp/x"],
        ["sbatch", "--chdir=tmp"],
        ["sbatch", "-A", "def-prof1"],
        ["sbatch", "--comment=a\tb"],
        ["scancel"],
        ["scancel", "--user=bob"],
        ["scancel", "-u", "alice"],
        ["scancel", "7;id"],
        ["scancel", "--name=x"],
        ["tail", "-f", "--", "/home/alice/.minihub-1.log"],
        ["tail", "-c", "9", "--", "/etc/passwd"],
        ["tail", "-c", "9", "--", "/home/alice/minihub.log/../.ssh/id"],
        ["tail", "-c", "9", "--", "minihub.log"],
        ["tail", "-c", "+1", "--", "/home/alice/.minihub-1.log"],
        ["tail", "-c", "9", "--", "/home/alice/.minihub-1.log", "/etc/passwd"],
        ["--timeout=0", "scancel", "1"],
        ["--timeout=9999", "scancel", "1"],
        ["--timeout=1;id", "scancel", "1"],
    ],
    ids=" ".join,
)
async def test_the_wrapper_refuses_everything_but_its_verbs(facts, arguments):
    async with transport_to(facts, "sudo") as transport:
        done = await transport.run(
            ["sudo", "-n", "-u", "alice", "--", WRAPPER, *arguments], user=None, timeout_s=20
        )
    assert done.exit_status == 96
    assert done.stderr.startswith("minihub-job: refused: ")
    assert done.stdout == ""


def test_the_wrapper_never_runs_as_root():
    done = subprocess.run([WRAPPER, "scancel", "1"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (
        96,
        "minihub-job: refused: this never runs as root or a system account\n",
    )


def test_sudo_finds_no_fault_with_the_file():
    subprocess.run(["visudo", "-c", "-f", "/etc/sudoers.d/minihub"], check=True, capture_output=True)


# -- start-up files, MaxSessions, broken connections: an sshd of our own, with the very lines `minihub ca show` prints


@pytest.fixture(params=["as printed", "without SHLVL"])
async def sshd(request, facts, tmp_path) -> AsyncIterator[tuple[Sshd, bool]]:
    """It, and whether SHLVL is set."""
    async with own_sshd(facts, tmp_path, shlvl=request.param == "as printed") as sshd:
        yield sshd, request.param == "as printed"


def through(sshd, facts, **more):
    return transport_to(facts, "certificate", node=sshd[0].node, known_hosts=str(sshd[0].known_hosts), **more)


@pytest.mark.parametrize(
    ("bashrc", "trouble"),
    [
        ("echo Welcome to the cluster\necho oops >&2\n", None),
        ("printf 'no end of line'\nexec 2>&1\n", None),
        ("sleep 25\n", r"longer than 1 s.*start-up files"),
        ("echo bye >&2; exit 1\n", r"ended before.*start-up files.*bye"),
        ("read line\n", r"start-up files"),
        ("cat > /dev/null\n", r"start-up files"),
        ("exec /bin/false\n", r"ended before.*start-up files"),
        ("kill -9 $$\n", r"ended before.*start-up files"),
        ("export PATH=/nonexistent\n", None),
        ("alias exec=false; set -e; false || true; shopt -s extglob\n", None),
    ],
)
async def test_a_bashrc_of_any_kind(sshd, facts, bashrc, trouble):
    with file_of("carol", ".bashrc", bashrc, 0o644):
        async with through(sshd, facts) as transport:
            if trouble is None or sshd[1]:
                done = await transport.run(["cat"], user="carol", stdin=b"42\n", timeout_s=20)
                assert (done.exit_status, done.stdout, done.stderr) == (0, "42\n", "")
                assert done.elapsed_s < 20, "it does not wait for the start-up file"
            else:
                # Where the shell ends it must come so far in time.
                timeout_s = 20 if trouble.startswith("ended") else 1
                with pytest.raises(ConnectFailed, match=trouble):
                    await transport.run(["touch", "/home/carol/ran"], user="carol", timeout_s=timeout_s)
                await asyncio.sleep(0.3)
                assert not Path("/home/carol/ran").exists()


async def test_root_is_refused_by_the_printed_lines(sshd, facts):
    node, known_hosts = sshd[0].node, sshd[0].known_hosts
    host, _, port = node.partition(":")
    for user in ("root", "daemon"):
        key = load_ca(Path(facts["user_ca"])).sign(user, now=SystemClock().wall(), lifetime_s=300)
        with pytest.raises(asyncssh.PermissionDenied):
            await asyncssh.connect(
                host, int(port), username=user, client_keys=[key], known_hosts=str(known_hosts), config=[]
            )


async def test_maxsessions_is_no_wall(sshd, facts):
    """sshd allows 10 at once. Told to use more, the transport meets the refusal and goes on with a second connection."""
    async with through(sshd, facts, max_commands=15) as transport:
        await transport.run(["true"], user="carol", timeout_s=20)
        results = await asyncio.gather(
            *(
                transport.run(["sh", "-c", "sleep 0.5; echo $1", "sh", str(n)], user="carol", timeout_s=30)
                for n in range(15)
            )
        )
    assert [r.stdout for r in results] == [f"{n}\n" for n in range(15)]


async def test_one_command_at_a_time_on_each_connection(facts, tmp_path):
    """A site may allow far fewer than the hub's own limit of 8."""
    async with (
        own_sshd(facts, tmp_path, more="MaxSessions 1") as node,
        transport_to(facts, "certificate", node=node.node, known_hosts=str(node.known_hosts)) as transport,
    ):
        await transport.run(["true"], user="carol", timeout_s=20)
        hello = ["sh", "-c", "sleep 0.5; echo $1", "sh"]
        results = await asyncio.gather(
            *(transport.run([*hello, str(n)], user="carol", timeout_s=30) for n in range(8))
        )
    assert [r.stdout for r in results] == [f"{n}\n" for n in range(8)]


def children_of(pid: int) -> list[int]:
    done = subprocess.run(["pgrep", "-P", str(pid), "sshd"], capture_output=True, text=True, check=True)
    return [int(word) for word in done.stdout.split()]


async def test_a_connection_that_sshd_loses(sshd, facts):
    async with through(sshd, facts) as transport:
        started = Path("/home/carol/started")
        running = asyncio.ensure_future(
            transport.run(["sh", "-c", f"touch {started}; sleep 60"], user="carol", timeout_s=60)
        )
        async with asyncio.timeout(60):
            while not started.exists():
                await asyncio.sleep(0.02)
        started.unlink()
        monitors = children_of(sshd[0].process.pid)
        for pid in [*monitors, *(child for monitor in monitors for child in children_of(monitor))]:
            os.kill(pid, 9)
        with pytest.raises(ConnectionLost):
            await running
        assert (await transport.run(["echo", "back"], user="carol", timeout_s=20)).stdout == "back\n"


# -- via = "ssh"


@pytest.mark.parametrize("identity", IDENTITIES)
async def test_a_forward_ends_where_the_login_node_sees_the_host(facts, identity):
    async with transport_to(facts, identity, via_ssh=True) as transport:
        path = await transport.open_forward("alice", "login", 22)
        reader, writer = await asyncio.open_unix_connection(path)
        assert (await reader.read(7)) == b"SSH-2.0"
        writer.close()
        await transport.close_forward("alice", "login", 22)
        assert not path.exists()
