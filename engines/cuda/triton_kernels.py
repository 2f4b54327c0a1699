"""The ends of the graph in Triton: bytes to what the network takes, and what it gives to bytes, one kernel each.

What is left of a frame's time beside the convolutions is memory traffic, and much of that is at the two ends, where
torch takes one pass over all pixels for each operation. Counted in bytes for each pixel, read and written:

    first   torch: two selections by index, cells, fp16, division: 33        here: 3 read, 6 written
    last    torch: cells, fp16, smoothing, sum, clamp, blend, half up,
            bytes, pixels, crop: 108                                         here: 3 + 6 read, 3 written

The smoothing is no convolution of cells here but what it stands for, nine neighbours of a pixel, whose bytes lie in the
first cache, and whose weights are read from those of the style. The network takes the same to the last bit. What it
gives is worked on in fp32, where torch rounds to fp16 after each operation, so that a value of the painting may be one
step of 255 off.

Loaded only where it is asked for: Triton is for Linux, and comes with torch for CUDA. It compiles each kernel when it
is first used, for which it needs a C compiler, and keeps what it made in the user's folder ``.triton``. On the CPU its
interpreter runs the same code (``TRITON_INTERPRET=1`` before it is imported), slowly, for tests.
"""

from __future__ import annotations

from subprocess import SubprocessError

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.errors import TritonError

from engines.cuda.fp16 import HalfBody, HalfGraph
from engines.errors import EngineError
from engines.model.generator import CELL_IN, CELL_OUT, MARGIN, Generator, margins

BLOCK = 512
"""Values for each program: four for each of its 128 threads (Triton's default), so that the bytes at which the 32
threads of a warp look at once span one line of the cache, 128 bytes."""


def cells(frame: Tensor) -> Tensor:
    """What the network takes, in one pass.

    Args:
        frame: (1, height, width, 3), uint8, contiguous.

    Returns:
        (1, h, w, 48), fp16, 0 … 1: cells of the reflected frame, as ``generator.gather`` makes them.
    """
    _, height, width, _ = frame.shape
    (top, bottom), (left, right) = margins(height), margins(width)
    high, wide = (height + top + bottom) // CELL_IN, (width + left + right) // CELL_IN
    made = torch.empty((1, high, wide, 3 * CELL_IN**2), dtype=torch.float16, device=frame.device)
    row_values = made[0, 0].numel()
    grid = (triton.cdiv(row_values, BLOCK), high)
    _first[grid](frame, made, height, width, top, left, row_values, CELL_IN, BLOCK)
    return made


def finish(frame: Tensor, change: Tensor, softening: Tensor, strength: Tensor, painting: Tensor) -> None:
    """Add what the network gives to the smoothed frame, blend, round and crop, in one pass.

    Args:
        frame: (1, height, width, 3), uint8, contiguous.
        change: (1, h, w, 12), fp16: what the network made of its ``cells``.
        softening: (12, 12, 3, 3), fp16, any strides: the style's, of which the nine weights of a pixel are read.
        strength: (1,), float32, 0 … 1.
        painting: as ``frame``; it is written to.
    """
    _, height, width, _ = frame.shape
    top, left = margins(height)[0] - MARGIN, margins(width)[0] - MARGIN
    change = change.contiguous()  # it is, where cuDNN has kept channels innermost
    grid = (triton.cdiv(3 * width, BLOCK), height)
    weight_strides = softening.stride()[1:]
    _last[grid](
        frame, change, softening, strength, painting, height, width, top, left, change.shape[2], *weight_strides,
        CELL_OUT, BLOCK,
    )  # fmt: skip


class EndsBody(HalfBody):
    """One frame size between the two kernels; see ``HalfBody``.

    Args:
        graph: whose network works between them.
        height, width: of the frame, pixels.
        device: where the graph is.

    Raises:
        EngineError: Triton cannot compile the kernels here.
    """

    def __init__(self, graph: HalfGraph, height: int, width: int, device: torch.device) -> None:
        self._generator: Generator = graph.generator
        try:
            super().__init__(graph, height, width, device)
        except (TritonError, SubprocessError, OSError) as error:
            told = (str(error).strip().splitlines() or [""])[0]
            raise EngineError(
                f"Triton cannot make the ends of the graph: {type(error).__name__}: {told}",
                hint='the body "eager" paints the same without it',
            ) from error

    def _once(self) -> None:
        change = self._generator(cells(self.frame))
        finish(self.frame, change, self._generator.softening, self.strength, self.painting)


