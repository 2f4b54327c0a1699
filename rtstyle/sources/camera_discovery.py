"""Lists the cameras of this machine and finds one by name."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from engines.errors import SourceError
from rtstyle.media import v4l2
from rtstyle.media.v4l2 import Mode

SYSFS = Path("/sys/class/video4linux")
DEV = Path("/dev")

LOOPBACK = ("v4l2 loopback", "v4l2loopback")
"""Names of the v4l2loopback driver, which OBS on Linux uses, too."""

VIRTUAL_DRIVERS = (*LOOPBACK, "vivid", "vimc", "akvcam", "akvcam_driver")
"""Linux drivers without a physical camera."""

VIRTUAL_NAMES = re.compile(
    r"virtual|\bobs\b|\bobs-|unity video|manycam|vcam|snap camera|e2esoft|droidcam", re.IGNORECASE
)
"""Names of cameras that are programs, where the system does not report the driver."""

PROBE_COUNT = 5
"""Indexes to try where cameras cannot be listed."""


@dataclass(frozen=True)
class Camera:
    """A camera listed by the system.

    Attributes:
        index: number for ``--source``.
        path: device file; empty where the system has none.
        name: product name.
        driver: name of the driver; empty when unknown.
        virtual: True when a program provides the pictures, not a device.
        idle: True for a virtual camera that no program writes to yet.
        stable_path: device file whose name survives reconnecting the camera; empty when there is none.
    """

    index: int
    path: str
    name: str
    driver: str = ""
    virtual: bool = False
    idle: bool = False
    stable_path: str = ""

    def __str__(self) -> str:
        """Return ``0 (HD Pro Webcam C920)``."""
        return f"{self.index} ({self.name})"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields for JSON."""
        return asdict(self)


def list_cameras() -> list[Camera]:
    """Return the cameras of the system without opening any; outside Linux this needs the extra ``cameras``."""
    return linux_cameras() if sys.platform.startswith("linux") else _named_by_library()


def linux_cameras(sysfs: Path = SYSFS, dev: Path = DEV, ioctl: v4l2.Ioctl | None = None) -> list[Camera]:
    """Return the cameras listed by the kernel, by index. Tests replace the folders and the ioctl."""
    stable = _stable_paths(dev / "v4l")
    found = []
    for folder in sysfs.glob("video*"):
        with suppress(OSError, ValueError):  # unplugged meanwhile
            camera = _linux_camera(folder, dev, ioctl)
            if camera is not None:
                found.append(replace(camera, stable_path=stable.get(folder.name, "")))
    return sorted(found, key=lambda camera: camera.index)


def _linux_camera(folder: Path, dev: Path, ioctl: v4l2.Ioctl | None) -> Camera | None:
    """Return None for a device file that delivers no pictures, like those for metadata and codecs."""
    path, name = str(dev / folder.name), (folder / "name").read_text().strip()
    camera = Camera(int(folder.name.removeprefix("video")), path, name)
    try:
        node = v4l2.query_device(path, ioctl=ioctl)
    except OSError:
        # No permission, so rely on sysfs: the first file of a device is the one that delivers pictures.
        first = (folder / "index").read_text().strip() == "0"
        driver = _driver_in_sysfs(folder)
        return replace(camera, driver=driver, virtual=driver in VIRTUAL_DRIVERS) if first else None
    idle = not node.captures and node.driver in LOOPBACK
    if not node.captures and not idle:
        return None
    return replace(camera, driver=node.driver, virtual=node.driver in VIRTUAL_DRIVERS, idle=idle)


def _driver_in_sysfs(folder: Path) -> str:
    """Return the name of the driver; only devices of v4l2loopback have no link to theirs."""
    link = folder / "device" / "driver"
    if link.exists():
        return link.resolve().name
    return LOOPBACK[0] if "virtual" in folder.resolve().parts else ""


def _stable_paths(links: Path) -> dict[str, str]:
    """Return udev's stable path of each device file by its name; by-id is preferred, for by-path names the port."""
    found: dict[str, str] = {}
    for kind in ("by-path", "by-id"):
        for link in sorted((links / kind).glob("*")):
            found[Path(os.path.realpath(link)).name] = str(link)
    return found


