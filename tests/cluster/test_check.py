"""`minihub check` on the real cluster: all is well, and then each hop broken on purpose is named with its cure.

Runs inside the test cluster's mount namespace: scripts/dev-cluster exec hub -- pytest -m cluster.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import asyncssh
import pytest
from cryptography.fernet import Fernet

from tests.checks.nginx import nginx
from tests.e2e.kit import ROOT, cluster_settings, local_settings, new_hub

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]

CONF = Path("/etc/slurm/slurm.conf")
WITH_JOB = (
    "test job",
    "node name",
    "Jupyter on the node",
    "report of the port",
    "hub to server",
    "Jupyter's pages",
    "log",
)
FROM_BROWSERS = ("public URL", "forwarded headers", "websocket", "silent websocket", "event stream")
"""Skipped where no hub runs."""
TO_ACCOUNTS = (
    "settings",
    "user and directories",
    "key files",
    "store",
    "PAM",
    "login nodes",
    "host keys",
    "service account",
    "test user",
    "acting as the test user",
    "Slurm's commands",
    "Slurm answers",
    "listing",
    "accounts",
)


class Told:
    """What a check printed."""

    def __init__(self, status, text):
        self.status = status
        self.text = text
        self.hops = {}
        for line in text.splitlines():
            if match := re.match(r"(ok|FAILED|skipped) +([^:]+)(?:: (.*))?$", line):
                last = match[2]
                self.hops[last] = (match[1], match[3] or "")
            elif line.startswith("         "):
                word, said = self.hops[last]
                self.hops[last] = (word, f"{said} {line.strip()}")

    def words(self):
        return {name: word for name, (word, _) in self.hops.items()}

    @property
    def failed(self):
        """Hop -> what was said of it, cure included."""
        return {name: said for name, (word, said) in self.hops.items() if word == "FAILED"}


def check(hub, *words, stdin=""):
    done = subprocess.run(
        hub.argv("check", *words),
        input=stdin,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=hub.environment(),
        timeout=200,
        check=False,
    )
    assert done.stderr == "", done.stderr
    return Told(done.returncode, done.stdout)


QUICK_PAM = "minihub-quick"


@pytest.fixture(scope="module", autouse=True)
def quick_pam():
    """Refuses a wrong password at once; the usual services let everybody wait for 3 s."""
    file = Path("/etc/pam.d") / QUICK_PAM
    file.write_text("auth required pam_unix.so nodelay\naccount required pam_unix.so\n")
    yield
    file.unlink()


@pytest.fixture
def make(cluster):
    """`make(**tables)`: a hub's settings on disk, with a state of its own."""
    kept = []

    def make(user=None, base=None, auth=None, **tables):
        auth = {"pam_service": QUICK_PAM} | (auth or {})
        manager = new_hub(cluster, base or cluster_settings(cluster), user, auth=auth, **tables)
        hub = manager.__enter__()
        kept.append(manager)
        return hub

    yield make
    for manager in kept:
        manager.__exit__(None, None, None)


def no_job_left(cluster):
    names = [
        name for _, _, _, name in cluster.squeue(states="PENDING,CONFIGURING,RUNNING,SUSPENDED,COMPLETING")
    ]
    assert not [name for name in names if name.startswith("minihub-check-")]


def only_failure(told, hop, *texts):
    assert list(told.failed) == [hop], told.text
    for text in texts:
        assert text in told.failed[hop], told.text
    assert told.status == 1
    assert f"begin with: {hop}" in told.text


@pytest.mark.parametrize("identity", ["certificate", "sudo"])
def test_all_is_well(make, cluster, identity):
    hub = make(slurm={"identity": identity}, auth={"pam_service": "login"})
    told = check(hub, "--user", "alice", "--password-stdin", stdin=f"{cluster.passwords['alice']}\n")
    words = dict.fromkeys((*TO_ACCOUNTS, *WITH_JOB), "ok") | dict.fromkeys(FROM_BROWSERS, "skipped")
    assert told.words() == words, told.text
    assert "no hub runs here" in told.hops["public URL"][1]
    assert told.status == 0
    assert f"by {identity}, a command runs as alice" in told.text
    assert "takes alice's password" in told.text
    assert "started by /" in told.hops["Jupyter on the node"][1]
    assert "mutual TLS" in told.hops["hub to server"][1]
    assert "the node reports to https://" in told.hops["report of the port"][1]
    assert cluster.passwords["alice"] not in told.text
    no_job_left(cluster)


