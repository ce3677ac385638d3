"""All servers: the live ones, stopping several of them, and those of the past."""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

from aiohttp import web
from pydantic import Field, model_validator

from minihub.servers.model import Attempt, StopCause
from minihub.store.rows import HistoryQuery
from minihub.web.api.build import maybe, outcome_of, timestamp
from minihub.web.api.call import Call
from minihub.web.api.endpoint import CSV, Nothing, Wish
from minihub.web.api.models import RunningModel, StopChoiceModel, StopsModel
from minihub.web.api.moments import parse_moment
from minihub.web.api.people import drawer
from minihub.web.api.replies import MAX_PAGE, AtLeastOne, Paged, reply, reply_page

MAX_CSV_ROWS = 10_000
MAX_NAMED = 1_000

LiveState = Literal["submitting", "queued", "starting", "ready", "stopping"]
Word = Annotated[str, Field(min_length=1, max_length=256)]
Age = Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False)]
ServerSort = Literal[
    "user",
    "state",
    "node",
    "created",
    "last_activity",
    "-user",
    "-state",
    "-node",
    "-created",
    "-last_activity",
]


class ServersQuery(Paged):
    """Which live servers; all conditions hold together."""

    state: LiveState | None = None
    user: Word | None = None
    node: Word | None = None
    account: Word | None = None
    partition: Word | None = None
    older_than_s: Age | None = None
    """Started longer ago than so many seconds."""
    idle_longer_s: Age | None = None
    """No traffic through the hub for longer than so many seconds."""
    sort: ServerSort = "user"
    """In which order; with - the other way round."""


class Stops(Wish):
    """Which servers are to be stopped: at least one condition, and all that are given hold together."""

    users: Annotated[list[Word], Field(min_length=1, max_length=MAX_NAMED)] | None = None
    node: Word | None = None
    account: Word | None = None
    partition: Word | None = None
    state: LiveState | None = None
    older_than_s: Age | None = None
    idle_longer_s: Age | None = None
    dry_run: bool = True
    """Only say which they are. Must be false for anything to be stopped."""

    @model_validator(mode="after")
    def _chooses(self) -> Stops:
        if all(value is None for name, value in self if name != "dry_run"):
            msg = "Say which servers: users, node, account, partition, state, older_than_s or idle_longer_s."
            raise ValueError(msg)
        return self


class HistoryWish(Paged):
    """Which servers of past and present."""

    limit: AtLeastOne = MAX_PAGE
    """How many at most: at most 200, or as CSV 10000."""
    user: Word | None = None
    """Whose; without it everybody's, or one's own if the asker may see no others."""
    since: Annotated[str, Field(max_length=64)] | None = None
    """Begun then or later: ISO 8601, or how long ago (24h, 7d)."""
    until: Annotated[str, Field(max_length=64)] | None = None
    """Begun before then."""
    format: Literal["json", "csv"] | None = None
    """csv does the same as Accept: text/csv."""


async def listing(call: Call[ServersQuery, Nothing]) -> web.Response:
    """GET /servers."""
    call.require("read:servers")
    wanted = call.query
    chosen = [a for a in call.deps.servers.all() if _matches(call, a, wanted)]
    if wanted.user is not None:
        chosen = [attempt for attempt in chosen if attempt.user == wanted.user]
    chosen.sort(key=_order(call, wanted.sort), reverse=wanted.sort.startswith("-"))
    page = chosen[wanted.offset : wanted.offset + wanted.most]
    return reply_page(call, _draw(call, page), len(chosen))


def _matches(call: Call[Any, Any], attempt: Attempt, wanted: ServersQuery | Stops) -> bool:
    """Whether a live server is among those wanted, users apart."""
    return (
        wanted.state in (None, attempt.state.value)
        and wanted.node in (None, attempt.node)
        and wanted.account in (None, attempt.options.account)
        and wanted.partition in (None, attempt.options.partition)
        and (wanted.older_than_s is None or call.now - attempt.created_at > wanted.older_than_s)
        and (wanted.idle_longer_s is None or call.now - _active(call, attempt) > wanted.idle_longer_s)
    )


def _active(call: Call[Any, Any], attempt: Attempt) -> float:
    return max(
        call.deps.servers.last_activity(attempt.user) or 0.0, attempt.last_activity or attempt.changed_at
    )


def _order(call: Call[Any, Any], sort: str) -> Callable[[Attempt], Any]:
    keys: dict[str, Callable[[Attempt], Any]] = {
        "user": lambda a: a.user,
        "state": lambda a: (a.state.value, a.user),
        "node": lambda a: (a.node or "", a.user),
        "created": lambda a: (a.created_at, a.user),
        "last_activity": lambda a: (_active(call, a), a.user),
    }
    return keys[sort.removeprefix("-")]


