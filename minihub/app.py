"""Composition root: the only file that sees every room. Builds the hub from its settings, runs it, ends it in order."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from aiohttp import web

from minihub import __version__, places
from minihub.auditing import AuditLog, TokenUses
from minihub.auth import probe_keys
from minihub.auth.entrance import Entrance
from minihub.auth.pam import PamAuthenticator
from minihub.building import Ground, build_scheduler, build_transport
from minihub.clock import Clock, SystemClock
from minihub.config import Settings
from minihub.errors import ConfigError, SchedulerError
from minihub.helper.client import HelperClient
from minihub.launching import Preparer, build_report_url
from minihub.memory import end_start, tidy_now_and_then
from minihub.proxy.access_log import AccessLog
from minihub.proxy.front import FrontDoor
from minihub.proxy.hub_app import RUNNER_OPTIONS, HubApp
from minihub.proxy.pool import Pools, make_rules
from minihub.proxy.prober import Prober
from minihub.proxy.usage_reader import PoolUsageReader
from minihub.schedulers.base import Scheduler, parse_port
from minihub.servers.idle_loop import IdleLoop
from minihub.servers.jobscript import default_path, verify_proof
from minihub.servers.lifecycle import Clocks
from minihub.servers.listing import ListingLoop, ListingSettings
from minihub.servers.manager import Manager
from minihub.servers.model import Attempt, StopCause
from minihub.servers.registry import Registry
from minihub.servers.supervisor import Supervisor, SupervisorSettings
from minihub.stalls import StallWatch
from minihub.store.store import Store
from minihub.tasks import CRASHES, TaskKeeper
from minihub.tls import load_front_tls
from minihub.transports.base import Transport
from minihub.web.app import build_app
from minihub.web.deps import Deps, Figures
from minihub.web.local import admin_socket
from minihub.web.urls import Urls

log = logging.getLogger(__name__)

_SHUTDOWN_S = 5
_ITSELF = "(hub)"
"""Who did it, in the audit log, where nobody did: no Unix user is called so."""


async def serve(ground: Ground) -> None:
    """Run the hub until SIGTERM or SIGINT. Never cancels a job: servers go on and are adopted by the next start.

    Raises:
        ConfigError, StoreError: The hub cannot start; says why and what to do.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with running(ground, stop) as url:
        log.info("minihub %s is ready at %s", __version__, url)
        end_start()
        await stop.wait()
        log.info("going down; users' servers stay up")


@contextlib.asynccontextmanager
async def running(ground: Ground, stop: asyncio.Event) -> AsyncIterator[str]:
    """The whole hub, up and listening; yields its URL. Sets `stop` where it cannot go on."""
    clock = SystemClock()
    async with contextlib.AsyncExitStack() as stack:
        store = await Store.open(ground.state_dir, clock)
        stack.push_async_callback(store.close)
        helper = await HelperClient.connect(ground.helper)
        stack.push_async_callback(helper.close)
        helper.closed.add_done_callback(lambda _: _helper_ended(stop))
        # On the way out, for whatever reason, its end is ours and no news.
        stack.callback(stop.set)
        keeper = TaskKeeper()
        stack.push_async_callback(keeper.close)
        transport = build_transport(ground, clock, helper)
        if transport is not None:
            stack.push_async_callback(transport.close)
        scheduler = build_scheduler(ground, clock, helper, transport)
        stack.push_async_callback(scheduler.close)
        entrance = Entrance(ground.settings, store, PamAuthenticator(helper), clock)
        stack.push_async_callback(entrance.close)
        hub = _Hub(ground, clock, store, keeper, scheduler, transport, entrance, stop.set)
        stack.push_async_callback(hub.close)
        yield await hub.start(stack)