def test_beside_a_running_hub(make, cluster):
    hub = make()
    hub.start()
    told = check(hub, "--user", "bob")
    assert told.status == 0, told.text
    assert "since a hub listens on" in told.hops["report of the port"][1]
    assert {told.hops[hop][0] for hop in FROM_BROWSERS} == {"ok"}
    assert "leads straight to the hub" in told.hops["public URL"][1]
    assert hub.process.poll() is None
    hub.end()
    no_job_left(cluster)


def test_without_a_user_the_rest_is_tested(make):
    told = check(make())
    assert told.status == 0
    assert told.hops["test user"][0] == "skipped"
    assert "--user NAME" in told.text
    assert told.hops["listing"][0] == "ok"
    assert told.hops["test job"][0] == "skipped"


def test_without_a_job(make):
    told = check(make(), "--user", "bob", "--no-job")
    assert told.status == 0
    skipped = dict.fromkeys((*WITH_JOB, *FROM_BROWSERS), "skipped")
    assert told.words() == {**dict.fromkeys(TO_ACCOUNTS, "ok"), **skipped}


def test_as_json(make):
    hub = make()
    done = subprocess.run(
        hub.argv("check", "--no-job", "--json", "--user", "no-such-user"),
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=hub.environment(),
        timeout=200,
        check=False,
    )
    told = json.loads(done.stdout)
    hops = {hop.pop("hop"): hop for hop in told["hops"]}
    assert (told["ok"], done.returncode, done.stderr) == (False, 1, "")
    assert list(hops) == [*TO_ACCOUNTS, *WITH_JOB, *FROM_BROWSERS]
    assert hops["store"]["ok"] is True
    assert hops["websocket"]["ok"] is None
    assert (hops["test user"]["ok"], "getent passwd" in hops["test user"]["cure"]) == (False, True)
    assert set(hops["store"]) == {"ok", "detail", "cure"}


async def test_through_a_front_proxy(make):
    """A real hub behind a real nginx; tests/checks/test_public.py has all mistakes."""
    hub = make(base=local_settings(), hub={"run_as": "minihub", "trusted_proxies": ["127.0.0.1"]})
    hub.start()
    port = int(hub.url.rpartition(":")[2])
    async with nginx(hub.directory, port) as fronts:
        told = await asyncio.to_thread(check, hub, "--no-job", "--idle", "0.5", "--url", fronts["good"])
        assert {told.hops[hop][0] for hop in FROM_BROWSERS} == {"ok"}, told.text
        assert "leads to this hub" in told.hops["public URL"][1]
        told = await asyncio.to_thread(check, hub, "--no-job", "--idle", "0.5", "--url", fronts["no_upgrade"])
    only_failure(
        told,
        "websocket",
        "does not pass Upgrade on",
        "proxy_set_header Upgrade",
        "upgrade=websocket",
        "traefik",
    )


def test_wrong_password(make):
    told = check(make(), "--user", "bob", "--no-job", "--password-stdin", stdin="certainly wrong\n")
    only_failure(told, "PAM", "PAM refuses bob's password")


def test_missing_pam_service(make):
    told = check(make(auth={"pam_service": "not-there"}), "--no-job")
    only_failure(told, "PAM", "'not-there'", "configs/pam.d/minihub")


def test_unknown_key(make):
    hub = make()
    hub.config.write_text(hub.config.read_text().replace("login_nodes", "login_node"))
    told = check(hub)
    only_failure(told, "settings", "ssh.login_node: unknown key", "did you mean login_nodes?")


