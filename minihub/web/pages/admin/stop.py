"""An admin stops servers: one, those that are ticked, or all that pass a filter. Asks first."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from aiohttp import web

from minihub.errors import BadQuery, HubError
from minihub.servers.model import Attempt, State, StopCause
from minihub.web.client import client_address
from minihub.web.deps import Deps
from minihub.web.keys import DEPS, KEEPER, LIVE, URLS
from minihub.web.overview import Entry, choose, parse_wanted, row_of
from minihub.web.respond import page, translator, user_of

log = logging.getLogger(__name__)

AT_ONCE = 16
"""Each stop is a transaction of the store: so many wait for it at a time."""


class Outcome(Enum):
    """What became of the wish to stop one server."""

    STOPPING = "stopping"
    """It is being stopped, by this wish."""
    WAS_STOPPING = "was stopping"
    OVER = "over"
    """It had ended before."""
    ANOTHER = "another"
    """It had ended, and its user has started another one, which was not confirmed and is left alone."""
    FAILED = "failed"
    """The hub could not do it."""


@dataclass(frozen=True, slots=True)
class Result:
    """One server of those that were to be stopped."""

    user: str
    outcome: Outcome
    job_id: str = ""
    problem: str = ""
    """For FAILED: why, in the reader's words."""


async def ask(request: web.Request) -> web.Response:
    """Show what would be stopped: the ticked users' servers (`user`, repeated), or with `match` all that pass a filter."""
    tr = translator(request)
    entries, gone = _chosen(request)
    return page(
        request,
        "admin_stop.html",
        page_name="admin",
        tab="servers",
        rows=[row_of(entry, tr) for entry in entries],
        gone=gone,
        back=_back(request, request.query.get("back")),
    )


def _chosen(request: web.Request) -> tuple[Sequence[Entry], list[str]]:
    """The servers that are meant, and the names of ticked users who have none (any more)."""
    everybody = request.app[LIVE].entries()
    if request.query.get("match"):
        wanted = parse_wanted(request.query)
        if not wanted.is_filtered:
            raise BadQuery("Say which servers are meant: choose some, or a filter.")
        return choose(everybody, wanted), []
    names = list(dict.fromkeys(request.query.getall("user", [])))
    found = {entry.attempt.user: entry for entry in everybody}
    return [found[name] for name in names if name in found], [name for name in names if name not in found]


async def submit(request: web.Request) -> web.Response:
    """Stop what was confirmed (`servers`, one in each line: attempt id, space, user). Twice is once."""
    posted = await request.post()
    # One field, since aiohttp takes no form of more than a thousand.
    wanted = [_parse(line) for line in str(posted.get("servers", "")).splitlines()]
    deps, tr = request.app[DEPS], translator(request)
    if not wanted:
        raise BadQuery("Say which servers are meant: choose some, or a filter.")
    work = _Stopping(deps, user_of(request).user, client_address(request, deps.settings.hub))
    # Who closes the window at once has stopped them all the same.
    results = await request.app[KEEPER].carry_through(
        work.stop_all(dict.fromkeys(wanted)), name="stopping several"
    )
    return page(
        request,
        "admin_stopped.html",
        page_name="admin",
        tab="servers",
        results={
            outcome.name.lower(): [result for result in results if result.outcome is outcome]
            for outcome in Outcome
        },
        problems={result.user: tr.message(result.problem) for result in results},
        back=_back(request, str(posted.get("back", ""))),
    )


def _parse(text: str) -> tuple[str, str]:
    attempt_id, _, user = text.partition(" ")
    if not user:
        raise BadQuery("This form is damaged, so nothing was done. Go back, reload the page and try again.")
    return attempt_id, user


def _back(request: web.Request, path: str | None) -> str:
    urls = request.app[URLS]
    safe = urls.safe_path(path)
    return safe if safe.startswith(urls.admin) else urls.admin


@dataclass(frozen=True, slots=True)
class _Stopping:
    """One admin's wish."""

    deps: Deps
    admin: str
    address: str

    async def stop_all(self, wanted: Iterable[tuple[str, str]]) -> list[Result]:
        turns = asyncio.Semaphore(AT_ONCE)

        async def in_turn(attempt_id: str, user: str) -> Result:
            async with turns:
                return await self._stop(attempt_id, user)

        return await asyncio.gather(*(in_turn(attempt_id, user) for attempt_id, user in wanted))

    async def _stop(self, attempt_id: str, user: str) -> Result:
        present = self.deps.servers.get(user)
        if present is None or present.id != attempt_id or not present.is_live:
            newer = present is not None and present.is_live
            return Result(user, Outcome.ANOTHER if newer else Outcome.OVER)
        if present.state is State.STOPPING:
            return self._result(Outcome.WAS_STOPPING, present)
        try:
            after = await self.deps.servers.stop(user, StopCause.ADMIN, by=self.admin)
        except HubError as error:
            log.warning("%s: stop wanted by %s failed: %s", user, self.admin, error)
            await self._audit(user, "failed")
            return Result(user, Outcome.FAILED, problem=error.user_message)
        await self._audit(user, "ok")
        return self._result(Outcome.STOPPING, after or present)

    def _result(self, outcome: Outcome, attempt: Attempt) -> Result:
        return Result(attempt.user, outcome, attempt.job_id or "")

    async def _audit(self, user: str, outcome: str) -> None:
        await self.deps.audit("stop", user=self.admin, address=self.address, outcome=outcome, detail=user)
