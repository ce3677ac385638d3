"""scripts/dev-cluster keeps what it promises: a real Slurm, real logins, and nothing left behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from minihub.settings_file import load_settings
from tests.cluster.conftest import DEV_CLUSTER, Cluster, start

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]


def machine() -> Path:
    """Find the machine's own root directory, and its /proc/PID/mountinfo beside it.

    pytest itself may run inside the cluster's mount namespace, but whoever started it there does not.
    """
    pid = os.getpid()
    while pid and "/minihub-cluster/" in Path(f"/proc/{pid}/mountinfo").read_text():
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    assert pid
    return Path(f"/proc/{pid}/root")


def wait_for(condition, *, timeout_s: float = 30) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "not so in time"
        time.sleep(0.2)


def ssh(
    cluster: Cluster, key: Path, user: str, *command: str, host: str = "hub"
) -> subprocess.CompletedProcess[str]:
    """Run a command on the login node with OpenSSH's own client, from the hub or from a node."""
    options = [
        "BatchMode=yes",
        f"UserKnownHostsFile={cluster.known_hosts}",
        "StrictHostKeyChecking=yes",
        "ControlMaster=no",
    ]
    flags = [word for option in options for word in ("-o", option)]
    return cluster.run(
        ["ssh", "-F", "/dev/null", *flags, "-i", str(key), f"{user}@login", "--", *command], host=host
    )


@pytest.fixture
def keys(cluster: Cluster) -> Iterator[Path]:
    """A directory that hub and nodes see: homes are shared, /tmp is not."""
    path = f"{cluster.directory}/private/test-keys"
    cluster.output(["mkdir", "-m", "700", path])
    yield Path(path)
    cluster.output(["rm", "-r", path])


def signed_key(cluster: Cluster, keys: Path, principal: str, ca: Path | None = None) -> Path:
    key = keys / f"key-{principal}"
    cluster.output(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)])
    authority = str(ca or cluster.user_ca)
    cluster.output(
        ["ssh-keygen", "-q", "-s", authority, "-I", "test", "-n", principal, "-V", "-1m:+5m", f"{key}.pub"]
    )
    return key


def test_every_part_is_well(cluster: Cluster):
    done = cluster.control("status")
    assert (done.returncode, done.stderr) == (0, "")
    assert all(line.split()[-1] == "ok" for line in done.stdout.splitlines()), done.stdout


def test_a_second_up_changes_nothing(cluster: Cluster):
    def pids() -> list[str]:
        files = [
            "slurmctld.pid",
            "slurmdbd.pid",
            "slurmd-node1.pid",
            "slurmd-node2.pid",
            "../sshd.pid",
            "../mysqld/mysqld.pid",
        ]
        return cluster.output(["cat", *(f"/run/slurm/{name}" for name in files)]).splitlines()

    before = pids(), cluster.facts
    done = cluster.control("up")
    assert done.returncode == 0, done.stderr
    assert (pids(), cluster.facts) == before


def test_a_job_runs_on_the_node_and_accounting_knows(cluster: Cluster):
    script = "#!/bin/sh\nhostname\nid -un\nls /dev/shm\n"
    options = [
        "--parsable",
        "--nodelist=node1",
        "--time=1",
        "--account=def-prof1",
        "--chdir=/home/alice",
        "--output=%j.out",
    ]
    job = cluster.output(["sbatch", *options], user="alice", host="login", stdin=script)
    wait_for(lambda: cluster.squeue(job=job)[0][2] == "COMPLETED")
    assert cluster.output(["cat", f"/home/alice/{job}.out"], user="alice").splitlines() == ["node1", "alice"]
    fields = ["-nPX", f"--jobs={job}", "--format=user,account,state,nodelist"]
    wait_for(lambda: cluster.output(["sacct", *fields]) == "alice|def-prof1|COMPLETED|node1")


def test_a_gpu_job_gets_a_device(cluster: Cluster):
    command = [
        "srun",
        "--immediate=60",
        "--gres=gpu:a100:1",
        "--time=1",
        "printenv",
        "CUDA_VISIBLE_DEVICES",
        "SLURMD_NODENAME",
    ]
    assert cluster.output(command, user="bob", host="login").splitlines() == ["0", "node2"]


def test_who_may_charge_what(cluster: Cluster):
    words = ["sacctmgr", "-nP", "show", "assoc", "format=user,account", "where"]
    who = {
        name: cluster.output([*words, f"user={name}"]).splitlines()
        for name in ("alice", "bob", "dave", "minihub")
    }
    assert {name: sorted(rows) for name, rows in who.items()} == {
        "alice": ["alice|def-prof1", "alice|rrg-prof2"],
        "bob": ["bob|def-prof1"],
        "dave": [],
        "minihub": ["minihub|service"],
    }
    refused = cluster.run(["sbatch", "--wrap=true"], user="dave", host="login")
    assert "Invalid account" in refused.stderr


