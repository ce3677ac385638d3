"""A hub with the real proxy, and a real aiohttp server in the place of the user's Jupyter."""

from __future__ import annotations

import asyncio
import gzip
import os
import ssl
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import aiohttp
from aiohttp import web

from minihub.auth.model import Principal
from minihub.config import parse_settings
from minihub.errors import HubError
from minihub.proxy.front import FrontDoor
from minihub.proxy.hub_app import RUNNER_OPTIONS, HubApp
from minihub.proxy.pool import Pools, make_rules
from minihub.proxy.turned_away import TurnedAway
from minihub.schedulers.base import Endpoint
from minihub.servers.identity import make_secrets
from minihub.servers.model import Route, Secrets, ServerTls
from minihub.tasks import TaskKeeper

COOKIE = "minihub-login"
TLS_COOKIE = "__Host-minihub"
LANGUAGE = "minihub-language"


class FakeServers:
    """The proxy's part of `Servers`."""

    def __init__(self):
        self.routes = {}
        self.attempts = {}
        self.touched = []
        self.doubted = []

    def route(self, user):
        return self.routes.get(user)

    def get(self, user):
        return self.attempts.get(user)

    def touch(self, user):
        self.touched.append(user)

    def doubt(self, user):
        self.doubted.append(user)


class FakeIdentity:
    """Logins and tokens in two dicts."""

    def __init__(self):
        self.logins = {
            "alice-cookie": Principal("alice", admin=False, kind="login", key="alice-login"),
            "bob-cookie": Principal("bob", admin=True, kind="login", key="bob-login"),
        }
        self.tokens = {
            "alice-token": Principal(
                "alice", admin=False, kind="token", key="at", scopes=frozenset({"self"})
            ),
            "service": Principal(
                "svc", admin=False, kind="token", key="st", scopes=frozenset({"access:servers"})
            ),
        }
        self.asked_logins = 0

    def cached_login(self, cookie):
        return self.logins.get(cookie) if cookie.startswith("alice") else None

    async def login(self, cookie):
        self.asked_logins += 1
        return self.logins.get(cookie)

    async def token(self, token):
        return self.tokens.get(token)


class FakePages:
    """Pages that say which they are."""

    async def not_running(self, request, user, status, back_to):
        return web.Response(status=status, text=f"not_running {user} {back_to}", content_type="text/html")

    async def not_owner(self, request, user, principal):
        return web.Response(status=403, text=f"not_owner {user} {principal.user}", content_type="text/html")

    async def confirm_logout(self, request, principal):
        return web.Response(text=f"confirm {principal.user}", content_type="text/html")

    async def refused(self, request, status, kind):
        return web.Response(status=status, text=f"refused {kind}", content_type="text/html")


@dataclass
class Hub:
    proxy: FrontDoor
    servers: FakeServers
    identity: FakeIdentity
    pools: Pools
    host: str
    port: int
    runner: web.AppRunner
    logged_out: list = field(default_factory=list)
    tokens_used: list = field(default_factory=list)

    @property
    def origin(self):
        return f"http://{self.host}:{self.port}"

    def url(self, path=""):
        return f"{self.origin}/user/alice/{path}"

    @property
    def login(self):
        """The fields a browser of alice sends to change something."""
        return {"Cookie": f"{COOKIE}=alice-cookie", "Origin": self.origin}

    def route_to(self, endpoint, user="alice", attempt="a1", secrets=None, **more):
        made = Route(user, attempt, endpoint, secrets or Secrets("upstream-token", "report-secret"), **more)
        self.servers.routes[user] = made
        return made


PATIENCE_S = 8
"""How long anything may take on a busy machine. Less than the hub's own ten seconds, which would end many a wait, too."""


async def until(true, timeout_s=PATIENCE_S):
    """Wait until a condition holds."""
    async with asyncio.timeout(timeout_s):
        while not true():
            await asyncio.sleep(0.01)


async def stopped(progress, still_s=0.3):
    """Wait until `progress()` has not grown for `still_s`; returns how far it came."""
    far, seen = None, progress()
    while far != seen:
        far = seen
        await asyncio.sleep(still_s)
        seen = progress()
    return far


