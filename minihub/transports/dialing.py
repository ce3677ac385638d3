"""Connecting and logging in to one of the login nodes. The edge where asyncssh's connect errors become ours.

Strict about the host: its key must stand in known_hosts, or there is no connection. Reads nothing of the person's own
ssh set-up but (as the last resort) known_hosts: no ~/.ssh/config, no agent, no default keys, no X.509 store.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncssh

from minihub.clock import Clock
from minihub.config import SshSettings
from minihub.errors import ConfigError, ConnectFailed, HostKeyMismatch

log = logging.getLogger(__name__)

MAX_LOGINS_AT_ONCE = 8
"""Below sshd's MaxStartups (10:30:100): beyond ten it drops connections by chance."""
AVOID_HOST_S = 60.0
"""A login node that did not answer, or could not do what was wanted, is tried last for this long."""
DROPPED_PAUSES_S = (0.2, 0.5, 1.0)
"""Before it is tried again where sshd took connections and dropped them: beyond MaxStartups it does so by chance."""
KEEPALIVE_COUNT = 3
SSH_PORT = 22
UNREACHABLE = "The cluster's login node cannot be reached right now."

ClientKeys = Sequence[Any]
"""What asyncssh takes as client_keys: keys, or (key, certificate) pairs."""


@dataclass(frozen=True, slots=True)
class LoginNode:
    """Where sshd listens."""

    host: str
    port: int = SSH_PORT

    def __str__(self) -> str:
        name = f"[{self.host}]" if ":" in self.host else self.host
        return name if self.port == SSH_PORT else f"{name}:{self.port}"

    @property
    def known_hosts_name(self) -> str:
        """How known_hosts writes it."""
        return self.host if self.port == SSH_PORT else f"[{self.host}]:{self.port}"


def parse_login_node(text: str) -> LoginNode:
    """Parse "host", "host:port", "[v6]:port" or a bare IPv6 address.

    Raises:
        ConfigError: Anything else.
    """
    host, port = text, ""
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":")
    elif text.count(":") == 1:
        host, port = text.split(":")
    if not host or host.startswith("-") or any(c.isspace() for c in host) or not (port.isdigit() or not port):
        raise ConfigError(f"ssh.login_nodes: {text!r} is neither host nor host:port")
    return LoginNode(host, int(port) if port else SSH_PORT)


def known_hosts_files(settings: SshSettings, state_dir: Path, home: Path) -> list[Path]:
    """Where host keys are looked up: the configured file alone, else all usual places that exist."""
    if settings.known_hosts:
        return [Path(settings.known_hosts)]
    usual = (state_dir / "known_hosts", home / ".ssh" / "known_hosts", Path("/etc/ssh/ssh_known_hosts"))
    return [path for path in usual if path.is_file()]


