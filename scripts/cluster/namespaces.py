"""The private mount namespace, and the hosts: one network, host name and /tmp each."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from .layout import HOSTS, NODES, Layout
from .processes import holder_pid
from .run import ClusterError, run, start_daemon, succeeds, wait_until

_OVERLAYS = ("/etc", "/usr/local")
_PRIVATE_DIRECTORIES = ("/var/lib/munge", "/var/lib/sudo", "/var/mail", "/var/spool/cron")
"""Replaced by empty directories, so that daemons, sudo and useradd leave nothing on the machine."""


def enter(layout: Layout, host: str, argv: Sequence[str]) -> list[str]:
    """Build the command line that runs argv on one of the cluster's hosts.

    nsenter, never `ip netns exec`: that remounts /sys, the cgroup mounts vanish and slurmd refuses to start.
    """
    pid = holder_pid(layout, host)
    if pid is None:
        raise ClusterError(f"{host} of cluster {layout.name} is not there: scripts/dev-cluster up")
    spaces = ["--mount"] if host == "hub" else ["--mount", "--net", "--uts"]
    return ["nsenter", "--target", str(pid), *spaces, "--", *argv]


def run_in(layout: Layout, host: str, argv: Sequence[str], *, stdin: str = "", timeout_s: float = 60) -> str:
    """Run a program on a host to its end and return what it printed."""
    return run(enter(layout, host, argv), stdin=stdin, timeout_s=timeout_s)


def succeeds_in(layout: Layout, host: str, argv: Sequence[str], *, timeout_s: float = 10) -> bool:
    """Say whether a program run on a host ends with status 0 in time; False also where there is no such host."""
    try:
        run_in(layout, host, argv, timeout_s=timeout_s)
    except ClusterError:
        return False
    return True


def write_file(layout: Layout, path: str, text: str, *, mode: str = "644", owner: str = "root:root") -> None:
    """Write a file inside, never readable by more people than it shall be in the end."""
    script = 'umask 077; mkdir -p -m 755 "${1%/*}"; cat > "$1.new"; chown "$3" "$1.new"; chmod "$2" "$1.new"; mv -f "$1.new" "$1"'
    run_in(layout, "hub", ["sh", "-euc", script, "sh", path, mode, owner], stdin=text)


def create_mount_namespace(layout: Layout, keep: Sequence[Path]) -> None:
    """Make the mount namespace that all members share.

    Args:
        layout: The cluster.
        keep: Directories of the machine that stay visible where the cluster puts its own /home: checkout and Jupyter.
    """
    # Slave: what the machine mounts or unmounts later is seen inside, ours is never seen outside.
    _hold(layout, "hub", ["unshare", "--mount", "--propagation", "slave", "--"])
    hosts, resolver = _text_of("/etc/hosts"), _text_of("/etc/resolv.conf")

    def inside(*argv: str) -> None:
        run_in(layout, "hub", argv)

    private = str(layout.private)
    for target in _OVERLAYS:
        # Upper layers lie in the tmpfs: an overlay cannot stand on another one, which is what / is in a container.
        name = f"{private}/overlay{target.replace('/', '-')}"
        inside("mkdir", "-p", f"{name}/upper", f"{name}/work")
        inside(
            "mount",
            "-n",
            "-t",
            "overlay",
            "-o",
            f"lowerdir={target},upperdir={name}/upper,workdir={name}/work",
            "overlay",
            target,
        )
    for target in _PRIVATE_DIRECTORIES:
        if Path(target).is_dir():
            inside("mkdir", "-p", f"{private}{target}")
            inside("mount", "-n", "--bind", f"{private}{target}", target)
    _cover(layout, "hub", "/home", keep, ["--bind", str(layout.home), "/home"])
    inside("mount", "-n", "--bind", str(layout.log), "/var/log")
    inside("mount", "-n", "-t", "tmpfs", "-o", "mode=755,nosuid,nodev", "tmpfs", "/run")
    # Container engines mount single files over these; an overlay shows what lies beneath.
    for path, text in (("/etc/resolv.conf", resolver), ("/etc/hosts", hosts)):
        inside("rm", "-f", path)  # resolv.conf is often a link into the /run that we have just covered
        write_file(layout, path, text)


def _text_of(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def _cover(layout: Layout, host: str, target: str, keep: Sequence[Path], mount: Sequence[str]) -> None:
    """Mount something over a directory, with some of what it held still where it was."""
    kept = [path for path in keep if path.is_relative_to(target)]
    for number, path in enumerate(kept):
        aside = f"{layout.private}/keep/{host}-{number}{target.replace('/', '-')}"
        run_in(layout, host, ["mkdir", "-p", aside])
        run_in(layout, host, ["mount", "-n", "--bind", str(path), aside])
    run_in(layout, host, ["mount", "-n", *mount])
    for number, path in enumerate(kept):
        aside = f"{layout.private}/keep/{host}-{number}{target.replace('/', '-')}"
        run_in(layout, host, ["mkdir", "-p", str(path)])
        run_in(layout, host, ["mount", "-n", "--move", aside, str(path)])


def create_host(layout: Layout, host: str, keep: Sequence[Path]) -> None:
    """Make one host: its namespaces, its own /tmp and /dev/shm, and its place in the network."""
    unshare = ["unshare", "--mount", "--propagation", "slave", "--net", "--uts", "--"]
    _hold(layout, host, enter(layout, "hub", unshare))
    run_in(layout, host, ["hostname", host])
    run_in(layout, host, ["ip", "link", "set", "lo", "up"])
    _cover(layout, host, "/tmp", keep, ["-t", "tmpfs", "-o", "mode=1777,nosuid,nodev", "tmpfs", "/tmp"])
    run_in(layout, host, ["mount", "-n", "-t", "tmpfs", "-o", "mode=1777,nosuid,nodev", "tmpfs", "/dev/shm"])
    if host == "ctl":
        _create_bridge(layout)
    else:
        _plug(layout, host, str(holder_pid(layout, host)), "eth0")
        _configure(layout, host, "eth0")


def _hold(layout: Layout, host: str, unshare: Sequence[str]) -> None:
    """Start the process that holds the namespaces; it does nothing else.

    The first one mounts the cluster's tmpfs, which marks it and all that are born from it as members.
    """
    first = f'mount -n -t tmpfs -o mode=711 tmpfs "{layout.private}" && ' if host == "hub" else ""
    pid = start_daemon([*unshare, "sh", "-c", f"{first}exec sleep infinity"], layout.log / "holders.log")
    (layout.holders / host).write_text(f"{pid}\n")
    started = f"/proc/{pid}/cmdline"
    wait_until(
        lambda: _text_of(started).startswith("sleep") and holder_pid(layout, host) is not None,
        timeout_s=10,
        what=f"the namespace of {host} (see {layout.log}/holders.log)",
        pause_s=0.02,
    )


def _create_bridge(layout: Layout) -> None:
    """Make the switch. It lies inside ctl, so that the machine's firewall and bridges never meet it."""
    run_in(layout, "ctl", ["ip", "link", "add", "br0", "type", "bridge", "forward_delay", "0"])
    _configure(layout, "ctl", "br0")
    _plug(layout, "hub", str(os.getpid()), layout.hub_link)
    run(["ip", "address", "add", f"{layout.address('hub')}/24", "dev", layout.hub_link])
    run(["ip", "link", "set", layout.hub_link, "up"])


