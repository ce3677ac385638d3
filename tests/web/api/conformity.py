"""Whether an answer is one that the API's own description allows."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator

from minihub.web.api.endpoint import JSON, Endpoint
from minihub.web.api.openapi import build_document
from minihub.web.api.tables import ENDPOINTS


@cache
def document() -> dict[str, Any]:
    """The description of the API."""
    return build_document(ENDPOINTS, server="/hub/api", version="1", title="minihub")


def find_endpoint(method: str, path: str) -> Endpoint | None:
    """The endpoint that a request meets; None if there is none."""
    plain = path.partition("?")[0]
    for endpoint in ENDPOINTS:
        pattern = re.sub(r"\\\{[^}]*\}", "[^/]+", re.escape(endpoint.path))
        if endpoint.method == method and re.fullmatch(pattern, plain):
            return endpoint
    return None


@cache
def _validator(method: str, path: str, status: int) -> Draft202012Validator:
    answer = document()["paths"][path][method.lower()]["responses"][str(status)]
    schema = answer["content"][JSON]["schema"]
    return Draft202012Validator({**schema, "components": document()["components"]})


def problems(method: str, path: str, status: int, media: str, body: Any) -> list[str]:
    """What is not as described; nothing of what has no endpoint."""
    endpoint = find_endpoint(method, path)
    if endpoint is None:
        return [] if status in (401, 403, 404, 405) else [f"{status} where there is no endpoint"]
    allowed = {answer.status: answer for answer in endpoint.all_answers}
    if status not in allowed:
        return [f"{status} is not among {sorted(allowed)}"]
    answer = allowed[status]
    if answer.model is None and answer.media == (JSON,):
        return [] if body is None else ["a body where none is described"]
    if media not in answer.media:
        return [f"{media} is not among {answer.media}"]
    if media != JSON:
        return []
    listed = next(
        e for e in ENDPOINTS if e.handler is endpoint.handler and e.method == method and not e.hidden
    )
    found = _validator(method, listed.path, status).iter_errors(body)
    return [f"{error.json_path}: {error.message}" for error in found]
