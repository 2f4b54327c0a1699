"""The tolerance within which two engines give the same image; every fp16 engine must meet it."""

from __future__ import annotations

import numpy as np

from engines.base import RGB

NEAR, NEAR_SHARE, FARTHEST = 2, 0.999, 6
"""At least ``NEAR_SHARE`` of the values differ by at most ``NEAR`` steps of 255, and none by more than ``FARTHEST``."""


DETAIL = 8
"""Pixels of the patches of one colour in a test frame."""


def detailed_frame(height: int, width: int) -> RGB:
    """Return patches of random colours with noise: edges, flat areas and fine detail. (height, width, 3)."""
    rng = np.random.default_rng(0)
    rows, columns = -(-height // DETAIL), -(-width // DETAIL)
    patches = rng.integers(0, 256, (rows, columns, 3)).astype(np.int16)
    large = patches.repeat(DETAIL, axis=0).repeat(DETAIL, axis=1)[:height, :width]
    frame: RGB = np.clip(large + rng.integers(-4, 5, large.shape), 0, 255).astype(np.uint8)
    return frame


def mismatch(expected: RGB, actual: RGB) -> str:
    """Describe how two stylized frames differ; empty if nobody could see it."""
    if expected.shape != actual.shape:
        return f"{actual.shape[1]}×{actual.shape[0]} pixels instead of {expected.shape[1]}×{expected.shape[0]}"
    distance = np.abs(expected.astype(np.int16) - actual)
    share, farthest = float((distance <= NEAR).mean()), int(distance.max())
    if share >= NEAR_SHARE and farthest <= FARTHEST:
        return ""
    return f"{share:.2%} of the values are within {NEAR} of 255, and the farthest is {farthest} away"
