"""`minihub ca`: makes the ssh user CA, shows what login nodes need, and changes to a new key while everything runs.

Touches key files in the state directory, and login nodes to try a new key. The hub reads the key for every connection
that it makes, so a running one goes over to a new key by itself.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import pwd
import shutil
from pathlib import Path

from minihub.building import find_hub_user, make_directory, uses_ssh
from minihub.clock import SystemClock
from minihub.command.failures import DONE, CommandFailed, WrongUsage
from minihub.command.show import note
from minihub.config import Settings
from minihub.errors import ConfigError, HubError
from minihub.transports import ca
from minihub.transports.ca import CertificateAuthority
from minihub.transports.dialing import parse_login_node
from minihub.transports.ssh import SshTransport, resolve_identity

_TRIAL_S = 30.0


class _Files:
    """Where the keys lie, and whose they are."""

    def __init__(self, settings: Settings, state: Path) -> None:
        self.key = Path(settings.ssh.ca_key) if settings.ssh.ca_key else state / "user_ca"
        self.next = self.key.with_name(self.key.name + ".next")
        """The new key while a change is under way."""
        self._owner = find_hub_user(settings) if os.geteuid() == 0 else None

    def make(self, path: Path) -> CertificateAuthority:
        make_directory(path.parent, 0o700, self._owner)
        authority = ca.create_ca(path)
        if self._owner is not None:
            for file in (path, _public(path)):
                shutil.chown(file, self._owner)
        return authority

    def trusted(self) -> list[CertificateAuthority]:
        """Those whose certificates login nodes shall take."""
        return [ca.load_ca(path) for path in (self.key, self.next) if path == self.key or path.exists()]


def _public(path: Path) -> Path:
    return path.with_name(path.name + ".pub")


def init(options: argparse.Namespace, settings: Settings, state: Path) -> int:
    """`minihub ca init`."""
    files = _Files(settings, state)
    _print_lines(options, settings, state, [files.make(files.key)])
    return DONE


def show(options: argparse.Namespace, settings: Settings, state: Path) -> int:
    """`minihub ca show`."""
    _print_lines(options, settings, state, _Files(settings, state).trusted())
    return DONE


def _print_lines(
    options: argparse.Namespace, settings: Settings, state: Path, trusted: list[CertificateAuthority]
) -> None:
    comments = ("minihub user CA", "minihub user CA, the next one")
    lines = [authority.public_line(comment) for authority, comment in zip(trusted, comments, strict=False)]
    known_hosts = Path(settings.ssh.known_hosts) if settings.ssh.known_hosts else state / "known_hosts"
    addresses = [part.strip() for part in settings.ssh.source_address.split(",") if part.strip()]
    print(
        ca.sshd_lines(
            "\n".join(lines),
            addresses,
            options.group,
            service_user=settings.slurm.service_user,
            forwarding=settings.servers.via == "ssh",
        )
    )
    print(ca.known_hosts_advice(settings.ssh.login_nodes, known_hosts), end="")


# ---- rotate ---------------------------------------------------------------------------------------------------------


def rotate(options: argparse.Namespace, settings: Settings, state: Path) -> int:
    """`minihub ca rotate`: begin, --finish or --abandon the change to a new key."""
    files = _Files(settings, state)
    ca.load_ca(files.key)
    if options.finish:
        _verify_begun(files)
        if not options.untested:
            _try(options.user, settings, state, files)
        _finish(files)
        note("the new key signs from now on: a running hub takes it for its next connections")
        note("last step: put the lines below on every login node, so that nobody trusts the old key any more")
    elif options.abandon:
        _verify_begun(files)
        _public(files.next).unlink(missing_ok=True)
        files.next.unlink()
        note("the new key is gone; the old one signs as before. Take the new one off the login nodes:")
    else:
        if options.untested or options.user:
            raise WrongUsage("--user and --untested go with --finish")
        _begin(files)
        note("1. put these lines, which trust both keys, on every login node; nothing changes for users")
        note("2. then: minihub ca rotate --finish")
    _print_lines(options, settings, state, files.trusted())
    return DONE


def _begin(files: _Files) -> None:
    if files.next.exists():
        note(f"a change is under way already: the new key is {files.next}")
    else:
        files.make(files.next)
        note(f"made a new key, {files.next}; the old one goes on signing until --finish")


def _verify_begun(files: _Files) -> None:
    if not files.next.exists():
        raise CommandFailed("No change of the key is under way.", "Begin one with: minihub ca rotate")


def _finish(files: _Files) -> None:
    """The new key takes the place of the old one in one step."""
    try:
        files.next.replace(files.key)
        _public(files.next).replace(_public(files.key))
    except OSError as error:
        raise ConfigError(f"{files.key}: cannot be replaced: {error.strerror}") from error


def _try(user: str, settings: Settings, state: Path, files: _Files) -> None:
    """Log in to every login node with the new key.

    Raises:
        CommandFailed: One does not take it, so that the old key must stay.
    """
    if not uses_ssh(settings) or resolve_identity(settings) != "certificate":
        return
    hub_user = find_hub_user(settings) if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    service_user = settings.slurm.service_user or hub_user
    by_key = settings.ssh.service_key or (state / "service_key").exists()
    account = user or ("" if by_key else service_user)
    if not account:
        raise WrongUsage(
            "--finish first tries the new key on every login node: say for whom with --user NAME, one of the hub's users",
            "--untested goes without, where no login node can be reached.",
        )
    for node in settings.ssh.login_nodes:
        asyncio.run(_log_in(account, node, settings, state, files.next))
        note(f"{parse_login_node(node)}: takes the new key")


async def _log_in(account: str, node: str, settings: Settings, state: Path, key: Path) -> None:
    only = settings.ssh.model_copy(update={"login_nodes": (node,), "ca_key": str(key)})
    transport = SshTransport(
        settings.model_copy(update={"ssh": only}), SystemClock(), account, state, via_ssh=False
    )
    try:
        await transport.run(("true",), user=account, timeout_s=_TRIAL_S)
    except HubError as error:
        raise CommandFailed(
            f"{node} does not let {account} in by the new key, so the old one stays: {error.user_message}",
            f"{error.detail}\nPut the lines of `minihub ca show`, which trust both keys, there; then --finish again.",
        ) from error
    finally:
        await transport.close()
