"""The first and the last kernel of the graph in Triton: bytes to the network's input, and its output to bytes.

Apart from the convolutions, a frame's time goes into memory traffic, much of it at the beginning and the end, where
torch makes one pass over all pixels for each operation. In bytes read and written for each pixel:

    first   torch: two selections by index, space_to_depth, fp16, division: 33     here: 3 read, 6 written
    last    torch: space_to_depth, fp16, smoothing, sum, clamp, blend, rounding,
            bytes, depth_to_space, crop: 108                                       here: 3 + 6 read, 3 written

The smoothing is computed not as a convolution of cells but as what it stands for: nine neighbours of a pixel, whose
bytes are in the L1 cache, with weights read from the style's. Where the frame keeps some of its own colours, the
weights mix the three colours of each neighbour; see ``engines.model.own_colours``. The network's input is the same to
the last bit. Its output is processed in fp32, where torch rounds to fp16 after each operation, so that a value of the
stylized frame may be one step of 255 off.

Imported only on demand: Triton exists for Linux and comes with torch for CUDA. It compiles each kernel on first use,
which needs a C compiler, and caches the result in ``~/.triton``. On the CPU its interpreter runs the same code slowly,
for tests (``TRITON_INTERPRET=1`` before the import).
"""

from __future__ import annotations

from subprocess import SubprocessError

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.errors import TritonError

from engines.cuda.fp16 import Fp16Body, Fp16Graph
from engines.errors import EngineError
from engines.model.cells import CELL_IN, CELL_OUT, MARGIN, margins
from engines.model.generator import Generator

BLOCK = 512
"""Values for each program: four for each of its 128 threads (Triton's default), so that the bytes that the 32 threads
of a warp read at once span one cache line, 128 bytes."""


def first(frame: Tensor) -> Tensor:
    """Make the network's input, (1, h, w, 48), fp16, 0 … 1, in one pass over a contiguous (1, height, width, 3) frame.

    It is the reflected frame after ``generator.space_to_depth``.
    """
    _, height, width, _ = frame.shape
    (top, bottom), (left, right) = margins(height), margins(width)
    high, wide = (height + top + bottom) // CELL_IN, (width + left + right) // CELL_IN
    cells = torch.empty((1, high, wide, 3 * CELL_IN**2), dtype=torch.float16, device=frame.device)
    row_values = cells[0, 0].numel()
    grid = (triton.cdiv(row_values, BLOCK), high)
    _first[grid](frame, cells, height, width, top, left, row_values, CELL_IN, BLOCK)
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


class TritonBody(Fp16Body):
    """One frame size, with the network of a graph between the two kernels; see ``Fp16Body``.

    Raises:
        EngineError: Triton cannot compile the kernels here.
    """

    def __init__(self, graph: Fp16Graph, height: int, width: int, device: torch.device) -> None:
        self._generator: Generator = graph.generator
        try:
            super().__init__(graph, height, width, device)
        except (TritonError, SubprocessError, OSError) as error:
            reason = (str(error).strip().splitlines() or [""])[0]
            raise EngineError(
                f"Triton cannot compile the kernels: {type(error).__name__}: {reason}",
                hint='the body "eager" gives the same result without it',
            ) from error

    def _once(self) -> None:
        change = self._generator(first(self.frame))
        last(self.frame, change, self._generator.softening, self.strength, self.stylized)


# Sizes and offsets that only move addresses do not specialize the kernel when they happen to be 1 or a multiple of 16.
# Row lengths do: if they are such multiples, neighbouring values are stored together.


@triton.jit  # type: ignore[untyped-decorator]
def _reflect(place: tl.tensor, size: tl.tensor) -> tl.tensor:
    """Return which of ``size`` pixels is shown at ``place``, at most ``size`` − 1 pixels outside."""
    place = tl.abs(place)
    return tl.minimum(place, 2 * (size - 1) - place)


@triton.jit(do_not_specialize=("height", "width", "top", "left"))  # type: ignore[untyped-decorator]
def _first(
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
