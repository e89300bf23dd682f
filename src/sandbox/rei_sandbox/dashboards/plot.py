"""Curves and stacked bars with axes, limits and a legend: what Grafana calls a time series."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from rei_sandbox.dashboards import svg
from rei_sandbox.dashboards.answers import Series
from rei_sandbox.dashboards.numbers import shown

Json = dict[str, Any]
Points = list[tuple[float, float]]

BINS: Final = 60
LETTER: Final = 6.4
CLOCK: Final = 90
LEGEND_LINE: Final = 16
LEGEND_LINES_MAX: Final = 3
ROUND: Final = (1, 2, 4, 5, 8, 10)


@dataclass(frozen=True, slots=True)
class Plot:
    """Where moments and values are in a panel."""

    left: float
    right: float
    top: float
    bottom: float
    begin: float
    end: float
    highest: float

    def x(self, at: float) -> float:
        return self.left + (self.right - self.left) * (at - self.begin) / (self.end - self.begin)

    def y(self, value: float) -> float:
        share = min(value, self.highest) / self.highest
        return self.bottom - (self.bottom - self.top) * share


def drawn(panel: Json, series: Sequence[Series], width: float, height: float) -> Iterator[str]:
    """The inside of a panel; there is a point somewhere."""
    times = [at for one in series for at, _ in one.points]
    defaults = panel["fieldConfig"]["defaults"]
    begin, end = min(times), max(*times, min(times) + 1)
    stacked = "stacking" in defaults["custom"]
    curves = _stacked(series, begin, end) if stacked else [list(one.points) for one in series]
    highest = float(defaults["max"]) if "max" in defaults else _ceiling(curves)
    legend = _legend([one.legend for one in series], width)
    bottom = height - 30 - LEGEND_LINE * max(line for line, _, _ in legend)
    plot = Plot(64, width - 12, 36, bottom - LEGEND_LINE, begin, end, highest)
    yield from _axes(plot, defaults["unit"])
    yield from _limits(plot, defaults["thresholds"]["steps"][1:])
    # The first one last: it lies on top of the others, as bars have to.
    for number, points in reversed(list(enumerate(curves))):
        colour = svg.CURVES[number % len(svg.CURVES)]
        yield from _bars(plot, points, colour) if stacked else _curves(plot, points, colour)
    for number, (line, x, name) in enumerate(legend):
        y = bottom + 18 + LEGEND_LINE * line
        yield svg.box(x, y - 6, 12, 3, colour=svg.CURVES[number % len(svg.CURVES)])
        yield svg.text(x + 17, y, name, size=11)


def _axes(plot: Plot, unit: str) -> Iterator[str]:
    for step in range(5):
        value = plot.highest * step / 4
        y = plot.y(value)
        yield svg.line(plot.left, y, plot.right, y, colour=svg.GRID)
        words = shown(value, unit)
        yield svg.text(plot.left - 6, y + 4, words, size=11, colour=svg.FAINT, anchor="end")
    clocks = max(1, int((plot.right - plot.left) / CLOCK))
    for step in range(1, clocks + 1):
        at = plot.begin + (plot.end - plot.begin) * step / (clocks + 1)
        clock = datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S")
        x = plot.x(at)
        yield svg.text(x, plot.bottom + 15, clock, size=11, colour=svg.FAINT, anchor="middle")


def _limits(plot: Plot, steps: Sequence[Json]) -> Iterator[str]:
    for step in steps:
        if step["value"] <= plot.highest:
            y = plot.y(step["value"])
            yield svg.line(
                plot.left, y, plot.right, y, colour=svg.NAMED[step["color"]], dashed=True
            )


def _bars(plot: Plot, points: Points, colour: str) -> Iterator[str]:
    thick = max(1.0, (plot.right - plot.left) / BINS - 1)
    for at, value in points:
        if value > 0:
            y = plot.y(value)
            yield svg.box(plot.x(at) - thick / 2, y, thick, plot.bottom - y, colour=colour)


def _curves(plot: Plot, points: Points, colour: str) -> Iterator[str]:
    """A curve has a hole where there is no number."""
    run: list[tuple[float, float]] = []
    for at, value in [*points, (plot.end, math.nan)]:
        if math.isfinite(value):
            run.append((plot.x(at), plot.y(value)))
        elif run:
            yield svg.curve(
                run if len(run) > 1 else [run[0], (run[0][0] + 1, run[0][1])], colour=colour
            )
            run = []


def _stacked(series: Sequence[Series], begin: float, end: float) -> list[Points]:
    """Each on top of those before it, at so many moments."""
    moments = [begin + (end - begin) * (number + 0.5) / BINS for number in range(BINS)]
    heights = [0.0] * BINS
    stacks = []
    for one in series:
        known = [(at, value) for at, value in one.points if math.isfinite(value)]
        for number, moment in enumerate(moments):
            before = [value for at, value in known if at <= moment]
            heights[number] += before[-1] if before else 0.0
        stacks.append(list(zip(moments, heights, strict=True)))
    return stacks


def _ceiling(curves: Sequence[Points]) -> float:
    """A round number above everything."""
    values = [value for points in curves for _, value in points if math.isfinite(value)]
    highest = max(values, default=0.0) or 1.0
    power: float = 10.0 ** math.floor(math.log10(highest))
    return next((step * power for step in ROUND if step * power >= highest), 10 * power)


def _legend(names: Sequence[str], width: float) -> list[tuple[int, float, str]]:
    """The line and the place of each name; those that do not fit are left out."""
    line, x, placed = 0, 14.0, []
    for name in names:
        taken = 28 + LETTER * len(name)
        if x + taken > width and x > 14:
            line, x = line + 1, 14.0
        if line == LEGEND_LINES_MAX:
            break
        placed.append((line, x, name))
        x += taken
    return placed
