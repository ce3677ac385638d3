"""What the hub counts of itself and of servers, as Prometheus reads it: for admins and for tokens made for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from aiohttp import web

from minihub.servers.model import State
from minihub.servers.service import SchedulerHealth
from minihub.web.api.access import asker, require
from minihub.web.deps import Deps, Figures
from minihub.web.keys import DEPS

Sample = tuple[str, float]
"""Labels as they stand between braces, and the value."""


async def show(request: web.Request) -> web.Response:
    """GET /hub/metrics, by an admin or a token with the scope read:metrics."""
    require(await asker(request), "read:metrics")
    text = "".join(_lines(request.app[DEPS]))
    # Source: Prometheus, "Exposition formats", text-based format 0.0.4.
    return web.Response(
        body=text.encode(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
    )


def _lines(deps: Deps) -> Iterator[str]:
    states = Counter(attempt.state for attempt in deps.servers.all())
    live = [(f'state="{state.value}"', float(states[state])) for state in State if not state.is_final]
    yield from _family("servers", "gauge", "Users' servers by state.", live)
    yield from _of_figures(deps.figures())
    yield from _of_scheduler(deps.servers.health(), deps.clock.wall())


def _of_figures(figures: Figures) -> Iterator[str]:
    kinds = [(f'task="{kind}"', float(count)) for kind, count in sorted(figures.crashes.items())]
    yield from _family("task_crashes_total", "counter", "Background tasks that died, by kind.", kinds)
    for name, kind, what, value in (
        ("loop_stalls_total", "counter", "Times that the event loop was held up for more than 100 ms.", figures.stalls),
        ("loop_stall_seconds_total", "counter", "All of these stalls together.", figures.stalls_total_s),
        ("loop_stall_longest_seconds", "gauge", "The longest of them.", figures.longest_stall_s),
        (
            "loop_stalls_own_total", "counter",
            "Those in which the hub itself computed for more than 100 ms; in the others the machine had other things to do.",
            figures.own_stalls,
        ),
        (
            "loop_stall_own_longest_seconds", "gauge", "The longest time that the event loop computed in a stall.",
            figures.own_longest_stall_s,
        ),
        ("tasks", "gauge", "Tasks of the event loop.", figures.tasks),
        ("connections", "gauge", "Connections from outside, websockets among them.", figures.connections),
        ("store_commits_total", "counter", "Transactions written.", figures.store_commits),
        ("store_failures_total", "counter", "Transactions that could not be written or read.", figures.store_failures),
        ("store_unsaved_servers", "gauge", "Servers whose present state could not be written down yet.", figures.unsaved),
    ):  # fmt: skip
        yield from _single(name, kind, what, value)


def _of_scheduler(health: SchedulerHealth, now: float) -> Iterator[str]:
    answers = health.failing_since is None and health.last_answer_at is not None
    yield from _single("scheduler_up", "gauge", "Whether the last listing was answered.", float(answers))
    if health.last_answer_at is not None:
        age = "Since the last good listing."
        yield from _single("scheduler_answer_age_seconds", "gauge", age, now - health.last_answer_at)
    if health.listing_took_s is not None:
        yield from _single("listing_seconds", "gauge", "What the last listing took.", health.listing_took_s)
    unknown = "Jobs that carry this hub's tag but are not in its records."
    yield from _single("unknown_jobs", "gauge", unknown, len(health.unknown_jobs))


def _single(name: str, kind: str, what: str, value: float) -> Iterator[str]:
    return _family(name, kind, what, [("", value)])


def _family(name: str, kind: str, what: str, samples: Iterable[Sample]) -> Iterator[str]:
    yield f"# HELP minihub_{name} {what}\n# TYPE minihub_{name} {kind}\n"
    for labels, value in samples:
        braces = f"{{{labels}}}" if labels else ""
        yield f"minihub_{name}{braces} {value:.10g}\n"
