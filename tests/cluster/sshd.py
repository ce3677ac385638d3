"""An sshd of one's own with the very lines that `minihub ca show` prints, and start-up files for it to meet."""

from __future__ import annotations

import asyncio
import os
import pwd
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh

from minihub.transports.ca import load_ca, sshd_lines


@dataclass(frozen=True, slots=True)
class Sshd:
    """It listens on 127.0.0.1."""

    node: str
    """As ssh.login_nodes names it."""
    known_hosts: Path
    process: asyncio.subprocess.Process


@asynccontextmanager
async def own_sshd(
    facts: dict[str, Any], folder: Path, *, shlvl: bool = True, more: str = "", trusted: Path | None = None
) -> AsyncIterator[Sshd]:
    """Run it.

    Args:
        facts: Of the cluster.
        folder: For its files.
        shlvl: False: without the line that keeps bash from reading ~/.bashrc.
        more: A line of sshd_config.
        trusted: File of the trusted CA keys; None: the usual one, with the cluster's CA.
    """
    key = asyncssh.generate_private_key("ssh-ed25519")
    host_key = folder / "host_key"
    host_key.write_bytes(key.export_private_key())
    host_key.chmod(0o600)
    authority = load_ca(Path(facts["user_ca"]))
    usual = Path("/etc/ssh/minihub_user_ca.pub")
    usual.write_text(authority.public_line() + "\n")
    lines = sshd_lines(
        authority.public_line(),
        ["127.0.0.1"],
        facts["users_group"],
        service_user=facts["service_user"],
        forwarding=True,
    )
    lines = lines.replace(str(usual), str(trusted or usual))
    if not shlvl:
        lines = lines.replace("SetEnv SHLVL=1", "SetEnv NOTHING=1")
    config = folder / "sshd_config"
    config.write_text(f"HostKey {host_key}\nPidFile none\nUsePAM yes\nPermitRootLogin yes\n{more}\n{lines}")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        *("/usr/sbin/sshd", "-D", "-e", "-f", config, "-p", str(port), "-o", "ListenAddress=127.0.0.1"),
        stderr=asyncio.subprocess.DEVNULL,
    )
    known_hosts = folder / "known_hosts"
    known_hosts.write_text(f"[127.0.0.1]:{port} {key.export_public_key().decode()}")
    async with asyncio.timeout(60):
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            await asyncio.sleep(0.05)
    try:
        yield Sshd(f"127.0.0.1:{port}", known_hosts, process)
    finally:
        process.terminate()
        await process.wait()


@contextmanager
def file_of(user: str, name: str, text: str, mode: int = 0o600) -> Iterator[Path]:
    """Put a file into a user's home for a while."""
    entry = pwd.getpwnam(user)
    path = Path(entry.pw_dir) / name
    kept = path.read_bytes() if path.exists() else None
    path.write_text(text)
    path.chmod(mode)
    os.chown(path, entry.pw_uid, entry.pw_gid)
    try:
        yield path
    finally:
        if kept is None:
            path.unlink(missing_ok=True)
        else:
            path.write_bytes(kept)
