"""The proxy's aiohttp handler: asks the gate, then streams both ways, or answers in the server's place."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, Protocol
from urllib.parse import quote

from aiohttp import StreamReader, web
from aiohttp.http_exceptions import HttpProcessingError
from multidict import CIMultiDict

from minihub.auth.cookies import login_cookie, own_cookie_names
from minihub.auth.model import Identity, Principal, resolve_cookies
from minihub.auth.request import find_client, values
from minihub.config import Settings
from minihub.errors import UpstreamError, UpstreamUnsafe
from minihub.proxy import gate
from minihub.proxy.headers import build_inbound, build_outbound
from minihub.proxy.live import Ending, Live, LiveConnections
from minihub.proxy.upstream import HandshakeRefused, Upstream, Upstreams
from minihub.proxy.websocket import CLOSE_TIMEOUT_S, bridge
from minihub.servers.service import Servers
from minihub.tasks import TaskKeeper

log = logging.getLogger(__name__)


class _Malformed(logging.Filter):
    """What a client sent wrongly is no error of ours, and aiohttp would log the wrong line: maybe its cookies."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        return not isinstance(error, HttpProcessingError)


def _make_http_log() -> logging.Logger:
    logger = logging.getLogger("minihub.http")
    logger.addFilter(_Malformed())
    return logger


RUNNER_OPTIONS: Final[dict[str, Any]] = {
    # A browser that goes away ends its request upstream too.
    "handler_cancellation": True,
    # Bodies pass as they are; unpacked ones would not fit their Content-Encoding and Content-Length.
    "auto_decompress": False,
    # Cookies of notebooks and of applications behind them add up.
    "max_line_size": 32 * 1024,
    "max_field_size": 64 * 1024,
    # The log would show ?token=.
    "access_log": None,
    "logger": _make_http_log(),
}
"""What the application's runner must be given for the proxy to keep its promises."""

RECHECK_LOGINS_S = 60.0

_MESSAGES = {
    "bad_path": "This address cannot be understood.",
    "bad_method": "This method is not allowed here.",
    "bad_handshake": "This is not a WebSocket handshake that can be understood.",
    "no_login": "Please log in: there is no valid login cookie or token.",
    "not_owner": "This server belongs to somebody else.",
    "cross_site": "Refused: the request does not come from a page of this site. "
    "(Programs use a token, or send Origin or Referer.)",
    "token_logout": "A token cannot log out; revoke it instead.",
}
_NOT_RUNNING = {
    424: "The server is not running. Start it on the hub's page.",
    503: "The server cannot be reached right now. Try again in a moment.",
}


class Pages(Protocol):
    """The pages people see where there is nothing to forward. Drawn by the web room."""

    async def not_running(
        self, request: web.Request, user: str, status: int, back_to: str
    ) -> web.StreamResponse:
        """There is no server (424), or it cannot be reached now (503); offer a start that returns to `back_to`."""
        ...

    async def not_owner(self, request: web.Request, user: str, principal: Principal) -> web.StreamResponse:
        """403: `user`'s server is not `principal`'s."""
        ...

    async def confirm_logout(self, request: web.Request, principal: Principal) -> web.StreamResponse:
        """Ask whether logging out is meant."""
        ...

    async def refused(self, request: web.Request, status: int, kind: str) -> web.StreamResponse:
        """Anything else; `kind` as in `gate.Refuse`."""
        ...


class Forwarded:
    """Marks what a user's server answered: the hub's own headers (its policy for pages) are not for it."""


class _ForwardedStream(Forwarded, web.StreamResponse):
    """An answer as it comes."""


class _ForwardedWebSocket(Forwarded, web.WebSocketResponse):
    """The browser's leg of a websocket."""


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
DoLogout = Callable[[web.Request, Principal], Awaitable[web.StreamResponse]]


