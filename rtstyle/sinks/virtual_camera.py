"""Virtual camera sink: other programs see the stylized frames as a camera, at a rate that never drifts."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from threading import Condition, Thread
from typing import Any

import numpy as np

from engines.base import RGB
from engines.errors import SinkError
from engines.install_hint import pip_install
from rtstyle.frame import Frame
from rtstyle.media.resize import letterbox
from rtstyle.media.v4l2 import free_output
from rtstyle.sinks.paused_slate import SLATE_AFTER_S, paused_slate

HINTS = {
    "linux": "load the driver: sudo modprobe v4l2loopback video_nr=10 exclusive_caps=1 card_label=rtstyle (Debian, "
    "Ubuntu: first sudo apt install v4l2loopback-dkms)",
    "win32": "install OBS Studio, which includes a virtual camera, or Unity Capture",
    "darwin": "install OBS Studio, start and stop its virtual camera once, then close it",
}
"""How to get a virtual camera, by ``sys.platform``."""

DEVICES = Path("/sys/class/video4linux")
"""Video devices on Linux."""

DEFAULT_FPS = Fraction(30)
"""Frame rate if the source does not know its own."""


class VirtualCameraSink:
    """Sends the newest frame at a constant rate; without a new one it repeats the last, and after 2 s the paused slate.

    Programs that read a camera expect a steady rate. Frame n is due n / fps after the first one, so that the rate does
    not drift; ticks that the machine was too slow for are skipped.

    Args:
        device: path or name of the camera; ``None`` takes the first one.
        size: (width, height), pixels; frames of another size are fitted onto black.
        fps: frames per second; 0 stands for ``DEFAULT_FPS``.
        backend: of pyvirtualcam; ``None`` takes the first that works.
        paused: returns True while viewers are to see the paused slate.

    Attributes:
        name: device that other programs open, e.g. ``/dev/video10``.

    Raises:
        SinkError: pyvirtualcam or a virtual camera is missing; the hint says how to get it.
    """

    main_thread = False

    def __init__(
        self,
        device: str | None,
        size: tuple[int, int],
        fps: Fraction = DEFAULT_FPS,
        *,
        backend: str | None = None,
        paused: Callable[[], bool] = lambda: False,
    ) -> None:
        self._rate = float(fps or DEFAULT_FPS)
        self._camera = _open_camera(device, size, self._rate, backend)
        self.name, self._size = str(self._camera.device), size
        self._newest: RGB = np.zeros((size[1], size[0], 3), np.uint8)
        self._fresh_s, self._paused = time.monotonic(), paused
        self._slate: RGB | None = None
        self._failure: Exception | None = None
        self._closing = False
        self._change = Condition()
        self._thread = Thread(target=self._tick, name="virtual camera", daemon=True)
        self._thread.start()

    def write(self, frame: Frame) -> bool:
        """Show a frame from the next tick on.

        Raises:
            SinkError: the camera is gone.
        """
        if self._failure is not None:
            raise SinkError(f"the virtual camera {self.name} failed: {self._failure}") from self._failure
        rgb = letterbox(frame.rgb, self._size)
        with self._change:
            # A lost source repeats its last picture, with a notice.
            if not frame.notice:
                self._fresh_s = time.monotonic()
            self._newest, self._slate = rgb, None
        return True

    def close(self, *, completed: bool) -> None:  # noqa: ARG002 - there is nothing to complete
        """Close the camera; may be called twice."""
        with self._change:
            self._closing = True
            self._change.notify()
        self._thread.join()
        self._camera.close()

    def _tick(self) -> None:
        start_s, number = time.monotonic(), 0
        while True:
            with self._change:
                due_s = start_s + number / self._rate
                self._change.wait_for(lambda: self._closing, max(0.0, due_s - time.monotonic()))
                if self._closing:
                    return
            try:
                self._camera.send(self._shown())
            except Exception as error:  # noqa: BLE001 - whatever a backend raises, ``write`` reports it
                self._failure = error
                return
            number = max(number + 1, int((time.monotonic() - start_s) * self._rate))

    def _shown(self) -> RGB:
        paused = self._paused()
        with self._change:
            if not paused and time.monotonic() - self._fresh_s < SLATE_AFTER_S:
                return self._newest
            if self._slate is None:
                self._slate = paused_slate(self._newest)
            return self._slate


def _open_camera(device: str | None, size: tuple[int, int], rate: float, backend: str | None) -> Any:
    try:
        import pyvirtualcam
    except ImportError as error:
        raise SinkError("the virtual camera needs pyvirtualcam", hint=pip_install("virtual-camera")) from error
    path = device_file(device) if device and sys.platform.startswith("linux") and backend is None else device
    if sys.platform.startswith("linux"):
        for one in [path] if path else virtual_cameras():
            free_output(one)
    try:
        return pyvirtualcam.Camera(*size, rate, device=path, backend=backend)
    except (RuntimeError, ValueError, OSError) as error:
        what = f"the virtual camera {device}" if device else "a virtual camera"
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise SinkError(f"cannot open {what}: {reason[0]}", hint=_hint(virtual_cameras() if device else {})) from error


def virtual_cameras(folder: Path = DEVICES) -> dict[str, str]:
    """Return device file → name of each virtual camera that the Linux kernel lists; empty on other systems."""
    found = {}
    for entry in sorted(folder.glob("video*"), key=lambda one: (len(one.name), one.name)):
        try:
            if "virtual" in entry.resolve().parts:  # no hardware behind it
                found[f"/dev/{entry.name}"] = (entry / "name").read_text("utf-8", "replace").strip()
        except OSError:
            continue  # it was just removed
    return found


def device_file(device: str, folder: Path = DEVICES) -> str:
    """Return the device file of a virtual camera, given its name or its path.

    Raises:
        SinkError: no virtual camera has that name; the hint lists those that exist.
    """
    if device.startswith("/"):
        return device
    cameras = virtual_cameras(folder)
    for match in (str.__eq__, lambda one, other: one.lower() == other.lower()):
        for path, name in cameras.items():
            if match(name, device):
                return path
    raise SinkError(f"no virtual camera {device!r}", hint=_hint(cameras))


def _hint(cameras: dict[str, str]) -> str:
    if cameras:
        return f"there are: {', '.join(f'{name} ({path})' for path, name in cameras.items())}"
    return HINTS.get(sys.platform, "")