@asynccontextmanager
async def run_hub(settings=None, tls=None, *, identity=None, access=None):
    servers, keeper, logged_out = FakeServers(), TaskKeeper(), []
    identity = identity or FakeIdentity()

    async def do_logout(request, principal):
        logged_out.append(principal.key)
        return web.Response(text="logged out")

    settings = parse_settings(settings or {})
    pools = Pools(keeper, make_rules(settings))
    tokens_used = []
    proxy = FrontDoor(
        servers=servers,
        identity=identity,
        settings=settings,
        pools=pools,
        keeper=keeper,
        access=access,
        note_token=lambda *use: tokens_used.append(use),
    )
    app = web.Application(middlewares=[answer_errors])
    turned_away = TurnedAway(
        servers=servers, identity=identity, settings=settings, pages=FakePages(), do_logout=do_logout
    )
    turned_away.attach(app)
    app.router.add_route("*", f"{settings.hub.base_path}hub/{{tail:.*}}", hub_page)
    app.on_response_prepare.append(name_request)
    runner = web.AppRunner(app, shutdown_timeout=1, **RUNNER_OPTIONS)
    await runner.setup()
    port = await proxy.listen(HubApp(runner), "127.0.0.1", 0, tls)
    try:
        yield Hub(proxy, servers, identity, pools, "127.0.0.1", port, runner, logged_out, tokens_used)
    finally:
        await proxy.close(1)
        await runner.cleanup()
        await pools.close()
        await keeper.close()
        assert keeper.crashes == 0
        assert len(proxy) == 0, "a connection was left behind"


async def hub_page(request):
    """A page of the hub that says what it sees."""
    return web.json_response(
        {
            "method": request.method,
            "path": request.raw_path,
            "headers": [[k.decode(), v.decode()] for k, v in request.raw_headers],
            "remote": request.remote,
            "scheme": request.scheme,
            "body": (await request.read()).decode("latin-1"),
        }
    )


@web.middleware
async def answer_errors(request, handler):
    """As the web room does."""
    try:
        return await handler(request)
    except HubError as error:
        return web.Response(status=error.http_status, text=error.user_message)


async def name_request(_request, response):
    response.headers["X-Request-ID"] = "of-the-hub"


