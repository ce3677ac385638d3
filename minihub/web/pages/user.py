"""What the proxy shows where no server answers, and the redirects to users' servers."""

from __future__ import annotations

import logging

from aiohttp import web

from minihub.errors import StoreError
from minihub.servers.model import Attempt
from minihub.web.keys import DEPS, URLS
from minihub.web.respond import page, redirect, user_of, view_of

log = logging.getLogger(__name__)


async def user_redirect(request: web.Request) -> web.Response:
    """/hub/user-redirect/PATH: a link that works for everybody who clicks it."""
    return _to_server(request, user_of(request).user)


async def old_style(request: web.Request) -> web.Response:
    """/hub/user/NAME/PATH, as JupyterHub writes it."""
    return _to_server(request, request.match_info["name"])


async def render_not_running(
    request: web.Request, user: str, attempt: Attempt | None, status: int, back_to: str
) -> web.Response:
    """There is no server: a person is offered to start one, and then comes back to `back_to`.

    424 and not 404: JupyterLab answers a 404 with a hot loop of requests, and 424 with "Server unavailable".
    """
    urls = request.app[URLS]
    next_path = urls.safe_next(back_to)
    can_repeat = attempt is not None or await _has_options(request, user)
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


async def _has_options(request: web.Request, user: str) -> bool:
    try:
        return await request.app[DEPS].servers.last_options(user) is not None
    except StoreError as error:
        log.warning("%s: whether there was a server before cannot be read: %s", user, error)
        return False


def render_unreachable(request: web.Request, attempt: Attempt, status: int, back_to: str) -> web.Response:
    """The job runs, but its Jupyter does not answer just now."""
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
