"""Reads the painting whose style is learned."""

from __future__ import annotations

from pathlib import Path

from engines.base import RGB
from engines.errors import SourceError, TrainError
from rtstyle.painting import check_painting
from train.data.pictures import read_picture

MIN_SIDE = 32
"""Smallest short side of a painting, pixels."""


def read_painting(file: Path) -> RGB:
    """Read a painting.

    Raises:
        TrainError: it cannot be read, is too small or too narrow to show strokes, or has one colour only.
    """
    rgb = read_picture(file)
    if min(rgb.shape[:2]) < MIN_SIDE:
        problem = f"{file} is {rgb.shape[1]}×{rgb.shape[0]}: too small to show brush strokes"
        raise TrainError(problem, hint=f"a painting needs at least {MIN_SIDE} pixels a side, better a thousand")
    try:
        check_painting(rgb, str(file))
    except SourceError as error:
        raise TrainError(error.problem, hint=error.hint) from error
    return rgb
