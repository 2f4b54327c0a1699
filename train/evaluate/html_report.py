"""Render results as one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from engines.base import RGB
from train.data.pictures import with_short_side
from train.evaluate.results import Results
from train.html import Html, document, element, join, photograph, section, table

SHOWN_SIDE, STRIP_SIDE = 300, 150
"""Short sides of a shown photograph and of a shown frame, pixels."""

GAP = 4
"""Space between pictures, pixels."""

LEAD = (
    "How close the style is to the painting, how much of a picture it keeps, how steady it is, and what it costs. "
    "“Unstylized” is the same metric for the input photographs or clip."
)


def page(results: Results, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return the whole document; ``head`` and ``rows`` are the table as text."""
    return document(
        f"{results.title} · figures",
        element("h1", results.heading),
        element("p", LEAD, class_="lead"),
        table([_cells(row) for row in rows], _cells(head)),
        *_list("Left out", "What could not be computed, and the option that adds it.", map(str, results.left_out)),
        *_list("Notes", "What to know before comparing these figures with others.", iter(results.notes)),
        *_pairs(results),
        *_strips(results),
    )


def _cells(row: Sequence[str]) -> list[object]:
    """Keep numbers unbroken on a narrow screen, where the table scrolls sideways."""
    label, *figures, meaning = row
    whole = [element("span", text, style="white-space: nowrap") for text in figures]
    wide = [element("div", text, style="min-width: 9rem") for text in (label, meaning)]
    return [wide[0], *whole, wide[1]]


def _list(heading: str, sentence: str, items: Iterator[str]) -> list[Html]:
    lines = join(element("li", item) for item in items)
    return [section(heading, sentence, element("ul", lines))] if lines else []


def _pairs(results: Results) -> list[Html]:
    pairs = [
        element(
            "figure",
            element("figcaption", f"{pair.name}, before and after"),
            photograph(_rows([[pair.before, pair.after]], SHOWN_SIDE), f"{pair.name} and its stylized version"),
        )
        for pair in results.pairs
    ]
    if not pairs:
        return []
    sentence = "Look for strokes in flat areas, and for faces that are still recognisable."
    return [section("Before and after", sentence, element("div", *pairs, class_="grid wide uneven"))]


def _strips(results: Results) -> list[Html]:
    sentence = "Frames of the clip above their stylized versions: a stroke should stay with the object it belongs to."
    return [
        section(strip.name, sentence, photograph(_rows([strip.before, strip.after], STRIP_SIDE), "frames"))
        for strip in results.strips
    ]


def _rows(pictures: Sequence[Sequence[RGB]], side: int) -> RGB:
    """Tile rows of pictures into one, each scaled down to the short side ``side``."""
    rows = []
    for row in pictures:
        small = [with_short_side(rgb, min(side, *rgb.shape[:2])) for rgb in row]
        gap = np.full((small[0].shape[0], GAP, 3), 255, np.uint8)
        rows.append(np.hstack([part for rgb in small for part in (rgb, gap)][:-1]))
    gap = np.full((GAP, rows[0].shape[1], 3), 255, np.uint8)
    return np.vstack([part for row in rows for part in (row, gap)][:-1])
