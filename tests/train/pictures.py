"""Pictures that tests make for themselves."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from engines.base import RGB


def texture(height: int, width: int, seed: int, detail: int = 12) -> RGB:
    """A smooth random picture with structure everywhere. (height, width, 3)."""
    coarse = np.random.default_rng(seed).uniform(0, 255, (detail, detail, 3)).astype(np.float32)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.clip(np.rint(smooth), 0, 255), dtype=np.uint8)


def write_picture(path: Path, rgb: RGB) -> Path:
    """Write a picture in the format of its suffix."""
    assert cv2.imwrite(str(path), np.ascontiguousarray(rgb[..., ::-1]))
    return path


def scene(height: int, width: int) -> RGB:
    """Fine enough for optical flow to hold on to."""
    return texture(height, width, 5, detail=24)


def shifted(count: int, dx: int, dy: int) -> list[RGB]:
    """A clip in which everything moves by (dx, dy) pixels a frame."""
    whole = scene(200, 260)
    return [whole[40 - dy * i : 160 - dy * i, 50 - dx * i : 210 - dx * i] for i in range(count)]


def written(path: Path, data: bytes = b"text") -> Path:
    """A file with these bytes."""
    path.write_bytes(data)
    return path


def made(path: Path) -> Path:
    """An empty folder."""
    path.mkdir()
    return path
