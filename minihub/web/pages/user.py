"""Paths of users' servers that no server answers, and the redirects to them. The proxy calls this too."""

from __future__ import annotations

from aiohttp import web

from minihub.errors import Forbidden
from minihub.servers.model import State
from minihub.web.guard import to_login
from minihub.web.keys import DEPS, PRINCIPAL, URLS
from minihub.web.respond import (
    error_body,
    json_response,
    page,
    redirect,
    translator,
    user_of,
    view_of,
    wants_json,
)


async def user_redirect(request: web.Request) -> web.Response:
    """/hub/user-redirect/PATH: a link that works for everybody who clicks it."""
    return _to_server(request, user_of(request).user)


async def old_style(request: web.Request) -> web.Response:
    """/hub/user/NAME/PATH, as JupyterHub writes it."""
    return _to_server(request, request.match_info["name"])


async def no_server(request: web.Request) -> web.Response:
    """/user/NAME/PATH that the proxy could not bring to a running server."""
    principal = request.get(PRINCIPAL)
    if principal is None:
        return to_login(request)
    if request.match_info["name"] != principal.user:
        raise Forbidden("This server belongs to somebody else.")
    attempt = request.app[DEPS].servers.get(principal.user)
    if attempt is not None and attempt.state is State.READY:
        return render_unreachable(request, principal.user)
    return await render_not_running(request, principal.user)


async def render_not_running(request: web.Request, user: str, path: str = "") -> web.Response:
    """424: there is no running server; a person is offered to start one and then comes back to `path`.

    424 and not 404: JupyterLab answers a 404 with a hot loop of requests, and 424 with "Server unavailable".
    """
    deps, urls, tr = request.app[DEPS], request.app[URLS], translator(request)
    attempt = deps.servers.get(user)
    view = view_of(request, attempt) if attempt else None
    if wants_json(request):
        message = tr("Your server is not running.")
        body = error_body(
            424, message, state=view.state if view else "stopped", ended=view.ended if view else ""
        )
        return json_response(body, status=424)
    next_path = urls.safe_next(path or request.raw_path)
    can_repeat = attempt is not None or await deps.servers.last_options(user) is not None
    return page(
        request,
        "not_running.html",
        status=424,
        server=view,
        next_path=next_path,
        can_repeat=can_repeat,
        pending_url=urls.pending(user, next_path),
        options_url=urls.spawn(next_path),
    )


def render_unreachable(request: web.Request, user: str) -> web.Response:
    """503: the job runs, but its Jupyter does not answer just now."""
    deps, tr = request.app[DEPS], translator(request)
    if wants_json(request):
        body = error_body(503, tr("Your server does not answer right now."))
        response = json_response(body, status=503)
    else:
        attempt = deps.servers.get(user)
        view = view_of(request, attempt) if attempt else None
        response = page(request, "unreachable.html", status=503, server=view)
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
