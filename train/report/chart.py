"""Charts as inline SVG: smoothed line charts and stacked area charts.

Colours come from the page's style sheet, so that charts suit light and dark themes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from train.html import Html, element, join
from train.report.axis import Axis, number

Points = Sequence[tuple[float, float]]
"""(x, y) with ascending x; a y that is not finite is a gap."""

Rows = Sequence[tuple[float, Mapping[str, float]]]
"""Ascending x, and a share for each name."""

WIDTH, WIDE, HEIGHT = 360, 420, 210
"""Width of a line chart, width of an area chart, and height of both, pixels."""

LEFT, RIGHT, TOP, BOTTOM = 46, 14, 24, 38
"""Margins around the plot area, pixels."""

MAX_POINTS = 500
"""Largest number of points that are drawn for a curve."""

COLOURS = 10
"""Number of area colours in the style sheet."""


def thin(points: Points, most: int = MAX_POINTS) -> Points:
    """Reduce a curve to ``most`` points, keeping the lowest and highest of every stretch so that no spike is lost."""
    if len(points) <= most:
        return points
    inner, stretches = points[1:-1], most // 2 - 1
    kept: list[tuple[float, float]] = []
    for i in range(stretches):
        stretch = inner[i * len(inner) // stretches : (i + 1) * len(inner) // stretches]
        finite = [point for point in stretch if math.isfinite(point[1])] or stretch[:1]
        kept += sorted({min(finite, key=lambda point: point[1]), max(finite, key=lambda point: point[1])})
    return [points[0], *kept, points[-1]]


def smooth(points: Points, axis: Axis) -> Points:
    """Average each point with its neighbours, over about a thirtieth of the curve, on the axis's scale; gaps stay."""
    places = [axis.place(y) for _, y in points]
    there = [math.isfinite(place) for place in places]
    sums = [0.0, *accumulate(place if known else 0.0 for place, known in zip(places, there, strict=True))]
    counts = [0, *accumulate(there)]
    around = len(points) // 60
    smoothed = []
    for i, (x, _) in enumerate(points):
        low, high = max(0, i - around), min(len(points), i + around + 1)
        mean = (sums[high] - sums[low]) / (counts[high] - counts[low]) if there[i] else math.nan
        smoothed.append((x, axis.value(mean)))
    return smoothed


