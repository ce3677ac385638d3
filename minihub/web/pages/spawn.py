"""Server options: the form, its estimate, and the start."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from minihub.errors import Conflict, HubError, OptionsError, SchedulerError, StoreError, TooManyAttempts
from minihub.servers.model import State
from minihub.servers.service import OptionsForm
from minihub.web.client import client_address
from minihub.web.keys import DEPS, ESTIMATING, URLS
from minihub.web.options import OPTION_NAMES, build_fields, loose_errors, raw_options
from minihub.web.respond import clock, json_response, page, redirect, translator, user_of

PREFIX = "opt-"
"""JupyterHub 6 writes options in links as ?opt-cores=2; plain names work too."""


async def show(request: web.Request) -> web.Response:
    """The form, or the server that exists already."""
    deps, urls = request.app[DEPS], request.app[URLS]
    user = user_of(request).user
    next_path = urls.safe_next(request.query.get("next"))
    attempt = deps.servers.get(user)
    if attempt is not None and attempt.is_live:
        opened = attempt.state is State.READY and (next_path or deps.open_url(attempt))
        return redirect(opened or urls.pending(user, next_path))
    prefill = {name.removeprefix(PREFIX): value for name, value in request.query.items()}
    prefill = {name: value for name, value in prefill.items() if name in OPTION_NAMES}
    form = await deps.servers.form(user, prefill or None)
    return _page(request, form, next_path)


async def submit(request: web.Request) -> web.Response:
    """Start a server: with the form's options, or ("again") with the last ones."""
    deps, urls = request.app[DEPS], request.app[URLS]
    user = user_of(request).user
    posted = await request.post()
    next_path = urls.safe_next(str(posted.get("next", "")))
    form: OptionsForm | None = None
    raw: dict[str, Any] | None = None
    if not posted.get("again"):
        form = await deps.servers.form(user)
        raw = raw_options(posted, form)
    try:
        _, made = await deps.servers.start(user, raw, by=user)
    except (OptionsError, Conflict, SchedulerError, StoreError) as error:
        form = form or await deps.servers.form(user)
        return _page(request, form, next_path, values=raw or {}, error=error)
    if made:
        address = client_address(request, deps.settings.hub)
        await deps.audit("start", user=user, address=address)
    return redirect(urls.pending(user, next_path, existing="" if made else "1"))


async def estimate(request: web.Request) -> web.Response:
    """When such a server would start, as the scheduler says (JSON). One at a time per user: each costs a command."""
    deps, tr = request.app[DEPS], translator(request)
    user, busy = user_of(request).user, request.app[ESTIMATING]
    if user in busy:
        raise TooManyAttempts("An estimate is being made already.")
    busy.add(user)
    try:
        form = await deps.servers.form(user)
        found = await deps.servers.estimate(user, raw_options(await request.post(), form))
    except OptionsError:
        raise
    except SchedulerError as error:
        # "It would be refused" is an answer too.
        return json_response({"starts_at": None, "message": tr.message(error.user_message), "refused": True})
    finally:
        busy.discard(user)
    now = clock(request).wall()
    return json_response(
        {
            "starts_at": found.starts_at,
            "at_once": found.starts_at is not None and found.starts_at <= now + 30,
            "message": tr.message(found.message),
            "refused": False,
        }
    )


def _page(
    request: web.Request,
    form: OptionsForm,
    next_path: str,
    *,
    values: Mapping[str, Any] | None = None,
    error: HubError | None = None,
) -> web.Response:
    deps, tr = request.app[DEPS], translator(request)
    errors = error.fields if isinstance(error, OptionsError) else {}
    fields = build_fields(form, deps.settings.options, tr, values, errors)
    general = loose_errors(fields, errors, tr)
    if error is not None and (not errors or len(general) < len(errors)):
        general.insert(0, tr.message(error.user_message))
    return page(
        request,
        "spawn.html",
        status=error.http_status if error else 200,
        page_name="spawn",
        fields=fields,
        errors=general,
        problem=tr.message(form.problem),
        warning=tr.message(form.warning),
        next_path=next_path,
        limits=form.limits,
    )
