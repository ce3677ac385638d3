"""What `serve` and `check` build alike: the ground under the hub, its transport, its scheduler. Part of the composition.

Before root is given up: the helper, the hub's user, directories. After: what speaks to Slurm, or to this machine.
"""

from __future__ import annotations

import os
import pwd
import shutil
from dataclasses import dataclass
from pathlib import Path

from minihub import places
from minihub.clock import Clock
from minihub.config import Settings
from minihub.errors import ConfigError
from minihub.helper.client import HelperClient
from minihub.helper.parent import HelperHandle, HelperInfo, HelperSettings
from minihub.schedulers.base import Scheduler
from minihub.transports.base import Transport

DEFAULT_HUB_USER = "minihub"


@dataclass(frozen=True, slots=True)
class Ground:
    """What the command line has prepared before anything listens."""

    settings: Settings
    state_dir: Path
    runtime_dir: Path
    hub_user: str
    """As whom this process runs."""
    helper: HelperHandle
    helper_info: HelperInfo


def prepare_ground(settings: Settings, handle: HelperHandle, *, below: str = "") -> Ground:
    """Make the directories, tell the helper its settings, become the hub's user for good.

    Args:
        settings: All settings.
        handle: From `fork_helper`, before anything else was done.
        below: Name of a directory of its own in the runtime directory, for whoever works beside a running hub.

    Raises:
        ConfigError, HelperError: It is not possible as these settings want it; with the cure.
    """
    as_root = os.geteuid() == 0
    hub_user = find_hub_user(settings) if as_root else pwd.getpwuid(os.geteuid()).pw_name
    state = places.state_dir(settings, as_root=as_root)
    runtime = places.runtime_dir(settings, state, as_root=as_root)
    wanted = [(state, 0o700), (runtime, 0o755)]
    if below:
        runtime /= below
        wanted.append((runtime, 0o755))
    for directory, mode in wanted:
        make_directory(directory, mode, hub_user if as_root else None)
    info = handle.configure(
        HelperSettings(
            runtime_dir=str(runtime),
            hub_user=hub_user if as_root else "",
            pam_service=places.pam_service(settings),
            pam_workers=settings.auth.pam_workers,
            pam_timeout_s=settings.auth.pam_timeout_s,
            bin_dir=settings.slurm.bin_dir,
            slurm_conf=settings.slurm.conf,
        )
    )
    if as_root:
        from minihub.helper.privileges import drop_to  # noqa: PLC0415

        drop_to(hub_user)
        os.environ["HOME"] = pwd.getpwnam(hub_user).pw_dir
    os.chdir("/")
    return Ground(settings, state, runtime, hub_user, handle, info)


def find_hub_user(settings: Settings) -> str:
    """The user as whom a hub started by root runs.

    Raises:
        ConfigError: There is none, or it is root.
    """
    name = settings.hub.run_as or DEFAULT_HUB_USER
    try:
        account = pwd.getpwnam(name)
    except KeyError:
        raise ConfigError(
            f"hub.run_as: started as root, the hub runs as {name!r}, and there is no such user. Make one with\n"
            f"  useradd --system --user-group --home-dir /var/lib/minihub --shell /usr/sbin/nologin {name}"
        ) from None
    if account.pw_uid == 0:
        raise ConfigError("hub.run_as: must not be root: what listens to the network runs unprivileged")
    return name


def make_directory(path: Path, mode: int, owner: str | None) -> None:
    """Make a directory, `owner`'s if we are root.

    One that somebody else uses already (/etc, /tmp, a home) keeps its owner and mode.

    Raises:
        ConfigError: It cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o755)
        if any(path.iterdir()):
            return
        if owner is not None and path.stat().st_uid == 0:
            shutil.chown(path, owner, pwd.getpwnam(owner).pw_gid)
            path.chmod(mode)
        elif owner is None and path.stat().st_uid == os.geteuid():
            path.chmod(mode)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be made or used: {error.strerror}") from error


def uses_ssh(settings: Settings) -> bool:
    """Whether Slurm's commands run on a login node."""
    kind = settings.slurm.transport
    return kind == "ssh" or (kind == "auto" and bool(settings.ssh.login_nodes))


def build_transport(ground: Ground, clock: Clock, helper: HelperClient) -> Transport | None:
    """What carries Slurm's commands; None where servers run on this machine.

    Raises:
        ConfigError: The settings name no login node, or an identity that the transport has not.
    """
    settings = ground.settings
    if places.scheduler_name(settings) != "slurm":
        return None
    if uses_ssh(settings):
        from minihub.transports.ssh import SshTransport  # noqa: PLC0415 - asyncssh costs 15 MB where nobody uses it

        return SshTransport(
            settings,
            clock,
            ground.hub_user,
            ground.state_dir,
            via_ssh=settings.servers.via == "ssh",
            runtime_dir=ground.runtime_dir,
        )
    from minihub.transports.local import LocalTransport, build_run_as  # noqa: PLC0415

    return LocalTransport(
        settings.slurm, clock, run_as=build_run_as(helper) if ground.helper_info.root else None
    )


def build_scheduler(
    ground: Ground, clock: Clock, helper: HelperClient, transport: Transport | None
) -> Scheduler:
    """What runs users' jobs."""
    if transport is None:
        from minihub.schedulers.local import LocalScheduler  # noqa: PLC0415

        return LocalScheduler(ground.settings, helper, clock, ground.runtime_dir)
    from minihub.schedulers.slurm.scheduler import SlurmScheduler  # noqa: PLC0415

    return SlurmScheduler(ground.settings, transport, clock)
