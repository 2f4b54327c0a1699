"""Screen source: captures all monitors, one monitor or a region, through mss."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from engines.base import RGB, check_size
from engines.errors import SourceError, StylerError
from engines.frame_size import SIZE, parse_size
from engines.install_hint import pip_install
from rtstyle.frame import Frame, SourceInfo
from rtstyle.media.resize import size_for_height
from rtstyle.sources.pacing import Ticker

if TYPE_CHECKING:
    from mss import MSS

FPS = 30.0
"""Default frames per second."""

_AREA = re.compile(rf"screen(?::(?P<monitor>\d+)|:(?P<size>{SIZE})(?P<left>[+-]\d+)(?P<top>[+-]\d+))?")


@dataclass(frozen=True)
class ScreenArea:
    """A part of the screen.

    Attributes:
        monitor: 1, 2 …; 0 for all of them as one picture.
        region: (left, top, width, height), pixels, on the canvas of all monitors; ``None`` for a whole monitor.
    """

    monitor: int = 1
    region: tuple[int, int, int, int] | None = None


def parse_area(text: str) -> ScreenArea:
    """Parse ``screen``, ``screen:2`` or ``screen:640x360+100+50``.

    Raises:
        SourceError: the text is none of these.
    """
    match = _AREA.fullmatch(text)
    if match is None:
        hint = "write screen, screen:2 or screen:640x360+100+50"
        raise SourceError(f"{text!r} is not an area of the screen", hint=hint)
    if match["monitor"]:
        return ScreenArea(int(match["monitor"]))
    if match["size"] is None:
        return ScreenArea()
    return ScreenArea(region=(int(match["left"]), int(match["top"]), *parse_size(match["size"])))


class ScreenSource:
    """Captures the screen at a steady rate, and skips frames that are already late.

    Args:
        text: as ``parse_area`` takes it.
        fps: frames per second; ``None`` for ``FPS``.
        height: resize to this height, pixels, keeping the proportions; ``None`` keeps the size.

    Raises:
        SourceError: mss or the screen is missing, may not be captured, or does not contain the area.
    """

    def __init__(self, text: str, *, fps: float | None = None, height: int | None = None) -> None:
        self._name, self._height = text, height
        self._rate = Fraction(fps or FPS).limit_denominator(1001)
        self._stop, self._lock = threading.Event(), threading.Lock()
        area = parse_area(text)
        self._screen = _open_screen()
        try:
            self._box = _box(text, area, self._screen)
            first = self._picture()
            check_size(*first.shape[:2])
            if not first.any() and os.environ.get("XDG_SESSION_TYPE") == "wayland":
                raise SourceError("Wayland lets no program capture the screen", hint="log in with X11 (Xorg) instead")
        except StylerError:
            self.close()
            raise
        self._info = SourceInfo(text, first.shape[1], first.shape[0], self._rate, None, True)

    @property
    def info(self) -> SourceInfo:
        """What the source delivers. On some screens a point has several pixels; these are counted."""
        return self._info

    def frames(self) -> Iterator[Frame]:
        """Yield frames until closed.

        Raises:
            SourceError: the screen went away, or may not be captured.
        """
        ticker = Ticker(self._rate, self._stop)
        index = tick = 0
        while ticker.wait(tick):
            captured_s = time.monotonic()
            rgb = self._picture()
            if self._stop.is_set():
                return
            yield Frame(rgb, index, tick, 1 / self._rate, captured_s)
            index, tick = index + 1, max(tick + 1, ticker.current())

    def close(self) -> None:
        """End ``frames``. May be called from any thread, and twice."""
        with self._lock:
            closed = self._stop.is_set()
            self._stop.set()
        if not closed:
            # mss raises if the display has gone, and would free it again if closed twice.
            with suppress(Exception):
                self._screen.close()

    def _picture(self) -> RGB:
        import cv2

        left, top, width, height = self._box
        try:
            shot = self._screen.grab({"left": left, "top": top, "width": width, "height": height})
        except Exception as error:
            if self._stop.is_set():
                return np.zeros((height, width, 3), np.uint8)  # closed meanwhile; the picture is discarded
            raise _failed(self._name, error) from error
        rgb: Any = cv2.cvtColor(np.asarray(shot), cv2.COLOR_BGRA2RGB)
        rows, columns = size_for_height(rgb.shape[0], rgb.shape[1], self._height)
        if (rows, columns) != rgb.shape[:2]:
            rgb = cv2.resize(rgb, (columns, rows), interpolation=cv2.INTER_AREA)
        return np.asarray(rgb, np.uint8)


def _open_screen() -> MSS:
    try:
        import mss
    except ImportError as error:
        raise SourceError("capturing the screen needs mss", hint=pip_install("screen")) from error
    try:
        return mss.MSS()
    except Exception as error:
        raise _failed("screen", error) from error


def _failed(name: str, error: Exception) -> SourceError:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    hint = "is there a display, and may this program record it?"
    return SourceError(f"{name} cannot be captured: {reason}", hint=hint)


def _box(text: str, area: ScreenArea, screen: MSS) -> tuple[int, int, int, int]:
    """Return (left, top, width, height) of the area, or raise SourceError if it is not on the screen."""
    whole, *monitors = [(m["left"], m["top"], m["width"], m["height"]) for m in _monitors(text, screen)]
    sizes = ", ".join(f"{number} ({box[2]}×{box[3]})" for number, box in enumerate(monitors, start=1))
    if area.region is None:
        if area.monitor > len(monitors):
            raise SourceError(f"there is no monitor {area.monitor}", hint=f"available monitors: {sizes}")
        return monitors[area.monitor - 1] if area.monitor else whole
    left, top, width, height = area.region
    inside = left >= whole[0] and top >= whole[1]
    if not inside or left + width > whole[0] + whole[2] or top + height > whole[1] + whole[3]:
        bounds = f"{whole[2]}×{whole[3]} from {whole[0]:+d}{whole[1]:+d}"
        raise SourceError(f"{text} is not entirely on the screen", hint=f"the screen is {bounds}")
    return area.region


def _monitors(text: str, screen: MSS) -> Any:
    try:
        return screen.monitors
    except Exception as error:
        raise _failed(text, error) from error