# Sizes and places that only move addresses do not make another kernel when they happen to be 1 or a multiple of 16. The
# lengths of rows do: where they are such multiples, neighbouring values are stored together.


@triton.jit  # type: ignore[untyped-decorator]
def _mirrored(place: tl.tensor, size: tl.tensor) -> tl.tensor:
    """Which of ``size`` pixels is shown at ``place``, at most ``size`` − 1 pixels outside of them."""
    place = tl.abs(place)
    return tl.minimum(place, 2 * (size - 1) - place)


@triton.jit(do_not_specialize=("height", "width", "top", "left"))  # type: ignore[untyped-decorator]
def _first(
    frame: tl.tensor,
    made: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    top: tl.tensor,
    left: tl.tensor,
    row_values: tl.tensor,
    side: tl.constexpr,
    block: tl.constexpr,
) -> None:
    """A program makes ``block`` values of a row of cells; each knows the byte that it comes from."""
    row = tl.program_id(1)
    value = tl.program_id(0) * block + tl.arange(0, block)
    inside = value < row_values
    run = 3 * side  # a row of a cell, as long in the frame
    along = value // (run * side) * run + value % run
    y = _mirrored(row * side + value % (run * side) // run - top, height)
    x = _mirrored(along // 3 - left, width)
    byte = tl.load(frame + (y * width + x) * 3 + along % 3, mask=inside, other=0)
    tl.store(made + row * row_values + value, (byte.to(tl.float32) / 255.0).to(tl.float16), mask=inside)


@triton.jit(do_not_specialize=("height", "top", "left", "cells_wide"))  # type: ignore[untyped-decorator]
def _last(
    frame: tl.tensor,
    change: tl.tensor,
    softening: tl.tensor,
    strength: tl.tensor,
    painting: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    top: tl.tensor,
    left: tl.tensor,
    cells_wide: tl.tensor,
    per_channel: tl.tensor,
    per_row: tl.tensor,
    per_column: tl.tensor,
    side: tl.constexpr,
    block: tl.constexpr,
) -> None:
    """A program makes ``block`` values of a row of the painting; ``per_…`` are strides of the weights."""
    y = tl.program_id(1)
    value = tl.program_id(0) * block + tl.arange(0, block)
    inside = value < width * 3
    x, colour = value // 3, value % 3

    ground = tl.zeros((block,), tl.float32)
    for down in tl.static_range(3):
        row = _mirrored(y + down - 1, height) * width
        for right in tl.static_range(3):
            # Where the cells' weights, (out, in, 3, 3), have that of this neighbour of the first pixel of a cell.
            channel = ((down + 1) % side * side + (right + 1) % side) * 3
            place = channel * per_channel + (down + 1) // side * per_row + (right + 1) // side * per_column
            weight = tl.load(softening + place).to(tl.float32)
            byte = tl.load(frame + (row + _mirrored(x + right - 1, width)) * 3 + colour, mask=inside, other=0)
            ground += weight * byte.to(tl.float32)

    painted_y, painted_x = y + top, x + left
    cell = painted_y // side * cells_wide + painted_x // side
    of_cell = (painted_y % side * side + painted_x % side) * 3 + colour
    paint = tl.load(change + cell * (3 * side * side) + of_cell, mask=inside, other=0.0).to(tl.float32)
    full = tl.minimum(tl.maximum(ground + 255.0 * paint, 0.0), 255.0)

    here = y * width * 3 + value
    plain = tl.load(frame + here, mask=inside, other=0).to(tl.float32)
    share = tl.load(strength)
    # As torch.lerp, which gives both ends exactly; then half up, as everywhere.
    blend = tl.where(share < 0.5, plain + share * (full - plain), full - (1.0 - share) * (full - plain))
    tl.store(painting + here, (blend + 0.5).to(tl.uint8), mask=inside)
