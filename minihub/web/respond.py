"""From a request and some values to a response: pages, JSON, errors, redirects. Handlers and middleware share it."""

from __future__ import annotations

import json
import logging
from http import HTTPStatus
from typing import Any

from aiohttp import web

from minihub.auth.model import Principal
from minihub.clock import Clock
from minihub.errors import HubError, OptionsError
from minihub.servers.model import Attempt
from minihub.servers.service import Progress
from minihub.web.client import is_navigation
from minihub.web.i18n import Translator
from minihub.web.keys import BOARD, DEPS, PRINCIPAL, RENDERER, REQUEST_ID, TRANSLATOR, URLS
from minihub.web.view import ServerView, Viewer, scheduler_name
from minihub.web.words import N_

log = logging.getLogger(__name__)

STATUS_TITLES = {
    400: N_("This request was not understood"),
    403: N_("Not permitted"),
    404: N_("Nothing here"),
    405: N_("Not possible this way"),
    409: N_("Not possible right now"),
    413: N_("Too large"),
    415: N_("Not understood in this form"),
    424: N_("Your server is not running"),
    429: N_("Too many requests"),
    500: N_("Something went wrong"),
    503: N_("Not available right now"),
}


def user_of(request: web.Request) -> Principal:
    """Who asks; only behind `guard.Access.USER`, where somebody does."""
    return request[PRINCIPAL]


def translator(request: web.Request) -> Translator:
    """The request's language."""
    return request[TRANSLATOR]


def view_of(request: web.Request, attempt: Attempt, progress: Progress | None = None) -> ServerView:
    """An attempt in the reader's words."""
    deps = request.app[DEPS]
    return Viewer(translator(request), deps.settings.servers).view(attempt, progress)


def clock(request: web.Request) -> Clock:
    """The hub's clock."""
    return request.app[DEPS].clock


def page(
    request: web.Request, template: str | list[str], *, status: int = 200, **values: Any
) -> web.Response:
    """Render a page with what every page needs."""
    deps = request.app[DEPS]
    principal = request.get(PRINCIPAL)
    health = deps.servers.health()
    common = {
        "user": principal.user if principal else "",
        "is_admin": bool(principal and principal.admin),
        "xsrf": deps.csrf.make(principal.key) if principal else "",
        "now": deps.clock.wall(),
        "health": health,
        "scheduler": scheduler_name(health),
        "request_id": request.get(REQUEST_ID, ""),
        "here": request.app[URLS].safe_path(request.raw_path) if request.method == "GET" else "",
        "page_name": "",
        "announcements": request.app[BOARD].shown(),
    }
    text = request.app[RENDERER].render(template, translator(request), {**common, **values})
    return web.Response(text=text, content_type="text/html", status=status)


def json_response(data: Any, *, status: int = 200) -> web.Response:
    """JSON in UTF-8."""
    body = json.dumps(data, ensure_ascii=False).encode()
    return web.Response(body=body, content_type="application/json", charset="utf-8", status=status)


def redirect(path: str) -> web.Response:
    """Go on by GET; `path` is one of ours (`Urls`), never a raw parameter."""
    return web.Response(status=303, headers={"Location": path})


def wants_json(request: web.Request) -> bool:
    """Whether an error shall be data: to programs, and to scripts in a page."""
    return request.path.startswith(f"{request.app[URLS].api}/") or not is_navigation(request)


def error_body(status: int, message: str, **more: Any) -> dict[str, Any]:
    """An error in JupyterHub's shape."""
    return {"status": status, "message": message, **more}


def error_response(request: web.Request, status: int, message: str = "", detail: str = "") -> web.Response:
    """An error as a page or as JSON; `message` is already in the reader's language."""
    tr = translator(request)
    title = tr(STATUS_TITLES[status]) if status in STATUS_TITLES else HTTPStatus(status).phrase
    if wants_json(request):
        return json_response(error_body(status, message or title), status=status)
    try:
        names = [f"{status}.html", "error.html"]
        return page(request, names, status=status, code=status, title=title, message=message, detail=detail)
    except Exception:
        # A site's own error page may be what is broken.
        log.exception("the error page for %s cannot be rendered", status)
        return web.Response(text=f"{status} {title}\n{message}\n", status=status)


def hub_error_response(request: web.Request, error: HubError) -> web.Response:
    """A HubError as its own status and words say."""
    message = translator(request).message(error.user_message)
    if isinstance(error, OptionsError):
        fields = {name: translator(request).message(text) for name, text in error.fields.items()}
        if wants_json(request):
            return json_response(
                error_body(error.http_status, message, fields=fields), status=error.http_status
            )
        message = " ".join([message, *fields.values()])
    return error_response(request, error.http_status, message)
