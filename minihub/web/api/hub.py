"""About the hub itself; and what a starting job reports to it."""

from __future__ import annotations

import sys
from typing import Annotated

from aiohttp import web
from pydantic import Field, StrictInt

import minihub
from minihub.errors import Conflict
from minihub.web.api.call import Call
from minihub.web.api.endpoint import Nothing, Wish
from minihub.web.api.models import ClassModel, InfoModel, VersionModel
from minihub.web.api.replies import no_content, reply

API_VERSION = "5.0.0"
"""Of the JupyterHub API whose shapes we speak."""


class PortReport(Wish):
    """A launcher says where its Jupyter listens."""

    secret: Annotated[str, Field(max_length=256)]
    """The attempt's own, which only its job knows."""
    port: StrictInt | None
    """null: nowhere yet, but the job runs."""


async def version(_: Call[Nothing, Nothing]) -> web.Response:
    """GET /: tools of JupyterHub ask first."""
    answer = reply(VersionModel(version=API_VERSION, minihub=minihub.__version__))
    answer.headers["Access-Control-Allow-Origin"] = "*"
    return answer


async def health(_: Call[Nothing, Nothing]) -> web.Response:
    """GET /health: the hub answers."""
    return web.Response(text="ok\n")


async def info(call: Call[Nothing, Nothing]) -> web.Response:
    """GET /info."""
    call.require("read:hub")
    python = sys.version.replace("\n", " ")
    spawner = f"minihub.schedulers.{call.deps.servers.health().name}"
    return reply(
        InfoModel(
            version=minihub.__version__,
            python=python,
            sys_executable=sys.executable,
            spawner=ClassModel(klass=spawner, version=minihub.__version__),
            authenticator=ClassModel(klass="minihub.auth.pam", version=minihub.__version__),
        )
    )


async def report(call: Call[Nothing, PortReport]) -> web.Response:
    """POST /report: exactly {"secret", "port"}."""
    if not await call.deps.servers.report(call.body.secret, call.body.port):
        raise Conflict("Nobody waits for this report.")
    return no_content()
