"""Transport `ssh`: commands run on a login node, as the user by certificate or through sudo.

The composition of this room's small modules: `dialing` connects, `link` keeps one connection per login name, `framing` and
`command` carry one command, `forwards` opens paths to nodes, `ca` makes credentials and says for whom.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import asyncssh

from minihub.clock import Clock
from minihub.config import Settings
from minihub.errors import CommandTimedOut, ConfigError, ConnectFailed
from minihub.tasks import TaskKeeper
from minihub.transports.base import CommandResult
from minihub.transports.ca import PrincipalPolicy, load_ca, load_private_key, load_uid_min
from minihub.transports.command import ChannelRefused, Ended, Limits, NotStarted, run_command
from minihub.transports.dialing import UNREACHABLE, ClientKeys, Dialer
from minihub.transports.forwards import Forwards, Target
from minihub.transports.framing import (
    build_env_words,
    build_environment,
    build_sudo,
    build_timed,
    build_words,
    is_overdue,
    program_of,
    split_wrapper,
)
from minihub.transports.link import SHUTTING_DOWN, Link

log = logging.getLogger(__name__)

Identity = Literal["certificate", "sudo"]
ATTEMPTS = 2
"""A command that certainly did not run is tried once more, on a new connection."""
CONNECTIONS = 8
"""So many are tried where sshd takes fewer commands on one connection than ssh.max_commands says."""


def resolve_identity(settings: Settings) -> Identity:
    """How the hub acts as a user over ssh.

    Raises:
        ConfigError: slurm.identity says something that ssh cannot do.
    """
    if settings.slurm.identity == "helper":
        raise ConfigError(
            "slurm.identity: 'helper' works with slurm.transport = 'local' only; use certificate or sudo"
        )
    return "sudo" if settings.slurm.identity == "sudo" else "certificate"


class SshTransport:
    """Implements `transports.base.Transport` with asyncssh."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        hub_user: str,
        state_dir: Path,
        *,
        via_ssh: bool,
        runtime_dir: Path | None = None,
        policy: PrincipalPolicy | None = None,
    ) -> None:
        """Prepare; nothing connects before the first command.

        Args:
            settings: All settings; sections slurm and ssh are used.
            clock: Wall time for certificates, monotonic time for backoff.
            hub_user: The service account's name where slurm.service_user is empty.
            state_dir: Where user_ca, service_key and known_hosts lie unless set.
            via_ssh: Certificates permit port forwarding.
            runtime_dir: Where forwards' sockets go; None: "run" in the state directory.
            policy: For whom the hub may act; None: from this machine's accounts and login.defs.

        Raises:
            ConfigError: No login node, or an identity that ssh has not.
        """
        asyncssh.set_log_level(logging.WARNING)  # its INFO tells every command line and channel
        self.identity = resolve_identity(settings)
        self.service_user = settings.slurm.service_user or hub_user
        self._settings = settings
        self._clock = clock
        self._state_dir = state_dir
        self._via_ssh = via_ssh
        self._policy = policy or PrincipalPolicy(self.service_user, load_uid_min())
        self._approved: dict[str, float] = {}
        self._keeper = TaskKeeper()
        self._links: dict[str, Link] = {}
        self._dialer = Dialer(settings.ssh, state_dir, clock, self._client_keys)
        self._forwards = Forwards(
            (runtime_dir or state_dir / "run") / "forwards", self._link_for, self._keeper
        )
        self._closing: asyncio.Task[None] | None = None

    async def run(
        self, argv: Sequence[str], *, user: str | None, stdin: bytes = b"", timeout_s: float
    ) -> CommandResult:
        """Run `argv` as `user`, or as the service account; see `Transport.run`."""
        started = self._clock.monotonic()
        through_sudo = self.identity == "sudo" and user not in (None, self.service_user)
        words = await self._words(argv, user, timeout_s, through_sudo=through_sudo)
        try:
            ended = await self._carry(self._link_for(user), words, stdin, timeout_s)
        finally:
            self._close_some_idle()
        elapsed_s = self._clock.monotonic() - started
        if through_sudo:
            ran, stderr = split_wrapper(ended.stderr)
            if not ran:
                raise ConnectFailed(
                    "The login node does not let the hub act for you.", f"sudo: {stderr.strip()[-500:]}"
                )
            ended = Ended(ended.exit_status, ended.stdout, stderr)
        if is_overdue(ended.exit_status, elapsed_s, timeout_s):
            raise CommandTimedOut(
                f"{program_of(argv)} on the cluster's login node did not finish within {timeout_s:g} s.",
                f"ended by timeout(1) after {elapsed_s:.1f} s: {ended.stderr.strip()[-300:]}",
            )
        return CommandResult(ended.exit_status, ended.stdout, ended.stderr, elapsed_s)

    def avoid_host(self, user: str | None) -> bool:
        """Move `user`'s commands to another login node; see `Transport.avoid_host`."""
        link = self._links.get(self._login_name(user))
        live = link.live if link is not None else None
        if link is None or live is None or live.connection is None:
            return False
        node = live.connection.get_extra_info("login_node")
        if not self._dialer.avoid(node):
            return False
        log.warning("ssh as %s: %s does not serve; going to another login node", link.user, node)
        link.retire(live)
        return True

    async def open_forward(self, user: str, host: str, port: int) -> Path:
        """Return a local socket that leads to `host`:`port`; see `Transport.open_forward`."""
        await self._approve(user)
        return await self._forwards.open(Target(user, host, port))

    async def close_forward(self, user: str, host: str, port: int) -> None:
        """Close what `open_forward` opened."""
        await self._forwards.close(Target(user, host, port))

    async def warm(self, user: str) -> None:
        """Connect in the background."""
        if self._closing is None:
            self._keeper.start(self._warm(user), name=f"ssh warm-up for {user}")

    async def _warm(self, user: str) -> None:
        try:
            await self._approve(user)
            async with self._link_for(user).use():
                pass
            self._close_some_idle()
        except ConnectFailed as error:
            log.info("no connection ready for %s: %s", user, error)

    async def close(self) -> None:
        """End all connections; may be called twice and at once."""
        if self._closing is None:
            self._closing = TaskKeeper().start(self._close(), name="ssh close")
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        self._forwards.shut_all()
        await asyncio.gather(*(link.close() for link in self._links.values()))
        await self._keeper.close()

    async def _words(
        self, argv: Sequence[str], user: str | None, timeout_s: float, *, through_sudo: bool
    ) -> list[str]:
        """Build all that is sent as arguments.

        Raises:
            ConnectFailed: For this user, or with these arguments, nothing may run.
        """
        if user is not None and user != self.service_user:
            await self._approve(user)
        login = self._login_name(user)
        slurm = self._settings.slurm
        environment = build_environment(login, bin_dir=slurm.bin_dir, slurm_conf=slurm.conf)
        try:
            if through_sudo:
                assert user is not None
                command = build_sudo(slurm.wrapper, user, argv, timeout_s)
            else:
                command = build_timed(argv, timeout_s)
            words = build_env_words(environment, command)
            build_words(words)
        except ValueError as error:
            raise ConnectFailed("The hub does not run such a command.", f"{argv[0]}: {error}") from error
        return words

    async def _carry(self, link: Link, words: list[str], stdin: bytes, timeout_s: float) -> Ended:
        limits = Limits(
            open_s=self._settings.ssh.connect_timeout_s, start_up_s=max(timeout_s, 1.0), command_s=timeout_s
        )
        reason = ""
        for attempt in range(1, CONNECTIONS + 1):
            async with link.slots, link.use() as live:
                assert live.connection is not None
                try:
                    return await run_command(live.connection, words, stdin, limits, self._keeper)
                except NotStarted as error:
                    # Refused channels (MaxSessions, taken by commands that never ended) do not come back soon.
                    reason = str(error)
                    log.info("ssh as %s: %s", link.user, reason)
                    link.retire(live)
                    if attempt >= ATTEMPTS and not isinstance(error, ChannelRefused):
                        break
        raise ConnectFailed(UNREACHABLE, reason)

    async def _approve(self, user: str) -> None:
        """Return if the hub may act as `user`; asks the account database at most once per certificate lifetime.

        Raises:
            ConnectFailed: It may not.
        """
        now = self._clock.monotonic()
        if self._approved.get(user, now) <= now:
            # In a thread: LDAP may be slow.
            await asyncio.to_thread(self._policy.verify, user)
            self._approved[user] = now + self._settings.ssh.certificate_lifetime_s

    def _login_name(self, user: str | None) -> str:
        return self.service_user if user is None or self.identity == "sudo" else user

    def _link_for(self, user: str | None) -> Link:
        name = self._login_name(user)
        link = self._links.get(name)
        if link is None:
            if self._closing is not None:
                raise ConnectFailed(SHUTTING_DOWN)
            link = self._links[name] = Link(
                name,
                self._dialer.dial,
                clock=self._clock,
                keeper=self._keeper,
                max_commands=self._settings.ssh.max_commands,
                idle_close_s=self._settings.ssh.idle_close_s,
            )
        return link

    def _close_some_idle(self) -> None:
        """Keep few connections that nobody uses: each is a process of the login node's."""
        idle = [
            (since, link.user)
            for link in self._links.values()
            if link.user != self.service_user and (since := link.idle_since) is not None
        ]
        for _, user in sorted(idle)[: -self._settings.ssh.max_idle]:
            self._links[user].close_idle()

    def _client_keys(self, login: str) -> ClientKeys:
        """Make or read the credentials of one login; called in a thread before every connection."""
        ssh = self._settings.ssh
        self._policy.verify(login)
        service_key = Path(ssh.service_key) if ssh.service_key else self._state_dir / "service_key"
        if login == self.service_user and (
            self.identity == "sudo" or ssh.service_key or service_key.exists()
        ):
            return [
                load_private_key(
                    service_key, "make one with: ssh-keygen -t ed25519 -N '' -f " + str(service_key)
                )
            ]
        authority = load_ca(Path(ssh.ca_key) if ssh.ca_key else self._state_dir / "user_ca")
        return [
            authority.sign(
                login,
                now=self._clock.wall(),
                lifetime_s=ssh.certificate_lifetime_s,
                source_address=[part.strip() for part in ssh.source_address.split(",") if part.strip()],
                port_forwarding=self._via_ssh,
            )
        ]
