"""The front door: one listening socket for all that browsers send, and the decision where each request goes.

    request head -> gate (who may, and where to) -> a user's server, or the hub's own pages

Whatever is not forwarded is answered by the pages, those under /user/ too (`turned_away`), so that nothing is drawn here.
"""

from __future__ import annotations

import asyncio
import logging
import math
import ssl
from collections import Counter
from collections.abc import Callable

from minihub.auth.cookies import login_cookie, own_cookie_names
from minihub.auth.model import Identity, Principal, resolve_cookies
from minihub.auth.origin import SAFE_METHODS
from minihub.auth.request import find_client, is_trusted_proxy
from minihub.config import Settings
from minihub.errors import HubError, UpstreamError, UpstreamUnsafe
from minihub.proxy import gate
from minihub.proxy.access_log import AccessLog
from minihub.proxy.client import Client
from minihub.proxy.headers import PROBLEM_FIELD, build_server_fields
from minihub.proxy.hub_app import HubApp, HubWebsocket
from minihub.proxy.memo import Memos
from minihub.proxy.pool import Pools
from minihub.proxy.sockets import allow_many_files, was_used_within
from minihub.proxy.tally import Tally
from minihub.proxy.tunnel import Tunnel
from minihub.proxy.upstream import Lost, Upstream
from minihub.proxy.use import PINGS_PER_S, TOUCH_S, UseRules
from minihub.proxy.wire import RequestHead
from minihub.servers.model import Route
from minihub.servers.service import Servers
from minihub.tasks import TaskKeeper

log = logging.getLogger(__name__)

RECHECK_S = 60.0
"""How often open websockets and long answers are looked at: is the login still good?"""
USE_S = 30.0
"""How often they are looked at for traffic that is use of the server; oftener where servers are stopped sooner than usual."""
ASK_S = 30.0
"""How long the store may take to say who knocks."""
BACKLOG = 1024
HUB_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"})
"""What the hub's own pages are asked with; they refuse most of it."""


