"""The API's description: valid, whole, and made of what really reads and answers requests."""

from __future__ import annotations

import re
from dataclasses import fields

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from minihub.servers.model import ServerOptions
from minihub.web.api.endpoint import Asker
from minihub.web.api.server import UserOptions
from minihub.web.api.tables import ENDPOINTS
from tests.web.api.conformity import document, find_endpoint, problems

SHOWN = [endpoint for endpoint in ENDPOINTS if not endpoint.hidden]


async def test_the_document_is_valid(api):
    answer = await api.stranger().ask("GET", "/openapi.json")

    OpenAPIV31SpecValidator(answer.body).validate()
    assert answer.body["servers"] == [{"url": "/hub/api"}]
    assert answer.headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize("endpoint", SHOWN, ids=lambda e: f"{e.method} {e.path}")
def test_every_endpoint_is_described(endpoint):
    operation = document()["paths"][endpoint.path][endpoint.method.lower()]

    assert set(operation["responses"]) == {str(answer.status) for answer in endpoint.all_answers}
    assert endpoint.scope in operation["description"]
    assert bool(operation["security"]) is (endpoint.asker is not Asker.ANYBODY)
    assert {p["name"] for p in operation["parameters"] if p["in"] == "query"} == set(
        endpoint.query.model_fields
    )
    assert ("requestBody" in operation) == (endpoint.takes_body and bool(endpoint.body.model_fields))


def test_nothing_else_is_described():
    described = {(m.upper(), path) for path, methods in document()["paths"].items() for m in methods}
    assert described == {(endpoint.method, endpoint.path) for endpoint in SHOWN}


def test_what_changes_something_is_idempotent_or_says_that_it_is_not():
    words = (
        "repeating",
        "not idempotent",
        "again",
        "starts nothing",
        "second",
        "changes nothing",
        "refused",
        "end of",
    )
    for endpoint in SHOWN:
        if endpoint.method != "GET" and "always" not in endpoint.summary and endpoint.path != "/shutdown":
            assert any(word in endpoint.description.lower() for word in words), endpoint


def test_operation_ids_are_unique():
    ids = [operation["operationId"] for path in document()["paths"].values() for operation in path.values()]
    assert len(ids) == len(set(ids))


def test_options_are_those_of_servers():
    assert list(UserOptions.model_fields) == [field.name for field in fields(ServerOptions)] or set(
        UserOptions.model_fields
    ) == {field.name for field in fields(ServerOptions)}


def test_answers_that_are_not_described_are_noticed():
    """`problems` is what every answer of these tests is held against."""
    assert find_endpoint("GET", "/users/ada/server").handler.__name__ == "show"
    assert problems("GET", "/", 200, "application/json", {"version": "5.0.0", "minihub": "1"}) == []
    assert problems("GET", "/", 200, "application/json", {"version": 5, "minihub": "1"})
    assert problems("GET", "/", 200, "application/json", {"version": "5", "minihub": "1", "more": 1})
    assert problems("GET", "/", 200, "text/html", "x")
    assert problems("GET", "/", 201, "application/json", {})
    assert problems("DELETE", "/users/ada/server", 204, "application/json", {"x": 1})


async def test_the_description_for_people(api):
    answer = await api.stranger().ask("GET", "/docs")
    ids = re.findall(r'id="([^"]+)"', answer.body)

    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert len(ids) == len(set(ids))
    for endpoint in SHOWN:
        assert f"<code>{endpoint.method} {endpoint.path}</code>" in answer.body
    assert set(re.findall(r'href="#([^"]+)"', answer.body)) <= set(ids)
    assert not re.findall(r'(?:src|href)="https?:', answer.body), "no outside assets"
    assert "<script" not in answer.body.partition("</head>")[2]
    assert " style=" not in answer.body
