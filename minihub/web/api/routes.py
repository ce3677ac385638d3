"""Every endpoint of the REST API, and how requests come to them."""

from __future__ import annotations

import re

from aiohttp import hdrs, web

from minihub.errors import NotFound
from minihub.web.api import hub
from minihub.web.api.access import asker
from minihub.web.api.call import Call
from minihub.web.api.endpoint import Asker, Endpoint
from minihub.web.api.reading import read_body, read_query, verify_path
from minihub.web.api.tables import ENDPOINTS
from minihub.web.guard import Handler
from minihub.web.keys import URLS

_PARAMETER = re.compile(r"\{[^}]*\}")


def served(endpoint: Endpoint) -> Handler:
    """Put reading and checking in front of an endpoint's handler."""

    async def handle(request: web.Request) -> web.StreamResponse:
        known = await asker(request) if endpoint.asker is Asker.KNOWN else None
        verify_path(request)
        query = read_query(request, endpoint.query)
        body = await read_body(request, endpoint.body) if endpoint.takes_body else endpoint.body()
        return await endpoint.handler(Call(request, query, body, known))

    return handle


async def unknown(request: web.Request) -> web.Response:
    """Whatever else is asked for under /hub/api: 405 for a wrong method, which the documents tell everybody anyway."""
    path = request.path.removeprefix(request.app[URLS].api)
    allowed = {method for e in ENDPOINTS if _matches(e.path, path) for method in _methods(e)}
    if allowed:
        raise web.HTTPMethodNotAllowed(request.method, sorted(allowed))
    await asker(request)
    raise NotFound("There is no such endpoint.")


def _methods(endpoint: Endpoint) -> list[str]:
    """Its own, and HEAD beside GET; but no head is asked of a stream, which would be begun for nothing."""
    also = [hdrs.METH_HEAD] if endpoint.method == hdrs.METH_GET and not endpoint.streams else []
    return [endpoint.method, *also]


def _matches(pattern: str, path: str) -> bool:
    parts = [re.escape(part) for part in _PARAMETER.split(pattern)]
    return re.fullmatch("[^/]+".join(parts), path) is not None


async def _add_version(request: web.Request, response: web.StreamResponse) -> None:
    """Tools of JupyterHub look for it on every answer."""
    if request.path.startswith(request.app[URLS].api):
        response.headers["X-JupyterHub-Version"] = hub.API_VERSION


def add_api_routes(app: web.Application, api: str) -> None:
    """Put the table into an application; `api` is the path of the API without trailing slash."""
    for endpoint in ENDPOINTS:
        handler = served(endpoint)
        for method in _methods(endpoint):
            app.router.add_route(method, api + endpoint.path, handler)
    app.router.add_route(hdrs.METH_ANY, api + "/{rest:.*}", unknown)
    app.on_response_prepare.append(_add_version)
