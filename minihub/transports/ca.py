"""The hub's SSH user certificate authority: one key, from which every connection gets a fresh short-lived certificate.

Touches the CA's key file and asyncssh's key functions; no network, no clock of its own, no password database of its
own (the lookup is an argument). What sshd needs to trust it is printed by `minihub ca init|show` from `sshd_lines`.

Why certificates: the login node needs no key per user and no right for the hub to become anybody else; the hub cannot
even *make* a certificate for root or a system account here, and sshd would refuse it there.
"""

from __future__ import annotations

import os
import pwd
import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import asyncssh

from minihub.errors import ConfigError, ConnectFailed

BACKDATE_S = 60
"""Certificates begin this long ago, since the login node's clock may be behind ours."""
DEFAULT_UID_MIN = 1000
NOBODY = (65534, 65535, 2**32 - 2, 2**32 - 1)
"""Above UID_MIN, but nobody. (Debian's package accounts from 60000 on, slurm's 64030 say, are left to the group that sshd
and sudo ask for: elsewhere people have such uids.)"""
LOGIN_DEFS = Path("/etc/login.defs")

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.@+-]{0,255}\$?", re.ASCII)

Lookup = Callable[[str], pwd.struct_passwd]
"""getpwnam: name -> entry; KeyError if there is none."""


@dataclass(frozen=True, slots=True)
class PrincipalPolicy:
    """For whom the hub may act at all; the same whether by certificate or by sudo."""

    service_user: str
    """May have a system uid, but never 0; need not exist on the hub's machine."""
    uid_min: int = DEFAULT_UID_MIN
    lookup: Lookup = pwd.getpwnam

    def verify(self, user: str) -> None:
        """Return if the hub may act as `user`.

        Raises:
            ConnectFailed: Root, a system account, or nobody at all; with the reason.
        """
        if _NAME.fullmatch(user) is None:
            raise ConnectFailed("This is no user name.", f"refused principal {user[:40]!r}")
        try:
            entry = self.lookup(user)
        except KeyError:
            if user == self.service_user and user != "root":
                return  # it need exist on the login nodes only
            raise ConnectFailed(
                f"The hub's machine knows no user {user}.",
                "getpwnam fails; are LDAP or sssd up on this host?",
            ) from None
        if entry.pw_name != user:
            raise ConnectFailed(f"{user} is not this account's own name ({entry.pw_name}).")
        if entry.pw_uid == 0:
            raise ConnectFailed("The hub never acts as root.", f"{user} has uid 0")
        if (entry.pw_uid < self.uid_min or entry.pw_uid in NOBODY) and user != self.service_user:
            raise ConnectFailed(
                f"{user} is a system account; the hub does not act as one.",
                f"uid {entry.pw_uid} is below UID_MIN {self.uid_min} of {LOGIN_DEFS}, or nobody's",
            )


def load_uid_min(path: Path = LOGIN_DEFS) -> int:
    """Read UID_MIN as useradd does; 1000 where it is not set or not readable. Source: login.defs(5)."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return DEFAULT_UID_MIN
    match = re.search(r"^\s*UID_MIN\s+([0-9]+)", text, re.MULTILINE)
    return int(match[1]) if match else DEFAULT_UID_MIN


@dataclass(frozen=True, slots=True)
class CertificateAuthority:
    """Signs fresh keys for users. Knows no policy: ask `PrincipalPolicy.verify` first."""

    key: asyncssh.SSHKey

    def public_line(self, comment: str = "minihub user CA") -> str:
        """Return the one line that goes into sshd's TrustedUserCAKeys file."""
        blob = self.key.export_public_key().decode("ascii").strip()
        return f"{' '.join(blob.split()[:2])} {comment}"

    def sign(
        self,
        user: str,
        *,
        now: float,
        lifetime_s: float,
        source_address: Sequence[str] = (),
        port_forwarding: bool = False,
    ) -> tuple[asyncssh.SSHKey, asyncssh.SSHCertificate]:
        """Make a new ed25519 key and a certificate that lets it log in as `user`, and nothing but run commands.

        Args:
            user: The only principal.
            now: Wall seconds.
            lifetime_s: Valid until that long from now, and from BACKDATE_S ago.
            source_address: Addresses or networks from which alone it works; empty: from anywhere.
            port_forwarding: Also let it open connections from the login node (`via = "ssh"`).
        """
        key = asyncssh.generate_private_key("ssh-ed25519")
        certificate = self.key.generate_user_certificate(
            key,
            f"minihub:{user}:{secrets.token_hex(4)}",  # what sshd writes into its log
            serial=secrets.randbits(63),
            principals=[user],
            valid_after=int(now) - BACKDATE_S,
            valid_before=int(now + lifetime_s) + 1,
            source_address=list(source_address),
            permit_x11_forwarding=False,
            permit_agent_forwarding=False,
            permit_port_forwarding=port_forwarding,
            permit_pty=False,
            permit_user_rc=False,
        )
        return key, certificate