def give(path, mode=0o700):
    """To the hub's user."""
    shutil.chown(path, "minihub", "minihub")
    path.chmod(mode)


def test_key_that_others_may_read(make, cluster):
    hub = make()
    key = hub.directory / "copied_ca"
    shutil.copy(cluster.user_ca, key)
    give(key, 0o644)
    hub.change(ssh={"ca_key": str(key)})
    told = check(hub, "--no-job")
    assert "others may read this key; run: chmod 600" in told.failed["key files"]
    assert told.hops["store"][0] == "skipped"


def test_damaged_store(make):
    hub = make()
    state = hub.directory / "state"
    state.mkdir(mode=0o700)
    give(state)
    (state / "minihub.sqlite").write_bytes(b"this is no database" * 100)
    give(state / "minihub.sqlite", 0o600)
    (state / "store.key").write_bytes(Fernet.generate_key())
    give(state / "store.key", 0o600)
    told = check(hub, "--no-job")
    only_failure(told, "store", "damaged", "Restore the state directory")


def test_stopped_sshd(make, cluster):
    told = check(make(ssh={"login_nodes": [f"{cluster.addresses['login']}:2222"]}), "--user", "bob")
    only_failure(told, "login nodes", ":2222: ", "Is sshd up there")
    assert told.hops["host keys"] == ("skipped", "needs: login nodes")
    assert told.hops["Slurm's commands"][0] == "skipped"
    assert told.hops["test job"][0] == "skipped"


def test_one_of_two_login_nodes_is_down(make, cluster):
    hub = make(ssh={"login_nodes": [f"{cluster.addresses['login']}:2222", "login"]})
    told = check(hub, "--user", "bob", "--no-job")
    assert told.status == 0, told.text
    assert told.hops["each login node"] == ("ok", "Slurm answers, and a command runs as bob, on login")
    assert "Not reachable, and so tried last" in told.hops["login nodes"][1]


def test_a_login_node_that_could_not_serve_alone(make, cluster):
    """It is up, and its sshd does not trust the hub's CA: found before it is needed."""
    address, port, pid_file = cluster.addresses["login"], 2222, "/run/sshd-2222.pid"
    hub = make()
    known_hosts = hub.directory / "known_hosts"
    line = cluster.known_hosts.read_text()
    known_hosts.write_text(f"{line}\n[{address}]:{port} {line.split(' ', 1)[1]}\n")
    known_hosts.chmod(0o644)
    hub.change(ssh={"known_hosts": str(known_hosts), "login_nodes": ["login", f"{address}:{port}"]})
    # The service account's own key is welcome, certificates are not.
    plain = ("-f", "/dev/null", "-o", "HostKey=/etc/ssh/ssh_host_ed25519_key", "-o", "UsePAM=yes")
    cluster.output(["/usr/sbin/sshd", *plain, "-o", f"PidFile={pid_file}", "-p", str(port)], host="login")
    try:
        told = check(hub, "--user", "bob", "--no-job")
        only_failure(told, "each login node", ":2222: ", "does not let the hub in as bob", "minihub ca show")
    finally:
        cluster.output(["pkill", "-F", pid_file], host="login")


def test_wrong_host_key(make):
    hub = make()
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    wrong = hub.directory / "known_hosts"
    wrong.write_text(f"login {other}")
    wrong.chmod(0o644)
    hub.change(ssh={"known_hosts": str(wrong)})
    told = check(hub, "--user", "bob")
    only_failure(told, "host keys", "did not show the host key", "ssh-keygen -R 'login'")
    assert told.hops["service account"] == ("skipped", "needs: host keys")


def test_no_known_hosts(make):
    told = check(make(ssh={"known_hosts": "/nowhere/known_hosts"}), "--no-job")
    only_failure(told, "host keys", "/nowhere/known_hosts", "minihub ca show")