def modes(camera: Camera, ioctl: v4l2.Ioctl | None = None) -> tuple[Mode, ...]:
    """Return the formats, sizes and rates of a camera; empty where they cannot be queried."""
    if not sys.platform.startswith("linux"):
        return ()
    try:
        return v4l2.query_device(camera.path, modes=True, ioctl=ioctl).modes
    except OSError:
        return ()


def names_are_known() -> bool:
    """Return False where indexes must be tried: on Windows and macOS without the extra ``cameras``."""
    return sys.platform.startswith("linux") or find_spec("cv2_enumerate_cameras") is not None


def _named_by_library() -> list[Camera]:
    try:
        from cv2_enumerate_cameras import enumerate_cameras
    except ImportError:
        return []
    from rtstyle.sources.opencv_capture import capture_api

    return [
        Camera(info.index, info.path or "", info.name, virtual=bool(VIRTUAL_NAMES.search(info.name)))
        for info in enumerate_cameras(capture_api())
    ]


def probe_cameras() -> Iterator[Camera]:
    """Yield a camera for each of the first indexes that can be opened. Takes seconds, and camera lights turn on."""
    from rtstyle.sources.opencv_capture import open_device

    for index in range(PROBE_COUNT):
        capture = open_device(index)
        if capture.isOpened():
            yield Camera(index, "", f"camera {index}")
        capture.release()


def find_camera(text: str, cameras: Sequence[Camera] | None = None) -> Camera:
    """Return the camera whose name is, or contains, ``text``, ignoring case.

    Raises:
        SourceError: no camera matches, or several do.
    """
    cameras = list_cameras() if cameras is None else cameras
    matches = _matches(text, cameras)
    if not matches:
        raise SourceError(f"no camera or file is named {text!r}", hint=cameras_hint(cameras))
    if len(matches) > 1:
        raise SourceError(f"several cameras match {text!r}", hint=f"choose one by number: {_joined(matches)}")
    return matches[0]


def _matches(text: str, cameras: Sequence[Camera]) -> list[Camera]:
    """Return the cameras with this name, else those whose name contains it."""
    wanted = text.strip().casefold()
    if not wanted:
        return []
    whole = [camera for camera in cameras if camera.name.casefold() == wanted]
    return whole or [camera for camera in cameras if wanted in camera.name.casefold()]


def find_again(known: Camera, cameras: Sequence[Camera] | None = None) -> Camera | None:
    """Return the same camera after a reconnect, perhaps with another index or at another port.

    Of several with its name, the one at the same port or index is preferred. ``None`` while it is not connected.
    """
    cameras = list_cameras() if cameras is None else cameras
    if "/by-id/" in known.stable_path:
        # Contains the serial number, so an identical model does not match.
        return next((camera for camera in cameras if camera.stable_path == known.stable_path), None)
    same = [camera for camera in cameras if camera.name == known.name]
    same.sort(key=lambda camera: (camera.stable_path != known.stable_path, camera.index != known.index))
    return same[0] if same else None


def check_device(device: int | str) -> None:
    """Distinguish a missing device from a forbidden one before it is opened. Linux only.

    Raises:
        SourceError: the device does not exist, is not a device, or may not be used.
    """
    if not sys.platform.startswith("linux"):
        return
    path = Path(f"/dev/video{device}" if isinstance(device, int) else device)
    if not path.exists():
        raise SourceError(f"there is no camera {device}", hint=cameras_hint())
    if not path.is_char_device():
        raise SourceError(f"{device} is not a camera", hint=cameras_hint())
    if not os.access(path, os.R_OK | os.W_OK):
        hint = "add yourself to its group: sudo usermod -aG video $USER"
        raise SourceError(f"no permission to use {path}", hint=hint)


def cameras_hint(cameras: Sequence[Camera] | None = None) -> str:
    """Return a hint that lists the cameras of this machine."""
    cameras = list_cameras() if cameras is None else cameras
    if cameras:
        return f"available cameras: {_joined(cameras)}"
    if names_are_known():
        return "no camera is connected; --source pattern needs none"
    return "try 0, 1, 2 …; --source pattern needs no camera"


def _joined(cameras: Iterable[Camera]) -> str:
    return ", ".join(str(camera) for camera in cameras)
