"""The curves of a run, each under its name, with what it means and what to look for."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from train.html import Html, element, section, table
from train.report.axis import Axis, number
from train.report.chart import Points, area_chart, legend, line_chart, mean_shares, smooth
from train.report.glossary import MEANING, STEADINESS
from train.report.history import Entry


def losses(entries: Sequence[Entry], settings: Mapping[str, Any]) -> Html:
    """One chart for each loss term.

    Args:
        entries: of the history.
        settings: of the run; those in ``losses`` are the weights.
    """
    weights = settings.get("losses")
    weights = weights if isinstance(weights, Mapping) else {}
    charts = [_loss(name, entries, weights.get(name)) for name in _names(entries, "losses")]
    return section(
        "What the training makes smaller",
        "Each curve is one goal, pale as it came and strong as its course, and lower is better: they should fall fast "
        "and then level out; one that climbs without end, or jumps up and stays there, is a reason to stop.",
        element("div", *charts, class_="grid") if charts else element("p", "The first figures are on their way."),
    )


def _loss(name: str, entries: Sequence[Entry], weight: object) -> Html:
    points = [(entry.step, entry.losses.get(name, math.nan)) for entry in entries]
    meaning = MEANING.get(name, "")
    if isinstance(weight, int | float):
        meaning += f" Weight {number(weight)}." if weight else " Only watched, its weight is 0."
    return _figure(name, points, meaning.strip(), "loss")


def _figure(name: str, points: Points, meaning: str, label: str, **drawing: Any) -> Html:
    """A chart under its name, with the value at which its course stands now."""
    axis = drawing.setdefault("y", Axis.around([value for _, value in points]))
    course = [value for _, value in smooth(points, axis) if math.isfinite(value)]
    now = element("b", number(course[-1])) if course else ""
    title = element("h3", element("span", name.replace("_", " ")), now)
    return element("figure", element("figcaption", title, meaning), line_chart(points, label, **drawing))


def _names(entries: Sequence[Entry], field: Literal["losses", "shares"]) -> list[str]:
    """Terms in the order in which they first appear, the total first."""
    names = dict.fromkeys(name for entry in entries for name in getattr(entry, field))
    return sorted(names, key=lambda name: name != "total")


def gradient(entries: Sequence[Entry]) -> Iterator[Html]:
    """Each term's share of the gradient, stacked; nothing until it was measured twice, because one is no curve."""
    rows = [(entry.step, entry.shares) for entry in entries if entry.shares]
    if len(rows) < 2:
        return
    names = _names(entries, "shares")
    _, latest = mean_shares(rows[-max(1, len(rows) // 20) :], names)
    shown = [(name.replace("_", " "), f"{100 * share:.0f} %") for name, share in zip(names, latest, strict=True)]
    yield section(
        "Who steers",
        "How strongly each goal pulls at the network: one that fills the chart drowns the others, and its weight is "
        "too high.",
        element("figure", area_chart(rows, names, "share of the gradient"), legend(shown), class_="shares"),
    )


def discriminator(entries: Sequence[Entry]) -> Iterator[Html]:
    """How the two networks stand; nothing where there is only one."""
    accuracy = [(entry.step, entry.accuracy) for entry in entries if entry.accuracy is not None]
    loss = [(entry.step, entry.discriminator) for entry in entries if entry.discriminator is not None]
    penalty = [(entry.step, entry.penalty) for entry in entries if entry.penalty is not None]
    diversity = [(entry.step, entry.diversity) for entry in entries if entry.diversity is not None]
    charts = []
    if accuracy:
        meaning = "At 1 the generator learns nothing from the discriminator any more; at 0.5 that one only guesses."
        charts.append(
            _figure(
                "accuracy of the discriminator", accuracy, meaning, "share", y=Axis(0.0, 1.0), marks={0.5: "guessing"}
            )
        )
    for name, meaning, points in (
        ("loss of the discriminator", "What it makes smaller: it rises when the paintings become better.", loss),
        ("gradient penalty", "How steep its verdict is, a part of its loss; it should stay small.", penalty),
    ):
        if points:
            charts.append(_figure(name, points, meaning, "loss"))
    if diversity:
        meaning = "How different the paintings are, where the photographs are 1; near 0 they all look alike."
        charts.append(_figure("diversity of the paintings", diversity, meaning, "ratio", y=_from_zero(diversity)))
    if charts:
        yield section(
            "Generator against discriminator",
            "A second network, the discriminator, learns to tell the paintings from the artist's own: its accuracy "
            "should stay between 0.6 and 0.9, and the diversity of the paintings should not sink towards 0.",
            element("div", *charts, class_="grid"),
        )


def steadiness(entries: Sequence[Entry]) -> Iterator[Html]:
    """How still the paintings hold under motion; nothing where it was not measured."""
    measured = [entry for entry in entries if entry.steadiness]
    if not measured:
        return
    charts, rows = [], []
    for name, meaning in STEADINESS.items():
        unpainted = measured[-1].steadiness.get(f"{name}_unpainted", math.nan)
        points = [(entry.step, entry.steadiness.get(name, math.nan)) for entry in measured]
        axis = Axis.around([unpainted, *(value for _, value in points)])
        marks = {unpainted: "unpainted"} if math.isfinite(axis.place(unpainted)) else {}
        charts.append(_figure(name, points, meaning, "error", y=axis, marks=marks, raw=False))
        rows.append((name, number(points[-1][1]), number(unpainted)))
    yield section(
        "Steadiness",
        "The generator paints the same few moving frames at every contact sheet: smaller is steadier, and a painting "
        "whose figure comes near that of the unpainted frames holds still.",
        element("div", *charts, class_="grid"),
        table(rows, head=("figure", "painted", "unpainted")),
    )


def pace(entries: Sequence[Entry]) -> Html:
    """The learning rate, and whether the device waits for pictures."""
    rates = [(entry.step, entry.learning_rate) for entry in entries]
    waits = [(entry.step, 100 * entry.data_wait) for entry in entries if entry.data_wait is not None]
    charts = (
        [
            _figure(
                "learning rate",
                rates,
                "How large a step the network takes; the last, small ones settle the details.",
                "rate",
                raw=False,
            )
        ]
        if rates
        else []
    )
    if waits:
        meaning = "More than a few per cent means that the disk, or decoding the pictures, is the brake."
        charts.append(_figure("waiting for pictures, %", waits, meaning, "% of the time", y=_from_zero(waits)))
    return section(
        "Pace",
        "The learning rate should rise and then fall along a smooth curve, and the time spent waiting for pictures "
        "should stay near 0 %.",
        element("div", *charts, class_="grid"),
    )


def _from_zero(points: Points) -> Axis:
    return Axis(0.0, 1.1 * max((value for _, value in points if math.isfinite(value)), default=0.0) or 1.0)