def test_a_ca_that_login_nodes_do_not_trust(make):
    hub = make()
    key = hub.directory / "other_ca"
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(key)
    give(key, 0o600)
    hub.change(ssh={"ca_key": str(key)})
    told = check(hub, "--user", "bob")
    only_failure(told, "acting as the test user", "does not let the hub in as bob", "minihub ca show")
    assert told.hops["listing"][0] == "ok"
    assert told.hops["test job"][0] == "skipped"


def test_missing_wrapper(make):
    told = check(make(slurm={"identity": "sudo", "wrapper": "/usr/local/libexec/not-there"}), "--user", "bob")
    only_failure(told, "acting as the test user", "configs/sudoers.d/minihub", "sudo -n -l -U minihub")


def test_wrong_directory_of_commands(make):
    """A directory with an sbatch of its own: found first, and of another version."""
    folder = Path("/home/minihub-check-bin")
    folder.mkdir()
    (folder / "sbatch").write_text("#!/bin/sh\necho slurm 19.05.1\n")
    (folder / "sbatch").chmod(0o755)
    try:
        told = check(make(slurm={"bin_dir": str(folder)}), "--user", "bob")
        only_failure(told, "Slurm's commands", "19.05.1: sbatch", "slurm.bin_dir")
        (folder / "sbatch").write_text("#!/bin/sh\nexec not-there-at-all\n")
        told = check(make(slurm={"bin_dir": str(folder)}), "--user", "bob")
        only_failure(told, "Slurm's commands", "sbatch is not in /home/minihub-check-bin", "slurm.bin_dir")
    finally:
        shutil.rmtree(folder)


def test_wrong_slurm_conf(make):
    slurm = {"conf": "/etc/slurm/not-there.conf", "command_timeout_s": 4}
    told = check(make(slurm=slurm), "--user", "bob")
    assert "Slurm answers" in told.failed or "Slurm's commands" in told.failed, told.text
    assert "not-there.conf" in told.text
    assert told.hops["test job"][0] == "skipped"


@contextmanager
def private_data():
    before = CONF.read_text()
    CONF.write_text(before + "PrivateData=jobs,usage,users,accounts\n")
    subprocess.run(["scontrol", "reconfigure"], check=True, timeout=60)
    try:
        yield
    finally:
        CONF.write_text(before)
        subprocess.run(["scontrol", "reconfigure"], check=True, timeout=60)


def test_private_data(make):
    # The service account is an Operator, who sees all; carol is none.
    hub = make(slurm={"service_user": "carol"}, ssh={"service_key": ""})
    with private_data():
        told = check(hub, "--user", "bob")
        only_failure(
            told, "listing", "hides other users' jobs from carol", "sacctmgr modify user carol set adminlevel"
        )
        assert told.hops["test job"] == ("skipped", "needs: listing")


def test_user_without_account(make):
    told = check(make(), "--user", "dave")
    only_failure(told, "accounts", "dave has no account in Slurm", "sacctmgr add user dave")


def test_user_who_is_not_admitted(make):
    told = check(make(auth={"deny_users": ["bob"]}), "--user", "bob")
    only_failure(told, "test user", "in auth.deny_users")


def test_user_whom_an_admin_admitted(make):
    hub = make(auth={"allow_users": ["carol"], "allow_groups": []})
    told = check(hub, "--user", "bob", "--no-job")
    only_failure(
        told, "test user", "in neither auth.allow_users nor auth.allow_groups", "minihub users admit"
    )
    hub.start()
    assert hub.command("users", "admit", "bob") == "bob: admitted\n"
    assert check(hub, "--user", "bob", "--no-job").hops["test user"][0] == "ok"


def test_unknown_user(make):
    told = check(make(), "--user", "nobody-knows-me")
    only_failure(told, "test user", "knows no user nobody-knows-me", "getent passwd")


def test_defaults_that_slurm_refuses(make):
    told = check(make(options={"cores": {"default": 64}}), "--user", "bob")
    only_failure(told, "test job", "what the form offers first cannot be had", "cores", "[options.NAME]")


