"""Pictures of the explanation: heat over grey, frames with numbers, pairs."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from engines.base import RGB
from train.evaluate.similarity import grey
from train.explain.layer_maps import Field
from train.explain.patch_match import Match, Square

WARM, COLD = (255, 120, 0), (0, 130, 255)
"""Above and below 0; told apart by all who see colours, and by their lightness over grey."""

PRICE = (205, 60, 235)
"""Of what is no gain, but only a change."""

BLUR = 5.0
"""Standard deviation of the smoothing of a map, pixels of the picture: single pixels tell nothing to the eye."""

FULL = 0.99
"""Share of a map's places whose size is under that of the strongest colour."""

FRAMES = ((255, 214, 10), (255, 90, 80), (90, 220, 120), (120, 200, 255), (240, 130, 255), (255, 160, 60))

CELL, GAP = 192, 6
"""Side of each picture of a pair, and what is between them, pixels."""


def heat(rgb: RGB, places: Field, warm: tuple[int, int, int] = WARM) -> RGB:
    """A map over the grey picture: warm above 0, cold below, the stronger the farther.

    Args:
        rgb: (height, width, 3).
        places: any coarser size; smoothed and enlarged. One colour scale for each map.
        warm: the colour above 0.
    """
    height, width = rgb.shape[:2]
    sigma = BLUR * places.shape[0] / height
    smooth = cv2.GaussianBlur(places, (0, 0), sigma) if sigma > 0.3 else places  # below, a blur does nothing
    values = cv2.resize(smooth, (width, height), interpolation=cv2.INTER_LINEAR)
    top = float(np.quantile(np.abs(values), FULL)) or 1.0
    strength = np.clip(np.abs(values) / top, 0, 1)[..., None]
    colour = np.where(values[..., None] > 0, np.array(warm, np.float32), np.array(COLD, np.float32))
    dim = 25 + 0.6 * grey(rgb)[..., None]
    return np.asarray(dim + 0.85 * strength * (colour - dim), dtype=np.uint8)


def framed(rgb: RGB, squares: Sequence[Square]) -> RGB:
    """A copy with a numbered, coloured frame around each square."""
    out = rgb.copy()
    line = max(1, round(min(rgb.shape[:2]) / 160))
    for number, square in enumerate(squares):
        low, high = (square.left, square.top), (square.left + square.side - 1, square.top + square.side - 1)
        cv2.rectangle(out, low, high, (0, 0, 0), line + 2)
        cv2.rectangle(out, low, high, FRAMES[number % len(FRAMES)], line)
        _label(out, str(number + 1), square, FRAMES[number % len(FRAMES)])
    return out


def _label(out: RGB, text: str, square: Square, colour: tuple[int, int, int]) -> None:
    """Black on the frame's colour, above the frame, or below it where there is no room: it covers nothing it names."""
    (wide, high), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.5, 1)
    bottom = square.top if square.top >= high + 6 else square.top + square.side + high + 6
    cv2.rectangle(out, (square.left, bottom - high - 6), (square.left + wide + 5, bottom), colour, cv2.FILLED)
    at = (square.left + 3, bottom - 3)
    cv2.putText(out, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)


def pair(match: Match, number: int, painted: RGB, painting: RGB) -> RGB:
    """A region and what it resembles, framed in its colour, each with what is around it."""
    cells = [_cell(square, number, rgb) for square, rgb in ((match.region, painted), (match.found, painting))]
    return np.hstack([cells[0], np.full((CELL, GAP, 3), 255, np.uint8), cells[1]])


def _cell(square: Square, number: int, rgb: RGB) -> RGB:
    around = square.around(rgb)
    cell = np.ascontiguousarray(cv2.resize(around.cut(rgb), (CELL, CELL), interpolation=cv2.INTER_CUBIC))
    scale = CELL / around.side
    low = [round(scale * offset) for offset in (square.left - around.left, square.top - around.top)]
    high = [min(CELL, round(at + scale * square.side)) - 1 for at in low]
    cv2.rectangle(cell, low, high, (0, 0, 0), 4)
    cv2.rectangle(cell, low, high, FRAMES[number % len(FRAMES)], 2)
    return np.asarray(cell, dtype=np.uint8)
