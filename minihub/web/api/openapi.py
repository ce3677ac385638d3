"""OpenAPI 3.1 from the table of endpoints and the models that check and make what goes over the wire. No I/O.

Source: OpenAPI Specification 3.1.0; https://spec.openapis.org/oas/v3.1.0
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import JsonSchemaMode

from minihub.web.api.endpoint import EVENTS, JSON, Answer, Asker, Endpoint, Nothing

_REF = "#/components/schemas/{model}"
_PARAMETERS = {
    "name": "A user's name, percent-encoded.",
    "server": "The name of a named server, which there are none of.",
    "id": "As the list shows it.",
    "group": "The name of a Unix group.",
}
_INTRODUCTION = (
    "The API speaks the shapes of JupyterHub's, with more of its own. Send a token as `Authorization: token TOKEN` or "
    "`Authorization: Bearer TOKEN`. A browser's login works as well; what changes something then needs the header "
    "`X-XSRFToken` and must come from a page of this hub. Times are ISO 8601 in UTC. Errors are `{status, message}`, "
    "with `fields` where single fields are wrong. Unknown fields and parameters are errors."
)


def build_document(endpoints: Iterable[Endpoint], *, server: str, version: str, title: str) -> dict[str, Any]:
    """The document.

    Args:
        endpoints: The table.
        server: Path of the API without trailing slash, as a browser sees it.
        version: The hub's.
        title: The site's name.
    """
    shown = [endpoint for endpoint in endpoints if not endpoint.hidden]
    references, definitions = _schemas(shown)
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in shown:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, references)
    return {
        "openapi": "3.1.0",
        "info": {"title": f"{title}: REST API", "version": version, "description": _INTRODUCTION},
        "servers": [{"url": server}],
        "tags": [{"name": topic} for topic in dict.fromkeys(endpoint.topic for endpoint in shown)],
        "paths": paths,
        "components": {
            "schemas": definitions,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _schemas(endpoints: Sequence[Endpoint]) -> tuple[dict[Any, Any], dict[str, Any]]:
    """The schema of every model by (model, direction), and the definitions to which these refer."""
    inputs: list[tuple[Any, JsonSchemaMode, TypeAdapter[Any]]] = [
        (model, mode, TypeAdapter(model)) for model, mode in dict.fromkeys(_models(endpoints))
    ]
    references, rest = TypeAdapter.json_schemas(inputs, ref_template=_REF)
    return references, rest.get("$defs", {})


def _models(endpoints: Sequence[Endpoint]) -> Iterator[tuple[Any, JsonSchemaMode]]:
    for endpoint in endpoints:
        yield endpoint.query, "validation"
        if endpoint.takes_body:
            yield endpoint.body, "validation"
        for answer in endpoint.all_answers:
            if answer.model is not None:
                yield answer.model, "serialization"


def _operation(endpoint: Endpoint, references: dict[Any, Any]) -> dict[str, Any]:
    words = re.findall(r"[a-z]+", f"{endpoint.method.lower()} {endpoint.path}")
    operation: dict[str, Any] = {
        "operationId": "_".join(words),
        "summary": endpoint.summary,
        "description": f"{endpoint.description} Scope: {endpoint.scope}.".strip(),
        "tags": [endpoint.topic],
        "security": _security(endpoint.asker),
        "parameters": [*_path_parameters(endpoint.path), *_query_parameters(endpoint)],
        "responses": {str(answer.status): _response(answer, references) for answer in endpoint.all_answers},
    }
    if endpoint.takes_body and endpoint.body is not Nothing:
        schema = references[endpoint.body, "validation"]
        needed = any(field.is_required() for field in endpoint.body.model_fields.values())
        operation["requestBody"] = {"required": needed, "content": {JSON: {"schema": schema}}}
    return operation


def _security(asker: Asker) -> list[dict[str, Any]]:
    return {
        Asker.KNOWN: [{"token": []}],
        Asker.SELF_CHECKED: [{}, {"token": []}],
        Asker.ANYBODY: [],
    }[asker]


def _path_parameters(path: str) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": _PARAMETERS[name],
            "schema": {"type": "string", "minLength": 1},
        }
        for name in re.findall(r"\{(\w+)", path)
    ]


def _query_parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    schema = endpoint.query.model_json_schema(mode="validation")
    required = schema.get("required", [])
    parameters = []
    for name, described in schema.get("properties", {}).items():
        plain = {key: value for key, value in described.items() if key not in ("title", "description")}
        parameters.append(
            {
                "name": name,
                "in": "query",
                "required": name in required,
                "description": described.get("description", ""),
                "schema": plain,
            }
        )
    return parameters


def _response(answer: Answer, references: dict[Any, Any]) -> dict[str, Any]:
    response: dict[str, Any] = {"description": answer.meaning}
    content: dict[str, Any] = {}
    for media in answer.media:
        if media == EVENTS:
            content[media] = {"schema": _event(references[answer.model, "serialization"])}
        elif media != JSON:
            content[media] = {"schema": {"type": "string"}}
        elif answer.model is not None:
            content[media] = {"schema": references[answer.model, "serialization"]}
    if content:
        response["content"] = content
    return response


def _event(data: dict[str, Any]) -> dict[str, Any]:
    """One server-sent event. Source: OpenAPI Specification 3.2.0, section 4.14.4, "Server-Sent Event Streams"."""
    fields = {
        "data": {"type": "string", "contentMediaType": JSON, "contentSchema": data},
        "event": {"type": "string"},
    }
    return {"type": "object", "required": ["data"], "properties": fields}