@dataclass(slots=True)
class Dialer:
    """Makes connections; shared by all identities so that all learn which login node is down."""

    settings: SshSettings
    state_dir: Path
    clock: Clock
    client_keys: Callable[[str], ClientKeys]
    """Login name -> fresh credentials; may raise ConfigError or ConnectFailed; runs in a thread."""
    home: Path = field(default_factory=Path.home)
    jitter: Callable[[], float] = random.random
    _nodes: list[LoginNode] = field(init=False)
    _avoid_until: dict[LoginNode, float] = field(init=False, default_factory=dict)
    _logins: asyncio.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        self._nodes = [parse_login_node(text) for text in self.settings.login_nodes]
        self._logins = asyncio.Semaphore(MAX_LOGINS_AT_ONCE)
        if not self._nodes:
            raise ConfigError("ssh.login_nodes: name at least one login node")

    async def dial(self, user: str, on_lost: Callable[[], None]) -> asyncssh.SSHClientConnection:
        """Log in as `user` on the first login node that lets us.

        Args:
            user: Login name.
            on_lost: Called once when the connection is gone, for whatever reason.

        Raises:
            ConnectFailed: None did; with the last reason (HostKeyMismatch wins over others).
        """
        began = self.clock.monotonic()
        async with self._logins:
            for pause_s in DROPPED_PAUSES_S:
                try:
                    return await self._dial_any(user, on_lost)
                except _Dropped:
                    if self.clock.monotonic() - began > self.settings.connect_timeout_s:
                        raise
                await asyncio.sleep(pause_s * (0.5 + self.jitter()))
            return await self._dial_any(user, on_lost)

    async def _dial_any(self, user: str, on_lost: Callable[[], None]) -> asyncssh.SSHClientConnection:
        """Try every login node once."""
        failures: list[ConnectFailed] = []
        for node in self._in_order():
            try:
                return await self._dial_node(node, user, on_lost)
            except ConnectFailed as error:
                level = logging.ERROR if isinstance(error, HostKeyMismatch) else logging.WARNING
                log.log(level, "ssh to %s as %s: %s", node, user, error)
                failures.append(error)
        raise max(reversed(failures), key=_weight)

    def avoid(self, node: LoginNode) -> bool:
        """Try `node` last for a while; False if there is no other that is not avoided as well."""
        now = self.clock.monotonic()
        others = (other for other in self._nodes if other != node)
        if all(self._avoid_until.get(other, now) > now for other in others):
            return False
        self._avoid_until[node] = now + AVOID_HOST_S
        return True

    async def verify_host(self, node: LoginNode) -> None:
        """Return if `node` shows the host key that known_hosts has for it; logs nobody in.

        Raises:
            HostKeyMismatch: It shows another, or none is known for it.
            ConnectFailed: It does not answer, or there is no known_hosts file.
        """
        timeout_s = self.settings.connect_timeout_s
        try:
            known_hosts, files = self._load_known_hosts()
            async with asyncio.timeout(timeout_s):
                connection = await self._connect(node, "minihub-check", (), known_hosts, _Watcher())
        except asyncssh.PermissionDenied:
            return  # the host proves itself before it asks who we are
        except ConfigError as error:
            raise ConnectFailed("The hub's ssh keys are not set up.", error.user_message) from error
        except (TimeoutError, OSError, asyncssh.Error, ValueError) as error:
            raise _explain(error, node, "minihub-check", files, timeout_s) from error
        connection.abort()

    def _in_order(self) -> list[LoginNode]:
        now = self.clock.monotonic()

        def turn(node: LoginNode) -> float:
            until = self._avoid_until.get(node, 0.0)
            return until if until > now else 0.0

        return sorted(self._nodes, key=turn)

    async def _dial_node(
        self, node: LoginNode, user: str, on_lost: Callable[[], None]
    ) -> asyncssh.SSHClientConnection:
        started = self.clock.monotonic()
        try:
            known_hosts, files = self._load_known_hosts()
            keys = await asyncio.to_thread(self.client_keys, user)
            watcher = _Watcher()
            async with asyncio.timeout(self.settings.connect_timeout_s):
                connection = await self._connect(node, user, keys, known_hosts, watcher)
            watcher.watch(on_lost)
        except (TimeoutError, OSError, asyncssh.Error, ValueError, ConfigError) as error:
            refused = isinstance(error, asyncssh.PermissionDenied | ConfigError)
            if not refused:
                self._avoid_until[node] = self.clock.monotonic() + AVOID_HOST_S
            if isinstance(error, ConfigError):
                raise ConnectFailed("The hub's ssh keys are not set up.", error.user_message) from error
            raise _explain(error, node, user, files, self.settings.connect_timeout_s) from error
        self._avoid_until.pop(node, None)
        connection.set_extra_info(login_node=node)
        log.info("ssh to %s as %s: connected in %.3f s", node, user, self.clock.monotonic() - started)
        return connection

    async def _connect(
        self,
        node: LoginNode,
        user: str,
        keys: ClientKeys,
        known_hosts: asyncssh.SSHKnownHosts,
        watcher: _Watcher,
    ) -> asyncssh.SSHClientConnection:
        return await asyncssh.connect(
            node.host,
            node.port,
            username=user,
            client_factory=lambda: watcher,
            client_keys=keys,
            known_hosts=known_hosts,
            config=[],  # () would read ~/.ssh/config
            agent_path=None,
            x509_trusted_certs=None,
            gss_host=None,
            preferred_auth="publickey",
            keepalive_interval=self.settings.keepalive_s,
            keepalive_count_max=KEEPALIVE_COUNT,
            login_timeout=self.settings.connect_timeout_s,
        )

    def _load_known_hosts(self) -> tuple[asyncssh.SSHKnownHosts, list[Path]]:
        """Read host keys anew for every connection: an admin's correction counts at once.

        Raises:
            ConfigError: A file that cannot be read or understood, or none at all.
        """
        files = known_hosts_files(self.settings, self.state_dir, self.home)
        if not files:
            raise ConfigError(
                f"no known_hosts file; put the login nodes' host keys into {self.state_dir}/known_hosts"
            )
        try:
            text = "\n".join(path.read_text(encoding="utf-8", errors="replace") for path in files)
            return asyncssh.import_known_hosts(text), files
        except (OSError, ValueError) as error:
            raise ConfigError(f"known_hosts ({_names(files)}) cannot be read: {error}") from error


