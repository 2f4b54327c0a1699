"""The first and the last kernel of a frame in Triton: bytes to the first layer's output, the last layer's to bytes.

Here torch makes one pass over all pixels for each operation. In bytes read and written for each pixel:

    first   torch: two selections by index, space_to_depth, fp16, division: 33,    here: 3 read, 4 written, and 0.75
            and the first layer: 10                                                for the colours of the contrasts
    last    torch: space_to_depth, fp16, smoothing, sum, clamp, blend, rounding,
            bytes, depth_to_space, crop: 108                                       here: 3 + 6 read, 3 written

The cells are not stored: the first layer, 1×1, multiplies what was just made from the bytes. The smoothing is
computed not as a convolution of cells but as what it stands for: nine neighbours of a pixel, whose bytes are in the L1
cache, with weights read from the style's. Where the frame keeps some of its own colours, the weights mix the three
colours of each neighbour; see ``engines.model.own_colours``. The network's input is the same to the last bit. Its
output is processed in fp32, where torch rounds to fp16 after each operation.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor, nn

from engines.cuda.triton_tiles import block, load_bias, load_weights
from engines.model.cells import CELL_IN, CELL_OUT, MARGIN, margins

CELLS = 64
"""Cells of a row for each program of the first kernel: rows of a matrix product, see ``engines.cuda.triton_tiles``."""

BLOCK = 512
"""Values for each program of the other kernels: four for each of its 128 threads (Triton's default), so that the bytes
that the 32 threads of a warp read at once span one cache line, 128 bytes."""


def first(frame: Tensor, stem: nn.Conv2d) -> tuple[Tensor, Tensor]:
    """Apply the first layer to the cells of a frame, and average the colours of each, in one pass.

    Args:
        frame: (1, height, width, 3), uint8, contiguous; it is reflected, see ``engines.model.cells``.
        stem: 1×1, 48 → C; ReLU follows.

    Returns:
        (h, w, C), fp16, and (3, h, w), fp32, 0 … 1: the mean of the cell's colours in fp16.
    """
    _, height, width, _ = frame.shape
    (top, bottom), (left, right) = margins(height), margins(width)
    high, wide = (height + top + bottom) // CELL_IN, (width + left + right) // CELL_IN
    channels, values = stem.out_channels, stem.in_channels
    quarter = torch.empty((high, wide, channels), dtype=torch.float16, device=frame.device)
    colours = torch.empty((3, high, wide), dtype=torch.float32, device=frame.device)
    outputs = block(channels)
    grid = (triton.cdiv(wide, CELLS), high, triton.cdiv(channels, outputs))
    _first[grid](
        frame, stem.weight, stem.bias, quarter, colours, height, width, top, left, wide,
        channels, values, CELL_IN, CELLS, triton.next_power_of_2(values), outputs,
    )  # fmt: skip
    return quarter, colours


def make_cells(frame: Tensor) -> Tensor:
    """Make the network's input, (1, h, w, 48), fp16, 0 … 1, in one pass over a contiguous (1, height, width, 3) frame.

    It is the reflected frame after ``generator.space_to_depth``.
    """
    _, height, width, _ = frame.shape
    (top, bottom), (left, right) = margins(height), margins(width)
    high, wide = (height + top + bottom) // CELL_IN, (width + left + right) // CELL_IN
    cells = torch.empty((1, high, wide, 3 * CELL_IN**2), dtype=torch.float16, device=frame.device)
    row_values = cells[0, 0].numel()
    grid = (triton.cdiv(row_values, BLOCK), high)
    _cells[grid](frame, cells, height, width, top, left, row_values, CELL_IN, BLOCK)
    return cells


def last(frame: Tensor, change: Tensor, softening: Tensor, strength: Tensor, stylized: Tensor) -> None:
    """Add the network's output to the smoothed frame, blend, round and crop, in one pass.

    Args:
        frame: (1, height, width, 3), uint8, contiguous.
        change: (1, h, w, 12), fp16: the network's output for ``first(frame)``.
        softening: (12, 12, 3, 3), fp16, any strides: the style's; the weights of a pixel are read from it.
        strength: (1,), float32, 0 … 1.
        stylized: like ``frame``; it is written to.
    """
    _, height, width, _ = frame.shape
    top, left = margins(height)[0] - MARGIN, margins(width)[0] - MARGIN
    change = change.contiguous()  # it already is if cuDNN has kept channels innermost
    grid = (triton.cdiv(3 * width, BLOCK), height)
    _last[grid](
        frame, change, softening, strength, stylized, height, width, top, left, change.shape[2], *softening.stride(),
        CELL_OUT, BLOCK,
    )  # fmt: skip


# Sizes and offsets that only move addresses do not specialize the kernel when they happen to be 1 or a multiple of 16.
# Row lengths do: if they are such multiples, neighbouring values are stored together.


@triton.jit  # type: ignore[untyped-decorator]
def _reflect(place: tl.tensor, size: tl.tensor) -> tl.tensor:
    """Return which of ``size`` pixels is shown at ``place``, at most ``size`` − 1 pixels outside."""
    place = tl.abs(place)
    return tl.minimum(place, 2 * (size - 1) - place)


@triton.jit(do_not_specialize=("height", "width", "top", "left", "wide"))  # type: ignore[untyped-decorator]
def _first(
    frame: tl.tensor,
    weight: tl.tensor,
    bias: tl.tensor,
    quarter: tl.tensor,
    colours: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    top: tl.tensor,
    left: tl.tensor,
    wide: tl.tensor,
    all_out: tl.constexpr,
    values: tl.constexpr,
    side: tl.constexpr,
    cells: tl.constexpr,
    take: tl.constexpr,
    outputs: tl.constexpr,
) -> None:
    """Process ``cells`` cells of a row, each value of a cell from the byte that it comes from."""
    row, high = tl.program_id(1), tl.num_programs(1)
    cell = tl.program_id(0) * cells + tl.arange(0, cells)
    there = cell < wide
    value = tl.arange(0, take)
    run: tl.constexpr = 3 * side  # a row of a cell is contiguous in the frame
    y = _reflect(row * side + value // run - top, height)
    x = _reflect(cell[:, None] * side + (value % run // 3)[None, :] - left, width)
    mask = there[:, None] & (value < values)[None, :]
    byte = tl.load(frame + (y[None, :] * width + x) * 3 + (value % 3)[None, :], mask=mask, other=0)
    cell_values = (byte.to(tl.float32) / 255.0).to(tl.float16)

    if tl.program_id(2) == 0:
        for colour in tl.static_range(3):
            of_colour = tl.where((value % 3 == colour)[None, :], cell_values.to(tl.float32), 0.0)
            mean = tl.sum(of_colour, axis=1) / (side * side)
            tl.store(colours + (colour * high + row) * wide + cell, mean, mask=there)

    output = tl.program_id(2) * outputs + tl.arange(0, outputs)
    weights = load_weights(weight, output, 0, values, values, all_out, take)
    total = tl.maximum(tl.dot(cell_values, weights) + load_bias(bias, output, all_out), 0.0)
    address = quarter + (row * wide + cell)[:, None] * all_out + output[None, :]
    tl.store(address, total.to(tl.float16), mask=there[:, None] & (output < all_out)[None, :])


@triton.jit(do_not_specialize=("height", "width", "top", "left"))  # type: ignore[untyped-decorator]
def _cells(
    frame: tl.tensor,
    cells: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    top: tl.tensor,
    left: tl.tensor,
    row_values: tl.tensor,
    side: tl.constexpr,
    block: tl.constexpr,
) -> None:
    """Make ``block`` values of a row of cells, each from the byte that it comes from."""
    row = tl.program_id(1)
    value = tl.program_id(0) * block + tl.arange(0, block)
    inside = value < row_values
    run = 3 * side  # a row of a cell is contiguous in the frame
    along = value // (run * side) * run + value % run
    y = _reflect(row * side + value % (run * side) // run - top, height)
    x = _reflect(along // 3 - left, width)
    byte = tl.load(frame + (y * width + x) * 3 + along % 3, mask=inside, other=0)
    tl.store(cells + row * row_values + value, (byte.to(tl.float32) / 255.0).to(tl.float16), mask=inside)


@triton.jit(do_not_specialize=("height", "top", "left", "cells_wide"))  # type: ignore[untyped-decorator]
def _last(
    frame: tl.tensor,
    change: tl.tensor,
    softening: tl.tensor,
    strength: tl.tensor,
    stylized: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    top: tl.tensor,
    left: tl.tensor,
    cells_wide: tl.tensor,
    per_output: tl.tensor,
    per_channel: tl.tensor,
    per_row: tl.tensor,
    per_column: tl.tensor,
    side: tl.constexpr,
    block: tl.constexpr,
) -> None:
    """Make ``block`` values of a row of the stylized frame; ``per_…`` are strides of the weights."""
    y = tl.program_id(1)
    value = tl.program_id(0) * block + tl.arange(0, block)
    inside = value < width * 3
    x, colour = value // 3, value % 3

    # Red of a pixel takes something of its green: all colours have to be read.
    mixes = tl.load(softening + per_channel + per_row + per_column) != 0.0
    ground = tl.zeros((block,), tl.float32)
    for down in tl.static_range(3):
        row = _reflect(y + down - 1, height) * width
        for right in tl.static_range(3):
            # Where the weights of cells, (out, in, 3, 3), hold the one for this neighbour of a cell's first pixel.
            channel = ((down + 1) % side * side + (right + 1) % side) * 3
            place = channel * per_channel + (down + 1) // side * per_row + (right + 1) // side * per_column
            pixel = (row + _reflect(x + right - 1, width)) * 3
            if mixes:
                # Names of their own: both branches must give a name the same type, and these weights differ by colour.
                for other in tl.static_range(3):
                    weights = tl.load(softening + colour * per_output + place + other * per_channel).to(tl.float32)
                    ground += weights * tl.load(frame + pixel + other, mask=inside, other=0).to(tl.float32)
            else:
                weight = tl.load(softening + place).to(tl.float32)
                byte = tl.load(frame + pixel + colour, mask=inside, other=0)
                ground += weight * byte.to(tl.float32)

    whole_y, whole_x = y + top, x + left
    cell = whole_y // side * cells_wide + whole_x // side
    of_cell = (whole_y % side * side + whole_x % side) * 3 + colour
    added = tl.load(change + cell * (3 * side * side) + of_cell, mask=inside, other=0.0).to(tl.float32)
    full = tl.minimum(tl.maximum(ground + 255.0 * added, 0.0), 255.0)

    here = y * width * 3 + value
    plain = tl.load(frame + here, mask=inside, other=0).to(tl.float32)
    share = tl.load(strength)
    # As torch.lerp, which returns both inputs exactly at 0 and 1; then round half up, as everywhere.
    blend = tl.where(share < 0.5, plain + share * (full - plain), full - (1.0 - share) * (full - plain))
    tl.store(stylized + here, (blend + 0.5).to(tl.uint8), mask=inside)
