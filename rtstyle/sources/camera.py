"""Camera source: the newest picture of a capture device, through OpenCV."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from engines.base import RGB
from engines.errors import SourceError
from rtstyle.frame import Frame
from rtstyle.sources.base import SourceInfo
from rtstyle.sources.camera_discovery import cameras_hint
from rtstyle.sources.opencv_capture import Capture, ask_for, check_device, claimed_format, claimed_fps, open_device

OPEN_TIMEOUT_S = 12.0
"""Some devices need several seconds to start; one that hangs in its driver never answers."""

READ_TIMEOUT_S = 2.0
"""A camera that delivers nothing for so long is gone. The slowest (dark room) give five pictures a second."""

RETRY_S = 1.0
"""How long failing reads are repeated: one damaged MJPEG picture is no reason to stop."""

TIMED_FRAMES = 6
"""The rate is measured over this many pictures at the start."""


@dataclass(frozen=True)
class _Shot:
    """One picture as the device gave it: BGR or grey, with its number and its time in seconds."""

    picture: Any
    number: int
    captured_s: float


class CameraSource:
    """Reads a camera on a thread of its own and hands out only the newest picture.

    Every call into the driver happens on that thread, so that a driver that hangs cannot hang the program.

    Args:
        device: index (0, 1 …) or device file.
        size: (width, height) to ask for, pixels; the camera may give another one.
        fps: rate to ask for, frames per second.
        name: for people; by default ``camera 0``.
        opener: makes the capture; for tests.
        open_timeout_s, read_timeout_s: how long to wait for the first and for every further picture, seconds.

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
        self._wanted = (size, fps)
        self._changed = threading.Condition()
        self._newest: _Shot | None = None
        self._failure: SourceError | None = None
        self._closed = False
        self._times: list[float] = []
        self._claimed_fps, self._format = 0.0, ""
        self._thread = threading.Thread(target=self._work, args=(device, opener), name=self._name, daemon=True)
        self._thread.start()
        try:
            self._info = self._first_look(open_timeout_s)
        except BaseException:
            self.close()
            raise

    @property
    def info(self) -> SourceInfo:
        """Size and rate as measured, not as claimed."""
        return self._info

    def frames(self) -> Iterator[Frame]:
        """Yield the newest picture each time.

        Raises:
            SourceError: the camera failed, was unplugged, or delivers nothing any more.
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
        """Give the camera back; a driver that hangs is left behind after a second."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout=1.0)

    def _newer_than(self, number: int) -> _Shot | None:
        """Wait for a picture after ``number``. Returns: None when closed."""
        with self._changed:
            arrived = self._changed.wait_for(lambda: self._ready(number), timeout=self._read_timeout_s)
            if self._closed:
                return None
            if self._failure is not None:
                raise self._failure
            if not arrived:
                raise self._gone()
            return self._newest

    def _ready(self, number: int) -> bool:
        fresh = self._newest is not None and self._newest.number > number
        return fresh or self._closed or self._failure is not None

    def _first_look(self, timeout_s: float) -> SourceInfo:
        """Wait for the first pictures and measure them."""
        with self._changed:
            self._changed.wait_for(lambda: self._ready(-1), timeout=timeout_s)
            if self._newest is not None:
                self._changed.wait_for(
                    lambda: len(self._times) >= TIMED_FRAMES or self._failure is not None, timeout=0.6
                )
            shot, failure = self._newest, self._failure
        if shot is None:
            raise failure or SourceError(
                f"{self._name} gives no picture within {timeout_s:g} s", hint="is another program using it?"
            )
        height, width = shot.picture.shape[:2]
        return SourceInfo(self._name, width, height, self._rate(), None, True, self._format)

    def _rate(self) -> Fraction:
        """The claimed rate when the measured one agrees, otherwise the measured one, frames per second."""
        if len(self._times) < 3:
            return Fraction(self._claimed_fps).limit_denominator(1001) if self._claimed_fps > 0 else Fraction(0)
        # The first interval is left out: the driver may have buffered pictures while it was opened.
        measured = (len(self._times) - 2) / max(1e-6, self._times[-1] - self._times[1])
        if abs(measured - self._claimed_fps) <= 0.15 * self._claimed_fps:
            return Fraction(self._claimed_fps).limit_denominator(1001)
        return Fraction(max(1, round(measured)))

    def _work(self, device: int | str, opener: Callable[[int | str], Capture]) -> None:
        """Life of the camera thread: open, read until closed, release."""
        capture: Capture | None = None
        try:
            capture = opener(device)
            if not capture.isOpened():
                raise SourceError(f"cannot open {self._name}", hint=cameras_hint())
            ask_for(capture, *self._wanted)
            self._claimed_fps, self._format = claimed_fps(capture), claimed_format(capture)
            self._read_all(capture)
        except SourceError as error:
            self._fail(error)
        except Exception as error:  # noqa: BLE001, whatever a driver raises must reach the reader of frames
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
                raise (
                    self._gone()
                    if number
                    else SourceError(f"{self._name} opens but gives no picture", hint="is another program using it?")
                )
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

    def _gone(self) -> SourceError:
        return SourceError(
            f"{self._name} stopped sending pictures", hint="was it unplugged, or taken by another program?"
        )


def to_rgb(picture: Any) -> RGB:
    """A picture as OpenCV captures it, grey or BGR, as RGB."""
    import cv2

    grey = picture.ndim == 2 or picture.shape[2] == 1
    rgb: RGB = cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB if grey else cv2.COLOR_BGR2RGB)
    return rgb
