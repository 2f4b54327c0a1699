"""The tolerance within which two engines give the same image; every fp16 engine must meet it."""

from __future__ import annotations

import numpy as np

from engines.base import RGB

NEAR, NEAR_SHARE, FARTHEST = 2, 0.999, 6
"""At least ``NEAR_SHARE`` of the values differ by at most ``NEAR`` steps of 255, and none by more than ``FARTHEST``."""


def mismatch(expected: RGB, actual: RGB) -> str:
    """Describe how two stylized frames differ; empty if nobody could see it."""
    if expected.shape != actual.shape:
        return f"{actual.shape[1]}×{actual.shape[0]} pixels instead of {expected.shape[1]}×{expected.shape[0]}"
    distance = np.abs(expected.astype(np.int16) - actual)
    share, farthest = float((distance <= NEAR).mean()), int(distance.max())
    if share >= NEAR_SHARE and farthest <= FARTHEST:
        return ""
    return f"{share:.2%} of the values are within {NEAR} of 255, and the farthest is {farthest} away"
