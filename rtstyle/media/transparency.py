"""Pictures with transparent parts, made ready for an engine, which knows no transparency."""

from __future__ import annotations

from typing import Any

import numpy as np

from engines.base import RGB
from rtstyle.frame import Alpha

_SMALLEST = 2
"""Side at which the colours of the visible parts are not averaged any further, pixels."""


def on_black(rgb: RGB, alpha: Alpha) -> RGB:
    """Compose a picture on black. Editors leave any colour behind what is transparent."""
    return ((rgb.astype(np.uint16) * alpha[..., None] + 127) // 255).astype(np.uint8)


def continue_colours(rgb: RGB, alpha: Alpha, *, on_white: bool = False) -> RGB:
    """Compose a picture on a smooth continuation of its visible colours.

    The engine sees no edge where the picture ends, and what it paints there has no fringe of black or white when the
    result is composed on another picture with the same opacity. Hidden colours do not show.

    Args:
        rgb: (H, W, 3).
        alpha: opacity, (H, W).
        on_white: the picture has been composed on white; the white is taken away again.

    Source:
        the pull-push algorithm, Gortler et al. 1996, "The Lumigraph", section 3.4.
    """
    if alpha.min(initial=255) == 255:
        return rgb
    if alpha.max(initial=0) == 0:
        return np.zeros_like(rgb)
    weight = alpha.astype(np.float32) / 255
    seen = weight[..., None]
    colour = np.maximum(rgb - 255 * (1 - seen), 0) if on_white else rgb * seen
    filled = _filled(colour, weight) * (1 - seen)
    composed: RGB = np.rint(np.clip(colour + filled, 0, 255)).astype(np.uint8)
    return composed


def _filled(colour: Any, weight: Any) -> Any:
    """Return a colour for every pixel, taken from the visible pixels around it.

    Args:
        colour: (H, W, 3), times ``weight``.
        weight: (H, W), 0 … 1.
    """
    import cv2

    height, width = weight.shape
    sure = np.minimum(1, weight)[..., None]
    mean = colour / np.maximum(weight, 1e-6)[..., None]
    if min(height, width) <= _SMALLEST or weight.min() >= 1:
        total = max(float(weight.sum()), 1e-6)
        return mean * sure + colour.sum((0, 1)) / total * (1 - sure)
    half = ((width + 1) // 2, (height + 1) // 2)
    # Twice the weight: a pixel with one neighbour in four is half sure of its colour.
    smaller = [2 * cv2.resize(one, half, interpolation=cv2.INTER_AREA) for one in (colour, weight)]
    excess = np.maximum(1, smaller[1])
    coarse = _filled(smaller[0] / excess[..., None], smaller[1] / excess)
    return mean * sure + cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR) * (1 - sure)
