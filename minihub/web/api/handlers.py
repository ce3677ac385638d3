"""The endpoints: read the request, ask the service, answer in JupyterHub's shapes."""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web

import minihub
from minihub.auth.model import Principal
from minihub.auth.scopes import allows
from minihub.errors import Conflict, HubError, NotFound
from minihub.servers.model import State, StopCause
from minihub.web.api.access import asker, asker_about, require
from minihub.web.api.models import progress_model, server_model, user_model, visible_part
from minihub.web.client import client_address
from minihub.web.keys import DEPS, KEEPER, STREAMS, URLS
from minihub.web.respond import json_response, translator
from minihub.web.sse import EventStream

STOP_WAIT_S = 2.0
"""How long DELETE waits for the end, to answer 204 rather than 202."""
MAX_PAGE = 200
MAX_USERS = 100_000


class BadRequest(HubError):
    """The request itself is wrong; says what."""

    http_status = 400


async def version(_: web.Request) -> web.Response:
    """GET /: which API this is; tools of JupyterHub ask first."""
    # The version is the one of the JupyterHub API whose shapes we speak; ours stands beside it.
    answer = json_response({"version": "5.0.0", "minihub": minihub.__version__})
    answer.headers["Access-Control-Allow-Origin"] = "*"
    return answer


async def whoami(request: web.Request) -> web.Response:
    """GET /user: who asks, and with what rights."""
    principal = await asker(request)
    model = await _user(request, principal, principal.user)
    scopes = (
        sorted(principal.scopes)
        if principal.kind == "token"
        else ["self", *(["admin"] if principal.admin else [])]
    )
    return json_response(
        {**model, "scopes": scopes, "token_id": principal.key if principal.kind == "token" else None}
    )


async def users(request: web.Request) -> web.Response:
    """GET /users: everybody the hub has seen."""
    principal = await asker(request)
    require(principal, "list:users")
    offset, limit = _number(request, "offset", 0), _number(request, "limit", MAX_PAGE)
    state = request.query.get("state", "")
    if state not in ("", "active", "ready", "inactive"):
        raise BadRequest("state is one of active, ready, inactive.")
    rows, _ = await request.app[DEPS].users.list(request.query.get("name_filter", ""), limit=MAX_USERS)
    chosen = [row.name for row in rows if _in_state(request, row.name, state)]
    page = [await _user(request, principal, name) for name in chosen[offset : offset + min(limit, MAX_PAGE)]]
    if "jupyterhub-pagination" not in request.headers.get("Accept", ""):
        return json_response(page)
    rest = offset + len(page)
    following = None
    if rest < len(chosen) and page:
        url = request.url.update_query(offset=str(rest), limit=str(limit))
        following = {"offset": rest, "limit": limit, "url": str(url)}
    pagination = {"offset": offset, "limit": limit, "total": len(chosen), "next": following}
    return json_response({"items": page, "_pagination": pagination})


def _number(request: web.Request, name: str, default: int) -> int:
    text = request.query.get(name, str(default))
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise BadRequest(f"{name} is a whole number, 0 or more.")
    return int(text)


def _in_state(request: web.Request, name: str, state: str) -> bool:
    attempt = request.app[DEPS].servers.get(name)
    live = attempt is not None and attempt.is_live
    ready = attempt is not None and attempt.state is State.READY
    return {"": True, "active": live, "ready": ready, "inactive": not live}[state]


async def user(request: web.Request) -> web.Response:
    """GET /users/NAME: as much of it as the asker may see."""
    principal, name = await asker_about(request, "read:users:name")
    return json_response(await _user(request, principal, name))


async def _user(request: web.Request, principal: Principal, name: str) -> dict[str, Any]:
    deps = request.app[DEPS]
    record = await deps.users.get(name)
    attempt = deps.servers.get(name)
    if record is None and attempt is None:
        raise NotFound("There is no such user, or none that you may know of.")
    model = user_model(
        name,
        attempt,
        request.app[URLS],
        admin=deps.is_admin(name),
        created=record.created_at if record else None,
        seen=record.last_seen if record else None,
        now=deps.clock.wall(),
    )
    return visible_part(model, lambda scope: allows(principal, scope, name))


