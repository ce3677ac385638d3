"""Where the proxy and the pages meet: requests under /user/ go to the proxy, and it has its pages drawn here."""

from __future__ import annotations

from aiohttp import web

from minihub.auth.model import Principal
from minihub.errors import Forbidden
from minihub.proxy.forward import ReverseProxy
from minihub.web.keys import FROM_SERVER, PRINCIPAL
from minihub.web.pages import logout
from minihub.web.pages.user import render_not_running, render_unreachable
from minihub.web.respond import error_response, hub_error_response, translator
from minihub.web.words import N_

_REFUSALS = {
    "cross_site": N_("This request came from another site, so it was not passed on."),
    "bad_path": N_("This address is not written as addresses of servers are."),
    "token_logout": N_("A token cannot log out; revoke it instead."),
}


class Door:
    """Implements `proxy.forward.Pages`, and the handler of everything under /user/."""

    def __init__(self) -> None:
        self.proxy: ReverseProxy | None = None

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request under /user/. What a server answers goes out without the headers of our own pages."""
        assert self.proxy is not None
        request[FROM_SERVER] = True
        return await self.proxy.handle(request)

    async def not_running(
        self, request: web.Request, user: str, status: int, back_to: str
    ) -> web.StreamResponse:
        """There is no server (424), or it cannot be reached now (503)."""
        request[FROM_SERVER] = False
        if status == 503:
            return render_unreachable(request, user)
        return await render_not_running(request, user, back_to)

    async def not_owner(self, request: web.Request, user: str, principal: Principal) -> web.StreamResponse:  # noqa: ARG002
        """403: the same words whether or not there is such a user."""
        request[FROM_SERVER] = False
        return hub_error_response(request, Forbidden("This server belongs to somebody else."))

    async def confirm_logout(self, request: web.Request, principal: Principal) -> web.StreamResponse:
        """Ask whether logging out is meant."""
        request[FROM_SERVER] = False
        request[PRINCIPAL] = principal
        return logout.confirm(request)

    async def log_out(self, request: web.Request, principal: Principal) -> web.StreamResponse:
        """Jupyter's own Log Out was clicked."""
        request[FROM_SERVER] = False
        request[PRINCIPAL] = principal
        return await logout.submit(request)

    async def refused(self, request: web.Request, status: int, kind: str) -> web.StreamResponse:
        """Anything else."""
        request[FROM_SERVER] = False
        words = _REFUSALS.get(kind)
        return error_response(request, status, translator(request)(words) if words else "")