class FrontDoor:
    """Owns all connections from outside."""

    def __init__(
        self,
        *,
        servers: Servers,
        identity: Identity,
        settings: Settings,
        pools: Pools,
        keeper: TaskKeeper,
        access: AccessLog | None = None,
        note_token: Callable[[str, str, str], None] | None = None,
    ) -> None:
        """Put together.

        Args:
            servers: Asked for the route on each request.
            identity: Asked who it is on each request.
            settings: Base path, public URL, trusted proxies, deadlines and limits.
            pools: Shared with the prober, whose connections are then used on.
            keeper: Holds what has to wait: logins that are not in memory, dialling.
            access: Told of every request; None: nobody is.
            note_token: Told of every token that opens a server: its user, its id, the address; None: nobody is.
        """
        self._servers = servers
        self._identity = identity
        self._settings = settings.hub
        self._pools = pools
        self._keeper = keeper
        self._note_token = note_token
        self.access = access
        self._hub: HubApp | None = None
        base = settings.hub.base_path
        self._users = f"{base}user/"
        self._probe = f"{base}hub/probe"
        """The only one of the hub's own pages that is a websocket."""
        self._touched: dict[str, float] = {}
        """Loop time of the last use of each server that was told."""
        self._use = UseRules(self._users, settings.idle.background_paths)
        self._use_s = min(USE_S, (settings.idle.shortest_s or math.inf) / 4)
        self._cookie_names = {
            scheme: login_cookie(tls=scheme == "https", base_path=base).name for scheme in ("http", "https")
        }
        self._own_cookies = own_cookie_names(base)
        proxy = settings.proxy
        self.head_timeout_s = proxy.head_timeout_s
        self.idle_timeout_s = proxy.idle_timeout_s
        self.body_timeout_s = proxy.body_timeout_s
        self._most, self._most_each = proxy.max_connections, proxy.max_connections_per_address
        self._clients: set[Client] = set()
        self._by_address: Counter[str] = Counter()
        self._tunnels: set[Tunnel] = set()
        self.memos = Memos()
        self.tally = Tally()
        self._listening: asyncio.Server | None = None
        self.is_closing = False
        self.time = asyncio.get_running_loop().time

    # ---- life ---------------------------------------------------------------------------------------------------

    async def listen(self, hub: HubApp, host: str, port: int, tls: ssl.SSLContext | None = None) -> int:
        """Begin to take connections.

        Args:
            hub: Answers what no user's server does.
            host: Address to listen on.
            port: 0 takes a free one.
            tls: To speak TLS.

        Returns:
            The port.

        Raises:
            OSError: The address cannot be listened on.
        """
        self._hub = hub
        allow_many_files()
        loop = asyncio.get_running_loop()
        self._listening = await loop.create_server(
            lambda: Client(self), host, port, ssl=tls, backlog=BACKLOG, reuse_address=True
        )
        self._keeper.keep(self._sweep, name="deadlines")
        self._keeper.keep(self._recheck, name="recheck of logins")
        self._keeper.keep(self._watch_use, name="use of connections")
        number = self._listening.sockets[0].getsockname()[1]
        assert isinstance(number, int)
        return number

    async def close(self, timeout_s: float) -> None:
        """Take no more connections, break websockets off, let requests under way end for a while."""
        self.is_closing = True
        if self._listening is not None:
            self._listening.close()
        for tunnel in tuple(self._tunnels):
            tunnel.break_off()
        for client in tuple(self._clients):
            client.end_when_done()
        if self._hub is not None:
            await self._hub.shut_down()
        end = self.time() + timeout_s
        # An event for it would have to be set after every request, for nobody.
        while any(client.is_busy for client in self._clients) and self.time() < end:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        for client in tuple(self._clients):
            client.break_off()

    def __len__(self) -> int:
        return len(self._clients) + len(self._tunnels)

    @property
    def websockets(self) -> int:
        """How many of the connections are websockets."""
        return len(self._tunnels)

    def enter(self, client: Client) -> None:
        """Somebody connected: may be one too many."""
        self._clients.add(client)
        self._by_address[client.address] += 1
        if len(self) > self._most:
            log.warning("more than %s connections: refused one", self._most)
            client.refuse(503, "There are too many connections right now. Try again in a moment.")
        elif self._by_address[client.address] > self._most_each and not self._is_proxy(client.address):
            log.warning("more than %s connections from %s: refused one", self._most_each, client.address)
            client.refuse(503, "There are too many connections from your address. Try again in a moment.")

    def leave(self, client: Client) -> None:
        """A connection is gone, or a tunnel now."""
        if client in self._clients:
            self._clients.discard(client)
            self._let_in_another(client.address)

    def _let_in_another(self, address: str) -> None:
        self._by_address[address] -= 1
        if self._by_address[address] <= 0:
            del self._by_address[address]

    def _is_proxy(self, address: str) -> bool:
        return is_trusted_proxy(address, self._settings)

    def open_tunnel(self, client: Client, upstream: asyncio.Transport) -> None:
        """`client`'s connection is a websocket from now on."""
        self._clients.discard(client)
        is_counted = self._use.is_counted(client.request.target)
        tunnel = Tunnel(
            user=client.user,
            login_key=client.login_key,
            cookie=client.cookie,
            address=client.address,
            transport=client.transport,
            server=upstream,
            forget=self._forget_tunnel,
            moved=0 if is_counted else None,
        )
        self._tunnels.add(tunnel)
        self.tally.tunnels += 1

    def _forget_tunnel(self, tunnel: Tunnel) -> None:
        self._tunnels.discard(tunnel)
        received, sent = tunnel.count_bytes()
        self.tally.tunnel_received += received
        self.tally.tunnel_sent += sent
        self._let_in_another(tunnel.address)

    # ---- ends from within ---------------------------------------------------------------------------------------

    def close_user(self, user: str) -> int:
        """End all connections to `user`'s server now (it stops); returns how many requests and websockets."""
        self._pools.drop(user)
        self._touched.pop(user, None)
        clients = [client for client in self._clients if client.user == user]
        tunnels = [tunnel for tunnel in self._tunnels if tunnel.user == user]
        return self._break_off(clients, tunnels)

    def close_login(self, key: str) -> int:
        """End all that the login session or token `key` let in (logout, revocation); returns how many."""
        if not key:
            return 0
        clients = [client for client in self._clients if client.login_key == key]
        tunnels = [tunnel for tunnel in self._tunnels if tunnel.login_key == key]
        return self._break_off(clients, tunnels)

    def _break_off(self, clients: list[Client], tunnels: list[Tunnel]) -> int:
        for client in clients:
            client.break_off()
        for tunnel in tunnels:
            tunnel.break_off()
        return len(clients) + len(tunnels)

    # ---- deciding -----------------------------------------------------------------------------------------------

    def decide(self, client: Client, request: RequestHead) -> None:
        """Send a request where it belongs."""
        target = request.target
        known = client.known
        if known is not None and known.covers(request.header, request.method, target):
            principal = self._identity.cached_login(known.cookie)
            if principal is not None and principal.user == known.user:
                route = self._servers.route(known.user)
                if route is not None:
                    client.user, client.login_key, client.cookie = known.user, principal.key, known.cookie
                    self._to_server(client, request, request.line, route, known.fields, upgrade=False)
                    return
        if target.startswith(self._users):
            self._look(client, request)
        elif target == "*":
            client.refuse(400, "There is nothing to ask of the hub as a whole.")
        else:
            self._to_hub(client, request)

    def _look(self, client: Client, request: RequestHead) -> None:
        fields = request.fields
        sender = find_client(fields, client.address, client.scheme, self._settings)
        head = gate.Head(request.method, request.target, fields, sender)
        knock = gate.read(
            head, base_path=self._settings.base_path, login_cookie=self._cookie_names[sender.scheme]
        )
        if not isinstance(knock, gate.Knock) or not (knock.cookies or knock.tokens):
            self._to_hub(client, request)
            return
        if knock.cookies:
            # Only the first, since of several the first valid one counts, and memory does not know all valid ones.
            principal = self._identity.cached_login(knock.cookies[0])
            if principal is not None:
                self._settle(client, request, knock, principal, knock.cookies[0])
                return
        client.deadline = self.time() + ASK_S
        self._keeper.start(self._ask(client, request, knock), name="who knocks")

    async def _ask(self, client: Client, request: RequestHead, knock: gate.Knock) -> None:
        try:
            principal, cookie = await resolve_cookies(self._identity, knock.cookies)
            for token in knock.tokens if principal is None else ():
                principal = await self._identity.token(token)
                if principal is not None:
                    break
        except HubError as error:
            log.warning("nobody can say who knocks: %s", error)
            principal = None
        if client.is_gone:
            return
        client.deadline = math.inf
        if principal is None:
            self._to_hub(client, request)
        else:
            self._settle(client, request, knock, principal, cookie)

    def _settle(
        self, client: Client, request: RequestHead, knock: gate.Knock, principal: Principal, cookie: str
    ) -> None:
        decision = gate.decide(knock, principal, self._servers.route(knock.user), None)
        if not isinstance(decision, gate.Forward):
            self._to_hub(client, request)
            return
        upgrade = request.method == "GET" and request.header.upgrade == "websocket"
        fields = build_server_fields(
            request.header, own_cookies=self._own_cookies, client=knock.head.client, websocket=upgrade
        )
        if cookie and not upgrade:
            # Which site a request comes from is told by Origin, or by Referer, which may be another one next time.
            checked = request.method not in SAFE_METHODS and "origin" in request.header.fields.by_name
            methods = gate.READING_AND_WRITING if checked else gate.READING
            client.known = gate.Pass(request.header, knock.user, knock.prefix, cookie, methods, fields)
            assert client.memo is not None
            client.memo.keep_pass(client.origin, client.known)
        if self._note_token is not None and principal.kind == "token":
            self._note_token(principal.user, principal.key, knock.head.client.address)
        client.user, client.login_key, client.cookie = knock.user, principal.key, cookie
        line = f"{request.method} {knock.target} HTTP/1.{request.version - 10}\r\n".encode("ascii")
        self._to_server(client, request, line, decision.route, fields, upgrade=upgrade)

    def _to_server(
        self, client: Client, request: RequestHead, line: bytes, route: Route, fields: bytes, *, upgrade: bool
    ) -> None:
        user, now = route.user, client.began
        if now - self._touched.get(user, -TOUCH_S) >= TOUCH_S and self._use.is_use(
            request.method, request.target
        ):
            self._touched[user] = now
            self._servers.touch(user)
        pool = self._pools.get(route)
        client.send_to_server(pool, line + fields + request.plain + pool.authorization_end, upgrade=upgrade)

    def _to_hub(self, client: Client, request: RequestHead, problem: str = "") -> None:
        if request.method not in HUB_METHODS:
            # Its HTTP parser knows no others.
            client.refuse(405, "This method is not allowed here.")
            return
        assert client.memo is not None
        said = f"{PROBLEM_FIELD}: {problem}\r\n".encode("ascii") if problem else b""
        head = request.line + client.memo.hub_fields + request.plain + said
        if request.header.upgrade == "websocket" and request.target.partition("?")[0] == self._probe:
            assert self._hub is not None
            client.user = client.login_key = client.cookie = ""
            way = HubWebsocket(self._hub, client.transport)
            client.send_to_server(way, head + _UPGRADE, upgrade=True)
        else:
            client.send_to_hub(head + b"\r\n")

    def connect_hub(self, client: Client) -> Upstream:
        """A connection to the hub's own pages."""
        assert self._hub is not None
        return self._hub.connect(client.transport)

    # ---- no answer ----------------------------------------------------------------------------------------------

    def unreachable(self, client: Client, error: UpstreamError) -> None:
        """`client`'s request cannot reach the server: nobody answers there, or nobody who should."""
        level = logging.ERROR if isinstance(error, UpstreamUnsafe) else logging.WARNING
        log.log(level, "%s: no answer from the server: %s", client.user, error.detail)
        self._servers.doubt(client.user)
        self.tally.unanswered["unsafe" if isinstance(error, UpstreamUnsafe) else "unreachable"] += 1
        self._apologise(client, 503, "unreachable")

    def unanswered(self, client: Client, how: Lost, detail: str) -> None:
        """The upstream of `client`'s request ended without an answer, or with one that is none."""
        if not client.user:
            log.error("the hub's own page failed: %s: %s", how.value, detail)
            client.refuse(500, "Something went wrong in the hub.")
            return
        log.warning("%s: no answer from the server: %s: %s", client.user, how.value, detail)
        self.tally.unanswered[how.name.lower()] += 1
        if how is Lost.MALFORMED:
            self._apologise(client, 502, "bad_answer")
        else:
            self._servers.doubt(client.user)
            self._apologise(client, 503, "unreachable")

    def _apologise(self, client: Client, status: int, problem: str) -> None:
        if client.has_whole_request and client.request.method in HUB_METHODS:
            self._to_hub(client, client.request, problem)
        else:
            client.refuse(status, _APOLOGIES[problem])

    # ---- time ---------------------------------------------------------------------------------------------------

    async def _sweep(self) -> None:
        """One timer for all deadlines."""
        pause = min(1.0, self.head_timeout_s / 4, self.idle_timeout_s / 4, self.body_timeout_s / 4)
        while True:
            await asyncio.sleep(pause)
            now = self.time()
            for client in [client for client in self._clients if client.deadline <= now]:
                client.expire(now)
            self._pools.sweep(now)
            self.memos.sweep(now)
            if self.access is not None:
                self._write_access_log(self.access)

    def _write_access_log(self, access: AccessLog) -> None:
        try:
            access.flush()
        except OSError as error:
            log.warning("lines of the access log are lost: %s", error)

    async def _recheck(self) -> None:
        while True:
            await asyncio.sleep(RECHECK_S)
            try:
                await self.recheck_logins(RECHECK_S)
            except HubError as error:
                log.warning("logins behind open connections could not be looked at: %s", error)

    async def recheck_logins(self, within_s: float) -> None:
        """Look at what has been open for long: traffic counts as use of the login, and an expired one ends.

        Args:
            within_s: Traffic of so many seconds counts.
        """
        lives: list[Client | Tunnel] = [*self._clients, *self._tunnels]
        for live in lives:
            if not (live.user and was_used_within(live.transport, within_s)):
                continue
            if live.cookie and await self._identity.login(live.cookie) is None:
                live.break_off()

    async def _watch_use(self) -> None:
        while True:
            await asyncio.sleep(self._use_s)
            self.note_use(self._use_s)

    def note_use(self, within_s: float) -> None:
        """Look at open websockets and long answers: those with traffic of the last `within_s` say that their server is used."""
        for client in self._clients:
            if not client.user or not was_used_within(client.transport, within_s):
                continue
            if self._use.is_use(client.request.method, client.request.target):
                self._servers.touch(client.user)
        for tunnel in self._tunnels:
            if tunnel.has_moved(PINGS_PER_S * within_s):
                self._servers.touch(tunnel.user)


_UPGRADE = b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
_APOLOGIES = {
    "unreachable": "The server cannot be reached right now. Try again in a moment.",
    "bad_answer": "The server's answer cannot be understood.",
}
