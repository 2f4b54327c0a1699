"""Virtual camera: other programs see the painting as a camera, at a rate that never drifts."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from threading import Condition, Thread
from typing import Any

import cv2
import numpy as np

from engines.base import RGB
from engines.errors import SinkError
from rtstyle.frame import Frame
from rtstyle.sinks.paused_slate import IDLE_S, card
from rtstyle.sinks.window import fit
from rtstyle.sources.v4l2 import free_output

INSTALL = 'pip install "rtstyle[virtual-camera]"'
"""Adds pyvirtualcam, which is under the GPL, version 2."""

HINTS = {
    "linux": "load the driver: sudo modprobe v4l2loopback exclusive_caps=1 card_label=rtstyle (Debian, Ubuntu: first "
    "sudo apt install v4l2loopback-dkms)",
    "win32": "install OBS Studio, which brings a virtual camera; or Unity Capture",
    "darwin": "install OBS Studio, start and stop its virtual camera once, and close it",
}
"""What is missing, by ``sys.platform``."""

DEVICES = Path("/sys/class/video4linux")
"""Where Linux lists video devices."""

DEFAULT_FPS = Fraction(30)
"""Rate where the source does not know its own."""


class VirtualSink:
    """Sends the newest painting at a constant rate; while none comes, the last one again, and after 2 s a card.

    Programs that read a camera expect it to tick. Frame n is due n / fps after the first, whatever the earlier ones
    took, so that the rate does not drift; ticks that the machine was too slow for are left out, never caught up.

    Args:
        device: path or name of the camera; ``None`` takes the first one.
        size: (width, height), pixels; frames of another size are fitted into it, on black.
        fps: frames per second; 0 stands for ``DEFAULT_FPS``.
        backend: of pyvirtualcam; ``None`` takes what works.
        paused: whether others are to see the card.

    Raises:
        SinkError: pyvirtualcam or a virtual camera is missing; the hint says how to get it.
    """

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
        self._camera = _opened(device, size, self._rate, backend)
        self._name, self._size = str(self._camera.device), size
        self._newest: RGB = np.zeros((size[1], size[0], 3), np.uint8)
        self._fresh_s, self._paused = time.monotonic(), paused
        self._card: RGB | None = None
        self._failure: Exception | None = None
        self._closing = False
        self._change = Condition()
        self._thread = Thread(target=self._tick, name="virtual camera", daemon=True)
        self._thread.start()

    @property
    def name(self) -> str:
        """Device that others open, e.g. ``/dev/video10``."""
        return self._name

    @property
    def main_thread(self) -> bool:
        """Any thread will do."""
        return False

    def write(self, frame: Frame) -> bool:
        """Show this frame from the next tick on.

        Raises:
            SinkError: the camera is gone.
        """
        if self._failure is not None:
            raise SinkError(f"the virtual camera {self.name} failed: {self._failure}") from self._failure
        fitting = fitted(frame.rgb, self._size)
        with self._change:
            # A source that is lost repeats its last picture, and says so.
            if not frame.notice:
                self._fresh_s = time.monotonic()
            self._newest, self._card = fitting, None
        return True

    def close(self, *, completed: bool) -> None:  # noqa: ARG002, a camera has nothing to complete
        """Take the camera away from those who watch it. Twice is fine."""
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
            except Exception as error:  # noqa: BLE001  # whatever a backend raises; ``write`` tells it
                self._failure = error
                return
            number = max(number + 1, int((time.monotonic() - start_s) * self._rate))

    def _shown(self) -> RGB:
        paused = self._paused()
        with self._change:
            if not paused and time.monotonic() - self._fresh_s < IDLE_S:
                return self._newest
            if self._card is None:
                self._card = card(self._newest)
            return self._card


def fitted(rgb: RGB, size: tuple[int, int]) -> RGB:
    """A picture as large as possible in the middle of another size, (width, height), on black."""
    width, height = size
    if rgb.shape[:2] == (height, width):
        return np.ascontiguousarray(rgb)
    left, top, wide, high = fit(rgb.shape[1], rgb.shape[0], width, height)
    whole = np.zeros((height, width, 3), np.uint8)
    method = cv2.INTER_AREA if wide < rgb.shape[1] else cv2.INTER_LINEAR
    whole[top : top + high, left : left + wide] = cv2.resize(rgb, (wide, high), interpolation=method)
    return whole


def _opened(device: str | None, size: tuple[int, int], rate: float, backend: str | None) -> Any:
    try:
        import pyvirtualcam
    except ImportError as error:
        raise SinkError("the virtual camera needs pyvirtualcam", hint=INSTALL) from error
    path = device_file(device) if device and sys.platform.startswith("linux") and backend is None else device
    if sys.platform.startswith("linux"):
        for there in [path] if path else virtual_cameras():
            free_output(there)
    try:
        return pyvirtualcam.Camera(*size, rate, device=path, backend=backend)
    except (RuntimeError, ValueError, OSError) as error:
        what = f"the virtual camera {device}" if device else "a virtual camera"
        told = str(error).strip().splitlines() or [type(error).__name__]
        raise SinkError(f"cannot open {what}: {told[0]}", hint=_hint(virtual_cameras() if device else {})) from error


def virtual_cameras(folder: Path = DEVICES) -> dict[str, str]:
    """Device file → name of each virtual camera that is there, by what the kernel says. Linux only, else none."""
    found = {}
    for entry in sorted(folder.glob("video*"), key=lambda one: (len(one.name), one.name)):
        try:
            if "virtual" in entry.resolve().parts:  # no hardware is behind it
                found[f"/dev/{entry.name}"] = (entry / "name").read_text("utf-8", "replace").strip()
        except OSError:
            continue  # it went away meanwhile
    return found


def device_file(device: str, folder: Path = DEVICES) -> str:
    """The device file of a virtual camera by its name, as other programs list it; a path stays what it is.

    Raises:
        SinkError: no virtual camera has that name, with those that are there.
    """
    if device.startswith("/"):
        return device
    there = virtual_cameras(folder)
    for match in (str.__eq__, lambda one, other: one.lower() == other.lower()):
        for path, name in there.items():
            if match(name, device):
                return path
    raise SinkError(f"there is no virtual camera {device!r}", hint=_hint(there))


def _hint(there: dict[str, str]) -> str:
    if there:
        return f"there are: {', '.join(f'{name} ({path})' for path, name in there.items())}"
    return HINTS.get(sys.platform, "")
