"""Contact sheets: the same photographs and their stylized versions at one step of training."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from engines.base import RGB
from engines.errors import TrainError
from train.data.pictures import Pictures, encode_jpeg, fill, read_picture, with_short_side

COLUMNS, CELL = 4, (288, 216)
"""Pictures on a sheet; width and height of each, pixels."""

LARGEST = 384
"""Short side to which larger pictures are scaled before they are stylized, pixels."""


def _originals(pictures: Pictures) -> list[RGB]:
    """Read up to ``COLUMNS`` pictures from all over the list, each scaled to a size that can be stylized."""
    every = max(1, len(pictures.files) // COLUMNS)
    found: list[RGB] = []
    for path in pictures.files[::every]:
        if len(found) < COLUMNS and path not in pictures.skipped:
            with contextlib.suppress(TrainError):  # damaged, and training has not read it yet
                rgb = read_picture(path)
                found.append(with_short_side(rgb, min(max(min(rgb.shape[:2]), CELL[1]), LARGEST)))
    return found


def save_sheet(path: Path, stylize: Callable[[RGB], RGB], pictures: Pictures) -> None:
    """Write a JPEG with a row of photographs above a row of their stylized versions.

    Raises:
        TrainError: it cannot be written.
    """
    originals = _originals(pictures)
    if not originals:
        return
    rows = [[fill(rgb, *CELL) for rgb in originals], [fill(stylize(rgb), *CELL) for rgb in originals]]
    try:
        path.write_bytes(encode_jpeg(np.vstack([np.hstack(row) for row in rows]), 90))
    except OSError as error:
        hint = "free some disk space, then continue with --resume"
        raise TrainError(f"cannot write {path}: {error.strerror}", hint=hint) from error