def test_a_limit_of_the_account_holds(cluster: Cluster):
    argv = ["sbatch", "--parsable", "--account=rrg-prof2", "--time=241", "--chdir=/tmp", "--wrap=true"]
    job = cluster.output(argv, user="alice", host="login")
    try:
        reason = ["squeue", "-h", "-j", job, "-o", "%r"]
        wait_for(lambda: cluster.output(reason) == "AssocMaxWallDurationPerJobLimit")
    finally:
        cluster.output(["scancel", job])


@pytest.mark.parametrize(("wrong", "expected"), [("", "True"), ("x", "False")])
def test_pam_knows_the_password(cluster: Cluster, wrong: str, expected: str):
    code = "import pam, sys; print(pam.pam().authenticate('alice', sys.stdin.read(), service='login'))"
    assert (
        cluster.output([sys.executable, "-W", "ignore", "-c", code], stdin=cluster.passwords["alice"] + wrong)
        == expected
    )


def test_su_gives_a_login_shell(cluster: Cluster):
    done = cluster.control(
        "shell",
        "alice@login",
        "--",
        "sh",
        "-c",
        'hostname; id -un; pwd; echo "$1"',
        "sh",
        "two  words; $HOME",
    )
    assert done.stdout.splitlines() == ["login", "alice", "/home/alice", "two  words; $HOME"]


def test_exec_keeps_status_environment_and_pid(cluster: Cluster):
    assert cluster.run(["sh", "-c", "exit 7"]).returncode == 7
    child = subprocess.Popen(
        cluster.argv(["sh", "-c", "echo $$ $MARK; exec sleep 60"]),
        stdout=subprocess.PIPE,
        env=os.environ | {"MARK": "x1"},
    )
    with child, child.stdout as stdout:
        assert stdout.readline().decode().split() == [str(child.pid), "x1"]
        child.send_signal(signal.SIGTERM)
        assert child.wait(timeout=10) == -signal.SIGTERM
    assert cluster.run(["printenv", "HOME", "MARK"], user="alice").stdout == "/home/alice\n"


def test_certificate_opens_the_users_account(cluster: Cluster, keys: Path):
    done = ssh(cluster, signed_key(cluster, keys, "alice"), "alice", "id -un; hostname; echo $SHLVL")
    # sshd's SetEnv SHLVL=1 makes bash count itself as a second level, and skip ~/.bashrc.
    assert done.stdout.split() == ["alice", "login", "2"], done.stderr


@pytest.mark.parametrize("principal", ["root", "backup"])
def test_certificate_opens_no_system_account(cluster: Cluster, keys: Path, principal: str):
    done = ssh(cluster, signed_key(cluster, keys, principal), principal, "id")
    assert (done.returncode, "Permission denied" in done.stderr) == (255, True), done.stderr


def test_certificate_counts_only_from_the_hub(cluster: Cluster, keys: Path):
    key = signed_key(cluster, keys, "alice")
    assert "Permission denied" in ssh(cluster, key, "alice", "id", host="node1").stderr
    assert ssh(cluster, key, "alice", "id -un").stdout == "alice\n"


def test_certificate_of_another_ca_is_refused(cluster: Cluster, keys: Path):
    stranger = keys / "stranger"
    cluster.output(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(stranger)])
    done = ssh(cluster, signed_key(cluster, keys, "alice", ca=stranger), "alice", "id")
    assert "Permission denied" in done.stderr


def test_service_account_is_operator_and_sudoes_to_users_only(cluster: Cluster):
    key, wrapper = cluster.service_key, "/usr/local/libexec/minihub-job"
    done = ssh(cluster, key, "minihub", "sacctmgr -nP show user minihub format=adminlevel")
    assert done.stdout == "Operator\n", done.stderr
    allowed = ssh(cluster, key, "minihub", f"sudo -n -u alice -- {wrapper}")
    assert "minihub-job: refused: no verb" in allowed.stderr
    for target in ("root", "slurm"):
        assert ssh(cluster, key, "minihub", f"sudo -n -u {target} -- {wrapper}").returncode == 1
    assert ssh(cluster, key, "minihub", "sudo -n -u alice -- id").returncode == 1


def test_names_resolve_everywhere(cluster: Cluster):
    for host in ("hub", "login", "node1"):
        found = cluster.output(["getent", "ahostsv4", "node2"], host=host).split()[0]
        assert found == cluster.addresses["node2"]