class Backend:
    """What a user's Jupyter could do, and worse."""

    def __init__(self):
        self.requests = 0
        self.connections = set()
        self.sent = 0
        self.received = 0
        self.aborted = asyncio.Event()
        self.closes = asyncio.Queue()
        self.go_on = asyncio.Event()
        self.websockets = []
        self.port = None
        self.open = False
        self.app = web.Application(client_max_size=1)
        self.app.on_response_prepare.append(self._seen)
        self.app.router.add_route("*", "/user/alice/{name:[a-z0-9_]+}", self.dispatch)
        self.app.router.add_route("*", "/user/alice/api/{name:ws}", self.dispatch)
        self.app.router.add_route("*", "/user/alice/{tail:.*}", self.head)

    async def _seen(self, request, response):
        self.requests += 1
        self.connections.add(request.transport)

    async def dispatch(self, request):
        return await getattr(self, f"do_{request.match_info['name']}", self.head)(request)

    async def head(self, request):
        return web.json_response(
            {
                "method": request.method,
                "path": request.raw_path,
                "headers": [[k.decode(), v.decode()] for k, v in request.raw_headers],
            }
        )

    async def do_upload(self, request):
        size = 0
        try:
            async for chunk in request.content.iter_any():
                size += len(chunk)
                self.received = size
                if request.query.get("slow"):
                    await self.go_on.wait()
        except BaseException:
            self.aborted.set()
            raise
        return web.json_response({"size": size, "headers": dict(request.headers)})

    async def do_refuse(self, request):
        return web.Response(status=413, text="too much")

    async def do_echo(self, request):
        response = web.StreamResponse()
        await response.prepare(request)
        async for chunk in request.content.iter_any():
            await response.write(chunk)
        return response

    async def do_download(self, request):
        size = int(request.query["size"])
        response = web.StreamResponse()
        if request.query.get("length"):
            response.content_length = size
        block = b"x" * 65536
        await response.prepare(request)
        try:
            while self.sent < size:
                piece = block[: size - self.sent]
                await response.write(piece)
                self.sent += len(piece)
        except (ConnectionError, asyncio.CancelledError):
            self.aborted.set()
            raise
        return response

    async def do_slow(self, request):
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        try:
            await response.write(b"one\n")
            await self.go_on.wait()
            await response.write(b"two\n")
        except asyncio.CancelledError:
            self.aborted.set()
            raise
        return response

    async def do_die(self, request):
        if request.query.get("when") == "before":
            request.transport.abort()
            return web.Response()
        response = web.StreamResponse()
        if request.query.get("length"):
            response.content_length = 1000
        await response.prepare(request)
        await response.write(b"half")
        await asyncio.sleep(0.05)
        request.transport.close() if request.query.get("how") == "fin" else request.transport.abort()
        return response

    async def do_status(self, request):
        status = int(request.query["s"])
        return web.Response(status=status, reason="Odd", body=None if status in (204, 304) else b"body")

    async def do_packed(self, request):
        return web.Response(body=gzip.compress(b"z" * 1000), headers={"Content-Encoding": "gzip"})

    async def do_fields(self, request):
        return web.Response(
            text="x",
            headers=[
                ("Set-Cookie", "a=1; Path=/; Domain=example"),
                ("Set-Cookie", f"{COOKIE}=planted; Path=/"),
                ("Set-Cookie", f"{LANGUAGE}=xx"),
                ("Clear-Site-Data", '"*"'),
                ("Service-Worker-Allowed", "/"),
                ("X-Kept", "yes"),
            ],
        )

    async def do_ws(self, request):
        ws = web.WebSocketResponse(
            protocols=("v1.kernel", "other"), max_msg_size=0, autoping=False, autoclose=False, timeout=2
        )
        await ws.prepare(request)
        self.websockets.append(ws)
        self.ws_headers = request.headers.copy()
        try:
            while True:
                message = await ws.receive()
                match message.type:
                    case aiohttp.WSMsgType.TEXT if message.data.startswith("close "):
                        await ws.close(code=int(message.data[6:]), message=b"bye")
                        await self.closes.put(ws.close_code)
                    case aiohttp.WSMsgType.TEXT if message.data == "emptyclose":
                        await ws.send_frame(b"", aiohttp.WSMsgType.CLOSE)
                    case aiohttp.WSMsgType.TEXT if message.data == "die":
                        request.transport.abort()
                    case aiohttp.WSMsgType.TEXT if message.data == "fin":
                        request.transport.close()
                    case aiohttp.WSMsgType.TEXT if message.data == "ping me":
                        await ws.ping(b"42")
                    case aiohttp.WSMsgType.TEXT:
                        await ws.send_str(message.data)
                    case aiohttp.WSMsgType.BINARY:
                        await ws.send_bytes(message.data)
                    case aiohttp.WSMsgType.PING:
                        await ws.pong(b"pong:" + message.data)
                    case aiohttp.WSMsgType.PONG:
                        await ws.send_str(f"pong {message.data.decode()}")
                    case aiohttp.WSMsgType.CLOSE:
                        await self.closes.put((message.data, message.extra))
                        await ws.close(code=message.data or 1000)
                        break
                    case _:
                        await self.closes.put(None)
                        break
        except asyncio.CancelledError:
            await self.closes.put(None)
            raise
        return ws

    async def do_nows(self, request):
        raise web.HTTPNotFound

    # What the prober asks.

    async def do_api(self, request):
        return web.json_response({"version": "2"})


@asynccontextmanager
async def serve(backend, *, tls=None, path=None):
    """Run a backend on a free port (or path); yields its Endpoint."""
    runner = web.AppRunner(
        backend.app, shutdown_timeout=0.5, auto_decompress=False, handler_cancellation=True, access_log=None
    )
    await runner.setup()
    if path is not None:
        site = web.UnixSite(runner, str(path))
    else:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    try:
        yield (
            Endpoint(path=str(path), uid=os.getuid())
            if path
            else Endpoint(host="127.0.0.1", port=runner.addresses[0][1])
        )
    finally:
        await runner.cleanup()


@dataclass
class Tls:
    """One attempt's TLS: the hub's part and the server's."""

    secrets: Secrets
    server: ServerTls

    def server_context(self, directory):
        """As Jupyter makes it with certfile, keyfile and client_ca."""
        files = {name: directory / name for name in ("certificate", "key", "client")}
        for name, path in files.items():
            path.write_text(getattr(self.server, name))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(files["certificate"], files["key"])
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(files["client"])
        return context


def make_tls():
    secrets, server = make_secrets("alice", tls=True, not_before=time.time(), lifetime=timedelta(hours=1))
    return Tls(secrets, server)
