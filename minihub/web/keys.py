"""The keys under which the application and its requests carry things; no string keys anywhere."""

from __future__ import annotations

from aiohttp import web
from markupsafe import Markup

from minihub.auth.model import Principal
from minihub.tasks import TaskKeeper
from minihub.web.assets import StaticFiles
from minihub.web.board import Board
from minihub.web.deps import Deps
from minihub.web.i18n import Catalogues, Translator
from minihub.web.live import Live
from minihub.web.past import Past
from minihub.web.render import Renderer
from minihub.web.sse import Streams
from minihub.web.urls import Urls

DEPS = web.AppKey("deps", Deps)
URLS = web.AppKey("urls", Urls)
STATIC = web.AppKey("static", StaticFiles)
CATALOGUES = web.AppKey("catalogues", Catalogues)
RENDERER = web.AppKey("renderer", Renderer)
KEEPER = web.AppKey("keeper", TaskKeeper)
STREAMS = web.AppKey("streams", Streams)
ESTIMATING = web.AppKey("estimating", set[str])
"""Users whose estimate is under way: one at a time each."""
API_DOCS = web.AppKey("api_docs", dict[str, Markup])
"""The API's description as part of a page, by language, once it has been drawn."""
BOARD = web.AppKey("board", Board)
LIVE = web.AppKey("live", Live)
PAST = web.AppKey("past", Past)

REQUEST_ID = web.RequestKey("request_id", str)
PRINCIPAL = web.RequestKey("principal", Principal)
"""Who asks, by login; absent where nobody is logged in."""
LOGIN_COOKIE = web.RequestKey("login_cookie", str)
"""The cookie by which we know who asks."""
TRANSLATOR = web.RequestKey("translator", Translator)
