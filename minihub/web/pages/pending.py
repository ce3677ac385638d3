"""The waiting page: progress of a start or a stop, Cancel, and what went wrong."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

from aiohttp import web

from minihub.errors import NotFound
from minihub.servers.model import Attempt, State, StopCause
from minihub.servers.service import Progress
from minihub.web.client import client_address
from minihub.web.keys import DEPS, KEEPER, STREAMS, URLS
from minihub.web.respond import json_response, page, redirect, translator, user_of, view_of
from minihub.web.sse import EventStream
from minihub.web.view import scheduler_name
from minihub.web.words import duration


async def show(request: web.Request) -> web.Response:
    """The page itself, drawn from the present state; works by reloading where there is no JavaScript."""
    deps, urls = request.app[DEPS], request.app[URLS]
    user = _own_name(request)
    next_path = urls.safe_next(request.query.get("next"))
    attempt = deps.servers.get(user)
    if attempt is None:
        return redirect(urls.home)
    if attempt.state is State.READY:
        return redirect(next_path or deps.open_url(attempt))
    if attempt.state is State.STOPPED:
        return redirect(_after_stop(request, next_path))
    return page(
        request,
        "spawn_pending.html",
        page_name="spawn_pending",
        server=view_of(request, attempt, await _present(request, attempt)),
        next_path=next_path,
        existing=bool(request.query.get("existing")),
        after_stop=_after_stop(request, next_path),
        options_url=urls.spawn(next_path),
        waiting_words=_waiting_words(request),
        scheduler_age=_scheduler_age(request),
    )


async def state(request: web.Request) -> web.Response:
    """The present state as JSON, where event streams do not get through."""
    attempt = request.app[DEPS].servers.get(_own_name(request))
    if attempt is None:
        raise NotFound
    progress = await _present(request, attempt)
    return json_response(_event(request, attempt, progress))


async def events(request: web.Request) -> web.StreamResponse:
    """The progress as server-sent events, until ready, failed or stopped."""
    deps = request.app[DEPS]
    user = _own_name(request)
    if deps.servers.get(user) is None:
        raise NotFound
    stream = EventStream(request, request.app[STREAMS], request.app[KEEPER])
    async with stream, aclosing(deps.servers.progress(user)) as steps:  # type: ignore[type-var]
        async for step in steps:
            attempt = step.attempt or deps.servers.get(user)
            if attempt is not None:
                await stream.send(_event(request, attempt, step))
            if step.ready or step.failed or step.stopped:
                break
    return stream.response


async def stop(request: web.Request) -> web.Response:
    """Stop, in whatever state; the waiting page then shows how far it is."""
    deps, urls = request.app[DEPS], request.app[URLS]
    user = user_of(request).user
    next_path = urls.safe_next(str((await request.post()).get("next", "")))
    attempt = await deps.servers.stop(user, StopCause.USER, by=user)
    if attempt is None:
        return redirect(next_path or urls.home)
    address = client_address(request, deps.settings.hub)
    await deps.audit("stop", user=user, address=address)
    return redirect(urls.pending(user, next_path))


def _own_name(request: web.Request) -> str:
    # Whether another user exists or has a server is nobody's business.
    user = user_of(request).user
    if request.match_info["name"] != user:
        raise NotFound
    return user


def _after_stop(request: web.Request, next_path: str) -> str:
    # Back to a path on the stopped server would only offer to start it again.
    urls = request.app[URLS]
    return next_path if next_path.startswith(urls.hub) else urls.home


async def _present(request: web.Request, attempt: Attempt) -> Progress | None:
    """The first event of the progress is the present state."""
    if not attempt.is_live:
        return None
    async with aclosing(request.app[DEPS].servers.progress(attempt.user)) as steps:  # type: ignore[type-var]
        async for step in steps:
            return step
    return None


def _event(request: web.Request, attempt: Attempt, progress: Progress | None) -> dict[str, Any]:
    deps = request.app[DEPS]
    view = view_of(request, attempt, progress)
    return {
        **view.to_json(),
        "now": deps.clock.wall(),
        "url": deps.open_url(attempt) if attempt.state is State.READY else "",
        "waiting_words": _waiting_words(request),
        "scheduler_age": _scheduler_age(request),
        "scheduler_failing": deps.servers.health().failing_since is not None,
    }


def _waiting_words(request: web.Request) -> str:
    """How long the whole queue is, "" where nothing waits."""
    count = request.app[DEPS].servers.health().waiting_total
    if not count:
        return ""
    return translator(request).plural(
        "%(count)d job waits in the whole cluster", "%(count)d jobs wait in the whole cluster", count
    )


def _scheduler_age(request: web.Request) -> str:
    """How old our view of the scheduler is."""
    deps, tr = request.app[DEPS], translator(request)
    health = deps.servers.health()
    if health.last_answer_at is None:
        return ""
    age = duration(deps.clock.wall() - health.last_answer_at, tr)
    return tr("As %(scheduler)s said %(age)s ago.", scheduler=scheduler_name(health), age=age)
