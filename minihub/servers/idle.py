"""Is a server still used, when is its user warned, when is it stopped? Pure: what is known goes in, a verdict comes out.

Two limits, each with a warning before it: nothing was done for `after_s`, and the job is older than `max_age_s`. The rules:

- Doubt is never idle. A server that gives no good answer begins its idle time anew; what the hub has not been looking at
  (before its own start) does not count, nor do times in which the scheduler was silent.
- No stop without a warning that stood for `warn_s`.
- No idle stop without an answer of the server itself, asked for after its time was up.
- A server is asked only when its time may be nearly up. All that is known of a used one is the use that passed the hub.

What counts as use is not decided here: `usage` reads what a server says of itself, `minihub/proxy/use.py` looks at requests.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from enum import Enum

from minihub.idle_settings import IdleSettings
from minihub.servers.model import StopCause, StopClock

MOST_OUTAGES = 200
"""Of the scheduler's, so many are remembered; before them there was none."""


class Act(Enum):
    """What is to be done about a server now."""

    NOTHING = "nothing"
    ASK = "ask"
    """Only the server itself can say whether it works."""
    STOP = "stop"


class Outages:
    """When the scheduler was silent. Such times count for nobody."""

    def __init__(self) -> None:
        self._past: deque[tuple[float, float]] = deque(maxlen=MOST_OUTAGES)
        self.since: float | None = None
        """Wall seconds; None while the scheduler answers."""

    def note(self, failing_since: float | None, now: float) -> None:
        """Tell how it is now."""
        if self.since is not None and self.since != failing_since:
            self._past.append((self.since, failing_since or now))
        self.since = failing_since

    def within(self, since: float, now: float) -> float:
        """How many of the seconds between these two it was silent."""
        spans = [*self._past, *([(self.since, now)] if self.since is not None else [])]
        return sum(max(0.0, min(end, now) - max(begin, since)) for begin, end in spans)


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of one READY server. All times are wall seconds."""

    started_at: float
    """When its job started."""
    watched_since: float
    """Since when this hub has been looking: its start, or the server's."""
    used_at: float
    """The last use that anybody knows of."""
    asked_at: float | None = None
    """When the question was sent that the server answered last."""
    doubted_at: float | None = None
    """When it gave no good answer last."""
    postponed_until: float | None = None
    postpones: int = 0
    idle_warned_at: float | None = None
    """Since when its user has been warned of the idle stop; None: he is not."""
    age_warned_at: float | None = None
    spread_s: float = 0.0
    """So much later than possible it is asked first, for not all to be asked at once after a restart of the hub."""

    @property
    def idle_since(self) -> float:
        """From when its idle time counts."""
        return max(self.used_at, self.watched_since, self.doubted_at or 0.0)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What follows."""

    act: Act = Act.NOTHING
    clock: StopClock | None = None
    """What its user sees; None: nothing will ever stop it."""
    idle_warned_at: float | None = None
    age_warned_at: float | None = None
    look_at: float = math.inf
    """When time alone changes the verdict, wall seconds; always ahead."""


def judge(seen: Seen, limits: IdleSettings, outages: Outages, now: float) -> Verdict:
    """Judge one server.

    Args:
        seen: What is known of it.
        limits: What holds for it, `IdleSettings.limits_of`.
        outages: The scheduler's.
        now: Wall seconds.
    """
    verdicts = [
        judge_one(seen, limits, outages, now)
        for judge_one, limit in ((_judge_idle, limits.after_s), (_judge_age, limits.max_age_s))
        if limit
    ]
    if not verdicts:
        return Verdict()
    # The one that is stopped for first is shown; a warning comes before a time that is far away.
    first = min(verdicts, key=_urgency)
    return Verdict(
        first.act if first.act is Act.STOP else _asks(verdicts),
        first.clock,
        next((v.idle_warned_at for v in verdicts if v.idle_warned_at is not None), None),
        next((v.age_warned_at for v in verdicts if v.age_warned_at is not None), None),
        min((v.look_at for v in verdicts if v.look_at > now), default=math.inf),
    )


def _urgency(verdict: Verdict) -> tuple[bool, float]:
    assert verdict.clock is not None
    return verdict.act is not Act.STOP, verdict.clock.stops_at


def _asks(verdicts: list[Verdict]) -> Act:
    return Act.ASK if any(v.act is Act.ASK for v in verdicts) else Act.NOTHING


def _judge_idle(seen: Seen, limits: IdleSettings, outages: Outages, now: float) -> Verdict:
    since = seen.idle_since
    due = max(since + limits.after_s + outages.within(since, now), seen.postponed_until or 0.0)
    ask_from = due - limits.warn_s + seen.spread_s
    left = max(0, limits.max_postpones - seen.postpones)

    def clock(stops_at: float, *, warning: bool) -> StopClock:
        return StopClock(
            StopCause.IDLE, limits.after_s, ask_from, stops_at, since, warning, left, limits.postpone_s
        )

    if now < ask_from:
        return Verdict(clock=clock(due, warning=False), look_at=ask_from)
    asked_at = seen.asked_at if seen.asked_at is not None else -math.inf
    if asked_at < ask_from:
        # What was said before says nothing of this time.
        return Verdict(Act.ASK, clock(due, warning=False))
    warned_at = seen.idle_warned_at if seen.idle_warned_at is not None else now
    stops_at = max(due, warned_at + limits.warn_s)
    if now < stops_at:
        return Verdict(clock=clock(stops_at, warning=True), idle_warned_at=warned_at, look_at=stops_at)
    act = Act.ASK if asked_at < stops_at else Act.STOP if outages.since is None else Act.NOTHING
    return Verdict(act, clock(stops_at, warning=True), idle_warned_at=warned_at)


def _judge_age(seen: Seen, limits: IdleSettings, outages: Outages, now: float) -> Verdict:
    due = seen.started_at + limits.max_age_s + outages.within(seen.started_at, now)
    left = 0
    if limits.postpone_max_age:
        due = max(due, seen.postponed_until or 0.0)
        left = max(0, limits.max_postpones - seen.postpones)
    warned_at = seen.age_warned_at if seen.age_warned_at is not None else now
    warning = now >= due - limits.warn_s
    stops_at = max(due, warned_at + limits.warn_s) if warning else due
    warns_at = due - limits.warn_s
    clock = StopClock(
        StopCause.AGE, limits.max_age_s, warns_at, stops_at, seen.idle_since, warning, left, limits.postpone_s
    )
    if not warning:
        return Verdict(clock=clock, look_at=warns_at)
    # While the scheduler is silent nothing could be stopped, and no user could act on the warning.
    may_stop = now >= stops_at and outages.since is None
    return Verdict(Act.STOP if may_stop else Act.NOTHING, clock, age_warned_at=warned_at, look_at=stops_at)
