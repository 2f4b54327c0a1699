"""Maps in twice their size, in Triton: read from the small map, never stored.

A pixel of twice the size lies a quarter of a small pixel from the centre of one, towards another: the bilinear weights
are 3/4 and 1/4 along each side.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor, nn

from engines.cuda.triton_convolution import Pointwise
from engines.cuda.triton_tiles import (
    SMALLEST,
    TILE,
    block,
    clamp,
    load_bias,
    load_channels,
    load_planes,
    load_weights,
    tile_grid,
    tile_places,
)
from engines.model.generator import CANVAS, Canvas
from engines.model.local_contrast import CONTRASTS


def merge(quarter: Tensor, eighth: Tensor, contrast: Pointwise, canvas: Canvas) -> Tensor:
    """Add to the map at 1/4 the one of 1/8 in twice its size, the contrasts and the canvas, and apply ReLU.

    The canvas is a square of the style's that is repeated over the screen: each pixel reads the few channels of its
    place. So no canvas is stored, and none can be that of the style before.

    Args:
        quarter: (height, width, C), fp16.
        eighth: (height / 2, width / 2, C), fp16.
        contrast: the contrasts at 1/4, and their layer.
        canvas: the texture, with channels innermost, and its layer.

    Returns:
        (height, width, C), fp16.
    """
    high, wide, channels = quarter.shape
    target = torch.empty_like(quarter)
    texture, mix = canvas.field, canvas.mix.conv
    _merge[tile_grid(high, wide, channels)](
        quarter, eighth, contrast.maps, contrast.conv.weight, contrast.conv.bias, texture, mix.weight, mix.bias,
        target, high, wide, channels, CONTRASTS, texture.shape[1], CANVAS, SMALLEST, TILE, block(channels),
    )  # fmt: skip
    return target


def paint(refined: Tensor, head: nn.Conv2d) -> Tensor:
    """Enlarge to twice the size, apply ReLU and convolve, in one kernel.

    A program makes, for each of its pixels at 1/4, the four of 1/2 whose nine neighbours lie in the same square of 4×4
    pixels of 1/2; that square comes from 3×3 pixels of 1/4.

    Args:
        refined: (height, width, in), fp16, at 1/4.
        head: 3×3; no border is repeated.

    Returns:
        (1, 2 height − 2, 2 width − 2, out), fp16.
    """
    high, wide, channels = refined.shape
    change = refined.new_empty((1, 2 * high - 2, 2 * wide - 2, head.out_channels))
    _paint[tile_grid(high, wide, head.out_channels)](
        refined, head.weight, head.bias, change, high, wide,
        channels, head.out_channels, TILE, block(channels), block(head.out_channels),
    )  # fmt: skip
    return change


@triton.jit  # type: ignore[untyped-decorator]
def _blend(near: tl.tensor, far: tl.tensor) -> tl.tensor:
    """Return what lies a quarter of a pixel from the centre of ``near`` towards ``far``."""
    return 0.75 * near.to(tl.float32) + 0.25 * far.to(tl.float32)


@triton.jit  # type: ignore[untyped-decorator]
def read_between(
    pointer: tl.tensor,
    near_row: tl.tensor,
    far_row: tl.tensor,
    near: tl.tensor,
    far: tl.tensor,
    start: tl.tensor,
    all_in: tl.constexpr,
    take: tl.constexpr,
) -> tl.tensor:
    """Read channels a quarter of a pixel from the centre of a pixel towards another one, fp32; see ``_blend``."""
    first = _blend(
        load_channels(pointer, near_row + near, start, all_in, take),
        load_channels(pointer, near_row + far, start, all_in, take),
    )
    second = _blend(
        load_channels(pointer, far_row + near, start, all_in, take),
        load_channels(pointer, far_row + far, start, all_in, take),
    )
    return _blend(first, second)


@triton.jit(do_not_specialize=("high", "wide"))  # type: ignore[untyped-decorator]
def _merge(
    quarter: tl.tensor,
    eighth: tl.tensor,
    maps: tl.tensor,
    maps_weight: tl.tensor,
    maps_bias: tl.tensor,
    texture: tl.tensor,
    mix: tl.tensor,
    mix_bias: tl.tensor,
    target: tl.tensor,
    high: tl.tensor,
    wide: tl.tensor,
    channels: tl.constexpr,
    planes: tl.constexpr,
    textures: tl.constexpr,
    repeat: tl.constexpr,
    smallest: tl.constexpr,
    tile: tl.constexpr,
    take: tl.constexpr,
) -> None:
    y, x = tile_places(tile)
    there = (y < high) & (x < wide)
    start = tl.program_id(2) * take
    output = start + tl.arange(0, take)
    place = y * wide + x
    values = load_planes(maps, place, high * wide, there, planes, smallest)
    total = tl.dot(values, load_weights(maps_weight, output, 0, planes, planes, channels, smallest))
    values = load_channels(texture, y % repeat * repeat + x % repeat, 0, textures, smallest)
    total = tl.dot(values, load_weights(mix, output, 0, textures, textures, channels, smallest), total)
    total += load_bias(maps_bias, output, channels) + load_bias(mix_bias, output, channels)

    # Odd pixels of 1/4 lie towards the next one of 1/8, even ones towards the one before.
    low, narrow = high // 2, wide // 2
    near_row, far_row = clamp(y // 2, low) * narrow, clamp(y // 2 + y % 2 * 2 - 1, low) * narrow
    near, far = clamp(x // 2, narrow), clamp(x // 2 + x % 2 * 2 - 1, narrow)
    total += read_between(eighth, near_row, far_row, near, far, start, channels, take)

    address = place[:, None] * channels + output[None, :]
    mask = there[:, None] & (output < channels)[None, :]
    total += tl.load(quarter + address, mask=mask, other=0.0).to(tl.float32)
    tl.store(target + address, tl.maximum(total, 0.0).to(tl.float16), mask=mask)


@triton.jit  # type: ignore[untyped-decorator]
def _add(
    total: tl.tensor,
    half: tl.tensor,
    weight: tl.tensor,
    output: tl.tensor,
    start: tl.tensor,
    down: tl.constexpr,
    right: tl.constexpr,
    all_in: tl.constexpr,
    all_out: tl.constexpr,
    take: tl.constexpr,
) -> tl.tensor:
    """Add what the pixel ``down`` and ``right`` of the first of the nine neighbours contributes, if it is one."""
    if down >= 0 and down < 3 and right >= 0 and right < 3:
        tap = (down * 3 + right) * all_in
        weights = load_weights(weight, output, tap + start, 9 * all_in, tap + all_in, all_out, take)
        total = tl.dot(half, weights, total)
    return total


@triton.jit  # type: ignore[untyped-decorator]
def _store_change(
    change: tl.tensor,
    total: tl.tensor,
    row: tl.tensor,
    column: tl.tensor,
    high: tl.tensor,
    wide: tl.tensor,
    output: tl.tensor,
    all_out: tl.constexpr,
) -> None:
    """Store the outputs of the pixels that lie in the map."""
    there = (row >= 0) & (row < high) & (column >= 0) & (column < wide)
    mask = there[:, None] & (output < all_out)[None, :]
    tl.store(change + (row * wide + column)[:, None] * all_out + output[None, :], total.to(tl.float16), mask=mask)


@triton.jit(do_not_specialize=("high", "wide"))  # type: ignore[untyped-decorator]
def _paint(
    refined: tl.tensor,
    weight: tl.tensor,
    bias: tl.tensor,
    change: tl.tensor,
    high: tl.tensor,
    wide: tl.tensor,
    all_in: tl.constexpr,
    all_out: tl.constexpr,
    tile: tl.constexpr,
    take: tl.constexpr,
    outputs: tl.constexpr,
) -> None:
    """Pixel (y, x) of 1/4 makes the pixels 2y − 1, 2y and 2x − 1, 2x of the change from 2y − 1 … 2y + 2 of 1/2."""
    y, x = tile_places(tile)
    output = tl.program_id(2) * outputs + tl.arange(0, outputs)
    first = tl.zeros((tile * tile, outputs), tl.float32) + load_bias(bias, output, all_out)
    second, third, fourth = first, first, first
    for start in range(0, all_in, take):
        for down in tl.static_range(4):
            near = clamp(y + down // 3 - (3 - down) // 3, high) * wide
            far = clamp(y + down // 2 - down % 2, high) * wide
            for right in tl.static_range(4):
                near_x = clamp(x + right // 3 - (3 - right) // 3, wide)
                far_x = clamp(x + right // 2 - right % 2, wide)
                half = read_between(refined, near, far, near_x, far_x, start, all_in, take)
                half = tl.maximum(half, 0.0).to(tl.float16)
                first = _add(first, half, weight, output, start, down, right, all_in, all_out, take)
                second = _add(second, half, weight, output, start, down, right - 1, all_in, all_out, take)
                third = _add(third, half, weight, output, start, down - 1, right, all_in, all_out, take)
                fourth = _add(fourth, half, weight, output, start, down - 1, right - 1, all_in, all_out, take)
    tall, broad = 2 * high - 2, 2 * wide - 2
    _store_change(change, first, 2 * y - 1, 2 * x - 1, tall, broad, output, all_out)
    _store_change(change, second, 2 * y - 1, 2 * x, tall, broad, output, all_out)
    _store_change(change, third, 2 * y, 2 * x - 1, tall, broad, output, all_out)
    _store_change(change, fourth, 2 * y, 2 * x, tall, broad, output, all_out)