class _Dropped(ConnectFailed):
    """sshd took the connection and dropped it before the login."""


def _weight(failure: ConnectFailed) -> int:
    """Which of several login nodes' failures to tell: a wrong host key needs somebody to act, a dropped one another try."""
    return 2 if isinstance(failure, HostKeyMismatch) else int(isinstance(failure, _Dropped))


class _Watcher(asyncssh.SSHClient):
    """Tells when the connection is gone; says nothing of attempts that never became one."""

    def __init__(self) -> None:
        self._on_lost: Callable[[], None] | None = None
        self._lost = False

    def watch(self, on_lost: Callable[[], None]) -> None:
        """Call `on_lost` when the connection ends, or raise if it has ended already."""
        if self._lost:
            raise ConnectionResetError("the connection ended right after the login")
        self._on_lost = on_lost

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncssh's signature
        self._lost = True
        if self._on_lost is not None:
            self._on_lost()


def _names(files: Sequence[Path]) -> str:
    return ", ".join(str(path) for path in files)


def _explain(
    error: Exception, node: LoginNode, user: str, files: Sequence[Path], timeout_s: float
) -> ConnectFailed:
    """Say which hop failed and what to do about it."""
    if isinstance(error, asyncssh.HostKeyNotVerifiable) or (
        isinstance(error, asyncssh.KeyExchangeFailed) and "host key" in str(error).lower()
    ):
        name = node.known_hosts_name
        return HostKeyMismatch(
            f"The login node {node} did not show the host key that the hub knows for it. The hub refuses to connect.",
            f"{name}: its key is not in {_names(files)} ({error}). If the host was really reinstalled or is new: remove the "
            f"old line with ssh-keygen -R '{name}' -f FILE and add the new key, read on the host itself "
            "(/etc/ssh/ssh_host_ed25519_key.pub)",
        )
    if isinstance(error, asyncssh.PermissionDenied):
        return ConnectFailed(
            f"The cluster's login node does not let the hub in as {user}.",
            f"{node}: {error}. Look into sshd's log there: is the CA (or the service key) trusted for {user} and from the "
            "hub's address, is the account open, do both clocks agree?",
        )
    if isinstance(error, TimeoutError):
        return ConnectFailed(UNREACHABLE, f"{node}: no login within {timeout_s:g} s")
    if isinstance(error, ConnectionResetError | asyncssh.ConnectionLost):
        return _Dropped(
            UNREACHABLE,
            f"{node}: it took the connection and dropped it; sshd does so beyond MaxStartups, or while it goes down",
        )
    return ConnectFailed(UNREACHABLE, f"{node}: {type(error).__name__}: {error}")
