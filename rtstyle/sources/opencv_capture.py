"""Capture devices through OpenCV: open one, request a mode, read what the driver reports."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Protocol

from rtstyle.media.v4l2 import fourcc


class Capture(Protocol):
    """The part of ``cv2.VideoCapture`` that is used."""

    def isOpened(self) -> bool:  # noqa: N802, OpenCV's name
        """Return True if the device was opened."""
        ...

    def read(self) -> tuple[bool, Any]:
        """Return (True, picture) or (False, nothing)."""
        ...

    def get(self, prop: int, /) -> float:
        """Return a setting, as reported by the driver."""
        ...

    def set(self, prop: int, value: float, /) -> bool:
        """Request a setting. The result is not reliable."""
        ...

    def release(self) -> None:
        """Release the device."""
        ...


def open_device(device: int | str) -> Capture:
    """Open a capture device with the system's own API, without OpenCV's messages on standard error."""
    import cv2

    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    if isinstance(device, int):
        return cv2.VideoCapture(device, capture_api())
    return cv2.VideoCapture(str(Path(device).resolve()), capture_api())


def capture_api() -> int:
    """Return OpenCV's number for the system's own capture API. A camera has a different index in each API."""
    import cv2

    apis = {"linux": cv2.CAP_V4L2, "darwin": cv2.CAP_AVFOUNDATION, "win32": cv2.CAP_DSHOW}
    return int(apis.get(sys.platform, cv2.CAP_ANY))


def request_mode(capture: Capture, size: tuple[int, int] | None, fps: float | None) -> None:
    """Request (width, height) and frame rate. Drivers may ignore both and report success."""
    import cv2

    if size is not None or fps is not None:
        # Uncompressed pictures of larger sizes exceed the bandwidth of USB 2.
        capture.set(cv2.CAP_PROP_FOURCC, float(cv2.VideoWriter.fourcc(*"MJPG")))
    if size is not None:
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, size[0])
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, size[1])
    if fps is not None:
        capture.set(cv2.CAP_PROP_FPS, fps)
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)


def reported_fps(capture: Capture) -> float:
    """Return the rate that the driver reports, frames per second; 0 when unknown."""
    import cv2

    return max(0.0, capture.get(cv2.CAP_PROP_FPS))


def reported_format(capture: Capture) -> str:
    """Return the pixel format that the driver reports, e.g. ``MJPG``; empty when unknown."""
    import cv2

    text = fourcc(int(capture.get(cv2.CAP_PROP_FOURCC)))
    return text if len(text) == 4 and text.isascii() and text.isalnum() else ""
