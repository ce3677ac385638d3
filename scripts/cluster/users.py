"""Users, their homes and passwords, the hub's service account and keys."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from pathlib import Path

from .layout import SERVICE_USER, USERS_GROUP, USERS_GROUP_ID, Layout, User
from .namespaces import run_in, succeeds_in, write_file
from .run import run


def names(layout: Layout) -> set[str]:
    """Return the users that the cluster has."""
    return {line.split(":")[0] for line in run_in(layout, "hub", ["cat", "/etc/passwd"]).splitlines()}


def create_users(layout: Layout, users: Sequence[User], passwords: dict[str, str]) -> None:
    """Create the users that are missing, each with its password and home."""
    run_in(layout, "hub", ["groupadd", "--force", "--gid", str(USERS_GROUP_ID), USERS_GROUP])
    there = names(layout)
    missing = "".join(f"{user.name} {user.uid}\n" for user in users if user.name not in there)
    # All in one: a load test wants a thousand. --create-home copies /etc/skel, so that there is a .bashrc like on a
    # real login node.
    script = f"""
        while read -r name number; do
            groupadd --gid "$number" "$name"
            useradd --uid "$number" --gid "$number" --groups {USERS_GROUP} --shell /bin/bash --create-home "$name"
            chmod 700 "/home/$name"
        done"""
    run_in(layout, "hub", ["sh", "-euc", script], stdin=missing, timeout_s=60 + len(users))
    lines = "".join(f"{user.name}:{passwords[user.name]}\n" for user in users)
    run_in(layout, "hub", ["chpasswd"], stdin=lines)


def create_service_account(layout: Layout) -> None:
    """Create the hub's own user, its ssh key, and the user CA that sshd trusts."""
    home = f"/home/{SERVICE_USER}"
    if SERVICE_USER in names(layout):
        # A hub of this machine's own has one, which cannot log in; here, in the cluster's own /etc, it can.
        # Not by usermod, which refuses while that hub runs, or another cluster's.
        script = rf"s|^({SERVICE_USER}:.*):[^:]*:[^:]*$|\1:{home}:/bin/bash|"
        run_in(layout, "hub", ["sed", "--regexp-extended", "--in-place", script, "/etc/passwd"])
    else:
        useradd = ["useradd", "--system", "--user-group", "--home-dir", home, "--shell", "/bin/bash"]
        run_in(layout, "hub", [*useradd, SERVICE_USER])
    run_in(layout, "hub", ["install", "-d", "-m", "700", "-o", SERVICE_USER, "-g", SERVICE_USER, home])
    layout.hub_files.mkdir(mode=0o700, exist_ok=True)
    for key, comment in ((layout.user_ca, "hub user CA"), (layout.service_key, "hub service account")):
        if not key.exists():
            run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(key)])
    layout.user_ca_public.write_text(layout.user_ca.with_suffix(".pub").read_text())
    # Only from the hub's address, as a careful site would write it; port forwarding serves via = "ssh".
    options = f'from="{layout.address("hub")}",no-pty,no-agent-forwarding,no-X11-forwarding'
    public = layout.service_key.with_suffix(".pub").read_text()
    run_in(
        layout, "hub", ["install", "-d", "-m", "700", "-o", SERVICE_USER, "-g", SERVICE_USER, f"{home}/.ssh"]
    )
    write_file(
        layout,
        f"{home}/.ssh/authorized_keys",
        f"{options} {public}",
        mode="600",
        owner=f"{SERVICE_USER}:{SERVICE_USER}",
    )


def create_host_key(layout: Layout) -> None:
    """Create the login node's host key, the known_hosts file that goes with it, and give the hub its files."""
    key = "/etc/ssh/ssh_host_ed25519_key"
    # The machine's own key shows through the overlay: the test cluster must not speak with the machine's voice.
    own = f"{layout.private}/host-key-is-ours"
    if not succeeds_in(layout, "hub", ["test", "-e", own]):
        run_in(layout, "hub", ["sh", "-c", "rm -f /etc/ssh/ssh_host_*"])
        run_in(layout, "hub", ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "login", "-f", key])
        run_in(layout, "hub", ["touch", own])
    kind, public = run_in(layout, "hub", ["cat", f"{key}.pub"]).split()[:2]
    layout.known_hosts.write_text(f"login,{layout.address('login')} {kind} {public}\n")
    layout.known_hosts.chmod(0o644)
    layout.hub_state.mkdir(mode=0o700, exist_ok=True)
    ours = [
        layout.user_ca,
        layout.service_key,
        *(layout.hub_files.glob("*.pub")),
        layout.known_hosts,
        layout.hub_state,
    ]
    owner = f"{SERVICE_USER}:{SERVICE_USER}"
    run_in(layout, "hub", ["chown", owner, str(layout.hub_files), *map(str, ours)])


def install_site_files(layout: Layout, checkout: Path) -> None:
    """Install what the checkout has for a site's login node: the sudo wrapper and its sudoers lines."""
    for source, target, mode in (
        (checkout / "configs/minihub-job", "/usr/local/libexec/minihub-job", "755"),
        (checkout / "configs/sudoers.d/minihub", "/etc/sudoers.d/minihub", "440"),
    ):
        if source.is_file():
            write_file(layout, target, source.read_text(), mode=mode)
    run_in(layout, "hub", ["visudo", "--check", "--quiet"])


def load_facts(layout: Layout) -> dict[str, object]:
    """Load cluster.json, or nothing where there is none yet."""
    try:
        return json.loads(layout.facts.read_text())
    except FileNotFoundError:
        return {}


def choose_passwords(users: Sequence[User], known: dict[str, str]) -> dict[str, str]:
    """Give each user the password it has, or a new one."""
    return known | {user.name: secrets.token_urlsafe(12) for user in users if user.name not in known}
