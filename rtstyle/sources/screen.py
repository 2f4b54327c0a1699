"""The screen, one monitor of it, or a region, through mss."""

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
from rtstyle.frame import Frame
from rtstyle.sources.base import SourceInfo
from rtstyle.sources.file import scaled
from rtstyle.sources.pacing import Ticker

if TYPE_CHECKING:
    from mss import MSS

INSTALL = 'pip install "rtstyle[screen]"'

FPS = 30.0
"""Pictures a second unless told."""

_PLACE = re.compile(r"screen(?::(?P<monitor>\d+)|:(?P<size>\d+[xX×]\d+)(?P<left>[+-]\d+)(?P<top>[+-]\d+))?")


@dataclass(frozen=True)
class Place:
    """What of the screen is meant.

    Attributes:
        monitor: 1, 2 …; 0 is all of them as one picture.
        region: (left, top, width, height) in the pixels of all monitors together; ``None`` for a whole monitor.
    """

    monitor: int = 1
    region: tuple[int, int, int, int] | None = None


def parse_place(text: str) -> Place:
    """``screen``, ``screen:2`` or ``screen:640x360+100+50``.

    Raises:
        SourceError: it is none of these.
    """
    match = _PLACE.fullmatch(text)
    if match is None:
        raise SourceError(f"{text!r} is no place on the screen", hint="write screen, screen:2 or screen:640x360+100+50")
    if match["monitor"]:
        return Place(int(match["monitor"]))
    if match["size"] is None:
        return Place()
    width, height = (int(number) for number in re.split("[xX×]", match["size"]))
    return Place(region=(int(match["left"]), int(match["top"]), width, height))


class ScreenSource:
    """Takes pictures of the screen at a steady rate, and skips those that are already late.

    Args:
        text: as ``parse_place`` takes it.
        fps: pictures a second; ``None`` for ``FPS``.
        height: resize to so many pixels, keeping the proportions; ``None`` keeps the size.

    Raises:
        SourceError: mss or the screen is missing, it may not be seen, or the place is not on it.
    """

    def __init__(self, text: str, *, fps: float | None = None, height: int | None = None) -> None:
        self._name, self._height = text, height
        self._rate = Fraction(fps or FPS).limit_denominator(1001)
        self._stop, self._lock = threading.Event(), threading.Lock()
        place = parse_place(text)
        self._screen = _opened()
        try:
            self._box = _box(text, place, self._screen)
            first = self._picture()
            check_size(*first.shape[:2])
            if not first.any() and os.environ.get("XDG_SESSION_TYPE") == "wayland":
                raise SourceError("Wayland shows no program the screen", hint="log in with X11 (Xorg) instead")
        except StylerError:
            self.close()
            raise
        self._info = SourceInfo(text, first.shape[1], first.shape[0], self._rate, None, True)

    @property
    def info(self) -> SourceInfo:
        """Size as it comes: on some screens a point has several pixels."""
        return self._info

    def frames(self) -> Iterator[Frame]:
        """Yield pictures until closed. Raises: SourceError: the screen went away or may not be seen."""
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
        """End ``frames``, also from another thread. Twice is fine."""
        with self._lock:
            again = self._stop.is_set()
            self._stop.set()
        if not again:
            # A display that went away is an error of its close, and a second close would free it twice.
            with suppress(Exception):
                self._screen.close()

    def _picture(self) -> RGB:
        import cv2

        left, top, width, height = self._box
        try:
            shot = self._screen.grab({"left": left, "top": top, "width": width, "height": height})
        except Exception as error:
            if self._stop.is_set():
                return np.zeros((height, width, 3), np.uint8)  # closed meanwhile; nobody will see it
            raise _failed(self._name, error) from error
        rgb: Any = cv2.cvtColor(np.asarray(shot), cv2.COLOR_BGRA2RGB)
        rows, columns = scaled(rgb.shape[0], rgb.shape[1], self._height)
        if (rows, columns) != rgb.shape[:2]:
            rgb = cv2.resize(rgb, (columns, rows), interpolation=cv2.INTER_AREA)
        return np.asarray(rgb, np.uint8)


def _opened() -> MSS:
    try:
        import mss
    except ImportError as error:
        raise SourceError("the screen needs mss", hint=INSTALL) from error
    try:
        return mss.MSS()
    except Exception as error:
        raise _failed("screen", error) from error


def _failed(name: str, error: Exception) -> SourceError:
    told = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return SourceError(f"{name} cannot be seen: {told}", hint="is there a display, and may this program record it?")


def _box(text: str, place: Place, screen: MSS) -> tuple[int, int, int, int]:
    """(left, top, width, height) of the place. Raises: SourceError: it is not on the screen."""
    whole, *monitors = [(m["left"], m["top"], m["width"], m["height"]) for m in _monitors(text, screen)]
    sizes = ", ".join(f"{number} ({box[2]}×{box[3]})" for number, box in enumerate(monitors, start=1))
    if place.region is None:
        if place.monitor > len(monitors):
            raise SourceError(f"there is no monitor {place.monitor}", hint=f"monitors here: {sizes}")
        return monitors[place.monitor - 1] if place.monitor else whole
    left, top, width, height = place.region
    inside = left >= whole[0] and top >= whole[1]
    if not inside or left + width > whole[0] + whole[2] or top + height > whole[1] + whole[3]:
        at = f"{whole[2]}×{whole[3]} from {whole[0]:+d}{whole[1]:+d}"
        raise SourceError(f"{text} is not all on the screen", hint=f"the screen is {at}")
    return place.region


def _monitors(text: str, screen: MSS) -> Any:
    try:
        return screen.monitors
    except Exception as error:
        raise _failed(text, error) from error
