"""How the last day or week went, computed from the attempts in the store. Pure.

No figures are sampled and kept: an attempt has the times of its whole life, so that the past of before a restart is there
too. Each span is cut into steps; a step's figure holds from its beginning to its end.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from minihub.servers.model import Attempt, FailureKind, State

Interval = tuple[float, float]
"""From, until; wall seconds."""


@dataclass(frozen=True, slots=True)
class Span:
    """What one picture shows of the past."""

    steps: int
    step_s: float

    @property
    def length_s(self) -> float:
        """All steps together."""
        return self.steps * self.step_s


SPANS = {"day": Span(24, 3600.0), "week": Span(28, 6 * 3600.0)}

LONGEST_LIFE_S = 7 * 86400.0
"""How long before a span's beginning attempts are looked for that may still have lived in it."""


@dataclass(frozen=True, slots=True)
class Life:
    """The times of one attempt, without all else: a week's attempts of a large site are kept in memory for a while."""

    created: float
    started: float | None
    ready: float | None
    ended: float | None
    spawn_failure: FailureKind | None
    """Why it never came up; None if it did, may still, or was stopped before."""


@dataclass(frozen=True, slots=True)
class Trends:
    """One figure for each step, the oldest first; None where a step has nothing that it could be computed from."""

    starts: tuple[float, ...]
    """When each step begins."""
    running: tuple[float, ...]
    """The most servers at a time that people could use."""
    starting: tuple[float, ...]
    """The most whose job ran and whose Jupyter was coming up."""
    waiting: tuple[float, ...]
    """The most that waited for their job."""
    wait_median: tuple[float | None, ...]
    """Seconds from the wish to the job's start, of those whose job started in the step."""
    wait_95: tuple[float | None, ...]
    failures: dict[FailureKind, tuple[float, ...]]
    """Starts that failed in the step, by cause; causes that occurred only, the most frequent first."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing at all happened."""
        lived = any(self.running) or any(self.starting) or any(self.waiting)
        return not lived and not self.failures


def life_of(attempt: Attempt) -> Life:
    """What counts of one attempt."""
    failed = attempt.state is State.FAILED and attempt.ready_at is None and attempt.failure is not None
    return Life(
        created=attempt.created_at,
        started=attempt.started_at,
        ready=attempt.ready_at,
        ended=None if attempt.is_live else attempt.ended_at or attempt.changed_at,
        spawn_failure=attempt.failure.kind if failed and attempt.failure else None,
    )


def compute(lives: Sequence[Life], span: Span, now: float) -> Trends:
    """The figures of the span whose last step is now."""
    # Steps begin at full hours, so the last one is not over yet.
    begin = math.ceil(now / span.step_s) * span.step_s - span.length_s
    waits: list[list[float]] = [[] for _ in range(span.steps)]
    failures: list[Counter[FailureKind]] = [Counter() for _ in range(span.steps)]
    for life in lives:
        if life.started is not None and begin <= life.started <= now:
            waits[_step(life.started, begin, span)].append(max(0.0, life.started - life.created))
        if life.spawn_failure and life.ended is not None and begin <= life.ended <= now:
            failures[_step(life.ended, begin, span)][life.spawn_failure] += 1
    return Trends(
        starts=tuple(begin + i * span.step_s for i in range(span.steps)),
        running=_most_at_once(_intervals(lives, "running", now), begin, span),
        starting=_most_at_once(_intervals(lives, "starting", now), begin, span),
        waiting=_most_at_once(_intervals(lives, "waiting", now), begin, span),
        wait_median=tuple(_quantile(step, 0.5) for step in waits),
        wait_95=tuple(_quantile(step, 0.95) for step in waits),
        failures={
            kind: tuple(float(step[kind]) for step in failures)
            for kind, _ in sum(failures, Counter[FailureKind]()).most_common()
        },
    )


def _step(when: float, begin: float, span: Span) -> int:
    return min(int((when - begin) / span.step_s), span.steps - 1)


def _intervals(lives: Iterable[Life], what: str, now: float) -> Iterator[Interval]:
    for life in lives:
        end = now if life.ended is None else life.ended
        started = end if life.started is None else min(life.started, end)
        ready = end if life.ready is None else min(life.ready, end)
        match what:
            case "running":
                yield ready, end
            case "starting":
                yield started, ready
            case _:
                yield life.created, started


def _most_at_once(intervals: Iterable[Interval], begin: float, span: Span) -> tuple[float, ...]:
    """For each step, how many intervals overlapped at most at one moment of it."""
    end = begin + span.length_s
    changes: list[tuple[float, int]] = []
    for since, until in intervals:
        if since < until and until > begin and since <= end:
            changes += [(max(since, begin), 1), (until, -1)]
    # At one moment ends come before beginnings: a server that follows another is no second one.
    changes.sort()
    most = [0] * span.steps
    count, reached = 0, 0
    for when, change in changes:
        step = _step(min(when, end), begin, span)
        for between in range(reached + 1, step + 1):
            most[between] = count
        reached = max(reached, step)
        count += change
        most[step] = max(most[step], count)
    for between in range(reached + 1, span.steps):
        most[between] = count
    return tuple(float(number) for number in most)


def _quantile(values: list[float], share: float) -> float | None:
    """The smallest value that is not exceeded by `share` of them (nearest rank), None if there are none."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