class ReverseProxy:
    """Serves /user/NAME/... of an aiohttp application."""

    def __init__(
        self,
        *,
        servers: Servers,
        identity: Identity,
        settings: Settings,
        upstreams: Upstreams,
        pages: Pages,
        do_logout: DoLogout,
    ) -> None:
        """Put together.

        Args:
            servers: Asked for the route on each request.
            identity: Asked who it is on each request.
            settings: Base path, public URL, trusted proxies.
            upstreams: Shared with the prober, whose connections are then used on.
            pages: Draws what people see.
            do_logout: Logs out and answers, as the hub's own log out page does.
        """
        self._servers = servers
        self._identity = identity
        self._hub = settings.hub
        self._base_path = settings.hub.base_path
        self._upstreams = upstreams
        self._pages = pages
        self._do_logout = do_logout
        self._own_cookies = own_cookie_names(settings.hub.base_path)
        self._live = LiveConnections()
        self._keeper = TaskKeeper()

    def attach(self, app: web.Application, handler: Handler | None = None) -> None:
        """Add the one route, the regular look at logins, and the end of all connections at shutdown.

        Args:
            app: The application.
            handler: What answers under /user/; it calls `handle`. None: `handle` itself.
        """
        app.router.add_route("*", f"{self._base_path}user/{{tail:.*}}", handler or self.handle)
        app.on_shutdown.append(self._shut_down)
        app.cleanup_ctx.append(self._watch_logins)

    def close_user(self, user: str) -> int:
        """End all connections to `user`'s server now (it stops); returns how many requests and websockets."""
        self._upstreams.drop(user)
        return self._live.end(Ending.SERVER_GONE, user=user)

    def close_login(self, key: str) -> int:
        """End all that the login session or token `key` let in (logout, revocation); returns how many."""
        return self._live.end(Ending.LOGIN_OVER, login_key=key)

    async def recheck_logins(self) -> None:
        """Ask again for the logins behind open websockets: their traffic counts as use, and an expired one ends."""
        for live in self._live:
            if not (live.is_websocket and live.cookie and live.had_traffic):
                continue
            live.had_traffic = False
            if await self._identity.login(live.cookie) is None:
                live.end(Ending.LOGIN_OVER)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request under /user/."""
        pairs = tuple(request.headers.items())
        client = find_client(pairs, request.remote or "", request.scheme, self._hub)
        head = gate.Head(request.method, request.raw_path, pairs, client)
        rule = login_cookie(tls=client.scheme == "https", base_path=self._base_path)
        knock = gate.read(head, base_path=self._base_path, login_cookie=rule.name)
        if isinstance(knock, gate.Refuse):
            return _refusal(knock.status, knock.kind)
        if isinstance(knock, gate.ToSlash):
            return _redirect(knock.location)
        principal, cookie = await self._who(knock)
        route, attempt = self._servers.route(knock.user), self._servers.get(knock.user)
        decision = gate.decide(knock, principal, route, attempt)
        if isinstance(decision, gate.Forward):
            return await self._forward(request, knock, decision, cookie)
        if isinstance(decision, gate.NotRunning):
            return await self._not_running(request, knock, decision.status)
        return await self._turn_away(request, knock, decision)

    async def _turn_away(
        self,
        request: web.Request,
        knock: gate.Knock,
        decision: gate.ToLogin | gate.Logout | gate.ConfirmLogout | gate.NotOwner | gate.Refuse,
    ) -> web.StreamResponse:
        match decision:
            case gate.ToLogin(next=after):
                return _redirect(f"{self._base_path}hub/login?next={quote(after, safe='')}")
            case gate.Logout(principal=who):
                return await self._do_logout(request, who)
            case gate.ConfirmLogout(principal=who):
                return await self._pages.confirm_logout(request, who)
            case gate.NotOwner(user=user, principal=who) if knock.is_navigation:
                return await self._pages.not_owner(request, user, who)
            case gate.NotOwner():
                return _refusal(403, "not_owner")
            case gate.Refuse():
                return await self._refuse(request, knock, decision)

    async def _refuse(
        self, request: web.Request, knock: gate.Knock, refusal: gate.Refuse
    ) -> web.StreamResponse:
        if knock.is_navigation:
            return await self._pages.refused(request, refusal.status, refusal.kind)
        return _refusal(refusal.status, refusal.kind)

    async def _who(self, knock: gate.Knock) -> tuple[Principal | None, str]:
        """Who knocks, and the cookie by which we know ("" for a token). A valid cookie wins."""
        found, cookie = await resolve_cookies(self._identity, knock.cookies)
        if found is not None:
            return found, cookie
        for token in knock.tokens:
            found = await self._identity.token(token)
            if found is not None:
                return found, ""
        return None, ""

    async def _not_running(self, request: web.Request, knock: gate.Knock, status: int) -> web.StreamResponse:
        if knock.is_navigation:
            return await self._pages.not_running(request, knock.user, status, knock.target)
        return _json(status, _NOT_RUNNING[status])

    async def _forward(
        self, request: web.Request, knock: gate.Knock, allowed: gate.Forward, cookie: str
    ) -> web.StreamResponse:
        pairs = build_inbound(
            knock.head.pairs,
            own_cookies=self._own_cookies,
            token=allowed.route.secrets.token,
            client=knock.head.client,
        )
        upstream = self._upstreams.get(allowed.route)
        self._servers.touch(knock.user)
        send = self._forward_websocket if knock.is_websocket else self._forward_http
        live = Live(knock.user, allowed.principal.key, cookie)
        try:
            return await send(request, knock, upstream, pairs, live)
        except UpstreamError as error:
            level = logging.ERROR if isinstance(error, UpstreamUnsafe) else logging.WARNING
            log.log(level, "%s: no answer from the server: %s", knock.user, error.detail)
            self._servers.doubt(knock.user)
            return await self._not_running(request, knock, 503)

    async def _forward_http(
        self,
        request: web.Request,
        knock: gate.Knock,
        upstream: Upstream,
        pairs: list[tuple[str, str]],
        live: Live,
    ) -> web.StreamResponse:
        live.end = lambda _why: _abort(request)
        with self._live.hold(live):
            body: StreamReader | None = request.content if request.body_exists else None
            answer = await upstream.request(request.method, knock.target, pairs, body)
            try:
                if answer.status == 101:
                    raise UpstreamError(None, "switched protocols without being asked")
                response = _ForwardedStream(
                    status=answer.status,
                    reason=answer.reason,
                    headers=self._outbound(tuple(answer.headers.items()), knock),
                )
                await response.prepare(request)
                try:
                    async for chunk in upstream.read(answer):
                        await response.write(chunk)
                        self._servers.touch(knock.user)
                except UpstreamError as error:
                    # The head is out: only breaking off tells the browser that this is not all.
                    log.info("%s: the answer broke off: %s", knock.user, error.detail)
                    _abort(request)
                    return response
                await response.write_eof()
                return response
            finally:
                # Closes the connection if the answer was not read to its end, else it is back in the pool already.
                answer.close()

    async def _forward_websocket(
        self,
        request: web.Request,
        knock: gate.Knock,
        upstream: Upstream,
        pairs: list[tuple[str, str]],
        live: Live,
    ) -> web.StreamResponse:
        offered = [
            item.strip()
            for value in values(knock.head.pairs, "sec-websocket-protocol")
            for item in value.split(",")
        ]
        # Told of what is offered, it does not warn that none of it is known here: Jupyter chooses.
        if request.method != "GET" or not web.WebSocketResponse(protocols=offered).can_prepare(request):
            return _refusal(400, "bad_handshake")
        stop: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
        live.end = lambda why: None if stop.done() else stop.set_result(why)
        live.is_websocket = True
        with self._live.hold(live):
            inner = await upstream.open_websocket(knock.target, pairs, offered)
            if isinstance(inner, HandshakeRefused):
                return _json(inner.status, "The server refused the WebSocket.")
            try:
                outer = _ForwardedWebSocket(
                    protocols=(inner.protocol,) if inner.protocol else (),
                    timeout=CLOSE_TIMEOUT_S,
                    autoclose=False,
                    autoping=False,
                    compress=False,
                    max_msg_size=0,
                )
                await outer.prepare(request)
                await bridge(outer, inner, stop, self._keeper, lambda: self._note_traffic(live))
            finally:
                if not inner.closed:
                    await inner.close(code=1001)
                # Closing waits for what is unsent: with a browser that does not read, for ever.
                if request.transport is not None and request.transport.get_write_buffer_size():
                    _abort(request)
            return outer

    def _note_traffic(self, live: Live) -> None:
        live.had_traffic = True
        self._servers.touch(live.user)

    def _outbound(self, pairs: tuple[tuple[str, str], ...], knock: gate.Knock) -> CIMultiDict[str]:
        return CIMultiDict(build_outbound(pairs, own_cookies=self._own_cookies, prefix=knock.prefix))

    async def _shut_down(self, _app: web.Application) -> None:
        for live in self._live:
            if live.is_websocket:
                live.end(Ending.HUB_RESTARTS)

    async def _watch_logins(self, _app: web.Application) -> AsyncIterator[None]:
        self._keeper.start(self._recheck_regularly(), name="look at logins behind websockets")
        yield
        await self._keeper.close()
        await self._upstreams.close()

    async def _recheck_regularly(self) -> None:
        while True:
            await asyncio.sleep(RECHECK_LOGINS_S)
            try:
                await self.recheck_logins()
            except Exception:
                log.exception("logins behind websockets could not be looked at")


def _abort(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


def _json(status: int, message: str) -> web.Response:
    return web.json_response(
        {"status": status, "message": message}, status=status, headers={"Cache-Control": "no-store"}
    )


def _refusal(status: int, kind: str) -> web.Response:
    return _json(status, _MESSAGES[kind])


def _redirect(location: str) -> web.Response:
    return web.Response(status=302, headers={"Location": location, "Cache-Control": "no-store"})
