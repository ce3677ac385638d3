"""Our own proxy as a small program: `python -m benchmarks.proxy.target SPEC`. Run as a process.

Real: the front door, the cookie check (login sessions in a store on disk), TLS in front and to the node. In memory: the
servers, of which there is one. SPEC is a JSON file: state_dir, backend_port, and where wanted certificate and key (TLS in front),
secrets (mutual TLS to the node), bare (no door: only the hub's application, for comparison).

Prints {"port", "cookie"} as JSON when it listens; ends in order on SIGTERM.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import uvloop
from aiohttp import web

from minihub.auth.cookies import login_cookie
from minihub.auth.identity import IdentityService
from minihub.auth.logins import LoginSessions
from minihub.auth.model import Identity, Principal
from minihub.auth.policy import Account, Policy
from minihub.auth.tokens import ApiTokens
from minihub.clock import SystemClock
from minihub.config import Settings, parse_settings
from minihub.proxy.front import FrontDoor
from minihub.proxy.hub_app import RUNNER_OPTIONS, HubApp
from minihub.proxy.pool import Pools, make_rules
from minihub.proxy.turned_away import TurnedAway
from minihub.schedulers.base import Endpoint
from minihub.servers.model import Attempt, Route, Secrets
from minihub.store.store import Store
from minihub.tasks import TaskKeeper
from minihub.tls import FrontTls

from .content import HUB_PATH, SMALL

USER = "alice"
_BACKLOG = 1024


class OneServer:
    """What the proxy asks of `Servers`, where one server runs for ever."""

    def __init__(self, route: Route) -> None:
        self._route = route
        self.last_touched = 0.0

    def route(self, user: str) -> Route | None:
        """The one route."""
        return self._route if user == self._route.user else None

    def get(self, user: str) -> Attempt | None:  # noqa: ARG002 - as Servers has it
        """There is no record of it."""
        return None

    def touch(self, user: str) -> None:  # noqa: ARG002 - as Servers has it
        """As the manager does: note the time."""
        self.last_touched = asyncio.get_running_loop().time()

    def doubt(self, user: str) -> None:
        """Say so: it must not happen here."""
        print(f"target: the server of {user} could not be reached", file=sys.stderr, flush=True)


class PlainPages:
    """What people would see, as a word: nobody does."""

    async def not_running(
        self, _request: web.Request, user: str, status: int, _back_to: str
    ) -> web.StreamResponse:
        return web.Response(status=status, text=f"not running: {user}")

    async def not_owner(self, _request: web.Request, user: str, _principal: Principal) -> web.StreamResponse:
        return web.Response(status=403, text=f"not owner: {user}")

    async def confirm_logout(self, _request: web.Request, _principal: Principal) -> web.StreamResponse:
        return web.Response(text="log out?")

    async def refused(self, _request: web.Request, status: int, kind: str) -> web.StreamResponse:
        return web.Response(status=status, text=kind)


async def serve_door(
    stack: AsyncExitStack,
    app: web.Application,
    *,
    servers: Any,
    identity: Identity,
    settings: Settings,
    tls: FrontTls | None,
) -> int:
    """Put the front door before `app`, as minihub.app does, on a free port; returns the port."""

    keeper = TaskKeeper()
    stack.push_async_callback(keeper.close)
    pools = Pools(keeper, make_rules(settings))
    stack.push_async_callback(pools.close)
    door = FrontDoor(servers=servers, identity=identity, settings=settings, pools=pools, keeper=keeper)

    async def do_logout(_request: web.Request, _principal: Principal) -> web.StreamResponse:
        return web.Response(text="logged out")

    turned_away = TurnedAway(
        servers=servers, identity=identity, settings=settings, pages=PlainPages(), do_logout=do_logout
    )
    turned_away.attach(app)
    runner = web.AppRunner(app, shutdown_timeout=1, **RUNNER_OPTIONS)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    port = await door.listen(HubApp(runner), "127.0.0.1", 0, tls.context if tls else None)
    stack.push_async_callback(door.close, 1)
    return port


async def serve_bare(stack: AsyncExitStack, app: web.Application, *, tls: FrontTls | None = None) -> int:
    """Serve `app` with aiohttp alone, on a free port; returns the port."""
    runner = web.AppRunner(app, shutdown_timeout=1, **RUNNER_OPTIONS)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    context = tls.context if tls else None
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context, backlog=_BACKLOG).start()
    return int(runner.addresses[0][1])


def build_app() -> web.Application:
    """The hub's application, with one page as big as the servers' small answer."""

    async def health(_request: web.Request) -> web.Response:
        return web.Response(body=SMALL, content_type="application/json")

    app = web.Application()
    app.router.add_get(HUB_PATH, health)
    return app


def _find_account(user: str) -> Account | None:
    return Account(user, 1000, frozenset()) if user == USER else None


async def _open_identity(stack: AsyncExitStack, settings: Settings, state_dir: Path) -> tuple[Identity, str]:
    """The auth room as the hub has it, but for PAM and the system's user database; and a login's cookie."""
    clock = SystemClock()
    store = await Store.open(state_dir, clock)
    stack.push_async_callback(store.close)
    policy = Policy(
        settings.auth, clock, is_admitted=store.users.is_admitted, lookup=_find_account, uid_min=1000
    )
    logins = LoginSessions(store, settings.auth, clock, policy)
    stack.push_async_callback(logins.flush)
    cookie = await logins.create(USER, "127.0.0.1", "benchmark")
    return IdentityService(logins, ApiTokens(store, settings.auth, clock, policy)), cookie


def _build_route(spec: Mapping[str, Any]) -> Route:
    secrets = Secrets(**spec["secrets"]) if spec.get("secrets") else Secrets("0" * 64, "1" * 64)
    return Route(USER, "benchmark000", Endpoint(host="127.0.0.1", port=spec["backend_port"]), secrets)


async def _serve(spec: Mapping[str, Any]) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with AsyncExitStack() as stack:
        settings = parse_settings({})
        tls = FrontTls(Path(spec["certificate"]), Path(spec["key"])) if spec.get("certificate") else None
        if spec.get("bare"):
            port, cookie = await serve_bare(stack, build_app(), tls=tls), ""
        else:
            identity, cookie = await _open_identity(stack, settings, Path(spec["state_dir"]))
            servers = OneServer(_build_route(spec))
            port = await serve_door(
                stack, build_app(), servers=servers, identity=identity, settings=settings, tls=tls
            )
        name = login_cookie(tls=tls is not None, base_path=settings.hub.base_path).name
        print(json.dumps({"port": port, "cookie": f"{name}={cookie or 'x' * 43}"}), flush=True)
        await stop.wait()


if __name__ == "__main__":
    os.umask(0o077)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))
