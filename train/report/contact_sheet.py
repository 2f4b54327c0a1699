"""Contact sheets: what the generator paints now, on the same pictures every time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from engines.base import RGB
from engines.errors import TrainError
from engines.model.generator import Generator, stylize
from train.data.pictures import Pictures, read_picture, to_picture, to_tensor, with_short_side

COLUMNS, CELL = 4, (288, 216)
"""Pictures on a sheet, and the width and height of each one, pixels."""

LARGEST = 384
"""Short side at which larger pictures are painted, pixels."""


N = TypeVar("N", bound=nn.Module)


@torch.no_grad()
def painted(network: N, stylize: Callable[[N, Tensor], Tensor], rgb: RGB) -> RGB:
    """One picture through a network with fixed statistics.

    Args:
        network: that is trained.
        stylize: how it paints: (1, 3, H, W) in [0, 1] → the same shape, about in [0, 1].
        rgb: (H, W, 3).

    Returns:
        the same shape.
    """
    was_training = network.training
    network.eval()
    device = next(network.parameters()).device
    picture = to_picture(stylize(network, to_tensor(rgb).to(device)))
    network.train(was_training)
    return picture


def paint(generator: Generator, rgb: RGB) -> RGB:
    """One picture through a generator with fixed statistics. (H, W, 3) → same shape."""
    return painted(generator, stylize, rgb)


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


def save_sheet(path: Path, paint: Callable[[RGB], RGB], pictures: Pictures) -> None:
    """Write a JPEG with a row of photographs and, below it, the row of their paintings.

    Args:
        path: of the JPEG.
        paint: one picture.
        pictures: to choose from.

    Raises:
        TrainError: it cannot be written.
    """
    originals = _originals(pictures)
    if not originals:
        return
    rows = [[cell(rgb) for rgb in originals], [cell(paint(rgb)) for rgb in originals]]
    sheet = np.vstack([np.hstack(row) for row in rows])
    ok, data = cv2.imencode(".jpg", np.ascontiguousarray(sheet[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, 90])
    if ok:
        try:
            path.write_bytes(data.tobytes())
        except OSError as error:
            hint = "is the disk full? then make room; --resume goes on"
            raise TrainError(f"cannot write {path}: {error.strerror}", hint=hint) from error
