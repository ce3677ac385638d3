"""Endpoints about servers."""

from __future__ import annotations

from dataclasses import replace

from minihub.web.api import server
from minihub.web.api.endpoint import CONFLICT, EVENTS, Answer, Endpoint
from minihub.web.api.models import ProgressModel, ServerModel, StartRefusedModel

T = "Servers"

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
)  # fmt: skip
