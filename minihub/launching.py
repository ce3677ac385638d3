"""From a user's options to what one attempt's job is made of: secrets, script, log. Part of the composition.

Knows the settings, the accounts of this machine and where the hub can be called back; no scheduler, no web.
"""

from __future__ import annotations

import asyncio
import pwd
import socket
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from minihub.clock import Clock
from minihub.config import Settings
from minihub.errors import NotFound
from minihub.servers.identity import make_secrets
from minihub.servers.jobscript import LaunchSpec, build_job_script
from minihub.servers.manager import Prepared
from minihub.servers.model import ServerOptions

_SPARE = timedelta(days=1)
"""How much longer than queue and time limit a certificate is valid."""


class Preparer:
    """Makes the job of one attempt."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        scheduler_name: str,
        socket_path: Callable[[str, str], Path | None],
        report_pin: str | None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._local = scheduler_name == "local"
        self._socket_path = socket_path
        self._report_pin = report_pin
        self.report_url: str | None = None
        """Where launchers report; known once the hub listens."""

    async def prepare(self, user: str, tag: str, options: ServerOptions) -> Prepared:
        """Make secrets and script.

        Raises:
            NotFound: The user has no account on this machine.
        """
        try:
            # May ask a directory server.
            home = (await asyncio.to_thread(pwd.getpwnam, user)).pw_dir
        except KeyError:
            raise NotFound(f"There is no account {user} on the hub's machine.") from None
        listen = self._socket_path(user, tag)
        servers, jupyter = self._settings.servers, self._settings.jupyter
        lifetime = timedelta(seconds=servers.spawn_timeout_s, hours=options.time_hours) + _SPARE
        secrets, tls = make_secrets(
            user,
            tls=listen is None and servers.upstream == "tls",
            not_before=self._clock.wall(),
            lifetime=lifetime,
        )
        # A full quota must not keep a rescue start from starting: no log in the home directory.
        template = "/dev/null" if options.rescue else self._settings.slurm.log_path
        log_path = template.format(home=home, user=user)
        base = self._settings.hub.base_path
        spec = LaunchSpec(
            user=user,
            tag=tag,
            base_url=f"{base}user/{user}/",
            hub_prefix=f"{base}hub/",
            interface=options.interface,
            secrets=secrets,
            tls=tls,
            report_url=self.report_url,
            report_pin=self._report_pin if (self.report_url or "").startswith("https:") else None,
            comment_report=not self._local,
            listen=str(listen) if listen else None,
            log_path=log_path,
            bin_dir=jupyter.bin_dir,
            python=jupyter.python,
            modules=jupyter.modules,
            prologue=jupyter.prologue,
            env=jupyter.env,
            args=jupyter.args,
            root_dir=jupyter.root_dir,
            rescue=options.rescue,
        )
        return Prepared(secrets, build_job_script(spec), home, log_path)


def build_report_url(settings: Settings, port: int, *, tls: bool, local: bool) -> str | None:
    """Where a launcher can POST its port; None where it has to use Slurm's comment.

    Args:
        settings: All settings.
        port: The one that the hub really listens on.
        tls: Whether it speaks TLS there.
        local: Servers run on this very machine.
    """
    hub = settings.hub
    if hub.callback_url == "none":
        return None
    origin = hub.callback_url.rstrip("/")
    if not origin:
        loopback = hub.host == "localhost" or hub.host.startswith("127.") or hub.host == "::1"
        if loopback and not local:
            return None
        host = socket.getfqdn() if hub.host in ("0.0.0.0", "::") else hub.host  # noqa: S104 - compared, not bound
        host = f"[{host}]" if ":" in host else host
        origin = f"{'https' if tls else 'http'}://{host}:{port}"
    return f"{origin}{hub.base_path}hub/api/report"
