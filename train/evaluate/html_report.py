"""A verdict as one self-contained page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from engines.base import RGB
from train.data.pictures import with_short_side
from train.evaluate.results import Verdict
from train.html import Html, document, element, join, photograph, section, table

SHOWN_SIDE, STRIP_SIDE = 300, 150
"""Short sides of a shown photograph and of a shown frame, pixels."""

GAP = 4
"""White pixels between pictures."""

LEAD = (
    "How near the style is to the painting, how much of a picture it keeps, how still it holds, and what it costs. "
    "“Unpainted” is the same figure for the photographs or the clip as they came."
)


def page(verdict: Verdict, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The whole document.

    Args:
        verdict: its texts and pictures.
        head, rows: of the table, as text.
    """
    return document(
        f"{verdict.title} · figures",
        element("h1", verdict.heading),
        element("p", LEAD, class_="lead"),
        table([_cells(row) for row in rows], _cells(head)),
        *_list("Left out", "What could not be measured, and what adds it.", map(str, verdict.left_out)),
        *_list("Notes", "What to know before these figures are compared with others.", iter(verdict.notes)),
        *_pairs(verdict),
        *_strips(verdict),
    )


def _cells(row: Sequence[str]) -> list[object]:
    """Figures stay in one piece on a narrow screen, where the table scrolls sideways."""
    label, *figures, meaning = row
    whole = [element("span", text, style="white-space: nowrap") for text in figures]
    wide = [element("div", text, style="min-width: 9rem") for text in (label, meaning)]
    return [wide[0], *whole, wide[1]]


def _list(heading: str, sentence: str, items: Iterator[str]) -> list[Html]:
    lines = join(element("li", item) for item in items)
    return [section(heading, sentence, element("ul", lines))] if lines else []


def _pairs(verdict: Verdict) -> list[Html]:
    pairs = [
        element(
            "figure",
            element("figcaption", f"{pair.name}, before and after"),
            photograph(_rows([[pair.before, pair.after]], SHOWN_SIDE), f"{pair.name} and its painting"),
        )
        for pair in verdict.pairs
    ]
    if not pairs:
        return []
    sentence = "Look for strokes where the picture is flat, and for faces that are still faces."
    return [section("Before and after", sentence, element("div", *pairs, class_="grid wide uneven"))]


def _strips(verdict: Verdict) -> list[Html]:
    sentence = "Frames of the clip, and their paintings below them: a stroke should stay with the thing it belongs to."
    return [
        section(strip.name, sentence, photograph(_rows([strip.before, strip.after], STRIP_SIDE), "frames"))
        for strip in verdict.strips
    ]


def _rows(pictures: Sequence[Sequence[RGB]], side: int) -> RGB:
    """Rows of pictures of one size as one picture, each with ``side`` pixels at its short side, if it has them."""
    rows = []
    for row in pictures:
        small = [with_short_side(rgb, min(side, *rgb.shape[:2])) for rgb in row]
        gap = np.full((small[0].shape[0], GAP, 3), 255, np.uint8)
        rows.append(np.hstack([part for rgb in small for part in (rgb, gap)][:-1]))
    gap = np.full((GAP, rows[0].shape[1], 3), 255, np.uint8)
    return np.vstack([part for row in rows for part in (row, gap)][:-1])
