"""A painting to learn from, and settings with which that takes seconds; all generated."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rtstyle.media.image_files import encode_picture


def painting(height: int = 240, width: int = 320) -> bytes:
    """A PNG of coloured strokes."""
    rng = np.random.default_rng(1)
    coarse = rng.integers(0, 256, (height // 8, width // 8, 3), np.uint8)
    return encode_picture(Path("a.png"), np.ascontiguousarray(coarse.repeat(8, 0).repeat(8, 1)))


def tiny_training() -> tuple[str, ...]:
    """Arguments of `rtstyle train` for steps of a tenth of a second."""
    settings = ("data.workers=0", "run.threads=1", "data.style_size=64", "data.crop=64", "data.batch=1")
    return tuple(part for one in settings for part in ("--set", one))
