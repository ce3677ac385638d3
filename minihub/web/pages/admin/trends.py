"""/hub/admin/trends: small plots of the last day or week."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from aiohttp import web
from markupsafe import Markup

from minihub.errors import NotFound
from minihub.web import words
from minihub.web.i18n import Translator
from minihub.web.keys import PAST
from minihub.web.plots import COLOURS, Plot, Series, draw_bars, draw_lines, nice_seconds
from minihub.web.respond import page, translator
from minihub.web.trends import SPANS, Span, Trends

NOTHING = "\N{EN DASH}"
Draw = Callable[[Plot, Sequence[Series]], Markup]


@dataclass(frozen=True, slots=True)
class Figure:
    """One plot, and the same as a table."""

    title: str
    note: str
    picture: Markup | None
    """None: there is nothing to draw yet."""
    names: tuple[str, ...]
    """Of the series, for the legend and the table's head."""
    rows: tuple[tuple[str, ...], ...]
    """When a step begins, and its figures in words."""


async def show(request: web.Request) -> web.Response:
    """All plots of one span (`span`, "day" or "week")."""
    span = request.query.get("span") or "day"
    if span not in SPANS:
        raise NotFound
    tr = translator(request)
    trends, complete = await request.app[PAST].trends(span)
    return page(
        request,
        "admin_trends.html",
        page_name="admin",
        tab="trends",
        span=span,
        figures=_Drawing(trends, span, tr).figures(),
        complete=complete,
    )


class _Drawing:
    """Draws one span in one language."""

    def __init__(self, trends: Trends, span: str, tr: Translator) -> None:
        self._trends = trends
        self._span: Span = SPANS[span]
        self._tr = tr
        self._format = "%H:%M" if span == "day" else "%m-%d %H:%M"
        self._ticks = _hours(trends.starts) if span == "day" else _days(trends.starts)

    def figures(self) -> list[Figure]:
        """What there is to be seen."""
        tr, trends = self._tr, self._trends
        servers = [
            Series(tr("Running"), trends.running),
            Series(tr("Starting"), trends.starting),
        ]
        waiting = [Series(tr("Waiting in the queue"), trends.waiting)]
        waits = [Series(tr("Median"), trends.wait_median), Series(tr("95th percentile"), trends.wait_95)]
        failures = self._failures()
        most = tr("The most at a time.")
        wait_note = tr("From the wish to the job's start, by when the job started.")
        return [
            self._figure(tr("Servers"), most, servers, draw_lines),
            self._figure(tr("Waiting"), most, waiting, draw_lines),
            self._figure(tr("Time in the queue"), wait_note, waits, draw_lines, seconds=True),
            self._figure(tr("Failed starts by cause"), tr("By when they failed."), failures, draw_bars),
        ]

    def _failures(self) -> list[Series]:
        """The most frequent causes, and all others together, so that each has a colour of its own."""
        tr, all_causes = self._tr, list(self._trends.failures.items())
        shown = all_causes if len(all_causes) <= COLOURS else all_causes[: COLOURS - 1]
        series = [Series(tr(words.FAILURES[kind]), values) for kind, values in shown]
        if others := [values for _, values in all_causes[len(shown) :]]:
            series.append(Series(tr("Other causes"), [sum(step) for step in zip(*others, strict=True)]))
        return series

    def _figure(
        self, title: str, note: str, series: Sequence[Series], draw: Draw, *, seconds: bool = False
    ) -> Figure:
        words_for = self._seconds if seconds else "{:g}".format
        values = [value for one in series for value in one.values if value]
        if not values:
            return Figure(title, note, None, (), ())
        plot = Plot(
            title=title,
            description=self._describe(series, words_for),
            ticks=self._ticks,
            label=words_for,
            least_top=10.0 if seconds else 2.0,
            nice=nice_seconds if seconds else None,
        )
        rows = tuple(
            (
                _local(when, self._format),
                *(NOTHING if one.values[i] is None else words_for(one.values[i] or 0.0) for one in series),
            )
            for i, when in enumerate(self._trends.starts)
        )
        return Figure(title, note, draw(plot, series), tuple(one.name for one in series), rows)

    def _describe(self, series: Sequence[Series], words_for: Callable[[float], str]) -> str:
        """In one sentence for each series, what the eye would see first."""
        sentences = []
        for one in series:
            known = [(value, i) for i, value in enumerate(one.values) if value is not None]
            if known:
                value, i = max(known)
                when = _local(self._trends.starts[i], self._format)
                sentences.append(
                    self._tr(
                        "%(name)s: at most %(value)s, from %(when)s on.",
                        name=one.name,
                        value=words_for(value),
                        when=when,
                    )
                )
        return " ".join(sentences)

    def _seconds(self, value: float) -> str:
        return words.duration(value, self._tr)


def _hours(starts: Sequence[float]) -> list[tuple[int, str]]:
    """Every fourth hour."""
    return [(i, _local(when, "%H:%M")) for i, when in enumerate(starts) if i % 4 == 2]


def _days(starts: Sequence[float]) -> list[tuple[int, str]]:
    """Where a day begins."""
    days = [_local(when, "%m-%d") for when in starts]
    return [(i, day) for i, day in enumerate(days) if i and day != days[i - 1]]


def _local(wall: float, form: str) -> str:
    """In the hub's time zone."""
    return datetime.fromtimestamp(wall, UTC).astimezone().strftime(form)
