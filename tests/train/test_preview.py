"""Previews fit, whatever they show."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from train.report.preview import SMALLEST, jpeg


def noise(height: int, width: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """What compresses worst."""
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def decoded(data: bytes) -> tuple[int, int]:
    """Height and width of a JPEG."""
    rgb = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert rgb is not None
    return rgb.shape[0], rgb.shape[1]


def test_what_fits_keeps_its_size() -> None:
    flat = np.full((320, 640, 3), 90, np.uint8)
    assert decoded(jpeg(flat, 60_000)) == (320, 640)


@pytest.mark.parametrize("limit", [60_000, 5_000])
def test_what_does_not_fit_is_shrunk(limit: int) -> None:
    data = jpeg(noise(320, 640), limit)
    height, width = decoded(data)
    assert len(data) <= limit
    assert height < 320 and width / height == pytest.approx(2, rel=0.05)


def test_what_can_never_fit_is_as_small_as_it_can_be() -> None:
    assert 1 <= min(decoded(jpeg(noise(64, 64), 10))) < SMALLEST
