"""The cameras of this machine: which there are, and which one a text means."""

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
from rtstyle.sources import v4l2
from rtstyle.sources.v4l2 import Mode

SYSFS = Path("/sys/class/video4linux")
DEV = Path("/dev")

LOOPBACK = ("v4l2 loopback", "v4l2loopback")
"""What v4l2loopback calls itself; with it OBS, too, makes its camera on Linux."""

VIRTUAL_DRIVERS = (*LOOPBACK, "vivid", "vimc", "akvcam", "akvcam_driver")
"""Linux drivers with no camera behind them."""

VIRTUAL_NAMES = re.compile(
    r"virtual|\bobs\b|\bobs-|unity video|manycam|vcam|snap camera|e2esoft|droidcam", re.IGNORECASE
)
"""Names of cameras that are programs, where the system does not tell the driver."""

NAMES_EXTRA = 'pip install "rtstyle[cameras]"'
"""Adds cv2-enumerate-cameras, which knows the names on Windows and macOS."""

PROBED = 5
"""Numbers that are tried where nothing can list the cameras."""


@dataclass(frozen=True)
class Camera:
    """A camera that the system lists.

    Attributes:
        index: what ``--source`` takes.
        path: its device file; empty where the system has none.
        name: as the maker calls it.
        driver: as it calls itself; empty when unknown.
        virtual: True when a program is behind it, not a device.
        idle: True for a virtual camera into which no program writes yet.
        stable_path: a device file whose name stays when the camera is plugged in again; empty without one.
    """

    index: int
    path: str
    name: str
    driver: str = ""
    virtual: bool = False
    idle: bool = False
    stable_path: str = ""

    def __str__(self) -> str:
        """``0 (HD Pro Webcam C920)``."""
        return f"{self.index} ({self.name})"

    def to_dict(self) -> dict[str, Any]:
        """Plain form for JSON."""
        return asdict(self)


def list_cameras() -> list[Camera]:
    """The cameras that the system knows, without using any; outside Linux none without the extra ``cameras``."""
    return linux_cameras() if sys.platform.startswith("linux") else _named_by_library()


def linux_cameras(sysfs: Path = SYSFS, dev: Path = DEV, ioctl: v4l2.Ioctl | None = None) -> list[Camera]:
    """The cameras that the kernel lists, in the order of their numbers.

    Args:
        sysfs, dev, ioctl: for tests.
    """
    stable = _stable_paths(dev / "v4l")
    found = []
    for folder in sysfs.glob("video*"):
        with suppress(OSError, ValueError):  # unplugged while we looked
            camera = _linux_camera(folder, dev, ioctl)
            if camera is not None:
                found.append(replace(camera, stable_path=stable.get(folder.name, "")))
    return sorted(found, key=lambda camera: camera.index)


def _linux_camera(folder: Path, dev: Path, ioctl: v4l2.Ioctl | None) -> Camera | None:
    """Returns: None for a device file that gives no pictures, like those for metadata and codecs."""
    path, name = str(dev / folder.name), (folder / "name").read_text().strip()
    camera = Camera(int(folder.name.removeprefix("video")), path, name)
    try:
        node = v4l2.look_at(path, ioctl=ioctl)
    except OSError:
        # Forbidden to us, so only what everybody may know: the first file of a device is the one with the pictures.
        first = (folder / "index").read_text().strip() == "0"
        driver = _driver_in_sysfs(folder)
        return replace(camera, driver=driver, virtual=driver in VIRTUAL_DRIVERS) if first else None
    idle = not node.captures and node.driver in LOOPBACK
    if not node.captures and not idle:
        return None
    return replace(camera, driver=node.driver, virtual=node.driver in VIRTUAL_DRIVERS, idle=idle)


def _driver_in_sysfs(folder: Path) -> str:
    """Devices of v4l2loopback hang on nothing; all others are tied to their driver."""
    link = folder / "device" / "driver"
    if link.exists():
        return link.resolve().name
    return LOOPBACK[0] if "virtual" in folder.resolve().parts else ""


