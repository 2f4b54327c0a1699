"""Frames as cells: the padding of a frame, and squares of pixels as channels."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

CELL_IN, CELL_OUT = 4, 2
"""Sides of the squares of pixels that are the channels of one cell, at the input and at the output."""

STRIDE = 8
"""The padded frame's sides are multiples of this many pixels."""

MARGIN = 4 + 2
"""Reflected pixels on every side that the two unpadded convolutions consume: one at 1/4, one at 1/2."""


def margins(size: int) -> tuple[int, int]:
    """Return the reflected pixels before and after ``size`` pixels: ``MARGIN``, and half of the fill up to ``STRIDE``.

    The fill is split because a frame of n pixels cannot reflect more than n − 1 on one side.
    """
    fill = -(size + 2 * MARGIN) % STRIDE
    return MARGIN + fill // 2, MARGIN + fill - fill // 2


def pad_reflect(images: Tensor) -> Tensor:
    """Pad (N, H, W, 3), sides at least 11, to (N, H′, W′, 3), multiples of ``STRIDE``. Bytes or floats."""
    top, bottom = margins(images.shape[1])
    left, right = margins(images.shape[2])
    return F.pad(images, (0, 0, left, right, top, bottom), mode="reflect")


def crop_margin(padded: Tensor, around: int = 0) -> Tensor:
    """Return the part of a padded image that the generator's output covers, and ``around`` pixels on every side."""
    edge = MARGIN - around
    return padded[:, edge:-edge, edge:-edge]


def space_to_depth(images: Tensor, side: int) -> Tensor:
    """Turn squares of pixels into channels (row, column, colour): (N, H, W, 3) to (N, H/side, W/side, 3 side²).

    In this order, a row of a square is contiguous on both sides, which makes the cheapest possible shuffle.
    """
    count, high, wide = images.shape[0], images.shape[1] // side, images.shape[2] // side
    squares = images.reshape(count, high, side, wide, side * 3).transpose(2, 3)
    return squares.reshape(count, high, wide, side * side * 3)


def depth_to_space(cells: Tensor, side: int) -> Tensor:
    """Invert ``space_to_depth``."""
    count, high, wide = cells.shape[:3]
    squares = cells.reshape(count, high, wide, side, side * 3).transpose(2, 3)
    return squares.reshape(count, high * side, wide * side, 3)


def crop_fill(stylized: Tensor, height: int, width: int) -> Tensor:
    """Remove the pixels that filled an image up to ``STRIDE``; its margin is gone already."""
    top, left = margins(height)[0] - MARGIN, margins(width)[0] - MARGIN
    return stylized[:, top : top + height, left : left + width]
