"""Camera source: delivers the newest picture of a capture device, through OpenCV."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from engines.base import RGB
from engines.errors import SourceError
from rtstyle.frame import Frame, SourceInfo
from rtstyle.sources.camera_discovery import cameras_hint, check_device
from rtstyle.sources.opencv_capture import Capture, open_device, reported_format, reported_fps, request_mode

OPEN_TIMEOUT_S = 12.0
"""Longest wait for the first picture: some devices take several seconds to start, and a hung driver never answers."""

READ_TIMEOUT_S = 2.0
"""A camera silent for this long is gone. The slowest (in a dark room) deliver five pictures per second."""

RETRY_S = 1.0
"""How long to retry failing reads: one damaged MJPEG picture must not end the source."""

BUSY_HINT = "is another program using it?"

TIMED_FRAMES = 6
"""Number of pictures at the start over which the rate is measured."""


@dataclass(frozen=True)
class _Shot:
    """A picture as captured: BGR or grey, with its number and its time in seconds."""

    picture: Any
    number: int
    captured_s: float


class CameraSource:
    """Reads a camera on its own thread and delivers only the newest picture.

    All calls into the driver happen on that thread, so a driver that hangs cannot hang the program.

    Args:
        device: index (0, 1 …) or device file.
        size: (width, height) to request, pixels; the camera may choose another one.
        fps: rate to request, frames per second.
        name: display name; by default ``camera 0``.
        opener: opens the capture; for tests.
        open_timeout_s, read_timeout_s: longest wait for the first and for each further picture, seconds.

    Raises:
        SourceError: no such camera, no permission, or no picture in time.
    """

    def __init__(
        self,
        device: int | str,
        *,
        size: tuple[int, int] | None = None,
        fps: float | None = None,
        name: str | None = None,
        opener: Callable[[int | str], Capture] | None = None,
        open_timeout_s: float = OPEN_TIMEOUT_S,
        read_timeout_s: float = READ_TIMEOUT_S,
    ) -> None:
        self._name = name or f"camera {device}"
        self._read_timeout_s = read_timeout_s
        if opener is None:
            check_device(device)
            opener = open_device
        self._mode = (size, fps)
        self._changed = threading.Condition()
        self._newest: _Shot | None = None
        self._failure: SourceError | None = None
        self._closed = False
        self._times: list[float] = []
        self._reported_fps, self._format = 0.0, ""
        self._thread = threading.Thread(target=self._work, args=(device, opener), name=self._name, daemon=True)
        self._thread.start()
        try:
            self._info = self._await_first_pictures(open_timeout_s)
        except BaseException:
            self.close()
            raise

    @property
    def info(self) -> SourceInfo:
        """Size and rate as measured, not as reported by the driver."""
        return self._info

    def frames(self) -> Iterator[Frame]:
        """Yield the newest picture each time.

        Raises:
            SourceError: the camera failed, was unplugged, or stopped delivering pictures.
        """
        last, index = -1, 0
        time_base = Fraction(1, 90_000)
        start_s: float | None = None
        while (shot := self._newer_than(last)) is not None:
            start_s = shot.captured_s if start_s is None else start_s
            pts = round((shot.captured_s - start_s) / time_base)
            yield Frame(to_rgb(shot.picture), index, pts, time_base, shot.captured_s)
            last, index = shot.number, index + 1

    def close(self) -> None:
        """Release the camera; a driver that hangs is abandoned after a second."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout=1.0)

    def _newer_than(self, number: int) -> _Shot | None:
        """Wait for a picture newer than ``number``. Return None when closed."""
        with self._changed:
            arrived = self._changed.wait_for(lambda: self._ready(number), timeout=self._read_timeout_s)
            if self._closed:
                return None
            if self._failure is not None:
                raise self._failure
            if not arrived:
                raise self._lost()
            return self._newest

    def _ready(self, number: int) -> bool:
        fresh = self._newest is not None and self._newest.number > number
        return fresh or self._closed or self._failure is not None

    def _await_first_pictures(self, timeout_s: float) -> SourceInfo:
        """Wait for the first pictures, and measure size and rate."""
        with self._changed:
            self._changed.wait_for(lambda: self._ready(-1), timeout=timeout_s)
            if self._newest is not None:
                self._changed.wait_for(
                    lambda: len(self._times) >= TIMED_FRAMES or self._failure is not None, timeout=0.6
                )
            shot, failure = self._newest, self._failure
        if shot is None:
            problem = f"{self._name} delivered no picture within {timeout_s:g} s"
            raise failure or SourceError(problem, hint=BUSY_HINT)
        height, width = shot.picture.shape[:2]
        return SourceInfo(self._name, width, height, self._rate(), None, True, self._format)

    def _rate(self) -> Fraction:
        """Return the reported rate if it agrees with the measured one, else the measured one, frames per second."""
        if len(self._times) < 3:
            return Fraction(self._reported_fps).limit_denominator(1001) if self._reported_fps > 0 else Fraction(0)
        # Skip the first interval: the driver may have buffered pictures while opening.
        measured = (len(self._times) - 2) / max(1e-6, self._times[-1] - self._times[1])
        if abs(measured - self._reported_fps) <= 0.15 * self._reported_fps:
            return Fraction(self._reported_fps).limit_denominator(1001)
        return Fraction(max(1, round(measured)))

    def _work(self, device: int | str, opener: Callable[[int | str], Capture]) -> None:
        """Run the camera thread: open, read until closed, release."""
        capture: Capture | None = None
        try:
            capture = opener(device)
            if not capture.isOpened():
                raise SourceError(f"cannot open {self._name}", hint=cameras_hint())
            request_mode(capture, *self._mode)
            self._reported_fps, self._format = reported_fps(capture), reported_format(capture)
            self._read_all(capture)
        except SourceError as error:
            self._fail(error)
        except Exception as error:  # noqa: BLE001, any error of a driver must reach the reader of frames
            self._fail(SourceError(f"{self._name} failed: {error}", hint=cameras_hint()))
        finally:
            if capture is not None:
                capture.release()

    def _read_all(self, capture: Capture) -> None:
        number, last_good_s = 0, time.monotonic()
        while not self._closed:
            good, picture = capture.read()
            now_s = time.monotonic()
            if good and picture is not None and picture.size:
                self._publish(_Shot(picture, number, now_s))
                number, last_good_s = number + 1, now_s
            elif now_s - last_good_s >= min(RETRY_S, self._read_timeout_s / 2):
                if number:
                    raise self._lost()
                raise SourceError(f"{self._name} opens but delivers no picture", hint=BUSY_HINT)
            else:
                with self._changed:
                    self._changed.wait_for(lambda: self._closed, timeout=0.02)

    def _publish(self, shot: _Shot) -> None:
        with self._changed:
            self._newest = shot
            if len(self._times) < TIMED_FRAMES:
                self._times.append(shot.captured_s)
            self._changed.notify_all()

    def _fail(self, error: SourceError) -> None:
        with self._changed:
            self._failure = error
            self._changed.notify_all()

    def _lost(self) -> SourceError:
        return SourceError(
            f"{self._name} stopped sending pictures", hint="was it unplugged or taken over by another program?"
        )


def to_rgb(picture: Any) -> RGB:
    """Convert a picture as captured by OpenCV, grey or BGR, to RGB."""
    import cv2

    grey = picture.ndim == 2 or picture.shape[2] == 1
    rgb: RGB = cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB if grey else cv2.COLOR_BGR2RGB)
    return rgb
