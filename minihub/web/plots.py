"""Small plots as SVG, without scripts and styles of their own: colours come from classes of our style sheet. Pure.

Why not a library: matplotlib costs more memory than the hub, and pygal writes style elements and scripts into its pictures,
which the content security policy of our pages forbids.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

WIDTH, HEIGHT = 480, 180
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 12, 24
COLOURS = 6
"""Classes c0 to c5 of the style sheet."""

Values = Sequence[float | None]
"""One for each step; None leaves a gap."""


@dataclass(frozen=True, slots=True)
class Series:
    """One line, or one colour of the bars."""

    name: str
    values: Values


@dataclass(frozen=True, slots=True)
class Plot:
    """What all plots have."""

    title: str
    description: str
    """For those who cannot see it: what it shows, and its highest point."""
    ticks: Sequence[tuple[int, str]]
    """Steps that are named below the plot, and their names."""
    label: Callable[[float], str] = "{:g}".format
    """Words for a value beside the plot."""
    least_top: float = 1.0
    """The scale goes at least this far."""
    nice: Callable[[float], float] | None = None
    """Rounds the scale's top up to a number that reads well; None: 1, 2, 4, 5 or 10 times a power of ten."""


def draw_lines(plot: Plot, series: Sequence[Series]) -> Markup:
    """Lines through the middle of each step."""
    steps = len(series[0].values)
    top = _top(plot, [value for one in series for value in one.values])
    pieces: list[Markup] = []
    for number, one in enumerate(series):
        for run in _runs(one.values):
            points = " ".join(f"{_x(i + 0.5, steps):.1f},{_y(value, top):.1f}" for i, value in run)
            colour = f"c{number % COLOURS}"
            if len(run) == 1:
                x, y = points.split(",")
                pieces.append(Markup('<circle class="dot {}" cx="{}" cy="{}" r="2.5"/>').format(colour, x, y))
            else:
                pieces.append(Markup('<polyline class="line {}" points="{}"/>').format(colour, points))
    return _frame(plot, steps, top, pieces)


def draw_bars(plot: Plot, series: Sequence[Series]) -> Markup:
    """For each step one bar, with the series on top of each other."""
    steps = len(series[0].values)
    sums = [sum(one.values[i] or 0.0 for one in series) for i in range(steps)]
    top = _top(plot, sums)
    pieces: list[Markup] = []
    for i in range(steps):
        below = 0.0
        for number, one in enumerate(series):
            value = one.values[i] or 0.0
            if value:
                y, y0 = _y(below + value, top), _y(below, top)
                pieces.append(
                    Markup(
                        '<rect class="bar {}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>'
                    ).format(
                        f"c{number % COLOURS}", _x(i + 0.1, steps), y, _x(0.8, steps) - LEFT, max(y0 - y, 1.0)
                    )
                )
                below += value
    return _frame(plot, steps, top, pieces)


def _frame(plot: Plot, steps: int, top: float, inside: Sequence[Markup]) -> Markup:
    lines = [
        Markup(
            '<svg class="plot" viewBox="0 0 {} {}" role="img" preserveAspectRatio="xMidYMid meet">'
            "<title>{}</title><desc>{}</desc>"
        ).format(WIDTH, HEIGHT, plot.title, plot.description)
    ]
    for share in (0.0, 0.5, 1.0):
        y = _y(top * share, top)
        lines.append(
            Markup('<line class="rule" x1="{}" y1="{:.1f}" x2="{}" y2="{:.1f}"/>').format(
                LEFT, y, WIDTH - RIGHT, y
            )
        )
        if share != 0.5 or _is_whole(plot, top / 2):
            lines.append(
                Markup('<text class="tick" x="{}" y="{:.1f}" text-anchor="end">{}</text>').format(
                    LEFT - 6, y + 4, plot.label(top * share)
                )
            )
    for step, name in plot.ticks:
        x = _x(step, steps)
        lines.append(
            Markup(
                '<line class="rule" x1="{0:.1f}" y1="{1}" x2="{0:.1f}" y2="{2}"/>'
                '<text class="tick" x="{0:.1f}" y="{3}" text-anchor="middle">{4}</text>'
            ).format(x, HEIGHT - BOTTOM, HEIGHT - BOTTOM + 4, HEIGHT - 7, name)
        )
    return Markup("").join([*lines, *inside, Markup("</svg>")])


def _is_whole(plot: Plot, value: float) -> bool:
    """Whether the middle of the scale can be named: half a server is none."""
    return plot.nice is not None or value == int(value)


def _top(plot: Plot, values: Values) -> float:
    highest = max([plot.least_top, *(value for value in values if value is not None)])
    return plot.nice(highest) if plot.nice else nice_number(highest)


def nice_number(value: float) -> float:
    """The next of 1, 2, 4, 5, 10 times a power of ten that is not below `value` (more than 0)."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(power * step for step in (1, 2, 4, 5, 10) if power * step >= value * (1 - 1e-9))


def nice_seconds(value: float) -> float:
    """The next span of time that reads well and is not below `value`: whole seconds, minutes, hours or days."""
    for limit, unit in ((60.0, 1.0), (3600.0, 60.0), (86400.0, 3600.0)):
        for step in (1, 2, 4, 10, 20, 30, 40, 60):
            if value <= step * unit <= limit:
                return step * unit
    return 86400.0 * math.ceil(value / 86400.0)


def _runs(values: Values) -> Iterator[list[tuple[int, float]]]:
    """Stretches without a gap."""
    run: list[tuple[int, float]] = []
    for i, value in enumerate(values):
        if value is not None:
            run.append((i, value))
        elif run:
            yield run
            run = []
    if run:
        yield run


def _x(step: float, steps: int) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * step / steps


def _y(value: float, top: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / top
