"""The charts of a run, each with its name, its meaning and what to look for."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from train.html import Html, element, figure, section, table
from train.report.axis import Axis, number
from train.report.chart import Points, area_chart, legend, line_chart, mean_shares, smooth
from train.report.glossary import MEANING, TEMPORAL_METRICS
from train.report.history import Entry


def losses(entries: Sequence[Entry], settings: Mapping[str, Any]) -> Html:
    """Build the section with one chart for each loss term; the settings hold their weights."""
    weights = settings.get("losses")
    weights = weights if isinstance(weights, Mapping) else {}
    charts = [_loss(name, entries, weights.get(name)) for name in _names(entries, "losses")]
    return section(
        "Losses",
        "Each curve is one loss term, raw values pale and smoothed ones strong; lower is better. Losses should fall "
        "fast and then level out. If one keeps rising, or jumps up and stays there, stop the run.",
        element("div", *charts, class_="grid") if charts else element("p", "No values have been logged yet."),
    )


def _loss(name: str, entries: Sequence[Entry], weight: object) -> Html:
    points = [(entry.step, entry.losses.get(name, math.nan)) for entry in entries]
    meaning = MEANING.get(name, "")
    if isinstance(weight, int | float):
        meaning += f" Weight {number(weight)}." if weight else " Weight 0: only monitored."
    return _figure(name, points, meaning.strip(), "loss")


def _measured(entries: Sequence[Entry], field: str) -> Points:
    return [(entry.step, getattr(entry, field)) for entry in entries if getattr(entry, field) is not None]


def _figure(name: str, points: Points, meaning: str, label: str, **drawing: Any) -> Html:
    """Put a chart under its name and its current smoothed value."""
    axis = drawing.setdefault("y", Axis.around([value for _, value in points]))
    smoothed = [value for _, value in smooth(points, axis) if math.isfinite(value)]
    now = number(smoothed[-1]) if smoothed else ""
    return figure(line_chart(points, label, **drawing), name.replace("_", " "), now, meaning)


def _names(entries: Sequence[Entry], field: Literal["losses", "shares"]) -> list[str]:
    """Return the terms in order of first appearance, the total first."""
    names = dict.fromkeys(name for entry in entries for name in getattr(entry, field))
    return sorted(names, key=lambda name: name != "total")


def gradient(entries: Sequence[Entry]) -> Iterator[Html]:
    """Yield the stacked gradient shares, once they were measured twice."""
    rows = [(entry.step, entry.shares) for entry in entries if entry.shares]
    if len(rows) < 2:
        return
    names = _names(entries, "shares")
    _, latest = mean_shares(rows[-max(1, len(rows) // 20) :], names)
    shown = [(name.replace("_", " "), f"{100 * share:.0f} %") for name, share in zip(names, latest, strict=True)]
    yield section(
        "Gradient shares",
        "How strongly each loss term drives the network. If one fills the chart, its weight is too high.",
        element("figure", area_chart(rows, names, "share of the gradient"), legend(shown), class_="shares"),
    )


def discriminator(entries: Sequence[Entry]) -> Iterator[Html]:
    """Yield the section on the discriminator, if the run trains one."""
    charts = []
    if accuracy := _measured(entries, "accuracy"):
        meaning = "At 1 the generator learns nothing more from it; at 0.5 it only guesses."
        drawing = {"y": Axis(0.0, 1.0), "marks": {0.5: "guessing"}}
        charts.append(_figure("accuracy of the discriminator", accuracy, meaning, "share", **drawing))
    if loss := _measured(entries, "discriminator"):
        meaning = "Rises as the stylized pictures improve."
        charts.append(_figure("loss of the discriminator", loss, meaning, "loss"))
    if penalty := _measured(entries, "penalty"):
        meaning = "How steeply its scores change; part of its loss. It should stay small."
        charts.append(_figure("gradient penalty", penalty, meaning, "loss"))
    if diversity := _measured(entries, "diversity"):
        meaning = "Differences among the stylized pictures, relative to the photographs; near 0 all look alike."
        charts.append(_figure("diversity", diversity, meaning, "ratio", y=_from_zero(diversity)))
    if charts:
        yield section(
            "Generator against discriminator",
            "A second network, the discriminator, learns to tell stylized pictures from the artist's. Its accuracy "
            "should stay between 0.6 and 0.9, and diversity should not fall towards 0.",
            element("div", *charts, class_="grid"),
        )


def temporal_consistency(entries: Sequence[Entry]) -> Iterator[Html]:
    """Yield the section on temporal consistency, if it was measured."""
    measured = [entry for entry in entries if entry.steadiness]
    if not measured:
        return
    charts, rows = [], []
    for name, meaning in TEMPORAL_METRICS.items():
        of_input = measured[-1].steadiness.get(f"{name}_unpainted", math.nan)
        points = [(entry.step, entry.steadiness.get(name, math.nan)) for entry in measured]
        axis = Axis.around([of_input, *(value for _, value in points)])
        marks = {of_input: "input"} if math.isfinite(axis.place(of_input)) else {}
        charts.append(_figure(name, points, meaning, "error", y=axis, marks=marks, raw=False))
        rows.append((name, number(points[-1][1]), number(of_input)))
    yield section(
        "Temporal consistency",
        "With every contact sheet, the generator stylizes the same short moving scene. Lower is steadier; values near "
        "those of the input frames mean no visible flicker.",
        element("div", *charts, class_="grid"),
        table(rows, head=("metric", "stylized", "input")),
    )


def pace(entries: Sequence[Entry]) -> Html:
    """Build the section with the learning rate and the time spent waiting for pictures."""
    charts = []
    if rates := _measured(entries, "learning_rate"):
        meaning = "Size of the network's updates; the last, small ones refine details."
        charts.append(_figure("learning rate", rates, meaning, "rate", raw=False))
    if waits := [(step, 100 * share) for step, share in _measured(entries, "data_wait")]:
        meaning = "More than a few percent means that reading or decoding pictures limits the speed."
        charts.append(_figure("waiting for pictures, %", waits, meaning, "% of the time", y=_from_zero(waits)))
    return section(
        "Speed",
        "The learning rate should rise briefly and then fall smoothly, and the time spent waiting for pictures should "
        "stay near 0 %.",
        element("div", *charts, class_="grid"),
    )


def _from_zero(points: Points) -> Axis:
    return Axis(0.0, 1.1 * max((value for _, value in points if math.isfinite(value)), default=0.0) or 1.0)