def _draw(call: Call[Any, Any], attempts: Sequence[Attempt]) -> list[RunningModel]:
    draw = drawer(call)
    return [RunningModel(**draw.server_fields(attempt), user=attempt.user) for attempt in attempts]


async def stop(call: Call[Nothing, Stops]) -> web.Response:
    """POST /servers/stop."""
    call.require("delete:servers")
    wanted = call.body
    named = None if wanted.users is None else set(wanted.users)
    chosen = [
        attempt
        for attempt in call.deps.servers.all()
        if (named is None or attempt.user in named) and _matches(call, attempt, wanted)
    ]
    if not wanted.dry_run:
        await stop_all(call, chosen)
    models = [StopChoiceModel(user=a.user, state=a.state.value, job_id=a.job_id, node=a.node) for a in chosen]
    return reply(
        StopsModel(dry_run=wanted.dry_run, servers=models, stopped=0 if wanted.dry_run else len(chosen))
    )


async def stop_all(call: Call[Any, Any], attempts: Sequence[Attempt]) -> None:
    """Want the end of several servers; the failure of one keeps none of the others.

    Raises:
        HubError: The first failure, when all have been tried.
    """
    asker = call.principal.user
    outcomes = await asyncio.gather(
        *(call.deps.servers.stop(a.user, StopCause.ADMIN, by=asker) for a in attempts), return_exceptions=True
    )
    done = [
        a for a, outcome in zip(attempts, outcomes, strict=True) if not isinstance(outcome, BaseException)
    ]
    # At once: what is written together shares a commit.
    await asyncio.gather(*(call.audit("stop", attempt.user) for attempt in done))
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome


# ---- history --------------------------------------------------------------------------------------------------------


async def history(call: Call[HistoryWish, Nothing]) -> web.Response:
    """GET /history."""
    wanted = call.query
    user = wanted.user
    if user is None and not call.may("read:servers"):
        user = call.principal.user
    call.require("read:servers", user)
    as_csv = wanted.format == "csv" or (
        wanted.format is None and CSV in call.request.headers.get("Accept", "").lower()
    )
    limit = min(wanted.limit, MAX_CSV_ROWS) if as_csv else wanted.most
    if as_csv and "limit" not in wanted.model_fields_set:
        limit = MAX_CSV_ROWS
    since, until = (
        None if text is None else parse_moment(text, field, now=call.now)
        for field, text in (("since", wanted.since), ("until", wanted.until))
    )
    found, total = await call.deps.servers.past(HistoryQuery(user, since, until, limit, wanted.offset))
    if as_csv:
        # In a thread: 10 000 rows take 0.1 s, in which the hub must serve its users.
        return _csv(await asyncio.to_thread(_write_csv, found))
    return reply_page(call, _draw(call, found), total)


_COLUMNS: dict[str, Callable[[Attempt], Any]] = {
    "user": lambda a: a.user,
    "state": lambda a: a.state.value,
    "outcome": outcome_of,
    "created": lambda a: timestamp(a.created_at),
    "started": lambda a: maybe(a.started_at) if a.node else None,
    "ready": lambda a: maybe(a.ready_at),
    "ended": lambda a: maybe(a.ended_at),
    "job_id": lambda a: a.job_id,
    "job_state": lambda a: a.job_state,
    "node": lambda a: a.node,
    "account": lambda a: a.options.account,
    "partition": lambda a: a.options.partition,
    "qos": lambda a: a.options.qos,
    "cores": lambda a: a.options.cores,
    "memory_mb": lambda a: a.options.memory_mb,
    "gpu_type": lambda a: a.options.gpu_type,
    "gpu_count": lambda a: a.options.gpu_count,
    "time_hours": lambda a: a.options.time_hours,
    "interface": lambda a: a.options.interface,
    "message": lambda a: a.failure.message if a.failure else None,
    "reason": lambda a: a.failure.reason if a.failure else None,
}


def _write_csv(attempts: Sequence[Attempt]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(_COLUMNS)
    writer.writerows([_cell(column(attempt)) for column in _COLUMNS.values()] for attempt in attempts)
    return text.getvalue().encode()


def _csv(body: bytes) -> web.Response:
    return web.Response(
        body=body,
        headers={
            "Content-Type": f"{CSV}; charset=utf-8",
            "Content-Disposition": 'attachment; filename="minihub-history.csv"',
        },
    )


def _cell(value: Any) -> str:
    text = "" if value is None else str(value)
    # A spreadsheet would take it for a formula.
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
