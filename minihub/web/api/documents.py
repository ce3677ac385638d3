"""The API's description: for programs (OpenAPI), and the same document as a page for people."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from aiohttp import web
from markupsafe import Markup

import minihub
from minihub.web.api import openapi
from minihub.web.api.call import Call
from minihub.web.api.endpoint import Nothing
from minihub.web.keys import API_DOCS, RENDERER
from minihub.web.respond import json_response, page, translator


async def document(call: Call[Nothing, Nothing]) -> web.Response:
    """GET /openapi.json."""
    answer = json_response(_document(call))
    answer.headers["Access-Control-Allow-Origin"] = "*"
    return answer


async def docs(call: Call[Nothing, Nothing]) -> web.Response:
    """GET /docs."""
    tr, drawn = translator(call.request), call.request.app[API_DOCS]
    if tr.language not in drawn:
        drawn[tr.language] = _draw(call)
    return page(call.request, "api_docs.html", page_name="api-docs", described=drawn[tr.language])


def _draw(call: Call[Any, Any]) -> Markup:
    """The description in one language; takes so long that it is done once each."""
    described = _document(call)
    operations: dict[str, list[dict[str, Any]]] = {tag["name"]: [] for tag in described["tags"]}
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            entry = {"method": method.upper(), "path": path, **operation}
            operations[operation["tags"][0]].append(entry)
    values = {
        "described": described,
        "operations": operations,
        "schemas": described["components"]["schemas"],
    }
    text = call.request.app[RENDERER].render("_api_docs.html", translator(call.request), values)
    return Markup(text)  # noqa: S704 - a template's own output, escaped there


def _document(call: Call[Any, Any]) -> dict[str, Any]:
    return _build(call.urls.api, call.deps.settings.hub.site_name)


@lru_cache(maxsize=4)
def _build(server: str, title: str) -> dict[str, Any]:
    # The table names the handlers of this module, so it is there only once this module is.
    from minihub.web.api.tables import ENDPOINTS  # noqa: PLC0415

    return openapi.build_document(ENDPOINTS, server=server, version=minihub.__version__, title=title)
