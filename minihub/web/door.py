"""Where the front door and the pages meet: what people see under /user/ in a server's place is drawn here."""

from __future__ import annotations

from aiohttp import web

from minihub.auth.model import Principal
from minihub.servers.model import State
from minihub.web.keys import DEPS, PRINCIPAL
from minihub.web.middleware import find_login
from minihub.web.pages import logout
from minihub.web.pages.user import render_not_running, render_unreachable
from minihub.web.respond import error_response, translator
from minihub.web.words import N_

_REFUSALS = {
    "cross_site": N_("Another site sent this request, so it was not passed on."),
    "bad_path": N_("This address is not one that a server can have."),
    "token_logout": N_("A token cannot log out; revoke it instead."),
    "bad_answer": N_("Your server's answer cannot be understood."),
}


class Door:
    """Implements `proxy.turned_away.Pages`.

    Requests under /user/ pass the middleware without a look at their cookies, since `TurnedAway` finds out by itself
    who knocks; so each page begins with `find_login`.
    """

    async def not_running(
        self, request: web.Request, user: str, status: int, back_to: str
    ) -> web.StreamResponse:
        """There is no server (424), or it cannot be reached now (503); offer what helps, and a way back."""
        await find_login(request)
        principal = request.get(PRINCIPAL)
        attempt = request.app[DEPS].servers.get(user)
        if principal is None or principal.user != user:
            # By a token of somebody who may open others' servers: there is nothing to offer.
            tr = translator(request)
            return error_response(request, status, tr("This server is not running."))
        if attempt is not None and attempt.state is State.READY:
            return render_unreachable(request, attempt, status, back_to)
        return await render_not_running(request, user, attempt, status, back_to)

    async def not_owner(self, request: web.Request, user: str, principal: Principal) -> web.StreamResponse:
        """403: the same words whether or not there is such a user."""
        await find_login(request)
        tr = translator(request)
        message = tr(
            "This address belongs to %(owner)s, and you are logged in as %(name)s.",
            owner=user,
            name=principal.user,
        )
        return error_response(request, 403, message)

    async def confirm_logout(self, request: web.Request, principal: Principal) -> web.StreamResponse:
        """Ask whether logging out is meant."""
        await find_login(request)
        return logout.confirm(request, principal)

    async def log_out(self, request: web.Request, principal: Principal) -> web.StreamResponse:
        """Jupyter's own Log Out was clicked; the gate has made sure of that."""
        await find_login(request)
        return await logout.log_out(request, principal)

    async def refused(self, request: web.Request, status: int, kind: str) -> web.StreamResponse:
        """Anything else; `kind` as in `proxy.gate.Refuse`."""
        await find_login(request)
        words = _REFUSALS.get(kind)
        return error_response(request, status, translator(request)(words) if words else "")