@dataclass(frozen=True)
class Plot:
    """Coordinate system of a drawing of this width, pixels."""

    x: Axis
    y: Axis
    width: int = WIDTH

    def spot(self, across: float, up: float) -> str:
        """Convert positions on both axes, 0 … 1, to SVG coordinates, clamped to the plot area."""
        across, up = min(1.0, max(0.0, across)), min(1.0, max(0.0, up))
        return f"{LEFT + across * (self.width - LEFT - RIGHT):.1f} {HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM):.1f}"

    def curve(self, points: Points, class_: str) -> Html:
        """Draw a line with gaps; the round line caps show a point without neighbours as a dot."""
        path, pen_down = [], False
        for step, value in points:
            place = self.y.place(value)
            if math.isfinite(place):
                spot = self.spot(self.x.place(step), place)
                path.append(f"L{spot}" if pen_down else f"M{spot}h0")
            pen_down = math.isfinite(place)
        return element("path", d="".join(path), class_=class_)

    def area(self, steps: Sequence[float], low: Sequence[float], high: Sequence[float], name: str, class_: str) -> Html:
        """Fill the area between two curves."""
        there = [self.spot(self.x.place(step), self.y.place(y)) for step, y in zip(steps, high, strict=True)]
        back = [self.spot(self.x.place(step), self.y.place(y)) for step, y in zip(steps, low, strict=True)]
        return element("path", element("title", name), d=f"M{'L'.join([*there, *reversed(back)])}Z", class_=class_)

    def mark(self, value: float, text: str) -> Html:
        """Draw a labelled dashed line at a value."""
        start, end = (self.spot(across, self.y.place(value)) for across in (0, 1))
        right, height = end.split()
        line = element("path", d=f"M{start}L{end}", class_="mark")
        return join([line, element("text", text, x=right, y=float(height) - 4, class_="end")])

    def drawing(self, label: str, inside: Sequence[Html], *, percent: bool = False) -> Html:
        """Draw axes and labels around the given contents."""
        ticks = []
        for value in self.y.ticks():
            start, end = (self.spot(across, self.y.place(value)) for across in (0, 1))
            text = f"{100 * value:.0f} %" if percent else number(value)
            ticks.append(element("path", d=f"M{start}L{end}", class_="rule"))
            ticks.append(element("text", text, x=LEFT - 6, y=float(start.split()[1]) + 4, class_="end"))
        for value in self.x.ticks(self.width // 90):
            across = self.spot(self.x.place(value), 0).split()[0]
            ticks.append(element("text", number(value), x=across, y=HEIGHT - BOTTOM + 15, class_="middle"))
        around = [
            element("text", "step", x=(LEFT + self.width - RIGHT) / 2, y=HEIGHT - 5, class_="middle"),
            element("text", label, x=0, y=11),
            element("path", d=f"M{self.spot(0, 0)}L{self.spot(1, 0)}", class_="axis"),
        ]
        return element(
            "svg", *ticks, *inside, *around, viewBox=f"0 0 {self.width} {HEIGHT}", role="img", aria_label=label
        )


def line_chart(
    points: Points,
    label: str,
    *,
    y: Axis | None = None,
    marks: Mapping[float, str] | None = None,
    raw: bool = True,
) -> Html:
    """Draw a curve over the steps, pale, and its smoothed version, strong; if not ``raw``, the curve itself, strong.

    ``y`` is the value axis, by default one that fits; ``marks`` are the labels of dashed lines, by value.
    """
    y = y or Axis.around([value for _, value in points])
    plot = Plot(_steps(points), y)
    curves = [plot.curve(thin(points), "raw" if raw else "smooth")]
    if raw:
        curves.append(plot.curve(thin(smooth(points, y)), "smooth"))
    lines = [plot.mark(value, text) for value, text in (marks or {}).items()]
    return plot.drawing(f"{label}, log scale" if y.log else label, [*lines, *curves])


def area_chart(rows: Rows, names: Sequence[str], label: str) -> Html:
    """Draw the shares of each name over the steps, stacked with the first at the bottom and scaled to a sum of 1."""
    plot = Plot(_steps(rows), Axis(0.0, 1.0), WIDE)
    means = [mean_shares(stretch, names) for stretch in _stretches(rows, MAX_POINTS // 5)]
    steps = [step for step, _ in means]
    edges = [[sum(shares[:i]) for _, shares in means] for i in range(len(names) + 1)]
    areas = [
        plot.area(steps, low, high, name, f"area c{i % COLOURS}")
        for i, (name, (low, high)) in enumerate(zip(names, pairwise(edges), strict=True))
    ]
    return plot.drawing(label, areas, percent=True)


def legend(entries: Sequence[tuple[str, str]]) -> Html:
    """List the names of an area chart, each with a value, in the order of the stacked areas."""
    items = [
        element("li", element("span", class_=f"swatch c{i % COLOURS}"), name, element("b", figure))
        for i, (name, figure) in enumerate(entries)
    ]
    return element("ul", *reversed(items), class_="legend")


def _steps(rows: Sequence[tuple[float, object]]) -> Axis:
    return Axis(0.0, max(1.0, rows[-1][0]) if rows else 1.0)


def _stretches(rows: Rows, most: int) -> Iterator[Rows]:
    count = min(most, len(rows))
    for i in range(count):
        yield rows[i * len(rows) // count : (i + 1) * len(rows) // count]


def mean_shares(stretch: Rows, names: Sequence[str]) -> tuple[float, list[float]]:
    """Return the mean step of a stretch and the mean share of each name, scaled to a sum of 1."""
    sums = [sum(shares[name] for _, shares in stretch if _positive(shares.get(name))) for name in names]
    total = sum(sums) or 1.0
    return sum(step for step, _ in stretch) / len(stretch), [value / total for value in sums]


def _positive(value: float | None) -> bool:
    return value is not None and 0 < value < math.inf
