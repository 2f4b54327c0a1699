"""Checks of a picture from which a style is to be learned, by ``rtstyle train`` and by the page."""

from __future__ import annotations

from engines.base import RGB
from engines.errors import SourceError

NARROWEST = 8
"""Most that the long side of a painting may be of the short one: training enlarges the short side."""

FEWEST_SHADES = 2.0
"""Least standard deviation of a painting's values, 8-bit steps; less is one colour and the noise of its format."""

LOOKED_AT = 1024
"""Pixels of each side that are looked at, evenly spread."""


def check_painting(rgb: RGB, name: str) -> None:
    """Raise SourceError if a painting, called ``name``, is too narrow, or has one colour only."""
    height, width = rgb.shape[:2]
    if max(height, width) > NARROWEST * min(height, width):
        problem = f"{name} is too narrow, {width}×{height} pixels"
        raise SourceError(problem, hint=f"use a part of it, at most {NARROWEST} times as long as it is wide")
    every = -(-max(height, width) // LOOKED_AT)
    if float(rgb[::every, ::every].std(axis=(0, 1)).max()) < FEWEST_SHADES:
        raise SourceError(f"{name} has one colour only", hint="a style is learned from strokes and colours")