async def server(request: web.Request) -> web.Response:
    """GET /users/NAME/server: the live one, or how the last one ended."""
    _, name = await asker_about(request, "read:servers")
    attempt = request.app[DEPS].servers.get(name)
    if attempt is None:
        raise NotFound("This user has no server.")
    return json_response(_server(request, name))


def _server(request: web.Request, name: str) -> dict[str, Any]:
    deps = request.app[DEPS]
    attempt = deps.servers.get(name)
    assert attempt is not None
    return server_model(attempt, request.app[URLS], now=deps.clock.wall())


async def start(request: web.Request) -> web.Response:
    """POST /users/NAME/server: 202 while it starts; one that is starting already is shown, not doubled."""
    principal, name = await asker_about(request, "start:servers")
    deps = request.app[DEPS]
    body = await _json_object(request)
    options = body.get("user_options", {k: v for k, v in body.items() if k != "display_name"})
    if options is not None and not isinstance(options, dict):
        raise BadRequest("user_options is an object.")
    if name != principal.user and await deps.users.get(name) is None:
        raise NotFound("There is no such user: nobody of this name has logged in yet.")
    attempt, made = await deps.servers.start(name, options or None, by=principal.user)
    if made:
        await deps.audit(
            "start", user=principal.user, address=client_address(request, deps.settings.hub), detail=name
        )
    elif attempt.state is State.READY:
        message = f"{name}'s server is already running."
        return json_response(
            {"status": 400, "message": message, "server": _server(request, name)}, status=400
        )
    return json_response(_server(request, name), status=202)


async def stop(request: web.Request) -> web.Response:
    """DELETE /users/NAME/server: 204 when it is gone, 202 while it stops; again is no error."""
    principal, name = await asker_about(request, "delete:servers")
    deps = request.app[DEPS]
    cause = StopCause.API if name == principal.user else StopCause.ADMIN
    attempt = await deps.servers.stop(name, cause, by=principal.user)
    if attempt is None or not attempt.is_live:
        return web.Response(status=204)
    await deps.audit(
        "stop", user=principal.user, address=client_address(request, deps.settings.hub), detail=name
    )
    gone = await deps.servers.wait_final(name, STOP_WAIT_S)
    return web.Response(status=204) if gone else json_response(_server(request, name), status=202)


async def progress(request: web.Request) -> web.StreamResponse:
    """GET /users/NAME/server/progress: events until it is ready or has failed."""
    _, name = await asker_about(request, "read:servers")
    deps, urls, say = request.app[DEPS], request.app[URLS], translator(request)
    attempt = deps.servers.get(name)
    if attempt is None or (not attempt.is_live and attempt.state is not State.FAILED):
        raise BadRequest(f"{name}'s server is not starting.")
    async with EventStream(request, request.app[STREAMS], request.app[KEEPER]) as stream:
        async for event in deps.servers.progress(name):
            await stream.send(progress_model(event, urls, name, say.message(event.message)))
    return stream.response


async def report(request: web.Request) -> web.Response:
    """POST /report: a launcher says where its Jupyter listens; exactly {"secret", "port"}. null: nowhere yet."""
    body = await _json_object(request)
    secret, port = body.get("secret"), body.get("port")
    if set(body) != {"secret", "port"} or not isinstance(secret, str) or type(port) not in (int, type(None)):
        raise BadRequest("Exactly a secret and a port are expected.")
    if not await request.app[DEPS].servers.report(secret, port):
        raise Conflict("Nobody waits for this report.")
    return web.Response(status=204)


async def unknown(request: web.Request) -> web.Response:
    """Whatever else is asked for under /hub/api: said only to those who may ask at all."""
    await asker(request)
    raise NotFound("There is no such endpoint.")


async def _json_object(request: web.Request) -> dict[str, Any]:
    raw = await request.read()
    if not raw.strip():
        return {}
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise BadRequest("The body is not valid JSON.") from error
    if not isinstance(body, dict):
        raise BadRequest("The body is a JSON object.")
    return body
