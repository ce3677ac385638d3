"""One user's server: start, look, wait, stop; and what JupyterHub answers where named servers are off."""

from __future__ import annotations

from typing import Annotated, Any

from aiohttp import web
from pydantic import Field, model_validator

from minihub.errors import NotFound
from minihub.servers.model import Attempt, State, StopCause
from minihub.web.api.build import progress_model
from minihub.web.api.call import Call
from minihub.web.api.endpoint import Nothing, Wish
from minihub.web.api.models import StartRefusedModel
from minihub.web.api.people import draw_server
from minihub.web.api.problems import BadRequest
from minihub.web.api.replies import dump, no_content, reply
from minihub.web.keys import KEEPER, STREAMS
from minihub.web.respond import translator
from minihub.web.sse import EventStream

STOP_WAIT_S = 2.0
"""How long DELETE waits for the end, to answer 204 rather than 202."""
NO_NAMED = "Named servers are not enabled: every user has one server, whose name is empty."

Text = Annotated[str, Field(max_length=128)]
Number = Annotated[float, Field(ge=-1e12, le=1e12)] | Text


class UserOptions(Wish):
    """Server options, with the names that the form has. What is possible: GET /options/schema."""

    time_hours: Number | None = None
    cores: Number | None = None
    memory_mb: Number | None = None
    interface: Text | None = None
    account: Text | None = None
    qos: Text | None = None
    partition: Text | None = None
    reservation: Text | None = None
    gpu_type: Text | None = None
    gpu_count: Number | None = None
    rescue: bool | Text | None = None


class Start(UserOptions):
    """How to start: {"user_options": {...}}; or, as of old, the options alone; or nothing, which repeats the last ones."""

    user_options: UserOptions | None = None
    display_name: Annotated[str, Field(max_length=256)] | None = None
    """Accepted as JupyterHub does, and not used: there is one server."""

    @model_validator(mode="after")
    def _one_way(self) -> Start:
        if self.user_options is not None and self.model_fields_set - {"user_options", "display_name"}:
            msg = "Give options either in user_options or beside it, not both."
            raise ValueError(msg)
        return self

    @property
    def options(self) -> dict[str, Any]:
        """As `Servers.start` takes them."""
        if self.user_options is not None:
            return self.user_options.model_dump(exclude_unset=True)
        return self.model_dump(exclude_unset=True, exclude={"user_options", "display_name"})


class Stop(Wish):
    """How to stop."""

    remove: bool | None = None
    """Of named servers, which there are none of: not used."""


async def show(call: Call[Nothing, Nothing]) -> web.Response:
    """GET /users/NAME/server."""
    attempt = call.deps.servers.get(call.about("read:servers"))
    if attempt is None:
        raise NotFound("This user has no server.")
    return reply(draw_server(call, attempt))


async def start(call: Call[Nothing, Start]) -> web.Response:
    """POST /users/NAME/server."""
    name = call.about("start:servers")
    deps, asker = call.deps, call.principal.user
    if name != asker and await deps.users.get(name) is None:
        raise NotFound("There is no such user: nobody of this name has logged in yet.")
    attempt, made = await deps.servers.start(name, call.body.options or None, by=asker)
    if made:
        await call.audit("start", name)
    elif attempt.state is State.READY:
        return _runs_already(call, attempt)
    return reply(draw_server(call, attempt), 202)


def _runs_already(call: Call[Any, Any], attempt: Attempt) -> web.Response:
    message = f"{attempt.user}'s server is already running."
    refusal = StartRefusedModel(status=400, message=message, server=draw_server(call, attempt))
    return reply(refusal, 400)


async def stop(call: Call[Nothing, Stop]) -> web.Response:
    """DELETE /users/NAME/server."""
    name = call.about("delete:servers")
    deps, asker = call.deps, call.principal.user
    if deps.servers.get(name) is None:
        await call.about_known("delete:servers")
    cause = StopCause.API if name == asker else StopCause.ADMIN
    attempt = await deps.servers.stop(name, cause, by=asker)
    if attempt is None or not attempt.is_live:
        return no_content()
    await call.audit("stop", name)
    if await deps.servers.wait_final(name, STOP_WAIT_S):
        return no_content()
    return reply(draw_server(call, deps.servers.get(name) or attempt), 202)


async def progress(call: Call[Nothing, Nothing]) -> web.StreamResponse:
    """GET /users/NAME/server/progress."""
    name = call.about("read:servers")
    app, say = call.request.app, translator(call.request)
    attempt = call.deps.servers.get(name)
    if attempt is None or (not attempt.is_live and attempt.state is not State.FAILED):
        raise BadRequest(f"{name}'s server is not starting.")
    async with EventStream(call.request, app[STREAMS], app[KEEPER]) as stream:
        async for event in call.deps.servers.progress(name):
            await stream.send(dump(progress_model(event, call.urls, name, say.message(event.message))))
    return stream.response


# ---- named servers: there are none ----------------------------------------------------------------------------------


async def no_named_look(call: Call[Nothing, Nothing]) -> web.Response:
    """GET /users/NAME/servers/X: there is none."""
    name = call.about("read:servers")
    raise NotFound(f"{name} has no server named {call.request.match_info['server']}.")


async def no_named_start(call: Call[Nothing, Nothing]) -> web.Response:
    """POST, PUT or PATCH of /users/NAME/servers/X."""
    call.about("start:servers")
    raise BadRequest(NO_NAMED)


async def no_named_stop(call: Call[Nothing, Stop]) -> web.Response:
    """DELETE /users/NAME/servers/X."""
    call.about("delete:servers")
    raise BadRequest(NO_NAMED)
