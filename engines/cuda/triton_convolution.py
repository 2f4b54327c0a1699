"""The network's convolutions in Triton: implicit matrix products in fp16, summed in fp32, channels innermost.

torch runs each layer as several passes over memory: a copy with a repeated border, cuDNN's convolution, a bias, a sum,
a ReLU. Here a layer is one kernel. An address beyond the border is clamped to it, so nothing is copied, and bias, sum
and ReLU happen before the result leaves the registers.

A step multiplies by up to 64 input channels of one of the nine neighbours. Three steps under way (``STAGES``) take
48 kB of shared memory at most, so a multiprocessor, which has 100 kB or more, holds two programs.

Source:
    implicit GEMM: Chetlur et al. 2014, arXiv:1410.0759, section 3.
"""

from __future__ import annotations

from typing import NamedTuple

import triton
import triton.language as tl
from torch import Tensor, nn

from engines.cuda.fp16 import EdgeConv
from engines.cuda.triton_tiles import (
    CHANNELS,
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
from engines.model.local_contrast import CONTRASTS

STAGES = 3
"""Steps under way at once, where the card can copy to shared memory by itself (from compute capability 8.0 on)."""


class Pointwise(NamedTuple):
    """Maps to add through a 1×1 convolution: (``CONTRASTS``, height, width), fp16, and the layer."""

    maps: Tensor
    conv: nn.Conv2d


def convolve(
    source: Tensor,
    conv: nn.Conv2d,
    *,
    relu: bool = False,
    contrast: Pointwise | None = None,
    added: Tensor | None = None,
    then: nn.Conv2d | None = None,
) -> Tensor:
    """Convolve, add and apply ReLU in one kernel.

    Args:
        source: (height, width, in), fp16, contiguous.
        conv: 1×1 or 3×3, weights with channels innermost; the border is repeated if it is an ``EdgeConv``.
        relu: set negative values to 0, after the sums.
        contrast: what to add through another layer, in the size of the output.
        added: what to add, of the output's shape.
        then: a 1×1 convolution of the result, last of all; in the same kernel if a program holds all channels.

    Returns:
        (height / stride, width / stride, out), fp16; a 3×3 convolution that repeats no border returns 2 less.
    """
    if then is not None and max(conv.out_channels, then.out_channels) > CHANNELS:
        return convolve(convolve(source, conv, relu=relu, contrast=contrast, added=added), then)
    in_high, in_wide, _ = source.shape
    side, stride = conv.kernel_size[0], conv.stride[0]
    edge = side // 2 if isinstance(conv, EdgeConv) else 0
    high, wide = ((size + 2 * edge - side) // stride + 1 for size in (in_high, in_wide))
    channels = conv.out_channels if then is None else then.out_channels
    target = source.new_empty((high, wide, channels))
    _convolve[tile_grid(high, wide, conv.out_channels)](
        source, conv.weight, conv.bias, target, added,
        contrast and contrast.maps, contrast and contrast.conv.weight, contrast and contrast.conv.bias,
        then and then.weight, then and then.bias, in_high, in_wide, high, wide,
        conv.in_channels, conv.out_channels, channels, CONTRASTS, SMALLEST, side, stride, edge, relu,
        TILE, block(conv.in_channels), block(conv.out_channels), block(channels), num_stages=STAGES,
    )  # fmt: skip
    return target


@triton.jit(do_not_specialize=("in_high", "in_wide", "high", "wide"))  # type: ignore[untyped-decorator]
def _convolve(
    source: tl.tensor,
    weight: tl.tensor,
    bias: tl.tensor,
    target: tl.tensor,
    added: tl.tensor | None,
    maps: tl.tensor | None,
    maps_weight: tl.tensor | None,
    maps_bias: tl.tensor | None,
    then: tl.tensor | None,
    then_bias: tl.tensor | None,
    in_high: tl.tensor,
    in_wide: tl.tensor,
    high: tl.tensor,
    wide: tl.tensor,
    all_in: tl.constexpr,
    all_out: tl.constexpr,
    all_then: tl.constexpr,
    planes: tl.constexpr,
    smallest: tl.constexpr,
    side: tl.constexpr,
    stride: tl.constexpr,
    edge: tl.constexpr,
    relu: tl.constexpr,
    tile: tl.constexpr,
    take: tl.constexpr,
    outputs: tl.constexpr,
    then_outputs: tl.constexpr,
) -> None:
    """Compute ``outputs`` channels of a square of pixels; without ``then``, ``then_outputs`` is the same."""
    y, x = tile_places(tile)
    there = (y < high) & (x < wide)
    output = tl.program_id(2) * outputs + tl.arange(0, outputs)
    total = tl.zeros((tile * tile, outputs), tl.float32)
    runs: tl.constexpr = (all_in + take - 1) // take
    for step in range(side * side * runs):
        neighbour, start = step // runs, step % runs * take
        row = clamp(y * stride + neighbour // side - edge, in_high)
        column = clamp(x * stride + neighbour % side - edge, in_wide)
        values = load_channels(source, row * in_wide + column, start, all_in, take)
        end = (neighbour + 1) * all_in
        weights = load_weights(weight, output, neighbour * all_in + start, side * side * all_in, end, all_out, take)
        total = tl.dot(values, weights, total)
    total += load_bias(bias, output, all_out)
    place = y * wide + x
    if maps is not None:
        values = load_planes(maps, place, high * wide, there, planes, smallest)
        total = tl.dot(values, load_weights(maps_weight, output, 0, planes, planes, all_out, smallest), total)
        total += load_bias(maps_bias, output, all_out)
    if added is not None:
        mask = there[:, None] & (output < all_out)[None, :]
        total += tl.load(added + place[:, None] * all_out + output[None, :], mask=mask, other=0.0).to(tl.float32)
    if relu:
        total = tl.maximum(total, 0.0)
    if then is not None:
        values, output = total.to(tl.float16), tl.arange(0, then_outputs)
        weights = load_weights(then, output, 0, all_out, all_out, all_then, outputs)
        total = tl.dot(values, weights) + load_bias(then_bias, output, all_then)
    mask = there[:, None] & (output < all_then)[None, :]
    tl.store(target + place[:, None] * all_then + output[None, :], total.to(tl.float16), mask=mask)
