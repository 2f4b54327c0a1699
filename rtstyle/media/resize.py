"""Sizes that keep the proportions of a picture, and pictures put onto a canvas of another size."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def size_for_height(height: int, width: int, target_height: int | None) -> tuple[int, int]:
    """Return the (height, width) of a picture scaled to ``target_height``, with the nearest even width.

    ``None`` keeps the size.
    """
    if target_height is None or target_height == height:
        return height, width
    return target_height, max(2, 2 * round(width * target_height / height / 2))


def fit(width: int, height: int, canvas_width: int, canvas_height: int) -> tuple[int, int, int, int]:
    """Return (left, top, width, height) of a picture centred on a canvas, as large as possible. All in pixels."""
    scale = min(canvas_width / width, canvas_height / height)
    width, height = max(1, round(width * scale)), max(1, round(height * scale))
    return (canvas_width - width) // 2, (canvas_height - height) // 2, width, height


def resized(rgb: npt.NDArray[np.uint8], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Resize colours, (H, W, 3), or the opacity, (H, W), to (width, height). Returns a contiguous array."""
    if rgb.shape[:2] == size[::-1]:
        return np.ascontiguousarray(rgb)
    import cv2

    method = cv2.INTER_AREA if size[0] < rgb.shape[1] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(rgb, size, interpolation=method), np.uint8)


def letterbox(rgb: npt.NDArray[np.uint8], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Fit a picture onto a black canvas of ``size``, (width, height) in pixels. Returns a contiguous array.

    Args:
        rgb: colours, (H, W, 3), or the opacity, (H, W); bars are transparent.
        size: (width, height) of the canvas.
    """
    width, height = size
    if rgb.shape[:2] == (height, width):
        return np.ascontiguousarray(rgb)
    left, top, fitted_width, fitted_height = fit(rgb.shape[1], rgb.shape[0], width, height)
    canvas = np.zeros((height, width, *rgb.shape[2:]), np.uint8)
    fitted = resized(rgb, (fitted_width, fitted_height))
    canvas[top : top + fitted_height, left : left + fitted_width] = fitted
    return canvas
