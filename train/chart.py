"""Charts as inline SVG: lines with a smoothed one over the raw, and shares stacked to a whole.

Colours come from the page's style sheet, so that one chart suits light and dark.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from train.page import Html, element, join

Points = Sequence[tuple[float, float]]
"""(x, y), x rising; a y that is not finite is a gap."""

WIDTH, HEIGHT = 360, 210
LEFT, RIGHT, TOP, BOTTOM = 46, 14, 10, 38
"""Of the area inside the axes, in units of the drawing; it is shown at about one pixel each."""

MOST = 500
"""Points of a drawn curve."""

DECADES = 1.5
"""A curve that spans more than this is drawn on a logarithmic axis."""

COLOURS = 10
"""Different colours of areas in the style sheet."""


@dataclass(frozen=True)
class Axis:
    """Values to places along an axis, 0 … 1, and back.

    Attributes:
        low, high: ends of the axis, low < high, both positive on a logarithmic one.
        log: logarithmic.
    """

    low: float
    high: float
    log: bool = False

    @classmethod
    def around(cls, values: Sequence[float]) -> Axis:
        """An axis for a curve: logarithmic over more than ``DECADES``, from 0 where the curve comes near it."""
        finite = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
        low, high = min(finite), max(finite)
        above = min((value for value in finite if value > 0), default=math.inf)
        if low >= 0 and above < high * 10**-DECADES:
            return cls(above / 1.1, high * 1.1, log=True)
        if 0 <= low <= 0.4 * high:
            low = 0.0
        room = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
        return cls(low if low == 0 else low - room, high + room)

    def place(self, value: float) -> float:
        """Where a value lies, 0 … 1 between the ends; NaN for one that the axis cannot show."""
        if not self.log:
            return (value - self.low) / (self.high - self.low)
        return math.log(value / self.low) / math.log(self.high / self.low) if value > 0 else math.nan

    def value(self, place: float) -> float:
        """What lies at a place."""
        if not self.log:
            return self.low + place * (self.high - self.low)
        return self.low * float((self.high / self.low) ** place)

    def ticks(self, about: int = 4) -> list[float]:
        """Round values between the ends."""
        if not self.log:
            return _round_steps(self.low, self.high, about)
        first, last = math.ceil(math.log10(self.low)), math.floor(math.log10(self.high))
        every = max(1, -(-(last - first + 1) // (about + 1)))
        leads = (1, 3) if last - first < 2 else (1,)
        ticks = [lead * 10.0**power for power in range(first - 1, last + 1, every) for lead in leads]
        return [tick for tick in ticks if self.low <= tick <= self.high]


def _round_steps(low: float, high: float, about: int) -> list[float]:
    rough = (high - low) / about
    unit = 10.0 ** math.floor(math.log10(rough))
    step = unit * next(lead for lead in (1, 2, 5, 10) if lead * unit >= 0.999 * rough)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def number(value: float) -> str:
    """Three digits, as a person writes them: 0.0034, 12.5, 1,250, 3×10⁻⁷."""
    if not math.isfinite(value):
        return "–"
    size = abs(value)
    if size >= 1000 and size < 1e7:
        return f"{value:,.0f}"
    if size == 0 or 1e-4 <= size < 1000:
        return f"{float(f'{value:.3g}'):.10f}".rstrip("0").rstrip(".")
    lead, power = f"{value:.2e}".split("e")
    lead = lead.rstrip("0").rstrip(".")
    raised = str(int(power)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"10{raised}" if lead == "1" else f"{lead}×10{raised}"


def thin(points: Points, most: int = MOST) -> Points:
    """At most so many points, with the lowest and the highest of every stretch, so that no spike is lost."""
    if len(points) <= most:
        return points
    stretches = most // 2 - 1
    kept: list[tuple[float, float]] = [points[0]]
    for i in range(stretches):
        stretch = points[i * len(points) // stretches : (i + 1) * len(points) // stretches]
        finite = [point for point in stretch if math.isfinite(point[1])] or stretch[:1]
        ends = {min(finite, key=lambda point: point[1]), max(finite, key=lambda point: point[1])}
        kept += sorted(ends)
    return [*kept, points[-1]]


def smooth(points: Points, axis: Axis) -> Points:
    """A moving average over about a thirtieth of the curve, taken on the axis; gaps stay."""
    decay = 1 - 1 / max(1.0, len(points) / 30)
    total, weight = 0.0, 0.0
    smoothed = []
    for x, y in points:
        place = axis.place(y)
        if math.isfinite(place):
            total, weight = decay * total + place, decay * weight + 1
        smoothed.append((x, axis.value(total / weight) if math.isfinite(place) else math.nan))
    return smoothed


def line_chart(
    points: Points,
    label: str,
    *,
    y: Axis | None = None,
    marks: Mapping[float, str] | None = None,
    raw: bool = True,
) -> Html:
    """A curve over the steps, thin, and its smoothed course, thick.

    Args:
        points: step and value.
        label: of the value's axis.
        y: the axis; by default one that fits.
        marks: values at which a dashed line is drawn, with what it means.
        raw: draw both; otherwise the curve itself is thick.
    """
    y = y or Axis.around([value for _, value in points])
    x = _steps(points[-1][0] if points else 1)
    curves = [_curve(thin(points), x, y, "raw" if raw else "smooth")]
    if raw:
        curves.append(_curve(thin(smooth(points, y)), x, y, "smooth"))
    lines = [_mark(y, value, text) for value, text in (marks or {}).items()]
    scale = ", log scale" if y.log else ""
    return _drawing(label + scale, x, y, [*lines, *curves])


def area_chart(rows: Sequence[tuple[float, Mapping[str, float]]], names: Sequence[str], label: str) -> Html:
    """Shares of a whole over the steps, stacked, the first name at the bottom.

    Args:
        rows: step and the share of each name; they are scaled to a sum of 1.
        names: in the order of their colours.
        label: of the value's axis.
    """
    x, y = _steps(rows[-1][0] if rows else 1), Axis(0.0, 1.0)
    rows = [_whole(stretch, names) for stretch in _stretches(rows, MOST // 5)]
    below = [0.0] * len(rows)
    areas = []
    for i, name in enumerate(names):
        above = [low + shares[name] for low, (_, shares) in zip(below, rows, strict=True)]
        steps = [step for step, _ in rows]
        there = [_spot(x.place(step), y.place(value)) for step, value in zip(steps, above, strict=True)]
        back = [_spot(x.place(step), y.place(value)) for step, value in zip(steps, below, strict=True)]
        path = f"M{'L'.join([*there, *reversed(back)])}Z" if rows else ""
        areas.append(element("path", element("title", name), d=path, class_=f"area c{i % COLOURS}"))
        below = above
    return _drawing(label, x, y, areas, percent=True)


def legend(entries: Sequence[tuple[str, str]]) -> Html:
    """The names of an area chart with a figure each, in the order of their colours."""
    return element(
        "ul",
        *(
            element("li", element("span", class_=f"swatch c{i % COLOURS}"), name, element("b", figure))
            for i, (name, figure) in enumerate(entries)
        ),
        class_="legend",
    )


def _steps(last: float) -> Axis:
    return Axis(0.0, max(1.0, last))


def _stretches(
    rows: Sequence[tuple[float, Mapping[str, float]]], most: int
) -> Iterator[Sequence[tuple[float, Mapping[str, float]]]]:
    count = min(most, len(rows))
    for i in range(count):
        yield rows[i * len(rows) // count : (i + 1) * len(rows) // count]


def _whole(
    stretch: Sequence[tuple[float, Mapping[str, float]]], names: Sequence[str]
) -> tuple[float, Mapping[str, float]]:
    """The mean step of a stretch and the mean share of each name, scaled to a sum of 1."""
    sums = {name: sum(max(0.0, shares.get(name, 0.0)) for _, shares in stretch) for name in names}
    sums = {name: value if math.isfinite(value) else 0.0 for name, value in sums.items()}
    total = sum(sums.values()) or 1.0
    return sum(step for step, _ in stretch) / len(stretch), {name: value / total for name, value in sums.items()}


def _spot(across: float, up: float) -> str:
    """Places on both axes, 0 … 1, → a point of the drawing; what lies outside is drawn at the edge."""
    across, up = min(1.0, max(0.0, across)), min(1.0, max(0.0, up))
    return f"{LEFT + across * (WIDTH - LEFT - RIGHT):.1f} {HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM):.1f}"


def _curve(points: Points, x: Axis, y: Axis, class_: str) -> Html:
    """A line with gaps; a point without neighbours is a dot, which the round ends of the line make."""
    path, pen_down = [], False
    for step, value in points:
        place = y.place(value)
        if not math.isfinite(place):
            pen_down = False
            continue
        spot = _spot(x.place(step), place)
        path.append(f"L{spot}" if pen_down else f"M{spot}h0")
        pen_down = True
    return element("path", d="".join(path), class_=class_)


def _mark(y: Axis, value: float, text: str) -> Html:
    start, end = _spot(0, y.place(value)), _spot(1, y.place(value))
    right, height = end.split()
    return join([
        element("path", d=f"M{start}L{end}", class_="mark"),
        element("text", text, x=right, y=float(height) - 4, class_="end"),
    ])  # fmt: skip


def _drawing(label: str, x: Axis, y: Axis, inside: Sequence[Html], percent: bool = False) -> Html:
    """The axes with their labels around what is drawn."""
    ticks = []
    for value in y.ticks():
        spot = _spot(0, y.place(value))
        across, up = spot.split()
        text = f"{100 * value:.0f} %" if percent else number(value)
        ticks.append(element("path", d=f"M{spot}L{_spot(1, y.place(value))}", class_="rule"))
        ticks.append(element("text", text, x=float(across) - 6, y=float(up) + 4, class_="end"))
    for value in x.ticks():
        across, up = _spot(x.place(value), 0).split()
        ticks.append(element("text", number(value), x=across, y=float(up) + 15, class_="middle"))
    labels = [
        element("text", "step", x=(LEFT + WIDTH - RIGHT) / 2, y=HEIGHT - 5, class_="middle label"),
        element("text", label, x=LEFT, y=-2, class_="label"),
        element("path", d=f"M{_spot(0, 0)}L{_spot(1, 0)}", class_="axis"),
    ]
    box = f"0 -14 {WIDTH} {HEIGHT + 14}"
    return element("svg", *ticks, *inside, *labels, viewBox=box, role="img", aria_label=label)
