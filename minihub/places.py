"""Where the hub keeps its state and sockets on this machine. Reads the environment and settings, makes no directory."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from minihub.config import Settings

LONGEST_SOCKET_PATH = 107
"""Bytes: sun_path has 108, of which the last is a NUL."""


def state_dir(settings: Settings, *, as_root: bool) -> Path:
    """Directory of store, keys and hub id. Source: XDG Base Directory Specification."""
    if settings.hub.state_dir:
        return Path(settings.hub.state_dir).absolute()
    if as_root:
        return Path("/var/lib/minihub")
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "minihub"


def admin_socket(state: Path) -> Path:
    """The socket over which root and the hub's own user reach a running hub's API."""
    return state / "admin.sock"


@contextlib.contextmanager
def short_path(path: Path) -> Iterator[str]:
    """A name for a unix socket that fits into sockaddr_un, while the context lasts. Source: unix(7), proc(5).

    Raises:
        OSError: The directory of a path that is too long is not there or not open to us.
    """
    if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def runtime_dir(settings: Settings, state: Path, *, as_root: bool) -> Path:
    """Directory of sockets; a unix socket's path must stay under 108 bytes."""
    if settings.hub.runtime_dir:
        return Path(settings.hub.runtime_dir).absolute()
    if as_root:
        return Path("/run/minihub")
    if (xdg := os.environ.get("XDG_RUNTIME_DIR")) and Path(xdg).is_dir():
        return Path(xdg) / "minihub"
    return state / "run"


def pam_service(settings: Settings) -> str:
    """The PAM service: minihub where the site made one, else login."""
    return settings.auth.pam_service or ("minihub" if Path("/etc/pam.d/minihub").exists() else "login")


def scheduler_name(settings: Settings) -> str:
    """Which scheduler runs the servers: "slurm" or "local"."""
    if settings.servers.scheduler != "auto":
        return settings.servers.scheduler
    if settings.ssh.login_nodes or shutil.which("sbatch", path=settings.slurm.bin_dir or None):
        return "slurm"
    return "local"