def test_no_jupyter_on_the_node(make, cluster):
    told = check(make(jupyter={"bin_dir": "/opt/not-there"}), "--user", "bob")
    only_failure(
        told, "Jupyter on the node", "there is no jupyter on node", "/opt/not-there", "jupyter.bin_dir"
    )
    assert told.hops["test job"][0] == "ok"
    assert told.hops["log"][0] == "ok"
    assert told.hops["hub to server"][0] == "skipped"
    no_job_left(cluster)


def test_node_names_that_do_not_resolve(make):
    """On the hub's machine; Slurm and the login node know them."""
    hub = make()
    hosts = hub.directory / "hosts"
    lines = Path("/etc/hosts").read_text().splitlines(keepends=True)
    hosts.write_text("".join(line for line in lines if "node" not in line))
    hosts.chmod(0o644)
    hub.prefix = ("unshare", "--mount", "sh", "-c", f'mount --bind {hosts} /etc/hosts && exec "$@"', "sh")
    told = check(hub, "--user", "bob")
    only_failure(told, "node name", "does not know node", "/etc/hosts on the hub's machine")
    assert told.hops["Jupyter on the node"][0] == "ok"
    assert told.hops["hub to server"] == ("skipped", "needs: node name")


def test_log_out_of_reach(make):
    told = check(make(slurm={"log_path": "/tmp/minihub-{user}-%j.log"}), "--user", "bob")
    only_failure(told, "log", "/tmp/minihub-bob-", "slurm.log_path")


@contextmanager
def isolated(cluster):
    assert cluster.control("isolate-nodes", "on").returncode == 0
    try:
        yield
    finally:
        assert cluster.control("isolate-nodes", "off").returncode == 0


def test_no_way_from_hub_to_nodes(make, cluster):
    with isolated(cluster):
        told = check(make(servers={"start_timeout_s": 25}), "--user", "bob")
        only_failure(told, "hub to server", "servers.via = 'ssh'")
        assert "hub.callback_url" in told.hops["report of the port"][1]
        no_job_left(cluster)
        told = check(make(servers={"via": "ssh"}), "--user", "bob")
        assert told.status == 0, told.text
        assert "through the login node" in told.hops["hub to server"][1]


def test_an_interrupted_check_leaves_no_job(make, cluster):
    hub = make(jupyter={"prologue": "sleep 60"})
    process = subprocess.Popen(
        hub.argv("check", "--user", "bob"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        env=hub.environment(),
    )
    try:
        end = time.monotonic() + 60
        while not [row for row in cluster.squeue(user="bob") if row[3].startswith("minihub-check-")]:
            assert time.monotonic() < end
            time.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        assert process.returncode != 0
    finally:
        process.kill()
        process.wait()
    no_job_left(cluster)


def test_servers_on_this_machine(make):
    hub = make(base=local_settings(), hub={"run_as": "minihub"})
    told = check(hub, "--user", "alice")
    assert told.status == 0, told.text
    assert "a unix socket of the user's" in told.hops["hub to server"][1]


def test_an_ordinary_users_own_hub(make):
    hub = make(user="alice", base=local_settings())
    told = check(hub)
    assert told.status == 0, told.text
    assert "Without root, PAM can verify alice only" in told.text
    told = check(hub, "--user", "bob")
    assert told.hops["test user"][0] == "skipped"
    assert "only alice can start a server here" in told.text


def test_jupyter_in_a_closed_folder(make):
    hub = make(base=local_settings(), hub={"run_as": "minihub"})
    closed = hub.directory / "closed"
    closed.mkdir(mode=0o700)
    (closed / "jupyter").write_text("#!/bin/sh\n")
    hub.change(jupyter={"bin_dir": str(closed)})
    told = check(hub, "--user", "alice")
    only_failure(told, "Jupyter's folder", f"other users cannot enter {closed}", "/opt")


def test_another_users_state(make):
    hub = make()
    hub.user = "bob"
    told = check(hub)
    only_failure(told, "user and directories", "Permission denied", "as root or as the hub's own user")
