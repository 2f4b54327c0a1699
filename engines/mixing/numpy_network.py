"""The generator's arithmetic in NumPy, layer by layer, for statistics of its channels, never for frames.

It computes what ``engines.model.generator.Generator`` does, without torch, and lets the caller see and change the
output of each convolution on the way. A test compares the two.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float32]

Weights: TypeAlias = Mapping[str, npt.NDArray[np.floating]]
"""Weights of a style by name, as in its file."""

OnLayer: TypeAlias = Callable[[str, Floats], Floats]
"""Gets the name of a convolution, or ``PAINTING``, and its output, (N, H, W, C); returns what the next one takes."""

PAINTING = "painting"
"""Name of the sum of the blurred frame and the network's change of it."""

CELL_IN, CELL_OUT = 4, 2
REACH, WAVES = 9, 3
EDGE_FINE, EDGE_COARSE = 2, 1
FLOOR_COARSE, FLOOR_FINE = 0.03, 0.04
LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)
"""Constants of ``engines.model``, whose modules import torch."""


def run_network(weights: Weights, pictures: Floats, on_layer: OnLayer) -> Floats:
    """Run pictures through the network.

    Args:
        weights: of a style of the generator's architecture, whatever its widths.
        pictures: (N, H, W, 3) in [0, 1]; H and W are multiples of 8.
        on_layer: sees the output of each convolution, from the first to the last, and then the painting.

    Returns:
        the paintings, (N, H / 2 − 6, W / 2 − 6, 12), squares of 2×2 pixels, about in [0, 1].
    """

    def conv(name: str, x: Floats, stride: int = 1, *, edge: bool = False) -> Floats:
        weight, bias = (np.asarray(weights[f"{name}.conv.{part}"], np.float32) for part in ("weight", "bias"))
        return on_layer(name, _convolve(x, weight, stride, edge=edge) + bias)

    cells = _cells(pictures, CELL_IN)
    colours = cells.reshape(*cells.shape[:3], CELL_IN * CELL_IN, 3).mean(3)
    halved = _cells(colours, 2).reshape(len(cells), cells.shape[1] // 2, cells.shape[2] // 2, 4, 3).mean(3)

    quarter = _relu(conv("stem", cells))
    coarse = conv("coarse", _contrasts(_smooth_inside(halved, EDGE_COARSE), FLOOR_COARSE))
    eighth = _relu(conv("down", quarter, 2, edge=True) + coarse)
    for block in range(sum(name.endswith("first.conv.bias") for name in weights)):
        inner = _relu(conv(f"body.{block}.first", eighth, edge=True))
        eighth = eighth + conv(f"body.{block}.second", inner, edge=True)
    fine = conv("fine", _contrasts(_smooth_inside(colours, EDGE_FINE), FLOOR_FINE))
    field = np.asarray(weights["canvas.field"], np.float32).transpose(0, 2, 3, 1)
    canvas = conv("canvas.mix", field)
    times = (1, -(-fine.shape[1] // canvas.shape[1]), -(-fine.shape[2] // canvas.shape[2]), 1)
    flat = fine + np.tile(canvas, times)[:, : fine.shape[1], : fine.shape[2]]
    quarter = _relu(quarter + _twice(conv("up", eighth)) + flat)
    quarter = _relu(conv("mid", quarter))
    change = conv("head", head_input(conv("refine", quarter)))
    margin = (CELL_IN + CELL_OUT) // 2 - 1
    blur = np.asarray(weights["softening"], np.float32)
    ground = _convolve(_cells(pictures, CELL_OUT)[:, margin:-margin, margin:-margin], blur, 1, edge=False)
    return on_layer(PAINTING, ground + change)


def head_input(refined: Floats) -> Floats:
    """Return what the last convolution takes, (N, 2H, 2W, C), of the output of the one before, (N, H, W, C)."""
    return _relu(_twice(refined))


def _cells(pictures: Floats, side: int) -> Floats:
    """Turn squares of pixels into channels (row, column, colour)."""
    count, height, width, _ = pictures.shape
    squares = pictures.reshape(count, height // side, side, width // side, side, 3)
    return squares.transpose(0, 1, 3, 2, 4, 5).reshape(count, height // side, width // side, -1)


def _relu(x: Floats) -> Floats:
    return np.maximum(x, np.float32(0.0))


def _convolve(x: Floats, weight: Floats, stride: int, *, edge: bool) -> Floats:
    """Convolve (N, H, W, in) with (out, in, k, k), repeating the border if ``edge``."""
    side = weight.shape[2]
    if edge:
        x = np.pad(x, ((0, 0), (side // 2, side // 2), (side // 2, side // 2), (0, 0)), mode="edge")
    height, width = ((size - side) // stride + 1 for size in x.shape[1:3])
    total = np.zeros((*x.shape[:1], height, width, len(weight)), np.float32)
    for row in range(side):
        for column in range(side):
            part = x[:, row : row + stride * height : stride, column : column + stride * width : stride]
            total += part[:, :height, :width] @ weight[:, :, row, column].T
    return total


def _twice(x: Floats) -> Floats:
    """Double the size bilinearly."""
    for axis in (1, 2):
        before = np.concatenate([x.take([0], axis), x], axis).take(range(x.shape[axis]), axis)
        after = np.concatenate([x, x.take([-1], axis)], axis).take(range(1, x.shape[axis] + 1), axis)
        pairs = np.stack([0.25 * before + 0.75 * x, 0.75 * x + 0.25 * after], axis + 1)
        x = pairs.reshape(*x.shape[:axis], 2 * x.shape[axis], *x.shape[axis + 1 :])
    return x


def _mean_around(x: Floats, side: int, *, ramp: bool = True) -> Floats:
    """Return the mean of the side×side neighbourhood of each pixel; beyond a border, a ramp goes on as a ramp."""
    for axis in (1, 2):
        x = _mean(_continued(x, axis, side // 2, ramp), axis, side)
    return x


def _mean(x: Floats, axis: int, side: int) -> Floats:
    """Return the means of ``side`` neighbours along an axis, as many as fit."""
    sums = np.cumsum(np.insert(x, 0, 0.0, axis), axis, dtype=np.float64)
    ends = np.arange(side, sums.shape[axis])
    return ((sums.take(ends, axis) - sums.take(ends - side, axis)) / side).astype(np.float32)


def _smooth_inside(x: Floats, edge: int) -> Floats:
    """Average 3×3 pixels; the outer ``edge`` ones go on from the inside as a ramp."""
    for axis in (1, 2):
        inside = x.take(range(edge - 1, x.shape[axis] - edge + 1), axis)
        x = _continued(_mean(inside, axis, 3), axis, edge, ramp=True)
    return x


def _continued(x: Floats, axis: int, pixels: int, ramp: bool) -> Floats:
    pads = [(0, 0)] * 4
    pads[axis] = (pixels, pixels)
    reflection = np.pad(x, pads, mode="reflect")
    return 2 * np.pad(x, pads, mode="edge") - reflection if ramp else reflection


def _contrasts(x: Floats, floor: float) -> Floats:
    """Return the channels of ``engines.model.local_contrast.Contrast``."""
    away = x - _mean_around(x, REACH)
    squares = (away * away).mean(3, keepdims=True)
    spread = np.sqrt(_mean_around(squares, REACH, ramp=False) + np.float32(floor * floor))
    relative = away / spread
    light = (relative @ LUMA)[..., None] * np.float32(math.pi)
    waves = [wave(light * 2**octave) for wave in (np.sin, np.cos) for octave in range(WAVES)]
    return np.concatenate([relative, *waves], 3)
