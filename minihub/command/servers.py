"""`minihub servers`: list, show, stop."""

from __future__ import annotations

import argparse
import asyncio
from typing import Any

from minihub.clock import SystemClock
from minihub.command.failures import DONE, FAILED, NOT_FOUND, CommandFailed, NotThere, WrongUsage
from minihub.command.link import Link, path_to
from minihub.command.show import Column, Model, confirm, note, print_facts, print_json, print_table
from minihub.command.times import format_moment, format_span, moment_of, seconds_between

MOST_NAMED = 1_000
"""The most users that the API takes at once."""
LOOK_EVERY_S = 1.0
"""Between two looks at what has not ended yet."""
_FILTERS = {
    "state": "state",
    "node": "node",
    "account": "account",
    "partition": "partition",
    "older_than": "older_than_s",
    "idle_longer": "idle_longer_s",
}
"""Options, and what the API calls them."""


async def listing(hub: Link, options: argparse.Namespace) -> int:
    """`minihub servers list`."""
    query = {**_chosen(options), "user": options.user, "sort": options.sort}
    found = await hub.listed("/servers", query)
    if options.json:
        print_json(found.items)
    else:
        print_table(
            _columns(), found.items, empty="no server matches" if any(query.values()) else "no server lives"
        )
    return DONE


def _chosen(options: argparse.Namespace) -> dict[str, Any]:
    return {
        name: value for option, name in _FILTERS.items() if (value := getattr(options, option)) is not None
    }


def _columns() -> list[Column]:
    now = moment_of(SystemClock().wall())

    def idle(server: Model) -> str:
        return format_span(seconds_between(server.get("last_activity"), now))

    return [
        Column("user", lambda s: s.get("user")),
        Column("state", lambda s: s.get("state")),
        Column("job", lambda s: _job(s).get("id"), right=True),
        Column("node", lambda s: _job(s).get("node")),
        Column("partition", lambda s: _job(s).get("partition"), spare=5),
        Column("account", lambda s: _job(s).get("account"), spare=4),
        Column("resources", resources_of, spare=6),
        Column("elapsed", lambda s: format_span(_job(s).get("elapsed_s")), right=True, spare=3),
        Column("left", lambda s: format_span(_job(s).get("time_left_s")), right=True),
        Column("idle", idle, right=True, spare=1),
        Column("reason", lambda s: _job(s).get("reason"), spare=2),
    ]


def _job(server: Model) -> Model:
    job = server.get("job")
    return job if isinstance(job, dict) else {}


def resources_of(server: Model) -> str:
    """Cores, memory and GPUs of a server model, in short."""
    asked = _job(server).get("resources")
    if not isinstance(asked, dict):
        return ""
    memory = asked.get("memory_mb") or 0
    size = f"{memory / 1024:g}G" if memory and memory % 1024 == 0 else f"{memory}M"
    gpus = asked.get("gpu_count") or 0
    more = f" {gpus}x{asked.get('gpu_type') or 'gpu'}" if gpus else ""
    return f"{asked.get('cores', '?')}c {size}{more}"


async def show(hub: Link, options: argparse.Namespace) -> int:
    """`minihub servers show`."""
    server = await hub.get(path_to("users", options.user, "server"))
    if options.json:
        print_json(server)
    else:
        print_server(options.user, server)
    return DONE


def print_server(user: str, server: Model) -> None:
    """One server, line by line."""
    job, failure = _job(server), server.get("failure") or {}
    print_facts(
        [
            ("user", user),
            ("state", server.get("state")),
            ("job", job.get("id")),
            ("job's state", job.get("state")),
            ("reason", job.get("reason")),
            ("node", job.get("node")),
            ("partition", job.get("partition")),
            ("account", job.get("account")),
            ("resources", resources_of(server)),
            ("interface", (server.get("user_options") or {}).get("interface")),
            ("submitted", format_moment(job.get("submitted"))),
            ("expected start", format_moment(job.get("expected_start"))),
            ("started", format_moment(job.get("started"))),
            ("elapsed", format_span(job.get("elapsed_s"))),
            ("time left", format_span(job.get("time_left_s"))),
            ("last used", format_moment(server.get("last_activity"))),
            ("ended", format_moment(server.get("ended"))),
            ("how it ended", job.get("outcome")),
            ("what happened", failure.get("message")),
            ("why", failure.get("reason")),
            ("advice", failure.get("advice")),
            ("address", server.get("full_url") or server.get("url")),
        ]
    )


# ---- stop -----------------------------------------------------------------------------------------------------------


