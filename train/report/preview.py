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
from train.data.pictures import central_square, encode_jpeg, read_picture

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
    return [central_square(read_picture(folder / name), side) for name in PHOTOGRAPHS[:count]]


def jpeg(rgb: RGB, limit: int) -> bytes:
    """Encode at the best quality that fits into ``limit`` bytes, shrinking the picture if none does.

    A preview must not end a training, so one that never fits is returned as small as possible.
    """
    while True:
        for quality in (92, 88, 84, 80, 75, 70, 60, 50, 40):
            data = encode_jpeg(rgb, quality)
            if len(data) <= limit:
                return data
        if min(rgb.shape[:2]) < SMALLEST:
            return data
        rgb = np.asarray(cv2.resize(rgb, None, fx=0.8, fy=0.8, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def small_preview(stylize: Callable[[RGB], RGB]) -> bytes | None:
    """Return the preview inside a style: a photograph beside its stylized version; ``None`` without scikit-image."""
    originals = photographs(1, 320)
    return jpeg(np.hstack([originals[0], stylize(originals[0])]), SMALL_LIMIT) if originals else None
