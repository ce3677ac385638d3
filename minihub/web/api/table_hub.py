"""Endpoints about the hub itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from minihub.web.api import documents, hub
from minihub.web.api.endpoint import CONFLICT, HTML, TEXT, Answer, Asker, Endpoint
from minihub.web.api.models import InfoModel, VersionModel

_VERSION = Endpoint(
    "GET",
    "/",
    hub.version,
    "Which API this is",
    "none",
    (
        Answer(
            200, "The version of the JupyterHub API whose shapes are spoken, and the hub's own.", VersionModel
        ),
    ),
    asker=Asker.ANYBODY,
)

HUB_ENDPOINTS = (
    _VERSION,
    replace(_VERSION, path="", hidden=True),
    Endpoint(
        "GET",
        "/health",
        hub.health,
        "Whether the hub answers",
        "none",
        (Answer(200, "It does.", media=(TEXT,)),),
        asker=Asker.ANYBODY,
    ),
    Endpoint(
        "GET",
        "/openapi.json",
        documents.document,
        "This description",
        "none",
        (Answer(200, "An OpenAPI 3.1 document.", dict[str, Any]),),
        asker=Asker.ANYBODY,
    ),
    Endpoint(
        "GET",
        "/docs",
        documents.docs,
        "This description, for people",
        "none",
        (Answer(200, "A page.", media=(HTML,)),),
        asker=Asker.ANYBODY,
    ),
    Endpoint(
        "GET",
        "/info",
        hub.info,
        "About the hub's process",
        "`read:hub`",
        (Answer(200, "Versions and classes.", InfoModel),),
    ),
    Endpoint(
        "POST",
        "/report",
        hub.report,
        "Where a job's Jupyter listens",
        "the secret of a starting job",
        (Answer(204, "Written down."), CONFLICT),
        "For the launcher inside a job only. A second report of the same port changes nothing.",
        body=hub.PortReport,
        asker=Asker.ANYBODY,
    ),
)
