"""Stills of a clip, or of styles, on one picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from engines.base import RGB

LONGEST_SIDE = 640
"""Larger stills are reduced to this, pixels."""

COLUMNS = 4
"""Stills side by side at most."""

GAP, BAND = 8, 28
"""Space around a still, and height of the line with its label, pixels."""

BACKGROUND, INK = 24, (230, 230, 230)


@dataclass(frozen=True)
class Still:
    """A label, e.g. the time in a clip, and pictures of one size: the input above the stylized one, or only one."""

    label: str
    pictures: tuple[RGB, ...]


def contact_sheet(stills: Sequence[Still], most_columns: int = COLUMNS) -> RGB:
    """Draw stills of one size side by side, from left to right and top to bottom."""
    height, width = _reduced(stills[0].pictures[0]).shape[:2]
    rows = -(-len(stills) // most_columns)
    columns = -(-len(stills) // rows)
    cell_height, cell_width = BAND + len(stills[0].pictures) * (height + GAP), width + GAP
    sheet = np.full((rows * cell_height + GAP, columns * cell_width + GAP, 3), BACKGROUND, np.uint8)
    for number, still in enumerate(stills):
        row, column = divmod(number, columns)
        top, left = row * cell_height, column * cell_width + GAP
        cv2.putText(
            sheet, still.label, (left, top + BAND - GAP), cv2.FONT_HERSHEY_SIMPLEX, 0.5, INK, 1, cv2.LINE_AA
        )  # fmt: skip
        for place, picture in enumerate(still.pictures):
            y = top + BAND + place * (height + GAP)
            sheet[y : y + height, left : left + width] = _reduced(picture, (width, height))
    return sheet


def _reduced(picture: RGB, size: tuple[int, int] | None = None) -> RGB:
    """Return a still at its size on the sheet, (width, height) in pixels."""
    if size is None:
        factor = min(1.0, LONGEST_SIDE / max(picture.shape[:2]))
        size = max(1, round(picture.shape[1] * factor)), max(1, round(picture.shape[0] * factor))
    if picture.shape[:2] == size[::-1]:
        return picture
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
