"""Photographs from scikit-image's wheel, to look at styles on.

Astronaut and rocket are in the public domain, chelsea and coffee are CC0.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from engines.base import RGB
from train.data.pictures import central_square, read_picture

PHOTOGRAPHS = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")


def photographs(count: int, side: int) -> list[RGB]:
    """Return the central squares of the first photographs, ``side`` pixels; none without scikit-image."""
    spec = importlib.util.find_spec("skimage")
    if spec is None or spec.origin is None:
        return []
    folder = Path(spec.origin).parent / "data"
    return [central_square(read_picture(folder / name), side) for name in PHOTOGRAPHS[:count]]
