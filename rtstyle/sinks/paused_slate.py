"""What viewers see during a pause: the last picture, dimmed, with the word "paused"."""

from __future__ import annotations

import cv2
import numpy as np

from engines.base import RGB
from rtstyle.frame import Frame

SLATE_AFTER_S = 2.0
"""Seconds without a picture after which viewers see the slate."""

WORD = "paused"

_BRIGHTNESS = 0.35
"""Brightness of the slate relative to the picture."""


def paused_slate(rgb: RGB) -> RGB:
    """Return the slate for a picture, same shape."""
    dim = np.asarray(cv2.convertScaleAbs(rgb, alpha=_BRIGHTNESS), np.uint8)
    height, width = dim.shape[:2]
    font, thickness = cv2.FONT_HERSHEY_SIMPLEX, max(1, height // 180)
    (wide, high), _ = cv2.getTextSize(WORD, font, 1.0, thickness)
    scale = min(0.4 * width / wide, 0.2 * height / high)
    origin = (round((width - scale * wide) / 2), round((height + scale * high) / 2))
    cv2.putText(dim, WORD, origin, font, scale, (255, 255, 255), thickness, cv2.LINE_AA)
    return dim


def shown(frame: Frame, *, paused: bool) -> RGB:
    """Return what viewers see of a frame: its picture, or the slate while paused or while the source is lost."""
    return paused_slate(frame.rgb) if paused or frame.notice else frame.rgb
