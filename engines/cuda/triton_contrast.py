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
from engines.model.local_contrast import CONTRASTS, EDGE, LUMINANCE, REACH, WAVES

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
    _smooth[grid](colours, smooth, high, wide, EDGE, ROWS, COLUMNS)
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
def _reflect(place: tl.tensor, size: tl.tensor) -> tl.tensor:
    """Return a place beyond the border, by less than ``size``, as its reflection; another one unchanged."""
    return tl.where(place < 0, -place, tl.where(place >= size, 2 * (size - 1) - place, place))


@triton.jit  # type: ignore[untyped-decorator]
def _along(
    plane: tl.tensor, row: tl.tensor, x: tl.tensor, wide: tl.tensor, ramp: tl.constexpr, reach: tl.constexpr
) -> tl.tensor:
    """Return the sum of the ``reach`` neighbours of each x in a row, beyond the border as in ``_mean_around``."""
    total = tl.zeros(x.shape, tl.float32)
    for right in tl.static_range(reach):
        column = x + right - reach // 2
        value = tl.load(plane + row * wide + _reflect(column, wide))
        if ramp:
            beyond = (column < 0) | (column >= wide)
            border = tl.load(plane + row * wide + clamp(column, wide), mask=beyond, other=0.0)
            value = tl.where(beyond, 2.0 * border - value, value)
        total += value
    return total


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
    """Return the mean of the reach×reach neighbourhood of each pixel of this program, (rows, columns).

    Beyond a border, the map is reflected, with ``ramp`` about the value at the border.
    """
    y, x = _band(rows, columns)
    x = clamp(x, wide)
    half: tl.constexpr = reach // 2
    top = tl.program_id(1) * rows
    total = tl.zeros((rows, columns), tl.float32)
    for row in range(top - half, tl.minimum(top + rows, high) + half):
        along = _along(plane, _reflect(row, high), x, wide, ramp, reach)
        if ramp:  # noqa: SIM102  # the compiler knows this one; `and` would compute both
            if (row < 0) | (row >= high):
                along = 2.0 * _along(plane, clamp(row, high), x, wide, ramp, reach) - along
        near = (y >= row - half) & (y <= row + half)
        total += tl.where(near, along[None, :], 0.0)
    return total / (reach * reach)


@triton.jit  # type: ignore[untyped-decorator]
def _colour(
    plane: tl.tensor,
    y: tl.tensor,
    x: tl.tensor,
    high: tl.tensor,
    wide: tl.tensor,
    edge: tl.constexpr,
    there: tl.tensor,
) -> tl.tensor:
    """Load cells; the outer ``edge`` ones on every side go on from the inside as a ramp."""
    border_y, border_x = edge + clamp(y - edge, high - 2 * edge), edge + clamp(x - edge, wide - 2 * edge)
    inner_y, inner_x = 2 * border_y - y, 2 * border_x - x  # the same place if it is inside
    over, aside = there & (y != border_y), there & (x != border_x)
    value = tl.load(plane + inner_y * wide + inner_x, mask=there, other=0.0)
    value = tl.where(aside, 2.0 * tl.load(plane + inner_y * wide + border_x, mask=aside, other=0.0) - value, value)
    border = tl.load(plane + border_y * wide + inner_x, mask=over, other=0.0)
    both = over & aside
    border = tl.where(both, 2.0 * tl.load(plane + border_y * wide + border_x, mask=both, other=0.0) - border, border)
    return tl.where(over, 2.0 * border - value, value)


@triton.jit  # type: ignore[untyped-decorator]
def _three(place: tl.tensor, size: tl.tensor, scale: tl.tensor) -> tuple[tl.tensor, tl.tensor]:
    """Return the first cell of three neighbours, and how many cells the mean is of.

    At a border it is of one: beyond it a ramp goes on as a ramp, whose neighbours on both sides cancel each other.
    """
    border = (place == 0) | (place == size - 1)
    return tl.where(border, place, place - 1) * scale, tl.where(border, 1, 3) * scale


# The third axis of a grid is the resolution: 0 for 1/4, and 1 for 1/8, which lies behind it and needs fewer programs.


@triton.jit(do_not_specialize=("high", "wide"))  # type: ignore[untyped-decorator]
def _smooth(
    colours: tl.tensor,
    smooth: tl.tensor,
    high: tl.tensor,
    wide: tl.tensor,
    edge: tl.constexpr,
    rows: tl.constexpr,
    columns: tl.constexpr,
) -> None:
    """Average 3×3 cells, or 6×6 for 3×3 pixels of 1/8, of which each is the mean of four cells."""
    level = tl.program_id(2)
    own_high, own_wide = high >> level, wide >> level
    if (tl.program_id(1) * rows >= own_high) | (tl.program_id(0) * columns >= own_wide):
        return
    y, x = _band(rows, columns)
    there = (y < own_high) & (x < own_wide)[None, :]
    place = level * 3 * high * wide + y * own_wide + x[None, :]
    scale = 1 + level
    first, down_to = _three(y, own_high, scale)
    left, right_to = _three(x[None, :], own_wide, scale)
    count = (down_to * right_to).to(tl.float32)
    for colour in tl.static_range(3):
        total = tl.zeros((rows, columns), tl.float32)
        for down in range(3 * scale):
            for right in range(3 * scale):
                near = there & (down < down_to) & (right < right_to)
                total += _colour(colours + colour * high * wide, first + down, left + right, high, wide, edge, near)
        tl.store(smooth + place + colour * own_high * own_wide, total / count, mask=there)


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
