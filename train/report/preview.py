"""Previews of a style: photographs from scikit-image's wheel and their stylized versions.

Astronaut and rocket are in the public domain, chelsea and coffee are CC0.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from engines.base import RGB
from train.data.pictures import read_picture, with_short_side

PHOTOGRAPHS = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")
SMALL_LIMIT = 60_000
"""Largest preview inside a style, bytes."""

SMALLEST = 16
"""Previews with a shorter side than this are not shrunk further, pixels."""


def photographs(count: int, side: int) -> list[RGB]:
    """Return the central squares of the first photographs, ``side`` pixels; none without scikit-image."""
    spec = importlib.util.find_spec("skimage")
    if spec is None or spec.origin is None:
        return []
    folder = Path(spec.origin).parent / "data"
    return [_square(read_picture(folder / name), side) for name in PHOTOGRAPHS[:count]]


def _square(rgb: RGB, side: int) -> RGB:
    rgb = with_short_side(rgb, side)
    top, left = (rgb.shape[0] - side) // 2, (rgb.shape[1] - side) // 2
    return np.ascontiguousarray(rgb[top : top + side, left : left + side])


def jpeg(rgb: RGB, limit: int) -> bytes:
    """Encode at the best quality that fits into ``limit`` bytes, shrinking the picture if none does.

    A preview must not end a training, so one that never fits is returned as small as possible.
    """
    bgr = np.ascontiguousarray(rgb[..., ::-1])
    while True:
        for quality in (92, 88, 84, 80, 75, 70, 60, 50, 40):
            _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
            if data.size <= limit:
                return data.tobytes()
        if min(bgr.shape[:2]) < SMALLEST:
            return data.tobytes()
        smaller = cv2.resize(bgr, None, fx=0.8, fy=0.8, interpolation=cv2.INTER_AREA)
        bgr = np.asarray(smaller, dtype=np.uint8)


def small_preview(stylize: Callable[[RGB], RGB]) -> bytes | None:
    """Return the preview inside a style: a photograph beside its stylized version; ``None`` without scikit-image."""
    originals = photographs(1, 320)
    return jpeg(np.hstack([originals[0], stylize(originals[0])]), SMALL_LIMIT) if originals else None