async def stop(hub: Link, options: argparse.Namespace) -> int:
    """`minihub servers stop`: shows which ones, asks, stops exactly those."""
    names, chosen = list(dict.fromkeys(options.user)), _chosen(options)
    _verify_stop(options, names, chosen)
    work = _ByName(hub, names) if names and not chosen else _ByChoice(hub, names, chosen)
    found = await work.find()
    missing = [name for name in names if name not in {server["user"] for server in found}]
    if not options.json:
        _tell_choice(found, missing)
    stopped, living = 0, [server["user"] for server in found]
    if found and not options.dry_run and _agreed(found, options):
        stopped = await work.stop(living)
        note(f"stopping {stopped} of {len(found)}")
        if options.wait:
            living = await _outlast(hub, living, options.wait)
    if options.json:
        answer = {"dry_run": options.dry_run, "servers": found, "stopped": stopped, "missing": missing}
        print_json({**answer, "living": living} if options.wait else answer)
    if not options.dry_run and (stopped < len(found) or (options.wait and living)):
        return FAILED
    return NOT_FOUND if missing else DONE


async def _outlast(hub: Link, names: list[str], wait_s: float) -> list[str]:
    """Those of `names` whose servers still live after `wait_s` seconds; returns as soon as none does."""
    clock = SystemClock()
    ends = clock.monotonic() + wait_s
    left = [name for name in names if await _living(hub, name)]
    while left and clock.monotonic() < ends:
        await asyncio.sleep(min(LOOK_EVERY_S, wait_s))
        left = [name for name in left if await _living(hub, name)]
    note(f"ended: {len(names) - len(left)} of {len(names)}")
    for name in left:
        note(f"{name}: has not ended in {format_span(wait_s)}; minihub servers show {name}")
    return left


async def _living(hub: Link, name: str) -> Model | None:
    """The model of this user's server, if there is one that has not ended."""
    try:
        server = await hub.get(path_to("users", name, "server"))
    except NotThere:
        return None
    return None if server.get("stopped") else server


def _verify_stop(options: argparse.Namespace, names: list[str], chosen: dict[str, Any]) -> None:
    if options.all and (names or chosen):
        raise WrongUsage("--all stops all servers: no names and no other choice beside it")
    if not (options.all or names or chosen):
        raise WrongUsage(
            "which servers? Name users, or --node, --account, --partition, --state, ..., or --all"
        )
    if options.json and not (options.yes or options.dry_run):
        raise WrongUsage("--json asks nobody: say --yes, or --dry-run to see which ones it would be")


def _tell_choice(found: list[dict[str, Any]], missing: list[str]) -> None:
    if found:
        print_table(_STOP_COLUMNS, found)
    elif not missing:
        note("nothing to stop")
    for name in missing:
        note(f"{name}: no such server lives")


def _agreed(found: list[dict[str, Any]], options: argparse.Namespace) -> bool:
    what = "this server" if len(found) == 1 else f"these {len(found)} servers"
    if confirm(f"Stop {what}? What runs in them is lost.", yes=options.yes):
        return True
    note("nothing was stopped")
    return False


_STOP_COLUMNS = [
    Column("user", lambda s: s.get("user")),
    Column("state", lambda s: s.get("state")),
    Column("job", lambda s: s.get("job_id"), right=True),
    Column("node", lambda s: s.get("node")),
]


class _ByName:
    """Named users' servers, one by one: that needs no right on everybody's."""

    def __init__(self, hub: Link, names: list[str]) -> None:
        self._hub = hub
        self._names = names

    async def find(self) -> list[dict[str, Any]]:
        found = []
        for name in self._names:
            server = await _living(self._hub, name)
            if server is not None:
                job = _job(server)
                row = {
                    "user": name,
                    "state": server.get("state"),
                    "job_id": job.get("id"),
                    "node": job.get("node"),
                }
                found.append(row)
        return found

    async def stop(self, names: list[str]) -> int:
        done = 0
        for name in names:
            try:
                await self._hub.delete(path_to("users", name, "server"))
            except NotThere:
                done += 1  # gone meanwhile
            except CommandFailed as error:
                note(f"{name}: {error.user_message}")
            else:
                done += 1
        return done


class _ByChoice:
    """All servers that a choice names, at once."""

    def __init__(self, hub: Link, names: list[str], chosen: dict[str, Any]) -> None:
        self._hub = hub
        # Every server is older than nothing.
        self._body = {**(chosen or {"older_than_s": 0}), **({"users": names} if names else {})}

    async def find(self) -> list[dict[str, Any]]:
        answer = await self._hub.post("/servers/stop", {**self._body, "dry_run": True})
        return list(answer["servers"])

    async def stop(self, names: list[str]) -> int:
        # Those that were shown, as far as they still are what was chosen: none that came in between.
        done = 0
        for begin in range(0, len(names), MOST_NAMED):
            body = {**self._body, "users": names[begin : begin + MOST_NAMED], "dry_run": False}
            done += int((await self._hub.post("/servers/stop", body))["stopped"])
        return done
