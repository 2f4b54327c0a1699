"""What others see while there is nothing to see: the last picture, dimmed, with a word."""

from __future__ import annotations

import cv2
import numpy as np

from engines.base import RGB

IDLE_S = 2.0
"""After so many seconds without a picture others are told, by the card, that it is not their fault."""

WORD = "paused"

_LIGHT = 0.35
"""Share of the picture's light that is left."""


def card(rgb: RGB) -> RGB:
    """The last picture as a card, same shape."""
    dim = np.asarray(cv2.convertScaleAbs(rgb, alpha=_LIGHT), np.uint8)
    height, width = dim.shape[:2]
    font, thickness = cv2.FONT_HERSHEY_SIMPLEX, max(1, height // 180)
    (wide, high), _ = cv2.getTextSize(WORD, font, 1.0, thickness)
    scale = min(0.4 * width / wide, 0.2 * height / high)
    place = (round((width - scale * wide) / 2), round((height + scale * high) / 2))
    cv2.putText(dim, WORD, place, font, scale, (255, 255, 255), thickness, cv2.LINE_AA)
    return dim