def test_isolated_nodes_are_out_of_the_hubs_reach(cluster: Cluster):
    server = "import socket; s = socket.create_server(('', 0)); print(s.getsockname()[1], flush=True); [s.accept()[0].close() for _ in iter(int, 1)]"
    with subprocess.Popen(
        cluster.argv(["python3", "-c", server], host="node1"), stdout=subprocess.PIPE, text=True
    ) as listening:
        port = int(listening.stdout.readline())
        node = (cluster.addresses["node1"], port)
        dial = f"import socket; socket.create_connection({node!r}, 2).close()"
        try:
            socket.create_connection(node, 2).close()
            assert cluster.control("isolate-nodes", "on").returncode == 0
            with pytest.raises(OSError, match="timed out"):
                socket.create_connection(node, 1)
            assert cluster.run(["python3", "-c", dial], host="login").returncode == 0
            assert cluster.control("status").returncode == 0
        finally:
            assert cluster.control("isolate-nodes", "off").returncode == 0
            listening.terminate()
        listening.wait(timeout=10)
    with pytest.raises(ConnectionRefusedError):  # a quick answer: the way is open again
        socket.create_connection(node, 5)


def test_the_machine_is_untouched(cluster: Cluster):
    root = machine()
    assert "alice" not in (root / "etc/passwd").read_text()
    assert "node1" not in (root / "etc/hosts").read_text()
    assert not (root / "usr/local/libexec/minihub-job").exists()
    assert not (root / "home/alice").exists()
    assert (cluster.directory / "cluster.json").stat().st_mode & 0o777 == 0o600


def test_a_broken_cluster_is_mended_and_goes_without_a_trace():
    began = time.monotonic()
    other = start("mended")
    assert time.monotonic() - began < 60
    link = Path("/sys/class/net/mhub-mended")
    try:
        assert link.exists()
        cluster_facts = other.facts

        sshd = int(other.output(["cat", "/run/sshd.pid"]))
        os.kill(sshd, signal.SIGKILL)
        broken = other.control("status")
        assert (broken.returncode, "sshd" in broken.stdout, "FAILED" in broken.stdout) == (1, True, True)
        start("mended")
        assert other.control("status").returncode == 0
        assert other.facts == cluster_facts

        # A host's namespaces lost: nothing can be kept, so the cluster is built anew around the same passwords.
        job = other.output(
            ["sbatch", "--parsable", "--chdir=/tmp", "--wrap=sleep 600"], user="alice", host="login"
        )
        wait_for(lambda: other.squeue(job=job)[0][2] == "RUNNING")
        os.kill(int((other.directory / "holders/node1").read_text()), signal.SIGKILL)
        wait_for(lambda: other.control("status").returncode == 1)
        start("mended")
        assert other.control("status").returncode == 0
        assert (other.squeue(), other.passwords) == ([], cluster_facts["passwords"])

        # The holder of the mount namespace and every pid file lost: what runs is found all the same.
        for holder in (other.directory / "holders").iterdir():
            os.kill(int(holder.read_text()), signal.SIGKILL)
            holder.unlink()
    finally:
        done = other.control("down")
    assert done.returncode == 0, done.stderr
    assert not other.directory.exists()
    assert not link.exists()
    mounts = [
        path.parent.name
        for path in Path("/proc").glob("[0-9]*/mountinfo")
        if _mentions(path, str(other.directory))
    ]
    assert mounts == []
    assert other.control("down").returncode == 0  # again: nothing to do
    assert other.control("status").returncode == 1


def _mentions(path: Path, text: str) -> bool:
    try:
        return text in path.read_text()
    except OSError:
        return False


def test_an_ordinary_user_is_told_what_is_needed():
    done = subprocess.run(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "/usr/bin/python3", "-", "up"],
        input=f"import sys; sys.path.insert(0, {str(DEV_CLUSTER.parent)!r})\nfrom cluster.commands import main\nsys.exit(main(['up']))",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "needs root" in done.stderr
    assert "docker run --rm --privileged" in done.stderr


def test_without_sys_admin_it_says_so():
    drop = ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin"]
    done = subprocess.run([*drop, str(DEV_CLUSTER), "status"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "CAP_SYS_ADMIN" in done.stderr


def test_the_settings_for_it_name_what_is_there(cluster: Cluster):
    settings = load_settings(DEV_CLUSTER.parents[1] / "configs/dev-cluster.toml", environ={})
    here = {
        "known_hosts": settings.ssh.known_hosts,
        "user_ca": settings.ssh.ca_key,
        "service_key": settings.ssh.service_key,
    }
    assert here == {key: cluster.facts[key].replace(f"/{cluster.name}/", "/dev/") for key in here}
    own = cluster.directory / settings.jupyter.bin_dir.rpartition("/")[2]
    assert own.resolve() == Path(cluster.facts["jupyter_bin"]).resolve()
    assert cluster.run([f"{own}/jupyter", "--version"], user="alice", host="node1").returncode == 0