def _why_not(error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return "another program listens there (ss -ltnp tells which): end it, or set hub.port"
        case errno.EADDRNOTAVAIL:
            return "this machine has no such address: set hub.host to one that `ip address` shows"
        case errno.EACCES:
            return "only root may listen on ports below 1024: set hub.port to a higher one"
    return str(error.strerror)


def _helper_ended(stop: asyncio.Event) -> None:
    if not stop.is_set():
        log.error("the helper has ended, so nobody could log in: going down to be started again")
        stop.set()


class _Hub:
    """All rooms wired together."""

    def __init__(
        self,
        ground: Ground,
        clock: Clock,
        store: Store,
        keeper: TaskKeeper,
        scheduler: Scheduler,
        transport: Transport | None,
        entrance: Entrance,
        shut_down: Callable[[], None],
    ) -> None:
        settings = ground.settings
        self._settings = settings
        self._keeper = keeper
        self._loops = TaskKeeper()
        """What gives the supervisor work: ends before it."""
        self._scheduler = scheduler
        self._entrance = entrance
        self._tls = load_front_tls(settings, ground.state_dir, clock)
        self._pools = Pools(keeper, make_rules(settings), transport)
        prober = Prober(self._pools, base_path=settings.hub.base_path, verify_proof=verify_proof)
        self._supervisor = Supervisor(
            Registry(),
            store.attempts,
            scheduler,
            prober,
            clock,
            _supervisor_settings(settings),
            self._close_user,
        )
        self._listing = ListingLoop(
            self._supervisor,
            store.attempts,
            store.hub_id,
            clock,
            _listing_settings(settings, scheduler),
            parse_port,
        )
        pin = self._tls.pin if self._tls else None
        self._preparer = Preparer(settings, clock, scheduler.name, scheduler.socket_path, pin)
        self._manager = Manager(
            settings,
            store.hub_id,
            self._supervisor,
            self._listing,
            scheduler,
            store.attempts,
            store.users,
            clock,
            self._preparer.prepare,
        )
        self._idle = IdleLoop(
            self._manager,
            self._supervisor,
            PoolUsageReader(self._pools, base_path=settings.hub.base_path),
            settings.idle,
            clock,
            self._record_stop,
        )
        self._audit = AuditLog(store.audit, clock, _audit_file(ground))
        token_uses = TokenUses(self._audit, clock, keeper)
        self._access = AccessLog(Path(path), clock) if (path := settings.proxy.access_log) else None
        self._door = FrontDoor(
            servers=self._manager,
            identity=entrance.identity,
            settings=settings,
            pools=self._pools,
            keeper=keeper,
            access=self._access,
            note_token=token_uses.note,
        )
        entrance.on_revoked(lambda _user, key: self._close_login(key))
        self._stalls = StallWatch()
        self._store = store
        self._admin_socket = places.admin_socket(ground.state_dir)
        deps = _build_deps(
            ground, clock, store, self._manager, entrance, self._audit, token_uses, self._figures, shut_down
        )
        self._app = build_app(deps)

    def _figures(self) -> Figures:
        return Figures(
            crashes=CRASHES,
            stalls=self._stalls.count,
            stalls_total_s=self._stalls.total_s,
            longest_stall_s=self._stalls.longest_s,
            own_stalls=self._stalls.own,
            own_longest_stall_s=self._stalls.own_longest_s,
            tasks=len(asyncio.all_tasks()),
            connections=len(self._door),
            store_commits=self._store.commits,
            store_failures=self._store.failures,
            unsaved=self._manager.unsaved,
            audited=self._audit.counts,
            servers=self._supervisor.measures,
            commands=self._scheduler.measures,
            proxy=self._door.tally,
            websockets=self._door.websockets,
        )

    async def _record_stop(self, attempt: Attempt, cause: StopCause) -> None:
        await self._audit("stop", user=_ITSELF, address="", outcome=cause.value, detail=attempt.user)

    def _close_user(self, user: str) -> None:
        self._door.close_user(user)

    def _close_login(self, key: str) -> None:
        self._door.close_login(key)

    async def start(self, stack: contextlib.AsyncExitStack) -> str:
        """Adopt what is there, listen, begin to look; returns the URL."""
        self._entrance.start()
        self._stalls.start()
        await self._manager.adopt_all()
        await self._idle.look()
        runner = web.AppRunner(self._app, shutdown_timeout=_SHUTDOWN_S, **RUNNER_OPTIONS)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        assert runner.server is not None
        await stack.enter_async_context(admin_socket(self._admin_socket, runner.server))
        port = await self._listen(HubApp(runner))
        stack.push_async_callback(self._door.close, _SHUTDOWN_S)
        local = self._scheduler.name == "local"
        self._preparer.report_url = build_report_url(
            self._settings, port, tls=self._tls is not None, local=local
        )
        self._loops.keep(self._look, name="listing")
        self._loops.keep(self._listing.run_clocks, name="clocks")
        self._loops.keep(self._idle.run, name="idle")
        self._keeper.keep(tidy_now_and_then, name="tidying")
        if self._tls is not None:
            self._keeper.keep(self._tls.reload_when_renewed, name="certificate")
        scheme = "https" if self._tls else "http"
        return f"{scheme}://{self._settings.hub.host}:{port}{self._settings.hub.base_path}"

    async def _look(self) -> None:
        """Look at the scheduler for ever. In the background from the first: a silent one delays nobody's page."""
        try:
            await self._scheduler.start()
        except SchedulerError as error:
            log.warning("the scheduler does not answer at start: %s", error)
        await self._listing.run()

    async def _listen(self, pages: HubApp) -> int:
        hub = self._settings.hub
        try:
            return await self._door.listen(
                pages, hub.host, hub.port, self._tls.context if self._tls else None
            )
        except OSError as error:
            raise ConfigError(f"cannot listen on {hub.host}:{hub.port}: {_why_not(error)}") from error

    async def close(self) -> None:
        """Stop the work; touches no job."""
        self._stalls.close()
        await self._loops.close()
        await self._idle.close()
        await self._supervisor.close()
        await self._pools.close()
        if self._access is not None:
            self._access.close()
        self._audit.close()


def _build_deps(
    ground: Ground,
    clock: Clock,
    store: Store,
    manager: Manager,
    entrance: Entrance,
    audit: AuditLog,
    token_uses: TokenUses,
    figures: Callable[[], Figures],
    shut_down: Callable[[], None],
) -> Deps:
    settings = ground.settings
    urls = Urls(settings.hub.base_path)

    def open_url(attempt: Attempt) -> str:
        return urls.server(attempt.user, default_path(attempt.options.interface))

    return Deps(
        settings=settings,
        clock=clock,
        servers=manager,
        identity=entrance.identity,
        logins=entrance.logins,
        tokens=entrance.tokens,
        users=store.users,
        csrf=entrance.csrf,
        audit=audit,
        audit_log=audit,
        note_token=token_uses.note,
        announcements=store.announcements,
        authenticate=entrance.authenticate,
        is_admin=entrance.is_admin,
        open_url=open_url,
        admit=entrance.admit,
        verify_admissible=entrance.verify_admissible,
        groups_of=entrance.groups_of,
        revoke_user=entrance.revoke_user,
        shut_down=shut_down,
        figures=figures,
        probe_secret=store.keys.derive(probe_keys.PURPOSE),
        only_user="" if ground.helper_info.root else ground.helper_info.user,
    )


def _audit_file(ground: Ground) -> Path | None:
    name = ground.settings.hub.audit_log
    return None if name == "none" else Path(name) if name else ground.state_dir / "audit.jsonl"


def _supervisor_settings(settings: Settings) -> SupervisorSettings:
    servers = settings.servers
    return SupervisorSettings(
        Clocks(servers.spawn_timeout_s, servers.start_timeout_s, servers.cancel_repeat_s),
        doubt_s=settings.slurm.command_timeout_s + settings.slurm.settle_s,
        via_ssh=servers.via == "ssh",
    )


def _listing_settings(settings: Settings, scheduler: Scheduler) -> ListingSettings:
    if scheduler.name == "local":
        return ListingSettings(settings.local.listing_s, settings.local.listing_s * 5)
    return ListingSettings(settings.slurm.listing_waiting_s, settings.slurm.listing_quiet_s)
