"""What Triton's kernels of the network share: squares of pixels as rows of matrix products, and their loads.

Each program computes a square of 8×8 pixels with up to 64 channels, on 128 threads:

- A square shares more of its neighbours than a row does: 100 pixels are read for a 3×3 convolution of 64, against 198.
- 64 rows are the fewest that the matrix units of compute capability 9.0 take at once; more would leave a large card
  idle, since 1/8 of 1280×720 has only 252 such squares.
- 64×64 sums take 32 registers of a thread, so several programs fit on a multiprocessor and hide each other's waits.

All sums have a fixed order: the same frame gives the same bits.
"""

from __future__ import annotations

import triton
import triton.language as tl

TILE, CHANNELS, SMALLEST = 8, 64, 16
"""Side of a program's square in pixels; its channels at most; and the fewest channels of a matrix product, to which
narrower layers are filled up with zeros."""


def block(channels: int) -> int:
    """Return how many channels a program takes at once: a power of two."""
    return min(CHANNELS, max(SMALLEST, 1 << (channels - 1).bit_length()))


def tile_grid(high: int, wide: int, channels: int) -> tuple[int, int, int]:
    """Return the programs for a map: across, down, and for its channels."""
    return -(-wide // TILE), -(-high // TILE), -(-channels // block(channels))


# No size specializes a kernel: one frame size is compiled like another. Channels do, so that the compiler knows how
# many neighbouring values it can load at once.


@triton.jit  # type: ignore[untyped-decorator]
def tile_places(tile: tl.constexpr) -> tuple[tl.tensor, tl.tensor]:
    """Return row and column of each pixel of this program."""
    pixel = tl.arange(0, tile * tile)
    return tl.program_id(1) * tile + pixel // tile, tl.program_id(0) * tile + pixel % tile


@triton.jit  # type: ignore[untyped-decorator]
def clamp(place: tl.tensor, size: tl.tensor) -> tl.tensor:
    """Return the place of a repeated border's pixel."""
    return tl.minimum(tl.maximum(place, 0), size - 1)


@triton.jit  # type: ignore[untyped-decorator]
def load_channels(
    pointer: tl.tensor, places: tl.tensor, start: tl.tensor, all_in: tl.constexpr, take: tl.constexpr
) -> tl.tensor:
    """Load ``take`` of ``all_in`` channels from ``start`` on, at places that exist: (places, take)."""
    channel = start + tl.arange(0, take)
    address = pointer + places[:, None] * all_in + channel[None, :]
    if all_in % take == 0:
        return tl.load(address)
    return tl.load(address, mask=(channel < all_in)[None, :], other=0.0)


@triton.jit  # type: ignore[untyped-decorator]
def load_weights(
    pointer: tl.tensor,
    output: tl.tensor,
    start: tl.tensor,
    per_output: tl.tensor,
    end: tl.tensor,
    all_out: tl.constexpr,
    take: tl.constexpr,
) -> tl.tensor:
    """Load weights of ``output`` for ``take`` inputs from ``start`` on, zeros from ``end`` on: (take, outputs)."""
    channel = start + tl.arange(0, take)
    address = pointer + output[None, :] * per_output + channel[:, None]
    return tl.load(address, mask=(channel < end)[:, None] & (output < all_out)[None, :], other=0.0)


@triton.jit  # type: ignore[untyped-decorator]
def load_planes(
    maps: tl.tensor, places: tl.tensor, size: tl.tensor, there: tl.tensor, count: tl.constexpr, take: tl.constexpr
) -> tl.tensor:
    """Load ``count`` maps of ``size`` values, filled up to ``take`` with zeros: (places, take)."""
    plane = tl.arange(0, take)
    mask = there[:, None] & (plane < count)[None, :]
    return tl.load(maps + plane[None, :] * size + places[:, None], mask=mask, other=0.0)


@triton.jit  # type: ignore[untyped-decorator]
def load_bias(pointer: tl.tensor, output: tl.tensor, all_out: tl.constexpr) -> tl.tensor:
    """Load the bias of some outputs: (1, outputs), fp32."""
    return tl.load(pointer + output, mask=output < all_out, other=0.0).to(tl.float32)[None, :]
