"""The local contrasts in Triton: three kernels for both resolutions, in fp32; see ``engines.model.local_contrast``.

torch makes some forty passes, because a mean around each pixel, a square and a wave are passes of their own. What
separates the kernels here is that a neighbourhood must be complete before it is read: the colours are smoothed; from
their mean around comes how far each is away from it; from the mean of the squares comes the spread.

A program makes a band of ``ROWS`` rows. The nine neighbours of a pixel in a row are added once for all rows of the
band that need them: 27 loads for each pixel instead of 81. Taller bands would load less, but a map at 1/8 of 1280×720
has only 46 of these.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from engines.cuda.triton_tiles import clamp
from engines.model.local_contrast import CONTRASTS, EDGE_FINE, LUMINANCE, REACH, WAVES

ROWS, COLUMNS = 4, 128
"""Pixels of a program: each of its 128 threads has a column, so that a warp reads one cache line at a time."""


def contrasts(colours: Tensor, floor_fine: float, floor_coarse: float) -> tuple[Tensor, Tensor]:
    """Compute the contrasts at 1/4 and at 1/8 resolution.

    Args:
        colours: (3, height, width), fp32: the mean colour of each cell; even sides.
        floor_fine: spread that counts as noise at 1/4.
        floor_coarse: the same at 1/8.

    Returns:
        (``CONTRASTS``, height, width) and (``CONTRASTS``, height / 2, width / 2), fp16.
    """
    _, high, wide = colours.shape
    grid = (triton.cdiv(wide, COLUMNS), triton.cdiv(high, ROWS), 2)
    # The maps at 1/4, and after them those at 1/8: a quarter of the size.
    cells = high * wide + high * wide // 4
    smooth, away = (colours.new_empty((3, cells)) for _ in range(2))
    squares = colours.new_empty(cells)
    relative = colours.new_empty((CONTRASTS, cells), dtype=torch.float16)
    _smooth[grid](colours, smooth, high, wide, EDGE_FINE, ROWS, COLUMNS)
    _away[grid](smooth, away, squares, high, wide, REACH, ROWS, COLUMNS)
    _waves[grid](
        away, squares, relative, floor_fine, floor_coarse, high, wide, *LUMINANCE, len(WAVES), REACH, ROWS, COLUMNS
    )
    fine = relative.view(-1)[: CONTRASTS * high * wide].view(CONTRASTS, high, wide)
    return fine, relative.view(-1)[fine.numel() :].view(CONTRASTS, high // 2, wide // 2)


@triton.jit  # type: ignore[untyped-decorator]
def _band(rows: tl.constexpr, columns: tl.constexpr) -> tuple[tl.tensor, tl.tensor]:
    """Return the rows, (rows, 1), and the columns, (columns,), of this program."""
    y = tl.program_id(1) * rows + tl.arange(0, rows)
    return y[:, None], tl.program_id(0) * columns + tl.arange(0, columns)


@triton.jit  # type: ignore[untyped-decorator]
def _weight(near: tl.tensor, place: tl.tensor, size: tl.tensor, ramp: tl.constexpr, reach: tl.constexpr) -> tl.tensor:
    """Return how often a pixel counts among the ``reach`` neighbours of a place, in one direction.

    Beyond a border, a map is its reflection, which counts ``near`` once more, or with ``ramp`` 2 × border − reflection.
    """
    half: tl.constexpr = reach // 2
    over_first, over_last = tl.maximum(half - place, 0), tl.maximum(place + half - (size - 1), 0)
    last = size - 1 - near
    reflected = ((near >= 1) & (near <= over_first)).to(tl.float32) + ((last >= 1) & (last <= over_last)).to(tl.float32)
    once = ((near >= place - half) & (near <= place + half)).to(tl.float32)
    if ramp:
        border = tl.where(near == 0, over_first, 0) + tl.where(last == 0, over_last, 0)
        return once + 2.0 * border - reflected
    return once + reflected


@triton.jit  # type: ignore[untyped-decorator]
def _mean_around(
    plane: tl.tensor,
    high: tl.tensor,
    wide: tl.tensor,
    ramp: tl.constexpr,
    reach: tl.constexpr,
    rows: tl.constexpr,
    columns: tl.constexpr,
) -> tl.tensor:
    """Return the mean of the reach×reach neighbourhood of each pixel of this program, (rows, columns)."""
    y, x = _band(rows, columns)
    half: tl.constexpr = reach // 2
    top = tl.program_id(1) * rows
    total = tl.zeros((rows, columns), tl.float32)
    for row in range(tl.maximum(top - half, 0), tl.minimum(top + rows + half, high)):
        along = tl.zeros((columns,), tl.float32)
        for right in tl.static_range(reach):
            column = x + right - half
            value = tl.load(plane + row * wide + column, mask=(column >= 0) & (column < wide), other=0.0)
            along += value * _weight(column, x, wide, ramp, reach)
        total += along[None, :] * _weight(row, y, high, ramp, reach)
    return total / (reach * reach)


@triton.jit  # type: ignore[untyped-decorator]
def _three(
    plane: tl.tensor, y: tl.tensor, x: tl.tensor, wide: tl.tensor, scale: tl.tensor, there: tl.tensor
) -> tl.tensor:
    """Return the mean of 3×3 pixels around a place inside, each of scale×scale cells."""
    total = tl.zeros(there.shape, tl.float32)
    for down in range(3 * scale):
        for right in range(3 * scale):
            row, column = (y - 1) * scale + down, (x - 1) * scale + right
            total += tl.load(plane + row * wide + column, mask=there, other=0.0)
    return total / (9 * scale * scale).to(tl.float32)


# The third axis of a grid is the resolution: 0 for 1/4, and 1 for 1/8, which lies behind it and needs fewer programs.


@triton.jit(do_not_specialize=("high", "wide"))  # type: ignore[untyped-decorator]
def _smooth(
    colours: tl.tensor,
    smooth: tl.tensor,
    high: tl.tensor,
    wide: tl.tensor,
    edge_fine: tl.constexpr,
    rows: tl.constexpr,
    columns: tl.constexpr,
) -> None:
    """Average 3×3 cells, or 6×6 for 3×3 pixels of 1/8, of which each is the mean of four cells.

    The outer pixels go on from the inside as a ramp, first along x, then along y.
    """
    level = tl.program_id(2)
    own_high, own_wide = high >> level, wide >> level
    if (tl.program_id(1) * rows >= own_high) | (tl.program_id(0) * columns >= own_wide):
        return
    y, x = _band(rows, columns)
    there = (y < own_high) & (x < own_wide)[None, :]
    place = level * 3 * high * wide + y * own_wide + x[None, :]
    scale, edge = 1 + level, edge_fine >> level  # EDGE_COARSE is half of EDGE_FINE
    border_y, border_x = edge + clamp(y - edge, own_high - 2 * edge), edge + clamp(x - edge, own_wide - 2 * edge)
    inner_y, inner_x = 2 * border_y - y, (2 * border_x - x)[None, :]  # the same place if it is inside
    over, aside = there & (y != border_y), there & (x != border_x)[None, :]
    border_x = border_x[None, :]
    for colour in tl.static_range(3):
        plane = colours + colour * high * wide
        value = _three(plane, inner_y, inner_x, wide, scale, there)
        value = tl.where(aside, 2.0 * _three(plane, inner_y, border_x, wide, scale, aside) - value, value)
        above = _three(plane, border_y, inner_x, wide, scale, over)
        above = tl.where(aside, 2.0 * _three(plane, border_y, border_x, wide, scale, over & aside) - above, above)
        value = tl.where(over, 2.0 * above - value, value)
        tl.store(smooth + place + colour * own_high * own_wide, value, mask=there)


@triton.jit(do_not_specialize=("high", "wide"))  # type: ignore[untyped-decorator]
def _away(
    smooth: tl.tensor,
    away: tl.tensor,
    squares: tl.tensor,
    high: tl.tensor,
    wide: tl.tensor,
    reach: tl.constexpr,
    rows: tl.constexpr,
    columns: tl.constexpr,
) -> None:
    """Subtract the mean around from the colours, and average the squares of the three."""
    level = tl.program_id(2)
    own_high, own_wide = high >> level, wide >> level
    if (tl.program_id(1) * rows >= own_high) | (tl.program_id(0) * columns >= own_wide):
        return
    y, x = _band(rows, columns)
    there = (y < own_high) & (x < own_wide)[None, :]
    place = y * own_wide + x[None, :]
    square = tl.zeros((rows, columns), tl.float32)
    for colour in tl.static_range(3):
        plane = level * 3 * high * wide + colour * own_high * own_wide
        mean = _mean_around(smooth + plane, own_high, own_wide, True, reach, rows, columns)
        difference = tl.load(smooth + plane + place, mask=there, other=0.0) - mean
        tl.store(away + plane + place, difference, mask=there)
        square += difference * difference
    tl.store(squares + level * high * wide + place, square / 3.0, mask=there)


@triton.jit(do_not_specialize=("high", "wide"))  # type: ignore[untyped-decorator]
def _waves(
    away: tl.tensor,
    squares: tl.tensor,
    relative: tl.tensor,
    floor_fine: tl.constexpr,
    floor_coarse: tl.constexpr,
    high: tl.tensor,
    wide: tl.tensor,
    red: tl.constexpr,
    green: tl.constexpr,
    blue: tl.constexpr,
    waves: tl.constexpr,
    reach: tl.constexpr,
    rows: tl.constexpr,
    columns: tl.constexpr,
) -> None:
    """Divide by the spread; of the luminance, store ``waves`` sines and cosines as well."""
    level = tl.program_id(2)
    own_high, own_wide = high >> level, wide >> level
    if (tl.program_id(1) * rows >= own_high) | (tl.program_id(0) * columns >= own_wide):
        return
    y, x = _band(rows, columns)
    there = (y < own_high) & (x < own_wide)[None, :]
    place = y * own_wide + x[None, :]
    plane = own_high * own_wide
    variance = _mean_around(squares + level * high * wide, own_high, own_wide, False, reach, rows, columns)
    floor = tl.where(level == 0, floor_fine, floor_coarse)
    spread = tl.sqrt(variance + floor * floor)
    colours = away + level * 3 * high * wide + place
    target = relative + level * (3 + 2 * waves) * high * wide + place
    light = tl.zeros((rows, columns), tl.float32)
    for colour in tl.static_range(3):
        value = tl.load(colours + colour * plane, mask=there, other=0.0) / spread
        tl.store(target + colour * plane, value.to(tl.float16), mask=there)
        light += value * (red if colour == 0 else green if colour == 1 else blue)
    light *= 3.141592653589793
    sine, cosine = tl.sin(light), tl.cos(light)
    for wave in tl.static_range(waves):
        tl.store(target + (3 + wave) * plane, sine.to(tl.float16), mask=there)
        tl.store(target + (3 + waves + wave) * plane, cosine.to(tl.float16), mask=there)
        sine, cosine = 2.0 * sine * cosine, 1.0 - 2.0 * sine * sine  # double-angle formulas
