"""Where the hub keeps its state and sockets on this machine. Reads the environment and settings, makes no directory."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from minihub.config import Settings


def state_dir(settings: Settings, *, as_root: bool) -> Path:
    """Directory of store, keys and hub id. Source: XDG Base Directory Specification."""
    if settings.hub.state_dir:
        return Path(settings.hub.state_dir).absolute()
    if as_root:
        return Path("/var/lib/minihub")
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "minihub"


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
