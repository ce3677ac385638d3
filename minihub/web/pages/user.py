"""What the proxy shows where no server answers, and the redirects to users' servers."""

from __future__ import annotations

from aiohttp import web

from minihub.auth.model import Principal
from minihub.servers.model import Attempt, State
from minihub.web.keys import DEPS, PRINCIPAL, URLS
from minihub.web.middleware import find_login
from minihub.web.pages import logout
from minihub.web.respond import error_response, page, redirect, translator, user_of, view_of
from minihub.web.words import N_

REFUSALS = {
    "bad_path": N_("This address is not one that a server can have."),
    "cross_site": N_("Another site sent this request, so it was not passed on."),
}


async def user_redirect(request: web.Request) -> web.Response:
    """/hub/user-redirect/PATH: a link that works for everybody who clicks it."""
    return _to_server(request, user_of(request).user)


async def old_style(request: web.Request) -> web.Response:
    """/hub/user/NAME/PATH, as JupyterHub writes it."""
    return _to_server(request, request.match_info["name"])


class ProxyPages:
    """What people see where the proxy has nothing to forward to (its `Pages`)."""

    async def not_running(
        self, request: web.Request, user: str, status: int, back_to: str
    ) -> web.StreamResponse:
        """There is no server, or it cannot be reached now; offer a start that returns to `back_to`."""
        await find_login(request)
        principal = request.get(PRINCIPAL)
        attempt = request.app[DEPS].servers.get(user)
        if principal is None or principal.user != user:
            # By a token of somebody who may open others' servers: nothing to be offered.
            return error_response(request, status, translator(request)("This server is not running."))
        if attempt is not None and attempt.state is State.READY:
            return _render_unreachable(request, attempt, status, back_to)
        return await _render_not_running(request, user, attempt, status, back_to)

    async def not_owner(self, request: web.Request, user: str, principal: Principal) -> web.StreamResponse:
        """`user`'s server is not `principal`'s."""
        await find_login(request)
        message = translator(request)(
            "This is the server of %(owner)s, and you are logged in as %(name)s.",
            owner=user,
            name=principal.user,
        )
        return error_response(request, 403, message)

    async def confirm_logout(self, request: web.Request, principal: Principal) -> web.StreamResponse:
        """Ask whether logging out is meant."""
        await find_login(request)
        return logout.confirm(request, principal)

    async def refused(self, request: web.Request, status: int, kind: str) -> web.StreamResponse:
        """Anything else; `kind` as in `proxy.gate.Refuse`."""
        await find_login(request)
        text = REFUSALS.get(kind, "")
        return error_response(request, status, translator(request)(text) if text else "")


async def do_logout(request: web.Request, principal: Principal) -> web.StreamResponse:
    """Jupyter's own Log Out: the proxy has made sure that it was clicked."""
    await find_login(request)
    return await logout.log_out(request, principal)


async def _render_not_running(
    request: web.Request, user: str, attempt: Attempt | None, status: int, back_to: str
) -> web.Response:
    deps, urls = request.app[DEPS], request.app[URLS]
    next_path = urls.safe_next(back_to)
    can_repeat = attempt is not None or await deps.servers.last_options(user) is not None
    return page(
        request,
        "not_running.html",
        status=status,
        server=view_of(request, attempt) if attempt else None,
        next_path=next_path,
        can_repeat=can_repeat,
        pending_url=urls.pending(user, next_path),
        options_url=urls.spawn(next_path),
    )


def _render_unreachable(request: web.Request, attempt: Attempt, status: int, back_to: str) -> web.Response:
    next_path = request.app[URLS].safe_next(back_to)
    response = page(
        request, "unreachable.html", status=status, server=view_of(request, attempt), next_path=next_path
    )
    response.headers["Retry-After"] = "5"
    return response


def _to_server(request: web.Request, name: str) -> web.Response:
    # raw_path: the rest goes on exactly as it came. It begins after two or three segments below base_path.
    raw = request.raw_path
    skipped = 3 if "name" in request.match_info else 2
    below = raw.removeprefix(request.app[URLS].base)
    rest = below.split("/", skipped)[skipped:]
    target = request.app[URLS].server(name, rest[0] if rest else "")
    return redirect(request.app[URLS].safe_next(target) or request.app[URLS].server(name))
