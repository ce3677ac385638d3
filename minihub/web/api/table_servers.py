"""Endpoints about servers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from minihub.web.api import choices, running, server
from minihub.web.api.endpoint import CONFLICT, CSV, EVENTS, JSON, Answer, Endpoint
from minihub.web.api.models import (
    ErrorModel,
    EstimateModel,
    ProgressModel,
    RunningModel,
    ServerModel,
    StartRefusedModel,
    StopsModel,
)
from minihub.web.api.replies import PageModel

T = "Servers"
ALL = "All servers"
OPTIONS = "Server options"

_LOOK = Endpoint(
    "GET",
    "/users/{name}/server",
    server.show,
    "A user's server",
    "`read:servers`",
    (Answer(200, "The live one, or how the last one ended. 404 if there never was one.", ServerModel),),
    topic=T,
)
_START = Endpoint(
    "POST",
    "/users/{name}/server",
    server.start,
    "Start a user's server",
    "`start:servers`",
    (
        Answer(202, "It starts, or was starting already.", ServerModel),
        Answer(400, "It runs already, or options are wrong (`fields`).", StartRefusedModel),
        CONFLICT,
    ),
    "Without options the last ones hold. One user has one server: a second start shows the first, so repeating it is safe.",
    body=server.Start,
    topic=T,
)
_STOP = Endpoint(
    "DELETE",
    "/users/{name}/server",
    server.stop,
    "Stop a user's server",
    "`delete:servers`",
    (Answer(204, "It is gone, or there was none."), Answer(202, "It is stopping.", ServerModel)),
    "In whatever state it is. Repeating it is no error.",
    body=server.Stop,
    topic=T,
)
_PROGRESS = Endpoint(
    "GET",
    "/users/{name}/server/progress",
    server.progress,
    "Follow a start",
    "`read:servers`",
    (
        Answer(
            200,
            "Server-sent events, each with a ProgressModel as data, until ready or failed.",
            ProgressModel,
            (EVENTS,),
        ),
    ),
    "400 unless a server starts, is ready or has failed. A comment line every 15 s keeps proxies from closing the stream.",
    topic=T,
)
_NAMED = "/users/{name}/servers/{server}"

SERVER_ENDPOINTS = (
    _LOOK,
    _START,
    _STOP,
    _PROGRESS,
    # The default server by its empty name, as JupyterHub has it too.
    *(replace(e, path="/users/{name}/servers/", hidden=True) for e in (_LOOK, _START, _STOP)),
    replace(_PROGRESS, path="/users/{name}/servers//progress", hidden=True),
    Endpoint("GET", _NAMED, server.no_named_look, "A named server: always 404", "`read:servers`", (), topic=T),
    Endpoint("GET", f"{_NAMED}/progress", server.no_named_look, "Its start: always 404", "`read:servers`", (), topic=T),
    Endpoint(
        "POST", _NAMED, server.no_named_start, "Start a named server: always 400", "`start:servers`", (),
        body=server.Start, topic=T,
    ),
    Endpoint(
        "DELETE", _NAMED, server.no_named_stop, "Stop a named server: always 400", "`delete:servers`", (),
        body=server.Stop, topic=T,
    ),
    Endpoint(
        "GET", "/servers", running.listing, "All live servers", "`read:servers` on everybody",
        (Answer(200, "Server models with `user`; paginated if asked for.", list[RunningModel] | PageModel[RunningModel]),),
        query=running.ServersQuery, topic=ALL,
    ),
    Endpoint(
        "POST", "/servers/stop", running.stop, "Stop several servers", "`delete:servers` on everybody",
        (Answer(200, "Those that are concerned, as they were before.", StopsModel),),
        "A dry run unless `dry_run` is false. At least one condition is needed, and all that are given hold together. "
        "Repeating it is no error.",
        body=running.Stops, topic=ALL,
    ),
    Endpoint(
        "GET", "/history", running.history, "Servers of past and present",
        "`read:servers` on everybody; with it on oneself only, one's own",
        (
            Answer(
                200, "Server models with `user`, newest first; paginated if asked for. Or CSV.",
                list[RunningModel] | PageModel[RunningModel], (JSON, CSV),
            ),
        ),
        query=running.HistoryWish, topic=ALL,
    ),
    Endpoint(
        "GET", "/options/schema", choices.schema, "What may be asked for", "`start:servers` on oneself",
        (Answer(200, "A JSON Schema of `user_options` for the asker: choices, limits, defaults.", dict[str, Any]),),
        topic=OPTIONS,
    ),
    Endpoint(
        "POST", "/options/estimate", choices.estimate, "When such a server would start", "`start:servers` on oneself",
        (
            Answer(200, "The scheduler's guess.", EstimateModel),
            Answer(400, "Options are wrong (`fields`), or the scheduler would refuse them.", ErrorModel),
            Answer(429, "An estimate is being made already.", ErrorModel),
        ),
        "Starts nothing. One at a time per user.",
        body=server.UserOptions, topic=OPTIONS,
    ),
)  # fmt: skip
