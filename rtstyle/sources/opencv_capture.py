"""Capture devices: how one is opened, and what is asked of it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, Protocol

from engines.errors import SourceError
from rtstyle.sources.camera_discovery import cameras_hint
from rtstyle.sources.v4l2 import fourcc


class Capture(Protocol):
    """The part of ``cv2.VideoCapture`` that is used."""

    def isOpened(self) -> bool:  # noqa: N802, OpenCV's name
        """True when the device was opened."""
        ...

    def read(self) -> tuple[bool, Any]:
        """(True, picture) or (False, nothing)."""
        ...

    def get(self, prop: int, /) -> float:
        """A setting, as the driver claims it."""
        ...

    def set(self, prop: int, value: float, /) -> bool:
        """Ask for a setting. The answer means nothing."""
        ...

    def release(self) -> None:
        """Give the device back."""
        ...


def open_device(device: int | str) -> Capture:
    """Open a capture device with the system's own camera interface, without OpenCV's chatter on standard error."""
    import cv2

    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    if isinstance(device, int):
        return cv2.VideoCapture(device, interface())
    return cv2.VideoCapture(str(Path(device).resolve()), interface())


def interface() -> int:
    """OpenCV's number for the system's own camera interface. A camera has another index in each of them."""
    import cv2

    interfaces = {"linux": cv2.CAP_V4L2, "darwin": cv2.CAP_AVFOUNDATION, "win32": cv2.CAP_DSHOW}
    return int(interfaces.get(sys.platform, cv2.CAP_ANY))


def ask_for(capture: Capture, size: tuple[int, int] | None, fps: float | None) -> None:
    """Ask for settings. Drivers ignore some and say yes to all, so nothing here is relied on."""
    import cv2

    if size is not None or fps is not None:
        # Uncompressed pictures do not fit through USB 2 at the larger sizes.
        capture.set(cv2.CAP_PROP_FOURCC, float(cv2.VideoWriter.fourcc(*"MJPG")))
    if size is not None:
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, size[0])
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, size[1])
    if fps is not None:
        capture.set(cv2.CAP_PROP_FPS, fps)
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)


def claimed_fps(capture: Capture) -> float:
    """The rate that the driver claims, frames per second; 0 when it does not know."""
    import cv2

    return max(0.0, capture.get(cv2.CAP_PROP_FPS))


def claimed_format(capture: Capture) -> str:
    """How the driver claims to get its pictures, e.g. ``MJPG``; empty when it does not know."""
    import cv2

    text = fourcc(int(capture.get(cv2.CAP_PROP_FOURCC)))
    return text if len(text) == 4 and text.isascii() and text.isalnum() else ""


def check_device(device: int | str) -> None:
    """On Linux, tell a missing device from a forbidden one before the driver is asked.

    Raises:
        SourceError: no such device, no device at all, or no permission.
    """
    if not sys.platform.startswith("linux"):
        return
    path = Path(f"/dev/video{device}" if isinstance(device, int) else device)
    if not path.exists():
        raise SourceError(f"no camera {device}", hint=cameras_hint())
    if not path.is_char_device():
        raise SourceError(f"{device} is no camera", hint=cameras_hint())
    if not os.access(path, os.R_OK | os.W_OK):
        raise SourceError(
            f"no permission to use {path}", hint="add yourself to its group: sudo usermod -aG video $USER"
        )
