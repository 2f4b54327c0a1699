"""Do two paintings of one frame look alike? The bar that every fp16 engine must clear."""

from __future__ import annotations

import numpy as np

from engines.base import RGB

NEAR, NEAR_SHARE, FARTHEST = 2, 0.999, 6
"""They do when this share of their values is within ``NEAR`` of 255, and none is beyond ``FARTHEST``."""


def difference(one: RGB, other: RGB) -> str:
    """How two paintings differ, in words; empty when nobody could see it.

    Args:
        one, other: (height, width, 3), uint8.
    """
    if one.shape != other.shape:
        return f"{other.shape[1]}×{other.shape[0]} pixels instead of {one.shape[1]}×{one.shape[0]}"
    off = np.abs(one.astype(np.int16) - other)
    share, farthest = float((off <= NEAR).mean()), int(off.max())
    if share >= NEAR_SHARE and farthest <= FARTHEST:
        return ""
    return f"{share:.2%} of the values are within {NEAR} of 255, and the farthest is {farthest} away"
