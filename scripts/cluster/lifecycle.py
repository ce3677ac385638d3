"""Up, down and status of a whole cluster."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from . import accounting, namespaces, users
from .daemons import daemons, missing_programs, slurm_version, write_configuration
from .layout import BASE_DIRECTORY, HOSTS, NODES, SERVICE_USER, USERS, USERS_GROUP, Layout, User, extra_users
from .processes import kill_members, members
from .run import ClusterError, wait_until

CHECKOUT = Path(__file__).resolve().parents[2]


@contextlib.contextmanager
def locked(layout: Layout) -> Iterator[None]:
    """Hold the cluster's lock, which is its own directory: two `up` at once would build two half clusters."""
    while True:
        BASE_DIRECTORY.mkdir(mode=0o711, exist_ok=True)
        layout.directory.mkdir(mode=0o711, exist_ok=True)
        descriptor = os.open(layout.directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            try:
                if os.fstat(descriptor).st_ino != layout.directory.stat().st_ino:
                    continue  # a `down` that had the lock removed it; take the new one
            except FileNotFoundError:
                continue
            yield
            return
        finally:
            os.close(descriptor)


def up(layout: Layout, *, jupyter_bin: Path, extra: int) -> None:
    """Bring the cluster up, or whatever of it is missing; do nothing to what is well."""
    if missing := missing_programs():
        raise ClusterError(f"not installed: {' '.join(missing)}; run scripts/install-test-packages")
    with locked(layout):
        facts = users.load_facts(layout)
        gone = namespaces.missing_hosts(layout)
        if gone and members(layout):
            # A host's network cannot be rebuilt under running daemons; begin anew.
            _say(f"{', '.join(gone)} lost: starting over")
            _remove(layout)
            layout.directory.mkdir(mode=0o711)
        if gone:
            _build_hosts(layout, [CHECKOUT, jupyter_bin.resolve().parent])
        people = _people(facts, extra)
        passwords = users.choose_passwords(people, facts.get("passwords", {}))
        write_configuration(layout)
        users.create_users(layout, people, passwords)
        users.create_service_account(layout)
        users.create_host_key(layout)
        users.install_site_files(layout, CHECKOUT)
        _link_jupyter(layout, jupyter_bin)
        _write_facts(layout, jupyter_bin, people, passwords)
        _start_daemons(layout, people)


def _build_hosts(layout: Layout, keep: Sequence[Path]) -> None:
    namespaces.remove_hub_link(layout)
    if not namespaces.subnet_is_free(layout):
        raise ClusterError(
            f"this machine already has addresses in {layout.subnet}.0/24: choose another --name"
        )
    for path in (layout.private, layout.home, layout.log, layout.holders):
        path.mkdir(mode=0o755, exist_ok=True)
    namespaces.create_mount_namespace(layout, keep)
    for host in HOSTS:
        namespaces.create_host(layout, host, keep)


def _people(facts: dict, extra: int) -> tuple[User, ...]:
    """Return the users there shall be; those of an earlier `up --extra-users` stay."""
    return (*USERS, *extra_users(max(extra, facts.get("extra_users", 0))))


def _start_daemons(layout: Layout, people: Sequence[User]) -> None:
    parts = daemons(layout)
    for name in ("munged", "mariadb", "slurmdbd"):
        parts[name].ensure()
    accounting.create_accounting(layout, people)
    parts["slurmctld"].ensure()
    nodes = [parts[f"slurmd {node}"] for node in NODES]
    for part in nodes:  # both at once: each needs seconds to register
        if not part.is_well():
            part.start()
    parts["sshd"].ensure()
    for part in nodes:
        wait_until(part.is_well, timeout_s=part.patience_s, what=f"{part.name} is well")


def _link_jupyter(layout: Layout, jupyter_bin: Path) -> None:
    temporary = layout.jupyter.with_suffix(".new")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(jupyter_bin)
    temporary.replace(layout.jupyter)


def _write_facts(
    layout: Layout, jupyter_bin: Path, people: Sequence[User], passwords: dict[str, str]
) -> None:
    facts = {
        "name": layout.name,
        "directory": str(layout.directory),
        "slurm_version": slurm_version(layout),
        "addresses": {host: layout.address(host) for host in ("hub", *HOSTS)},
        "nodes": list(NODES),
        "passwords": passwords,
        "accounts": {user.name: list(user.accounts) for user in people},
        "extra_users": len(people) - len(USERS),
        "users_group": USERS_GROUP,
        "service_user": SERVICE_USER,
        "service_key": str(layout.service_key),
        "known_hosts": str(layout.known_hosts),
        "user_ca": str(layout.user_ca),
        "user_ca_public": str(layout.user_ca_public),
        "jupyter_bin": str(jupyter_bin),
    }
    temporary = layout.facts.with_suffix(".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(facts, file, indent=2)
        file.write("\n")
    temporary.replace(layout.facts)


def down(layout: Layout) -> None:
    """End everything inside and remove every trace, whatever state the cluster is in."""
    if not layout.directory.exists() and not members(layout):
        namespaces.remove_hub_link(layout)
        return
    with locked(layout):
        _remove(layout)
    with contextlib.suppress(OSError):  # another cluster lives there
        BASE_DIRECTORY.rmdir()


def _remove(layout: Layout) -> None:
    kill_members(layout)
    namespaces.remove_hub_link(layout)
    mounted = [
        line
        for line in Path("/proc/self/mountinfo").read_text().splitlines()
        if f" {layout.directory}/" in line
    ]
    if mounted:
        raise ClusterError(
            f"something is mounted below {layout.directory}: unmount it, then repeat\n" + "\n".join(mounted)
        )
    shutil.rmtree(layout.directory)


def status(layout: Layout) -> bool:
    """Print how each part is; return whether all are well."""
    gone = namespaces.missing_hosts(layout)
    rows = [(host, host not in gone, "" if host not in gone else "no namespace") for host in ("hub", *HOSTS)]
    if "hub" in gone:
        rows = [("cluster", False, "down")]
    else:
        rows += [
            (part.name, well := part.is_well(), "" if well else "does not answer")
            for part in daemons(layout).values()
        ]
    for name, well, detail in rows:
        print(f"{name:14} {'ok' if well else 'FAILED'}{f'  ({detail})' if detail else ''}")
    all_well = all(well for _, well, _ in rows)
    if all_well and namespaces.are_nodes_isolated(layout):
        print("nodes          isolated from the hub (scripts/dev-cluster isolate-nodes off)")
    return all_well


def _say(text: str) -> None:
    print(f"dev-cluster: {text}", file=sys.stderr, flush=True)
