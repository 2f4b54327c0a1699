"""Contact sheets: the same photographs and their stylized versions at one step of training."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from engines.base import RGB
from engines.errors import TrainError
from train.data.pictures import Pictures, read_picture, with_short_side

COLUMNS, CELL = 4, (288, 216)
"""Pictures on a sheet; width and height of each, pixels."""

LARGEST = 384
"""Short side to which larger pictures are scaled before they are stylized, pixels."""


def cell(rgb: RGB) -> RGB:
    """Crop the center of a picture to the shape of a cell and scale it."""
    width, height = CELL
    scale = max(width / rgb.shape[1], height / rgb.shape[0])
    cut_width, cut_height = max(1, round(width / scale)), max(1, round(height / scale))
    top, left = (rgb.shape[0] - cut_height) // 2, (rgb.shape[1] - cut_width) // 2
    cut = rgb[top : top + cut_height, left : left + cut_width]
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(cut, CELL, interpolation=method), dtype=np.uint8)


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

    Args:
        path: file to write; its folder must exist.
        stylize: stylizes one picture.
        pictures: photographs to choose from.
    """
    originals = _originals(pictures)
    if not originals:
        return
    rows = [[cell(rgb) for rgb in originals], [cell(stylize(rgb)) for rgb in originals]]
    sheet = np.vstack([np.hstack(row) for row in rows])
    ok, data = cv2.imencode(".jpg", np.ascontiguousarray(sheet[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, 90])
    if ok:
        try:
            path.write_bytes(data.tobytes())
        except OSError as error:
            hint = "free some disk space, then continue with --resume"
            raise TrainError(f"cannot write {path}: {error.strerror}", hint=hint) from error
