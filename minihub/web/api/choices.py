"""Server options: what the asker may choose, and when such a server would start."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from minihub.config import OptionSettings
from minihub.errors import Forbidden, TooManyAttempts
from minihub.servers.service import OptionsForm
from minihub.web.api.build import maybe
from minihub.web.api.call import Call
from minihub.web.api.endpoint import Nothing
from minihub.web.api.models import EstimateModel
from minihub.web.api.replies import reply
from minihub.web.api.server import UserOptions
from minihub.web.keys import ESTIMATING
from minihub.web.options import OPTION_NAMES, gpus
from minihub.web.respond import json_response, translator

_TYPES = {
    "time_hours": "number",
    "cores": "integer",
    "memory_mb": "integer",
    "gpu_count": "integer",
    "rescue": "boolean",
}


async def schema(call: Call[Nothing, Nothing]) -> web.Response:
    """GET /options/schema."""
    form = await call.deps.servers.form(_verify_own(call))
    settings = call.deps.settings.options
    properties = {
        name: _property(name, getattr(settings, name), form)
        for name in OPTION_NAMES
        if name not in form.hidden
    }
    described: dict[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "user_options",
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
    }
    if problem := form.problem or form.warning:
        described["description"] = translator(call.request).message(problem)
    return json_response(described)


def _verify_own(call: Call[Any, Any]) -> str:
    """The asker's name, if he may start a server of his own.

    Raises:
        Forbidden: He may not, or has no account (he comes over the admin socket).
    """
    if call.principal.kind == "local":
        raise Forbidden("Options are those of a user: ask with a token of his.")
    call.require("start:servers", call.principal.user)
    return call.principal.user


def _property(name: str, rule: OptionSettings, form: OptionsForm) -> dict[str, Any]:
    kind = _TYPES.get(name, "string")
    found: dict[str, Any] = {"type": kind}
    if (value := form.values.get(name)) is not None:
        found["default"] = value
        if name in form.locked:
            found["const"] = value
    if kind in ("number", "integer"):
        least, most = rule.min, _most(name, rule, form)
        found |= {"minimum": 0 if least is None else least}
        found |= {} if most is None else {"maximum": most}
    elif kind == "string" and (choices := _choices(name, rule, form)):
        found["enum"] = choices
    return found


def _most(name: str, rule: OptionSettings, form: OptionsForm) -> float | None:
    known = {
        "time_hours": form.max_time_hours,
        "cores": form.max_cores,
        "memory_mb": form.max_memory_mb,
        "gpu_count": max(gpus(form.limits).values(), default=0) if form.limits else None,
    }
    bounds = [bound for bound in (rule.max, known.get(name)) if bound is not None]
    return min(bounds, default=None)


def _choices(name: str, rule: OptionSettings, form: OptionsForm) -> list[str]:
    limits = form.limits
    offered: dict[str, list[str]] = {"interface": list(form.interfaces), "account": list(form.accounts)}
    if limits is not None:
        offered |= {
            "partition": [partition.name for partition in limits.partitions],
            "qos": sorted({qos for one in limits.associations for qos in one.qos}),
            "reservation": list(limits.reservations),
            "gpu_type": list(gpus(limits)),
        }
    found = offered.get(name, [])
    return [choice for choice in found if choice in rule.choices] if rule.choices else found


async def estimate(call: Call[Nothing, UserOptions]) -> web.Response:
    """POST /options/estimate. One at a time per user: each costs a command."""
    user = _verify_own(call)
    busy = call.request.app[ESTIMATING]
    if user in busy:
        raise TooManyAttempts("An estimate is being made already.")
    busy.add(user)
    try:
        found = await call.deps.servers.estimate(user, call.body.model_dump(exclude_unset=True))
    finally:
        busy.discard(user)
    starts = found.starts_at
    return reply(
        EstimateModel(
            expected_start=maybe(starts),
            wait_s=None if starts is None else max(0.0, starts - call.now),
            message=translator(call.request).message(found.message),
        )
    )
