"""Capture devices of this machine: which there are, how one is opened, and what is asked of it."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from engines.errors import SourceError


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


@dataclass(frozen=True)
class Camera:
    """A camera that the system lists.

    Attributes:
        index: what ``--source`` takes.
        path: its device file.
        name: as the maker calls it.
    """

    index: int
    path: str
    name: str


def open_device(device: int | str) -> Capture:
    """Open a capture device with the system's own camera interface, without OpenCV's chatter on standard error."""
    import cv2

    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    interfaces = {"linux": cv2.CAP_V4L2, "darwin": cv2.CAP_AVFOUNDATION, "win32": cv2.CAP_DSHOW}
    interface = interfaces.get(sys.platform, cv2.CAP_ANY)
    if isinstance(device, int):
        return cv2.VideoCapture(device, interface)
    return cv2.VideoCapture(str(Path(device).resolve()), interface)


def list_cameras() -> list[Camera]:
    """The cameras that Linux knows, without opening any; an empty list elsewhere."""
    found = []
    for folder in Path("/sys/class/video4linux").glob("video*"):
        try:
            # Nodes after the first of a device carry metadata, no pictures.
            if (folder / "index").read_text().strip() == "0":
                name = (folder / "name").read_text().strip()
                found.append(Camera(int(folder.name.removeprefix("video")), f"/dev/{folder.name}", name))
        except (OSError, ValueError):
            continue  # unplugged while we looked
    return sorted(found, key=lambda camera: camera.index)


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


def check_device(device: int | str) -> None:
    """On Linux, tell a missing device from a forbidden one before the driver is asked.

    Raises: SourceError: no such device, no device at all, or no permission.
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


def cameras_hint() -> str:
    """What to try when a camera does not work: the ones that are there."""
    cameras = list_cameras()
    if cameras:
        return "cameras here: " + ", ".join(f"{camera.index} ({camera.name})" for camera in cameras)
    return (
        "no camera is connected; --source pattern needs none"
        if sys.platform.startswith("linux")
        else ("try 0, 1, 2 …; --source pattern needs no camera")
    )
