"""Pictures of the explanation: heat over grey, frames with numbers, pairs."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from engines.base import RGB
from train.evaluate.likeness import grey
from train.explain.maps import Field
from train.explain.match import Match, Square
from train.page import Html, picture

WARM, COLD = (255, 120, 0), (0, 130, 255)
"""Above and below 0; told apart by all who see colours, and by their lightness over grey."""

PRICE = (205, 60, 235)
"""Of what is no gain, but only a change."""

BLUR = 5.0
"""Standard deviation of the smoothing of a map, pixels of the picture: single pixels tell nothing to the eye."""

FULL = 0.99
"""Share of a map's places whose size is under that of the strongest colour."""

FRAMES = ((255, 214, 10), (255, 90, 80), (90, 220, 120), (120, 200, 255), (240, 130, 255), (255, 160, 60))

GAP = 6
"""Pixels between the two pictures of a pair."""


def encoded(rgb: RGB, label: str) -> Html:
    """A picture in the page, with a text for those who do not see it."""
    _, data = cv2.imencode(".jpg", np.ascontiguousarray(rgb[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, 85])
    return picture(data.tobytes(), label)


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
    strength = np.clip(np.abs(values) / top, 0, 1)[..., None] ** 0.75
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
        at, size = (square.left + 4 + line, square.top + 16 + line), 0.5
        cv2.putText(out, str(number + 1), at, cv2.FONT_HERSHEY_SIMPLEX, size, (0, 0, 0), 4, cv2.LINE_AA)
        cv2.putText(
            out, str(number + 1), at, cv2.FONT_HERSHEY_SIMPLEX, size, FRAMES[number % len(FRAMES)], 1, cv2.LINE_AA
        )
    return out


def pair(match: Match, number: int, painted: RGB, painting: RGB, side: int = 168) -> RGB:
    """A region and what it resembles, side by side in its colour, ``side`` pixels each."""
    colour = np.array(FRAMES[number % len(FRAMES)], np.uint8)
    cells = []
    for square, rgb in ((match.region, painted), (match.found, painting)):
        cell = np.empty((side, side, 3), np.uint8)
        cell[:] = colour
        inside = side - 2 * GAP
        cell[GAP:-GAP, GAP:-GAP] = cv2.resize(square.cut(rgb), (inside, inside), interpolation=cv2.INTER_CUBIC)
        cells.append(cell)
    return np.hstack(cells)
