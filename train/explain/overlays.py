"""Drawings on pictures: heat maps, numbered frames, pairs of details."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from engines.base import RGB
from train.evaluate.similarity import grey
from train.explain.layer_maps import Field
from train.explain.patch_match import Match, Square

WARM, COLD = (255, 120, 0), (0, 130, 255)
"""Colours above and below 0, distinguishable by hue and by lightness."""

CHANGE = (205, 60, 235)
"""Colour of maps that show a change without a direction."""

BLUR = 5.0
"""Standard deviation of a map's smoothing, pixels of the picture."""

QUANTILE = 0.99
"""Quantile of a map's absolute values that gets the full colour."""

FRAMES = ((255, 214, 10), (255, 90, 80), (90, 220, 120), (120, 200, 255), (240, 130, 255), (255, 160, 60))

CELL, GAP = 192, 6
"""Side of each picture of a pair, and the gap between them, pixels."""


def heat_map(rgb: RGB, values: Field, warm: tuple[int, int, int] = WARM) -> RGB:
    """Draw a map over the grey picture: warm above 0, cold below, stronger with distance from 0.

    The map may have any coarser size; it is smoothed and enlarged, and has its own colour scale.
    """
    height, width = rgb.shape[:2]
    sigma = BLUR * values.shape[0] / height
    smooth = cv2.GaussianBlur(values, (0, 0), sigma) if sigma > 0.3 else values  # smaller blurs have no effect
    large = cv2.resize(smooth, (width, height), interpolation=cv2.INTER_LINEAR)
    top = float(np.quantile(np.abs(large), QUANTILE)) or 1.0
    strength = np.clip(np.abs(large) / top, 0, 1)[..., None]
    colour = np.where(large[..., None] > 0, np.array(warm, np.float32), np.array(COLD, np.float32))
    dim = 25 + 0.6 * grey(rgb)[..., None]
    return np.asarray(dim + 0.85 * strength * (colour - dim), dtype=np.uint8)


def draw_frames(rgb: RGB, squares: Sequence[Square]) -> RGB:
    """Return a copy with a numbered, coloured frame around each square."""
    out = rgb.copy()
    line = max(1, round(min(rgb.shape[:2]) / 160))
    for number, square in enumerate(squares):
        low, high = (square.left, square.top), (square.left + square.side - 1, square.top + square.side - 1)
        cv2.rectangle(out, low, high, (0, 0, 0), line + 2)
        cv2.rectangle(out, low, high, FRAMES[number % len(FRAMES)], line)
        _label(out, str(number + 1), square, FRAMES[number % len(FRAMES)])
    return out


def _label(out: RGB, text: str, square: Square, colour: tuple[int, int, int]) -> None:
    """Write a number above the frame, or below it if there is no room above."""
    (wide, high), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.5, 1)
    bottom = square.top if square.top >= high + 6 else square.top + square.side + high + 6
    cv2.rectangle(out, (square.left, bottom - high - 6), (square.left + wide + 5, bottom), colour, cv2.FILLED)
    at = (square.left + 3, bottom - 3)
    cv2.putText(out, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)


def side_by_side(match: Match, number: int, stylized: RGB, painting: RGB) -> RGB:
    """Show a region and its match side by side, each framed and with its surroundings."""
    cells = [_cell(square, number, rgb) for square, rgb in ((match.region, stylized), (match.found, painting))]
    return np.hstack([cells[0], np.full((CELL, GAP, 3), 255, np.uint8), cells[1]])


def _cell(square: Square, number: int, rgb: RGB) -> RGB:
    view = square.surroundings(rgb)
    cell = np.ascontiguousarray(cv2.resize(view.cut(rgb), (CELL, CELL), interpolation=cv2.INTER_CUBIC))
    scale = CELL / view.side
    low = [round(scale * offset) for offset in (square.left - view.left, square.top - view.top)]
    high = [min(CELL, round(at + scale * square.side)) - 1 for at in low]
    cv2.rectangle(cell, low, high, (0, 0, 0), 4)
    cv2.rectangle(cell, low, high, FRAMES[number % len(FRAMES)], 2)
    return np.asarray(cell, dtype=np.uint8)