def _plug(layout: Layout, host: str, pid: str, device: str) -> None:
    """Lay a cable from the bridge to the network of a process."""
    port = f"to-{host}"
    run_in(layout, "ctl", ["ip", "link", "add", port, "type", "veth", "peer", "name", device, "netns", pid])
    run_in(layout, "ctl", ["ip", "link", "set", port, "master", "br0", "up"])


def _configure(layout: Layout, host: str, device: str) -> None:
    run_in(layout, host, ["ip", "address", "add", f"{layout.address(host)}/24", "dev", device])
    run_in(layout, host, ["ip", "link", "set", device, "up"])


def missing_hosts(layout: Layout) -> list[str]:
    """Return the hosts, `hub` among them, that nobody holds."""
    return [host for host in ("hub", *HOSTS) if holder_pid(layout, host) is None]


def are_nodes_isolated(layout: Layout) -> bool:
    """Say whether the nodes refuse to talk to the hub's address."""
    return all(
        "blackhole" in run_in(layout, node, ["ip", "route", "show", layout.address("hub")]) for node in NODES
    )


def isolate_nodes(layout: Layout, *, on: bool) -> None:
    """Cut or restore the way between the hub and the nodes; login node and controller still reach them."""
    for node in NODES:
        route = [f"{layout.address('hub')}/32"]
        if on:
            run_in(layout, node, ["ip", "route", "replace", "blackhole", *route])
        elif "blackhole" in run_in(layout, node, ["ip", "route", "show", *route]):
            run_in(layout, node, ["ip", "route", "delete", "blackhole", *route])


def subnet_is_free(layout: Layout) -> bool:
    """Say whether no interface of the machine, except ours, has an address in the cluster's network."""
    shown = run(["ip", "-o", "-4", "address", "show"])
    return not any(
        f" {layout.subnet}." in line and layout.hub_link not in line for line in shown.splitlines()
    )


def remove_hub_link(layout: Layout) -> None:
    """Remove our veth end, should it have outlived its peer."""
    if Path(f"/sys/class/net/{layout.hub_link}").exists() and not succeeds(
        ["ip", "link", "delete", layout.hub_link]
    ):
        # The kernel takes the pair away a moment after the last member is gone: lost races are fine, a lasting link is not.
        wait_until(
            lambda: not Path(f"/sys/class/net/{layout.hub_link}").exists(),
            timeout_s=10,
            what="removal of the veth",
        )
