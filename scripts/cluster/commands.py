"""The command line of scripts/dev-cluster."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from . import lifecycle, namespaces
from .layout import DEFAULT_NAME, HOSTS, Layout
from .processes import ancestor_outside, is_in_any_cluster, is_member
from .run import ClusterError, succeeds
from .users import load_facts

_CAP_NET_ADMIN, _CAP_SYS_ADMIN = 12, 21
_CONTAINER = """\
In a container engine that you may use:
    docker run --rm --privileged -v "$PWD":/src -w /src debian:12 \\
        sh -c 'apt-get update && apt-get install -y git python3-venv && scripts/test'"""

_STAY = ("sh", "-c", 'cd "$0" 2>/dev/null || cd /; exec "$@"')
"""Followed by a directory and a command: runs the command there if the directory exists in that mount namespace too."""


def main(arguments: list[str]) -> int:
    """Run one command; return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        _require_privileges()
        layout = Layout(options.name)
        if options.run in (_up, _down):
            _leave_cluster(layout, options)
        return options.run(layout, options)
    except (ClusterError, ValueError) as error:
        print(f"dev-cluster: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dev-cluster", description="A real multi-host Slurm on this machine."
    )
    name = os.environ.get("MINIHUB_CLUSTER_NAME", DEFAULT_NAME)
    parser.add_argument(
        "--name",
        default=name,
        help="which cluster, several may run (MINIHUB_CLUSTER_NAME; default: %(default)s)",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    up = commands.add_parser("up", help="bring it up, or what is missing of it")
    up.add_argument(
        "--jupyter-bin",
        type=Path,
        default=os.environ.get("MINIHUB_CLUSTER_JUPYTER_BIN"),
        help="directory with the `jupyter` that users run (MINIHUB_CLUSTER_JUPYTER_BIN; default: the one first on PATH)",
    )
    up.add_argument("--extra-users", type=int, default=0, metavar="N", help="users user01... for load tests")
    up.set_defaults(run=_up)
    commands.add_parser("down", help="end everything and remove every trace").set_defaults(run=_down)
    commands.add_parser(
        "status", help="tell each part's health; exit status 1 if one is not well"
    ).set_defaults(run=_status)

    where = f"HOST is hub, {', '.join(HOSTS)}"
    shell = commands.add_parser("shell", help=f"a shell on a host, or one command in a login shell; {where}")
    shell.add_argument("target", nargs="?", default="hub", metavar="[USER@]HOST")
    shell.add_argument("command", nargs="*", metavar="-- COMMAND")
    shell.set_defaults(run=_shell)
    execute = commands.add_parser("exec", help=f"replace this process by a program on a host; {where}")
    execute.add_argument("target", metavar="[USER@]HOST")
    execute.add_argument("command", nargs="+", metavar="-- COMMAND")
    execute.set_defaults(run=_exec)

    isolate = commands.add_parser("isolate-nodes", help="cut the way between hub and nodes, or restore it")
    isolate.add_argument("switch", choices=["on", "off"])
    isolate.set_defaults(run=_isolate)
    return parser


def _require_privileges() -> None:
    problem = ""
    if os.geteuid() != 0:
        problem = "this needs root"
    else:
        status = Path("/proc/self/status").read_text()
        effective = int(status.split("CapEff:")[1].split()[0], 16)
        if not effective >> _CAP_SYS_ADMIN & 1 or not effective >> _CAP_NET_ADMIN & 1:
            problem = "this needs the capabilities CAP_SYS_ADMIN and CAP_NET_ADMIN"
        elif not succeeds(["unshare", "--mount", "--net", "true"]):
            problem = "this needs to make mount and network namespaces, and something forbids it"
    if problem:
        raise ClusterError(f"{problem}.\n{_CONTAINER}")


def _leave_cluster(layout: Layout, options: argparse.Namespace) -> None:
    """Go back to the machine's own mount namespace if this was called from within a cluster, as tests do.

    A cluster is built on the machine's files, not on another cluster's: overlays cannot be stacked any higher.
    """
    if not is_in_any_cluster(os.getpid()):
        return
    if options.run is _down and is_member(layout, os.getpid()):
        raise ClusterError("`down` was called from within the cluster: leave it first")
    outside = ancestor_outside()
    if outside is None:
        raise ClusterError("this was called from within a cluster, and there is no way out")
    again = [sys.executable, str(lifecycle.CHECKOUT / "scripts/dev-cluster"), *sys.argv[1:]]
    os.execvp(
        "nsenter", ["nsenter", "--target", str(outside), "--mount", "--", *_STAY, str(Path.cwd()), *again]
    )


def _up(layout: Layout, options: argparse.Namespace) -> int:
    start = time.monotonic()
    jupyter_bin = options.jupyter_bin or _known_jupyter(layout) or _find_jupyter()
    lifecycle.up(layout, jupyter_bin=jupyter_bin.absolute(), extra=options.extra_users)
    print(
        f"cluster {layout.name} is up after {time.monotonic() - start:.0f} s; {layout.facts} has addresses and passwords"
    )
    return 0


def _known_jupyter(layout: Layout) -> Path | None:
    """Return what an earlier `up` was told."""
    known = load_facts(layout).get("jupyter_bin")
    return Path(str(known)) if known else None


def _find_jupyter() -> Path:
    for directory in (*os.environ.get("PATH", "").split(":"), str(lifecycle.CHECKOUT / ".venv/bin")):
        if (Path(directory) / "jupyter").exists():
            return Path(directory)
    return Path("/usr/bin")


def _down(layout: Layout, _options: argparse.Namespace) -> int:
    lifecycle.down(layout)
    return 0


def _status(layout: Layout, _options: argparse.Namespace) -> int:
    return 0 if lifecycle.status(layout) else 1


def _isolate(layout: Layout, options: argparse.Namespace) -> int:
    namespaces.isolate_nodes(layout, on=options.switch == "on")
    return 0


def _split(target: str) -> tuple[str, str]:
    user, _, host = target.rpartition("@")
    if host not in {"hub", *HOSTS}:
        raise ClusterError(f"no host {host!r}: choose from hub, {', '.join(HOSTS)}")
    return user or "root", host


def _shell(layout: Layout, options: argparse.Namespace) -> int:
    """Run an interactive login shell, or a command in one."""
    user, host = _split(options.target)
    inner = ["su", "--login", user]
    if options.command:
        inner = ["su", "--login", user, "--command", 'exec "$0" "$@"', "--", *options.command]
    _replace(layout, host, inner)


def _exec(layout: Layout, options: argparse.Namespace) -> int:
    """Become the program: same pid, so that signals and exit status are the program's."""
    user, host = _split(options.target)
    inner = list(options.command)
    if user != "root":
        inner = [*_as_user(layout, user), *inner]
    _replace(layout, host, inner)


def _as_user(layout: Layout, user: str) -> list[str]:
    """Build the prefix that becomes a user without any shell, with a clean environment."""
    for line in namespaces.run_in(layout, "hub", ["cat", "/etc/passwd"]).splitlines():
        name, _, uid, gid, _, home, shell = line.split(":")
        if name == user:
            path = "/usr/local/bin:/usr/bin:/bin"
            environment = [
                f"HOME={home}",
                f"USER={user}",
                f"LOGNAME={user}",
                f"SHELL={shell}",
                f"PATH={path}",
                "LANG=C.UTF-8",
            ]
            return ["setpriv", f"--reuid={uid}", f"--regid={gid}", "--init-groups", "env", "-i", *environment]
    raise ClusterError(f"the cluster has no user {user}")


def _replace(layout: Layout, host: str, inner: list[str]) -> None:
    """Execute on a host in place of this process, in the same directory if it is there."""
    argv = namespaces.enter(layout, host, [*_STAY, str(Path.cwd()), *inner])
    sys.stdout.flush()
    os.execvp(argv[0], argv)
