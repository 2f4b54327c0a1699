"""8-bit video planes to RGB of the same size and back, by OpenCV's vector code.

FFmpeg's scaler is as exact, but takes four times as long for it: at 1280×720, a thread that reads and writes with it
manages some 120 frames a second.

Chroma is sited in the middle of the pixels it belongs to, as the scaler assumes too.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import cast

import cv2
import numpy as np
import numpy.typing as npt
from av import VideoFrame
from av.video.plane import VideoPlane

from engines.base import RGB

Plane = npt.NDArray[np.uint8]
"""Rows of samples, (H, W) or (H, W, C)."""

_WEIGHTS = {
    1: (0.2126, 0.0722),
    4: (0.30, 0.11),
    **dict.fromkeys((5, 6), (0.299, 0.114)),
    7: (0.212, 0.087),
    **dict.fromkeys((9, 10), (0.2627, 0.0593)),
}
"""Shares of red and blue in the luma of each matrix; H.273, table 4."""


def rgb_of(frame: VideoFrame, matrix: int, full: bool) -> RGB | None:
    """Convert a decoded frame.

    Args:
        frame: of any format.
        matrix: as in table 4 of H.273.
        full: whether its values take the whole range, 0 … 255.

    Returns:
        (H, W, 3), each value within 2 of the exact one, within 1 where the chroma does not change; None for a format or
        matrix that is left to the scaler.
    """
    planes = _READERS.get(frame.format.name)
    if planes is None or matrix not in _WEIGHTS:
        return None
    luma, *chroma = planes(frame)
    return cast(RGB, cv2.transform(cv2.merge([luma, *chroma]), _to_rgb(matrix, full)))


def frame_of(rgb: RGB, matrix: int, pixel_format: str) -> VideoFrame | None:
    """Convert a picture for an encoder, in limited range; each chroma sample is the mean of its four pixels.

    Args:
        rgb: (H, W, 3).
        matrix: as in table 4 of H.273.
        pixel_format: of the result.

    Returns:
        A new frame with its matrix and range stated; None for a format, a matrix or an odd size that is left to the
        scaler.
    """
    height, width = rgb.shape[:2]
    if pixel_format not in ("yuv420p", "nv12") or matrix not in _WEIGHTS or height % 2 or width % 2:
        return None
    frame = VideoFrame(width, height, pixel_format)
    weights = _from_rgb(matrix)  # all three rows even for one plane: OpenCV has vector code for that
    cv2.extractChannel(cv2.transform(rgb, weights), 0, _samples(frame.planes[0], 1))
    half = cv2.transform(cv2.resize(rgb, (width // 2, height // 2), interpolation=cv2.INTER_AREA), weights)
    if pixel_format == "nv12":
        cv2.mixChannels([half], [_samples(frame.planes[1], 2)], [1, 0, 2, 1])
    else:
        for number, plane in enumerate(frame.planes[1:], 1):
            cv2.extractChannel(half, number, _samples(plane, 1))
    frame.colorspace, frame.color_range = matrix, 1
    return frame


def _samples(plane: VideoPlane, channels: int) -> Plane:
    """Return a view of what a plane shows, (H, W) or (H, W, channels), without the padding of its rows."""
    rows: Plane = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
    rows = rows[: plane.height, : plane.width * channels]
    return rows if channels == 1 else rows.reshape(plane.height, plane.width, channels)


def _planar(frame: VideoFrame) -> list[Plane]:
    luma, *chroma = (_samples(plane, 1) for plane in frame.planes)
    return [luma, *(_enlarged(plane, luma.shape) for plane in chroma)]


def _interleaved(frame: VideoFrame) -> list[Plane]:
    luma = _samples(frame.planes[0], 1)
    return [luma, _enlarged(_samples(frame.planes[1], 2), luma.shape)]


def _enlarged(chroma: Plane, shape: tuple[int, ...]) -> Plane:
    """Enlarge by whole factors to at least a shape, and cut what is beyond: the last sample of an odd size is half."""
    high, wide = chroma.shape[:2]
    if (high, wide) == shape:
        return chroma
    times = -(-shape[0] // high), -(-shape[1] // wide)
    larger = cv2.resize(chroma, (wide * times[1], high * times[0]), interpolation=cv2.INTER_LINEAR)
    return cast(Plane, larger[: shape[0], : shape[1]])


_READERS: dict[str, Callable[[VideoFrame], list[Plane]]] = {
    **dict.fromkeys(("yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p"), _planar),
    "nv12": _interleaved,
}
"""Pixel format → its planes: luma, and chroma of the same size."""


@cache
def _to_rgb(matrix: int, full: bool) -> npt.NDArray[np.float32]:
    """Return R, G, B by Y, Cb, Cr, 1. (3, 4)."""
    exact, black = _equations(matrix, full)
    rows = _rounded(np.linalg.inv(exact))
    rows[:, 0] = rows[0, 0]
    return np.column_stack([rows, -rows @ black]).astype(np.float32)


@cache
def _from_rgb(matrix: int) -> npt.NDArray[np.float32]:
    """Return Y, Cb, Cr in limited range by R, G, B, 1. (3, 4)."""
    exact, black = _equations(matrix, full=False)
    rows = _rounded(exact)
    rows[:, 1] += np.round(exact.sum(1) * 1024) / 1024 - rows.sum(1)
    return np.column_stack([rows, black]).astype(np.float32)


def _equations(matrix: int, full: bool) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return Y, Cb, Cr by R, G, B, (3, 3), and what is added to them, (3,). H.273, section 8.3; R, G, B are of 255."""
    red, blue = _WEIGHTS[matrix]
    luma = np.array([red, 1 - red - blue, blue])
    cb = (np.array([0, 0, 1]) - luma) / (2 * (1 - blue))
    cr = (np.array([1, 0, 0]) - luma) / (2 * (1 - red))
    scale = np.array([1.0, 1, 1] if full else [219 / 255, 224 / 255, 224 / 255])
    return np.stack([luma, cb, cr]) * scale[:, None], np.array([0.0 if full else 16, 128, 128])


def _rounded(weights: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Round to 1/1024, as OpenCV does for bytes; where the rounded weights cancel out, grey stays grey."""
    return np.asarray(np.round(weights * 1024) / 1024, np.float64)
