"""Contact sheets: what the generator paints now, on the same pictures every time."""

from __future__ import annotations

import contextlib
from pathlib import Path

import cv2
import numpy as np
import torch

from engines.base import RGB
from engines.errors import TrainError
from engines.generator import Generator, stylize
from train.data import Pictures, read_picture, to_picture, to_tensor, with_short_side

COLUMNS, CELL = 4, (288, 216)
"""Pictures on a sheet, and the width and height of each one, pixels."""

LARGEST = 384
"""Short side at which larger pictures are painted, pixels."""


@torch.no_grad()
def paint(generator: Generator, rgb: RGB) -> RGB:
    """One picture through a generator with fixed statistics. (H, W, 3) → same shape."""
    was_training = generator.training
    generator.eval()
    device = next(generator.parameters()).device
    painted = to_picture(stylize(generator, to_tensor(rgb).to(device)))
    generator.train(was_training)
    return painted


def cell(rgb: RGB) -> RGB:
    """Cut the middle of a picture in the sheet's shape and show it at the sheet's size."""
    width, height = CELL
    scale = max(width / rgb.shape[1], height / rgb.shape[0])
    cut_width, cut_height = max(1, round(width / scale)), max(1, round(height / scale))
    top, left = (rgb.shape[0] - cut_height) // 2, (rgb.shape[1] - cut_width) // 2
    cut = rgb[top : top + cut_height, left : left + cut_width]
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(cut, CELL, interpolation=method), dtype=np.uint8)


def _originals(pictures: Pictures) -> list[RGB]:
    """Up to ``COLUMNS`` readable pictures from all over the list, none too small or too large to be painted."""
    every = max(1, len(pictures.files) // COLUMNS)
    found: list[RGB] = []
    for path in pictures.files[::every]:
        if len(found) < COLUMNS and path not in pictures.skipped:
            with contextlib.suppress(TrainError):  # damaged, and training has not met it yet
                rgb = read_picture(path)
                found.append(with_short_side(rgb, min(max(min(rgb.shape[:2]), CELL[1]), LARGEST)))
    return found


def save_sheet(path: Path, generator: Generator, pictures: Pictures) -> None:
    """Write a JPEG with a row of photographs and, below it, the row of their paintings.

    Raises: TrainError: it cannot be written.
    """
    originals = _originals(pictures)
    if not originals:
        return
    rows = [[cell(rgb) for rgb in originals], [cell(paint(generator, rgb)) for rgb in originals]]
    sheet = np.vstack([np.hstack(row) for row in rows])
    ok, data = cv2.imencode(".jpg", np.ascontiguousarray(sheet[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, 90])
    if ok:
        try:
            path.write_bytes(data.tobytes())
        except OSError as error:
            hint = "is the disk full? then make room; --resume goes on"
            raise TrainError(f"cannot write {path}: {error.strerror}", hint=hint) from error
