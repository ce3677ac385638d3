"""Builds the aiohttp application of the hub's pages from its parts. Runs nothing."""

from __future__ import annotations

from aiohttp import web

from minihub.proxy.turned_away import TurnedAway
from minihub.tasks import TaskKeeper
from minihub.web.api.routes import add_api_routes
from minihub.web.assets import StaticFiles, template_dirs
from minihub.web.board import Board
from minihub.web.deps import Deps
from minihub.web.door import Door
from minihub.web.i18n import Catalogues
from minihub.web.keys import (
    API_DOCS,
    BOARD,
    CATALOGUES,
    DEPS,
    ESTIMATING,
    KEEPER,
    LIVE,
    PAST,
    RENDERER,
    STATIC,
    STREAMS,
    URLS,
)
from minihub.web.live import Live
from minihub.web.middleware import add_headers, around
from minihub.web.past import Past
from minihub.web.render import Renderer
from minihub.web.routes import add_routes
from minihub.web.sse import Streams
from minihub.web.urls import Urls

MAX_FORM_BYTES = 256 * 1024


def build_app(deps: Deps) -> web.Application:
    """The application, ready for a runner with `handler_cancellation=True` (event streams end with their reader).

    Args:
        deps: All that the pages call.
    """
    app = web.Application(middlewares=[around], client_max_size=MAX_FORM_BYTES)
    directories = template_dirs(deps.settings.hub.templates_dir)
    urls = Urls(deps.settings.hub.base_path)
    static = StaticFiles(directories, urls)
    app[DEPS] = deps
    app[URLS] = urls
    app[STATIC] = static
    app[CATALOGUES] = Catalogues(directories)
    app[RENDERER] = Renderer(deps.settings, urls, static)
    app[KEEPER] = TaskKeeper()
    app[STREAMS] = Streams()
    app[ESTIMATING] = set()
    app[API_DOCS] = {}
    app[BOARD] = Board(deps.announcements, deps.clock)
    app[LIVE] = Live(deps.servers, deps.clock, app[KEEPER])
    app[PAST] = Past(deps.servers, deps.clock)
    app.on_response_prepare.append(add_headers)
    app.on_shutdown.append(_end_streams)
    app.on_cleanup.append(_close)
    door = Door()
    turned_away = TurnedAway(
        servers=deps.servers,
        identity=deps.identity,
        settings=deps.settings,
        pages=door,
        do_logout=door.log_out,
    )
    turned_away.attach(app)
    add_routes(app, urls.base)
    add_api_routes(app, urls.api)
    return app


async def _end_streams(app: web.Application) -> None:
    app[STREAMS].end_all()


async def _close(app: web.Application) -> None:
    await app[KEEPER].close()