def create_ca(path: Path) -> CertificateAuthority:
    """Make the CA's key, mode 0600, and its public half beside it (.pub).

    Raises:
        ConfigError: There is one already, or it cannot be written.
    """
    key = asyncssh.generate_private_key("ssh-ed25519", comment="minihub user CA")
    authority = CertificateAuthority(key)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write_new(path, key.export_private_key(), 0o600)
        path.with_name(path.name + ".pub").write_text(authority.public_line() + "\n", encoding="ascii")
    except FileExistsError:
        raise ConfigError(
            f"{path}: there is a CA key already; login nodes trust it. Use minihub ca show."
        ) from None
    except OSError as error:
        raise ConfigError(f"{path}: the CA key cannot be written: {error.strerror}") from error
    return authority


def _write_new(path: Path, data: bytes, mode: int) -> None:
    """Write a file that does not exist yet; O_EXCL also refuses a symlink."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(descriptor)


def load_ca(path: Path) -> CertificateAuthority:
    """Read the CA's key.

    Raises:
        ConfigError: It is missing, unreadable, or others may read it.
    """
    return CertificateAuthority(load_private_key(path, "run: minihub ca init"))


def load_private_key(path: Path, cure_if_missing: str) -> asyncssh.SSHKey:
    """Read a private key of the hub's own and insist on its mode.

    Raises:
        ConfigError: It is missing, unreadable, no key, has a passphrase, or others may read it.
    """
    try:
        status = path.stat()
        data = path.read_bytes()
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such key; {cure_if_missing}") from None
    except OSError as error:
        raise ConfigError(f"{path}: the key cannot be read: {error.strerror}") from error
    if status.st_mode & 0o077:
        raise ConfigError(f"{path}: others may read this key; run: chmod 600 {path}")
    try:
        return asyncssh.import_private_key(data)
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError, ValueError) as error:
        raise ConfigError(f"{path}: this is no private key without a passphrase: {error}") from error


def sshd_lines(
    ca_public: str,
    hub_addresses: Sequence[str],
    group: str,
    *,
    service_user: str = "",
    forwarding: bool = False,
) -> str:
    """Build what a login node's admin pastes: the CA file and the sshd_config lines.

    First match wins in sshd_config(5), so the exclusions stand first.

    Args:
        ca_public: `CertificateAuthority.public_line()`; two lines while the key is being changed.
        hub_addresses: Addresses or networks from which the hub connects.
        group: Unix group whose members use the hub.
        service_user: Account of the listing, if it is not a member of that group.
        forwarding: The hub reaches nodes through this host (servers.via = "ssh").
    """
    addresses = ",".join(hub_addresses) or "HUB-ADDRESS"
    keys = ca_public.replace("\n", "\n#   ")
    noun = "line" if keys == ca_public else "lines"
    wanted = [("Group", group)] + ([("User", service_user)] if service_user else [])
    blocks = "\n".join(_match_block(kind, name, addresses, forwarding=forwarding) for kind, name in wanted)
    return f"""\
# On every login node, as root:
#   1. put the {noun} between the marks into /etc/ssh/minihub_user_ca.pub (mode 0644, owned by root)
#   ---
#   {keys}
#   ---
#   2. put the rest into /etc/ssh/sshd_config.d/minihub.conf (or at the END of /etc/ssh/sshd_config)
#   3. check it with: sshd -t    and reload: systemctl reload ssh

# The first match wins: root never logs in by certificate, whatever group it is in. System accounts are out because they
# are no members of the group below.
Match User root
    TrustedUserCAKeys none
{blocks}
Match all
"""


def _match_block(kind: str, name: str, addresses: str, *, forwarding: bool) -> str:
    lines = [
        "",
        "# Certificates count only for these accounts and only from the hub. SHLVL=1 keeps Debian's bash from reading",
        "# ~/.bashrc, so that an echo, a sleep or an exit in it cannot delay or break a command.",
        f"Match {kind} {name} Address {addresses}",
        "    TrustedUserCAKeys /etc/ssh/minihub_user_ca.pub",
        "    SetEnv SHLVL=1",
    ]
    if forwarding:
        lines += ["    AllowTcpForwarding local"]
    return "\n".join(lines)


def known_hosts_advice(login_nodes: Sequence[str], known_hosts: Path) -> str:
    """Build the advice how the hub learns the login nodes' host keys: once, by a trusted way, never by itself."""
    lines = [
        f"# The hub connects only to hosts whose key stands in {known_hosts}.",
        "# On each login node, print its own line (compare it if you fetch it over the network instead):",
    ]
    for node in login_nodes or ("LOGIN-NODE",):
        host, _, port = node.rpartition(":") if node.count(":") == 1 else (node, "", "")
        name = f"[{host}]:{port}" if host and port not in ("", "22") else (host or node)
        lines.append(f'#   echo "{name} $(cut -d" " -f1,2 /etc/ssh/ssh_host_ed25519_key.pub)"')
    return "\n".join(lines) + "\n"