def _stable_paths(links: Path) -> dict[str, str]:
    """Name of a device file → udev's path to it that stays. by-id is better: by-path is the socket, not the camera."""
    found: dict[str, str] = {}
    for kind in ("by-path", "by-id"):
        for link in sorted((links / kind).glob("*")):
            found[Path(os.path.realpath(link)).name] = str(link)
    return found


def modes(camera: Camera, ioctl: v4l2.Ioctl | None = None) -> tuple[Mode, ...]:
    """Formats, sizes and rates of a camera; empty where they cannot be asked."""
    if not sys.platform.startswith("linux"):
        return ()
    try:
        return v4l2.look_at(camera.path, modes=True, ioctl=ioctl).modes
    except OSError:
        return ()


def names_are_known() -> bool:
    """False where only numbers can be tried: on Windows and macOS without the extra ``cameras``."""
    return sys.platform.startswith("linux") or find_spec("cv2_enumerate_cameras") is not None


def _named_by_library() -> list[Camera]:
    try:
        from cv2_enumerate_cameras import enumerate_cameras
    except ImportError:
        return []
    from rtstyle.sources.opencv_capture import interface

    return [
        Camera(info.index, info.path or "", info.name, virtual=bool(VIRTUAL_NAMES.search(info.name)))
        for info in enumerate_cameras(interface())
    ]


def probe_cameras() -> Iterator[Camera]:
    """Try the first numbers: what opens is a camera. Takes seconds, and lights come on."""
    from rtstyle.sources.opencv_capture import open_device

    for index in range(PROBED):
        capture = open_device(index)
        if capture.isOpened():
            yield Camera(index, "", f"camera {index}")
        capture.release()


def find_camera(text: str, cameras: Sequence[Camera] | None = None) -> Camera:
    """The camera whose name is ``text``, or holds it, in whatever case.

    Raises:
        SourceError: there is none, or there are several.
    """
    cameras = list_cameras() if cameras is None else cameras
    matches = _matches(text, cameras)
    if not matches:
        raise SourceError(f"no camera and no file is called {text!r}", hint=cameras_hint(cameras))
    if len(matches) > 1:
        raise SourceError(f"several cameras are called {text!r}", hint=f"take one by its number: {_told(matches)}")
    return matches[0]


def _matches(text: str, cameras: Sequence[Camera]) -> list[Camera]:
    """Whole names before parts of names."""
    wanted = text.strip().casefold()
    if not wanted:
        return []
    whole = [camera for camera in cameras if camera.name.casefold() == wanted]
    return whole or [camera for camera in cameras if wanted in camera.name.casefold()]


def find_again(known: Camera, cameras: Sequence[Camera] | None = None) -> Camera | None:
    """The same camera after it was plugged in again, perhaps under another number or in another socket.

    Returns:
        None while it is not there. Of several with its name, the one in its socket or at its number.
    """
    cameras = list_cameras() if cameras is None else cameras
    if "/by-id/" in known.stable_path:
        # Holds the serial number, so a twin is not taken for it.
        return next((camera for camera in cameras if camera.stable_path == known.stable_path), None)
    same = [camera for camera in cameras if camera.name == known.name]
    same.sort(key=lambda camera: (camera.stable_path != known.stable_path, camera.index != known.index))
    return same[0] if same else None


def cameras_hint(cameras: Sequence[Camera] | None = None) -> str:
    """What to try when a camera does not work: the ones that are there."""
    cameras = list_cameras() if cameras is None else cameras
    if cameras:
        return f"cameras here: {_told(cameras)}"
    if names_are_known():
        return "no camera is connected; --source pattern needs none"
    return "try 0, 1, 2 …; --source pattern needs no camera"


def _told(cameras: Iterable[Camera]) -> str:
    return ", ".join(str(camera) for camera in cameras)
