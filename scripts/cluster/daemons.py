"""The daemons: how each is started, and how it shows that it is well."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from . import configuration
from .layout import NODES, Layout
from .namespaces import enter, run_in, succeeds_in, write_file
from .run import ClusterError, start_daemon, wait_until


@dataclass(frozen=True, slots=True)
class Daemon:
    """One part of the cluster that runs."""

    name: str
    start: Callable[[], None]
    is_well: Callable[[], bool]
    patience_s: float = 30

    def ensure(self) -> None:
        """Start it if it is not well, and wait until it is."""
        if not self.is_well():
            self.start()
            wait_until(self.is_well, timeout_s=self.patience_s, what=f"{self.name} is well")


def daemons(layout: Layout) -> dict[str, Daemon]:
    """Return all daemons in the order in which they are started."""
    answers = partial(succeeds_in, layout, "hub")
    parts = [
        Daemon("munged", partial(_start_munged, layout), partial(answers, ["munge", "-n"])),
        Daemon(
            "mariadb",
            partial(_start_mariadb, layout),
            partial(answers, ["mariadb-admin", "--silent", "ping"]),
        ),
        Daemon(
            "slurmdbd", partial(_start_slurmdbd, layout), partial(answers, ["sacctmgr", "-nP", "show", "qos"])
        ),
        Daemon("slurmctld", partial(_start_slurmctld, layout), partial(_is_slurmctld_up, layout)),
        *(
            Daemon(f"slurmd {node}", partial(_start_slurmd, layout, node), partial(_is_node_up, layout, node))
            for node in NODES
        ),
        Daemon("sshd", partial(_start_sshd, layout), partial(_is_sshd_up, layout)),
    ]
    return {part.name: part for part in parts}


def write_configuration(layout: Layout) -> None:
    """Write every configuration file, and the directories and devices that the daemons expect."""
    hosts = run_in(layout, "hub", ["cat", "/etc/hosts"])
    if f"{layout.address('login')} login" not in hosts:
        write_file(layout, "/etc/hosts", configuration.build_hosts(layout, hosts))
    write_file(layout, "/etc/slurm/slurm.conf", configuration.build_slurm_conf(layout))
    write_file(layout, "/etc/slurm/gres.conf", configuration.build_gres_conf(layout))
    write_file(layout, "/etc/slurm/cgroup.conf", "CgroupPlugin=cgroup/v1\n")
    write_file(
        layout,
        "/etc/slurm/slurmdbd.conf",
        configuration.build_slurmdbd_conf(),
        mode="600",
        owner="slurm:slurm",
    )
    write_file(layout, "/etc/minihub-cluster/my.cnf", configuration.build_mariadb_conf(layout))
    write_file(layout, "/etc/ssh/sshd_config", configuration.build_sshd_conf(layout))
    # Where the machine's audit id cannot be changed, this module would refuse every login.
    run_in(
        layout, "hub", ["sh", "-c", "sed -i 's/required *pam_loginuid/optional pam_loginuid/' /etc/pam.d/*"]
    )
    for owner, mode, path in (
        ("munge", "755", "/run/munge"),
        ("munge", "700", "/var/log/munge"),
        ("munge", "711", "/var/lib/munge"),
        ("slurm", "755", "/run/slurm"),
        ("slurm", "755", "/var/log/slurm"),
        ("slurm", "700", f"{layout.private}/slurmctld"),
        ("root", "755", f"{layout.private}/slurmd-node1"),
        ("root", "755", f"{layout.private}/slurmd-node2"),
        ("mysql", "755", "/run/mysqld"),
        ("root", "755", "/run/sshd"),
        ("root", "1777", "/run/lock"),
    ):
        run_in(layout, "hub", ["install", "-d", "-m", mode, "-o", owner, path])
    run_in(layout, "hub", ["touch", "/var/log/wtmp", "/var/log/lastlog", "/var/log/btmp"])
    _make_devices(layout)


def _make_devices(layout: Layout) -> None:
    directory = f"{layout.private}/dev"
    run_in(layout, "hub", ["install", "-d", "-m", "755", directory])
    for device in configuration.DEVICES:
        if not succeeds_in(layout, "hub", ["test", "-c", f"{directory}/{device}"]):
            run_in(layout, "hub", ["mknod", "-m", "666", f"{directory}/{device}", "c", "1", "3"])


def _start_munged(layout: Layout) -> None:
    key = "/etc/munge/munge.key"
    if not succeeds_in(layout, "hub", ["test", "-e", f"{layout.private}/munge-key-is-ours"]):
        # The machine's own key shows through the overlay, and this cluster is none of its friends.
        write_file(layout, key, secrets.token_hex(64), mode="600", owner="munge:munge")
        run_in(layout, "hub", ["touch", f"{layout.private}/munge-key-is-ours"])
    run_in(layout, "hub", ["runuser", "-u", "munge", "--", "munged", "--force"])


def _start_mariadb(layout: Layout) -> None:
    options = "--defaults-file=/etc/minihub-cluster/my.cnf"
    fresh = not succeeds_in(layout, "hub", ["test", "-d", f"{layout.private}/mysql/mysql"])
    if fresh:
        run_in(
            layout, "hub", ["mariadb-install-db", options, "--user=mysql", "--skip-test-db"], timeout_s=120
        )
    start_daemon(enter(layout, "ctl", ["mariadbd", options]), layout.log / "mariadb.log")
    wait_until(
        lambda: succeeds_in(layout, "hub", ["mariadb-admin", "--silent", "ping"]),
        timeout_s=30,
        what="MariaDB answers",
    )
    if fresh:
        run_in(
            layout,
            "hub",
            ["mariadb"],
            stdin="CREATE USER slurm@localhost IDENTIFIED VIA unix_socket; GRANT ALL ON slurm_acct_db.* TO slurm@localhost;",
        )


def _start_slurmdbd(layout: Layout) -> None:
    # It first upgrades its tables and answers a few seconds later.
    run_in(layout, "ctl", ["slurmdbd"])


def _start_slurmctld(layout: Layout) -> None:
    fresh = not succeeds_in(layout, "hub", ["test", "-e", f"{layout.private}/slurmctld/clustername"])
    run_in(layout, "ctl", ["slurmctld", *(["-c"] if fresh else [])])


def _is_slurmctld_up(layout: Layout) -> bool:
    try:
        return "is UP" in run_in(layout, "hub", ["scontrol", "ping"], timeout_s=10)
    except ClusterError:
        return False


def _start_slurmd(layout: Layout, node: str) -> None:
    run_in(layout, node, ["slurmd", "-N", node])


def _is_node_up(layout: Layout, node: str) -> bool:
    try:
        state = run_in(
            layout, "hub", ["sinfo", "-h", "-N", "-p", "compute", "-n", node, "-o", "%T"], timeout_s=10
        )
    except ClusterError:
        return False
    pid = _pid_of(layout, f"/run/slurm/slurmd-{node}.pid")
    # slurmctld believes in a dead slurmd for a while, so ask for the process too.
    return state.strip() in {"idle", "mixed", "allocated", "completing"} and pid is not None


def _pid_of(layout: Layout, path: str) -> int | None:
    """Return the pid in a pid file inside, if such a process lives."""
    try:
        pid = int(run_in(layout, "hub", ["cat", path], timeout_s=10))
        os.kill(pid, 0)
    except (ClusterError, ValueError, ProcessLookupError):
        return None
    return pid


def _start_sshd(layout: Layout) -> None:
    run_in(layout, "login", ["/usr/sbin/sshd", "-E", "/var/log/sshd.log"])


def _is_sshd_up(layout: Layout) -> bool:
    try:
        with socket.create_connection((layout.address("login"), 22), timeout=3) as connection:
            return connection.recv(64).startswith(b"SSH-2.0")
    except OSError:
        return False


def slurm_version(layout: Layout) -> str:
    """Return Slurm's version as it prints it: `slurm-wlm 22.05.8`."""
    return run_in(layout, "hub", ["sinfo", "--version"]).strip()


def missing_programs() -> list[str]:
    """Return the programs that the cluster needs and this machine lacks."""
    needed = [
        "slurmctld",
        "slurmd",
        "slurmdbd",
        "sbatch",
        "sacctmgr",
        "munged",
        "mariadbd",
        "mariadb-install-db",
        "sshd",
        "ssh-keygen",
        "ip",
        "sudo",
        "visudo",
        "nsenter",
        "unshare",
        "runuser",
        "setpriv",
    ]
    places = ("/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/sbin", "/usr/local/bin")
    return [program for program in needed if not any(Path(place, program).exists() for place in places)]
