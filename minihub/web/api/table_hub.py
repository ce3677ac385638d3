"""Endpoints about the hub itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from minihub.web.api import admin, documents, hub
from minihub.web.api.endpoint import CONFLICT, HTML, TEXT, Answer, Asker, Endpoint
from minihub.web.api.models import (
    AnnouncementModel,
    AuditModel,
    InfoModel,
    ReportModel,
    RouteModel,
    RoutesPageModel,
    SchedulerModel,
    VersionModel,
)
from minihub.web.api.replies import Paged, PageModel

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
    Endpoint(
        "GET",
        "/scheduler",
        admin.scheduler,
        "How the hub's view of the scheduler is",
        "`read:hub`",
        (Answer(200, "Its last answer, the age and cost of it, troubles, unknown jobs.", SchedulerModel),),
    ),
    Endpoint(
        "GET",
        "/proxy",
        admin.routes,
        "Which path leads where",
        "`proxy`",
        (Answer(200, "Routes by path; paginated if asked for.", dict[str, RouteModel] | RoutesPageModel),),
        query=Paged,
    ),
    Endpoint(
        "GET",
        "/audit",
        admin.audit,
        "The audit log",
        "`read:audit`",
        (
            Answer(
                200, "Lines, newest first; paginated if asked for.", list[AuditModel] | PageModel[AuditModel]
            ),
        ),
        query=admin.AuditWish,
    ),
    Endpoint(
        "GET",
        "/announcements",
        admin.announcements,
        "What every page shows on top",
        "any token",
        (Answer(200, "Those that have not expired, newest first.", list[AnnouncementModel]),),
    ),
    Endpoint(
        "POST",
        "/announcements",
        admin.announce,
        "Tell everybody something",
        "`admin:announcements`",
        (Answer(201, "The new announcement.", AnnouncementModel),),
        "Not idempotent: each call makes another one.",
        body=admin.NewAnnouncement,
    ),
    Endpoint(
        "DELETE",
        "/announcements/{id}",
        admin.withdraw,
        "End an announcement",
        "`admin:announcements`",
        (Answer(204, "It is shown no more."),),
        "Doing it again is 404 and changes nothing.",
    ),
    Endpoint(
        "POST",
        "/shutdown",
        admin.shut_down,
        "End the hub",
        "`shutdown`",
        (Answer(202, "It is going down, in order, as by SIGTERM.", ReportModel),),
        'Users\' servers stay up, and the next hub takes them over; with `{"servers": true}` they are stopped too. '
        "Whether the hub is started again is its service manager's business.",
        body=admin.Shutdown,
    ),
)
