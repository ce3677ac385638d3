"""What the hub's pages answer under /user/ in a server's place: the same decision as the door's, drawn for who asked.

The door sends here whatever it does not forward. So a request that could be forwarded comes only if the server could
not be reached, or became ready this very moment.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol
from urllib.parse import quote

from aiohttp import web

from minihub.auth.cookies import login_cookie
from minihub.auth.model import Identity, Principal, resolve_cookies
from minihub.auth.request import find_client
from minihub.config import Settings
from minihub.proxy import gate
from minihub.proxy.headers import PROBLEM_FIELD, UPGRADE_FIELD
from minihub.servers.service import Servers

_MESSAGES = {
    "bad_path": "This address cannot be understood.",
    "bad_method": "This method is not allowed here.",
    "no_login": "Please log in: there is no valid login cookie or token.",
    "not_owner": "This server belongs to somebody else.",
    "cross_site": "Refused: the request does not come from a page of this site. "
    "(Programs use a token, or send Origin or Referer.)",
    "token_logout": "A token cannot log out; revoke it instead.",
    "bad_answer": "The server's answer cannot be understood.",
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


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
DoLogout = Callable[[web.Request, Principal], Awaitable[web.StreamResponse]]


class TurnedAway:
    """Answers /user/NAME/... of an aiohttp application."""

    def __init__(
        self, *, servers: Servers, identity: Identity, settings: Settings, pages: Pages, do_logout: DoLogout
    ) -> None:
        """Put together.

        Args:
            servers: Asked for route and attempt.
            identity: Asked who it is.
            settings: Base path, public URL, trusted proxies.
            pages: Draws what people see.
            do_logout: Logs out and answers, as the hub's own log out page does.
        """
        self._servers = servers
        self._identity = identity
        self._hub = settings.hub
        self._base_path = settings.hub.base_path
        self._pages = pages
        self._do_logout = do_logout

    def attach(self, app: web.Application) -> None:
        """Add the one route."""
        app.router.add_route(
            "*", f"{self._base_path}user/{{tail:.*}}", self.handle, expect_handler=_expect_nothing
        )

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request under /user/."""
        pairs = tuple(
            ("Upgrade" if name == UPGRADE_FIELD else name, value) for name, value in request.headers.items()
        )
        client = find_client(pairs, request.remote or "", request.scheme, self._hub)
        head = gate.Head(request.method, request.raw_path, pairs, client)
        rule = login_cookie(tls=client.scheme == "https", base_path=self._base_path)
        knock = gate.read(head, base_path=self._base_path, login_cookie=rule.name)
        if isinstance(knock, gate.Refuse):
            return _refusal(knock.status, knock.kind)
        if isinstance(knock, gate.ToSlash):
            return _redirect(knock.location)
        principal = await self._who(knock)
        route, attempt = self._servers.route(knock.user), self._servers.get(knock.user)
        decision = gate.decide(knock, principal, route, attempt)
        if isinstance(decision, gate.Forward):
            if request.headers.get(PROBLEM_FIELD) == "bad_answer":
                return await self._refuse(request, knock, gate.Refuse(502, "bad_answer"))
            return await self._not_running(request, knock, 503)
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

    async def _who(self, knock: gate.Knock) -> Principal | None:
        """Who knocks. A valid cookie wins."""
        found, _ = await resolve_cookies(self._identity, knock.cookies)
        if found is not None:
            return found
        for token in knock.tokens:
            found = await self._identity.token(token)
            if found is not None:
                return found
        return None

    async def _not_running(self, request: web.Request, knock: gate.Knock, status: int) -> web.StreamResponse:
        if knock.is_navigation:
            return await self._pages.not_running(request, knock.user, status, knock.target)
        return _json(status, _NOT_RUNNING[status])


async def _expect_nothing(_request: web.Request) -> None:
    """No 100 (Continue): whoever is turned away had better keep his body."""


def _refusal(status: int, kind: str) -> web.Response:
    return _json(status, _MESSAGES[kind])


def _redirect(location: str) -> web.Response:
    return web.Response(status=302, headers={"Location": location, "Cache-Control": "no-store"})


def _json(status: int, message: str) -> web.Response:
    return web.json_response(
        {"status": status, "message": message}, status=status, headers={"Cache-Control": "no-store"}
    )
