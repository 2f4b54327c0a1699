"""Charts: axes, thinning and smoothing keep what a person must see."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from train.report.axis import Axis, number
from train.report.chart import HEIGHT, MAX_POINTS, WIDE, WIDTH, area_chart, line_chart, smooth, thin

SERIES: dict[str, list[float]] = {
    "nothing": [],
    "one": [3.0],
    "zeros": [0.0] * 50,
    "constant": [-2.5] * 50,
    "falling over decades": [10.0 ** (-i / 10) for i in range(100)],
    "with zeros": [0.0, 0.0, 1e-6, 1.0, 100.0],
    "negative": [-3.0, 400.0, 0.001],
    "with gaps": [1.0, math.nan, 2.0, math.inf, 3.0, -math.inf],
    "only gaps": [math.nan] * 5,
    "tiny": [1e-300, 2e-300, 1e-290],
    "huge": [1e300, 1e290, 3e299],
    "long": [math.sin(i / 50) for i in range(5000)],
}


def spots(svg: str) -> list[tuple[float, float]]:
    """Every point of every path."""
    return [(float(x), float(y)) for x, y in re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", svg)]


@pytest.mark.parametrize("values", SERIES.values(), ids=SERIES.keys())
def test_every_curve_stays_inside_its_drawing(values: list[float]) -> None:
    points = [(10.0 * i, value) for i, value in enumerate(values)]
    svg = line_chart(points, "loss")
    assert "nan" not in svg and "inf" not in svg
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in spots(svg))
    assert len(spots(svg)) <= 2 * MAX_POINTS + 2 * 20


@pytest.mark.parametrize("values", SERIES.values(), ids=SERIES.keys())
def test_an_axis_holds_its_values_and_names_some(values: list[float]) -> None:
    axis = Axis.around(values)
    shown = [value for value in values if math.isfinite(value) and (value > 0 or not axis.log)]
    assert all(-1e-9 <= axis.place(value) <= 1 + 1e-9 for value in shown)
    assert all(axis.value(axis.place(value)) == pytest.approx(value) for value in shown)
    assert 2 <= len(axis.ticks()) <= 12
    assert all(axis.low <= tick * (1 + 1e-9) and tick <= axis.high * (1 + 1e-9) for tick in axis.ticks())


@pytest.mark.parametrize(
    ("values", "log"),
    [([1, 30], False), ([1, 33], True), ([0, 1, 33], True), ([-1, 100], False), ([0, 0], False), ([5], False)],
)
def test_a_curve_over_more_than_one_and_a_half_decades_is_logarithmic(values: list[float], log: bool) -> None:
    assert Axis.around(values).log is log
    assert ("log scale" in line_chart(list(enumerate(values)), "loss")) is log


def test_thinning_keeps_the_spikes_and_both_ends() -> None:
    points = [(float(i), 0.0) for i in range(10_000)]
    points[3_141], points[7_182] = (3_141.0, 7.0), (7_182.0, -7.0)
    thinned = thin(points)
    assert len(thinned) <= MAX_POINTS
    assert {(3_141.0, 7.0), (7_182.0, -7.0), points[0], points[-1]} <= set(thinned)
    assert [x for x, _ in thinned] == sorted({x for x, _ in thinned}), "in order, and none twice"


def test_smoothing_leaves_a_line_and_calms_a_noise() -> None:
    line = [(float(i), 2.0 * i) for i in range(300)]
    assert [y for _, y in smooth(line, Axis(0, 600))[10:-10]] == pytest.approx([y for _, y in line[10:-10]])
    noise = np.random.default_rng(0).normal(5, 1, 3000)
    calm = [y for _, y in smooth(list(enumerate(noise.tolist())), Axis(0, 10))]
    assert np.std(calm) < 0.2 and np.mean(calm) == pytest.approx(5, abs=0.1)


def test_smoothing_is_done_on_the_axis() -> None:
    """On a logarithmic axis the mean of 1 and 100 is 10."""
    points = [(float(i), 1.0 if i % 2 else 100.0) for i in range(600)]
    middle = smooth(points, Axis(1, 100, log=True))[300][1]
    assert middle == pytest.approx(10, rel=0.3)


def test_a_gap_stays_a_gap() -> None:
    points = [(0.0, 1.0), (1.0, math.nan), (2.0, 1.0)]
    assert [math.isfinite(y) for _, y in smooth(points, Axis(0, 2))] == [True, False, True]
    assert line_chart(points, "x", raw=False).count("h0") == 2, "two curves, each a point"


def test_areas_fill_the_whole() -> None:
    rows = [(float(step), {"style": 3.0, "content": 1.0}) for step in range(0, 5000, 10)]
    svg = area_chart(rows, ["style", "content"], "share")
    style, content = re.findall(r'd="M([^"]*)Z"', svg)
    top = min(float(pair.split()[1]) for pair in content.split("L"))
    edge = min(float(pair.split()[1]) for pair in style.split("L"))
    bottom = max(float(pair.split()[1]) for pair in style.split("L"))
    assert (bottom - edge) / (bottom - top) == pytest.approx(0.75, abs=0.01)
    assert all(0 <= x <= WIDE and 0 <= y <= HEIGHT for x, y in spots(svg))


def test_shares_that_are_missing_or_no_numbers_are_none() -> None:
    rows = [(1.0, {"style": math.nan}), (2.0, {"content": -1.0, "style": 2.0}), (3.0, {})]
    svg = area_chart(rows, ["style", "content"], "share")
    assert "nan" not in svg


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.0034, "0.0034"), (0.1 + 0.2, "0.3"), (12.5, "12.5"), (123.4, "123"), (1250, "1,250"), (1e-5, "10⁻⁵"),
     (3e-7, "3×10⁻⁷"), (-2.5e9, "-2.5×10⁹"), (999_999, "999,999"), (999.96, "1,000"), (math.nan, "–"), (100, "100")],
)  # fmt: skip
def test_numbers_are_short(value: float, text: str) -> None:
    assert number(value) == text
