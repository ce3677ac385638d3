"""What the hub counts of itself and of servers, as Prometheus reads it: for admins, tokens and addresses made for it.

The rooms count in plain numbers (`Figures`); only here do these become Prometheus' families, when somebody asks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from aiohttp import hdrs, web
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

import minihub
from minihub.auth.request import may_read_metrics
from minihub.histogram import Histogram
from minihub.proxy.tally import BOUNDS_S, UNANSWERED, Tally
from minihub.schedulers.measures import CommandMeasures
from minihub.servers.measures import Measures
from minihub.servers.model import FailureKind, State, StopCause
from minihub.servers.service import SchedulerHealth
from minihub.web.api.access import asker, require
from minihub.web.client import client_address
from minihub.web.deps import Deps, Figures
from minihub.web.keys import DEPS

Samples = Iterable[tuple[tuple[str, ...], float]]
"""Values of labels, and the value."""


async def show(request: web.Request) -> web.Response:
    """GET /hub/metrics, by an admin, a token with the scope read:metrics, or from hub.metrics_addresses."""
    deps = request.app[DEPS]
    hub = deps.settings.hub
    if not may_read_metrics(client_address(request, hub), hub):
        require(await asker(request), "read:metrics")
    families = CollectorRegistry(auto_describe=False)
    families.register(_Families(deps))
    encode, content_type = choose_encoder(request.headers.get(hdrs.ACCEPT, ""))
    return web.Response(body=encode(families), headers={hdrs.CONTENT_TYPE: content_type})


class _Families(Collector):
    """All of them, as they are now."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    def describe(self) -> Iterable[Metric]:
        """Nothing beforehand: the registry lives for one answer."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """One after another."""
        deps = self._deps
        figures = deps.figures()
        yield _gauge("info", "The version that runs.", [((minihub.__version__,), 1)], ["version"])
        states = Counter(attempt.state for attempt in deps.servers.all())
        live = [((state.value,), float(states[state])) for state in State if not state.is_final]
        yield _gauge("servers", "Users' servers by state.", live, ["state"])
        yield from _of_servers(figures.servers)
        yield from _of_scheduler(deps.servers.health(), deps.clock.wall())
        yield from _of_commands(figures.commands)
        yield from _of_proxy(figures.proxy, figures)
        yield from _of_hub(figures)


def _of_servers(measures: Measures) -> Iterator[Metric]:
    yield _counter("starts", "Starts of servers that were begun.", [((), measures.begun)])
    unwanted = "Servers that ended otherwise than wanted, by cause."
    yield _counter("failures", unwanted, _by_one(measures.failures, FailureKind), ["kind"])
    causes = (*StopCause, "finished")
    wanted = "Servers that ended as wanted, by who wanted it."
    yield _counter("stops", wanted, _by_one(measures.stops, causes), ["cause"])
    wait, start = "From the wish for a server until its job ran.", "From then until Jupyter answered."
    yield _histogram("queue_wait_seconds", wait, [((), measures.queue_wait_s)])
    yield _histogram("start_seconds", start, [((), measures.start_s)])
    yield _histogram("spawn_seconds", "Both: from the wish until Jupyter answered.", [((), measures.spawn_s)])
    late = "Jobs that came after their server had been given up, and were cancelled."
    yield _counter("late_jobs", late, [((), measures.late_jobs)])


def _of_scheduler(health: SchedulerHealth, now: float) -> Iterator[Metric]:
    answers = health.failing_since is None and health.last_answer_at is not None
    yield _gauge("scheduler_up", "Whether the last listing was answered.", [((), float(answers))])
    if health.last_answer_at is not None:
        age = "Since the last good listing."
        yield _gauge("scheduler_answer_age_seconds", age, [((), now - health.last_answer_at)])
    if health.listing_took_s is not None:
        yield _gauge("listing_seconds", "What the last listing took.", [((), health.listing_took_s)])
    unknown = "Jobs that carry this hub's tag but are not in its records."
    yield _gauge("unknown_jobs", unknown, [((), len(health.unknown_jobs))])


def _of_commands(commands: CommandMeasures) -> Iterator[Metric]:
    yield _counter(
        "commands", "The scheduler's commands that were begun.", _by_one(commands.run), ["program"]
    )
    failed = "Those that failed: by their exit status, or not run to their end."
    yield _counter("command_failures", failed, commands.failed.items(), ["program", "why"])
    took = [((program,), seconds) for program, seconds in commands.seconds.items()]
    yield _histogram("command_seconds", "What they took.", took, ["program"])


def _of_proxy(tally: Tally, figures: Figures) -> Iterator[Metric]:
    answers = [
        (("server" if of is tally.of_servers else "hub", str(status)), float(count))
        for of in (tally.of_servers, tally.of_hub)
        for status, count in enumerate(of)
        if count
    ]
    yield _counter("proxy_answers", "Answers by who gave them and status.", answers, ["by", "status"])
    yield _of_seconds(tally)
    lost = "Requests that users' servers did not answer, by cause."
    yield _counter("proxy_unanswered", lost, _by_one(tally.unanswered, UNANSWERED), ["why"])
    received = [(("http",), tally.received), (("websocket",), tally.tunnel_received)]
    sent = [(("http",), tally.sent), (("websocket",), tally.tunnel_sent)]
    yield _counter(
        "proxy_received_bytes", "From browsers; websockets once they are closed.", received, ["over"]
    )
    yield _counter(
        "proxy_sent_bytes", "To browsers: bodies; websockets once they are closed.", sent, ["over"]
    )
    yield _counter("proxy_websockets", "Websockets that were opened.", [((), tally.tunnels)])
    yield _gauge(
        "connections", "Connections from outside, websockets among them.", [((), figures.connections)]
    )
    yield _gauge("websockets", "Websockets that are open.", [((), figures.websockets)])


def _of_seconds(tally: Tally) -> Metric:
    histogram = Histogram(BOUNDS_S)
    last = len(BOUNDS_S)
    histogram.counts = [*tally.seconds[:last], sum(tally.seconds[last:])]
    histogram.total = tally.seconds_total
    what = "From a request until the answer of a user's server began."
    return _histogram("proxy_answer_seconds", what, [((), histogram)])


def _of_hub(figures: Figures) -> Iterator[Metric]:
    done = "What was done, logins among it, by action and outcome."
    yield _counter("audited", done, figures.audited.items(), ["action", "outcome"])
    died = "Background tasks that died, by kind."
    yield _counter("task_crashes", died, _by_one(figures.crashes), ["task"])
    for make, name, what, value in (
        (_counter, "loop_stalls", "Times that the event loop was held up for more than 100 ms.", figures.stalls),
        (_counter, "loop_stall_seconds", "All of these stalls together.", figures.stalls_total_s),
        (_gauge, "loop_stall_longest_seconds", "The longest of them.", figures.longest_stall_s),
        (
            _counter, "loop_stalls_own",
            "Those in which the hub itself computed for more than 100 ms; in the others the machine had other things to do.",
            figures.own_stalls,
        ),
        (
            _gauge, "loop_stall_own_longest_seconds", "The longest time that the event loop computed in a stall.",
            figures.own_longest_stall_s,
        ),
        (_gauge, "tasks", "Tasks of the event loop.", figures.tasks),
        (_counter, "store_commits", "Transactions written.", figures.store_commits),
        (_counter, "store_failures", "Transactions that could not be written or read.", figures.store_failures),
        (_gauge, "store_unsaved_servers", "Servers whose present state could not be written down yet.", figures.unsaved),
    ):  # fmt: skip
        yield make(name, what, [((), value)])


# ---- families -------------------------------------------------------------------------------------------------------


def _by_one(counts: Mapping[str, int], known: Iterable[str] = ()) -> Samples:
    """Those that are `known` beforehand stand there from the start: Prometheus does not see a counter's first step."""
    every = {**dict.fromkeys(map(str, known), 0), **counts}
    return (((label,), count) for label, count in sorted(every.items()))


def _counter(name: str, what: str, samples: Samples, labels: Iterable[str] = ()) -> Metric:
    family = CounterMetricFamily(f"minihub_{name}", what, labels=list(labels))
    for values, value in samples:
        family.add_metric(values, value)
    return family


def _gauge(name: str, what: str, samples: Samples, labels: Iterable[str] = ()) -> Metric:
    family = GaugeMetricFamily(f"minihub_{name}", what, labels=list(labels))
    for values, value in samples:
        family.add_metric(values, value)
    return family


def _histogram(
    name: str, what: str, samples: Iterable[tuple[tuple[str, ...], Histogram]], labels: Iterable[str] = ()
) -> Metric:
    family = HistogramMetricFamily(f"minihub_{name}", what, labels=list(labels))
    for values, histogram in samples:
        family.add_metric(values, buckets=list(histogram.cumulated()), sum_value=histogram.total)
    return family
