"""Hub Control Panel, history, and the small pages around them."""

from __future__ import annotations

import logging

from aiohttp import web

from minihub.errors import NotFound, StoreError
from minihub.servers.model import State
from minihub.web.client import client_address
from minihub.web.cookies import set_language_cookie
from minihub.web.i18n import LANGUAGES
from minihub.web.keys import DEPS, URLS
from minihub.web.paging import parse_page
from minihub.web.respond import page, redirect, translator, user_of, view_of

log = logging.getLogger(__name__)

RECENT = 5
HISTORY_PAGE = 25


async def root(request: web.Request) -> web.Response:
    """/ -> /hub/."""
    return redirect(request.app[URLS].hub)


async def front(request: web.Request) -> web.Response:
    """/hub/: where a user wants to be, as on JupyterHub: the running server, the waiting page, or the form."""
    deps, urls = request.app[DEPS], request.app[URLS]
    user = user_of(request).user
    attempt = deps.servers.get(user)
    if attempt is None or attempt.state is State.STOPPED:
        return redirect(urls.spawn())
    if attempt.state is State.READY:
        return redirect(deps.open_url(attempt))
    return redirect(urls.pending(user) if attempt.is_live else urls.home)


async def show(request: web.Request) -> web.Response:
    """Hub Control Panel."""
    deps = request.app[DEPS]
    user = user_of(request).user
    attempt = deps.servers.get(user)
    past, problem = [], ""
    try:
        past = [a for a in await deps.servers.history(user, limit=RECENT + 1) if not a.is_live]
    except StoreError as error:
        # What is needed most is known without the store: how the server is, and the button that stops it.
        log.warning("%s: the past servers cannot be shown: %s", user, error)
        problem = translator(request).message(error.user_message)
    return page(
        request,
        "home.html",
        page_name="home",
        server=view_of(request, attempt) if attempt else None,
        open_url=deps.open_url(attempt) if attempt and attempt.state is State.READY else "",
        store_problem=problem,
        recent=[view_of(request, a) for a in past[:RECENT]],
    )


async def postpone(request: web.Request) -> web.Response:
    """Keep an idle server for a while more, and show its clock again."""
    deps = request.app[DEPS]
    user = user_of(request).user
    _, is_done = await deps.servers.postpone(user, by=user)
    if is_done:
        await deps.audit("postpone", user=user, address=client_address(request, deps.settings.hub))
    return redirect(request.app[URLS].home)


async def history(request: web.Request) -> web.Response:
    """All servers the user ever had, newest first."""
    deps = request.app[DEPS]
    number = parse_page(request.query)
    found = await deps.servers.history(
        user_of(request).user, limit=HISTORY_PAGE + 1, offset=(number - 1) * HISTORY_PAGE
    )
    return page(
        request,
        "history.html",
        page_name="history",
        rows=[view_of(request, a) for a in found[:HISTORY_PAGE]],
        number=number,
        more=len(found) > HISTORY_PAGE,
    )


async def language(request: web.Request) -> web.Response:
    """Remember a language and go back to where the switch stood."""
    urls = request.app[URLS]
    wanted = request.query.get("to", "")
    if wanted not in LANGUAGES:
        raise NotFound
    response = redirect(urls.safe_path(request.query.get("next")) or urls.hub)
    set_language_cookie(response, urls.base, wanted)
    return response


async def health(request: web.Request) -> web.Response:
    """For monitors: the hub answers. The scheduler's state is on the pages and in the metrics."""
    del request
    return web.Response(text="ok\n")
