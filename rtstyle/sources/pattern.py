"""The built-in moving scene as a source: for a demo, a test or a benchmark without a camera."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import pairwise

import cv2
import numpy as np

from engines.base import RGB, check_size
from engines.errors import SourceError
from rtstyle.frame import Frame
from rtstyle.sources.base import SourceInfo
from rtstyle.sources.pacing import Ticker
from rtstyle.sources.scene import Scene

CELLS = 32
"""Black and white cells that carry the frame number, most significant bit first."""


class PatternSource:
    """A scene by the sea with drifting clouds, boats, a windmill and a walker.

    Args:
        width, height: pixels.
        fps: frames per second.
        frames: how many; ``None`` never ends.
        live: deliver at the pace of a camera and skip what is late; otherwise as fast as frames are taken.
        numbered: write the frame number into the picture, for people and as ``CELLS`` cells along the bottom.
        clock: monotonic time in seconds.

    Raises:
        ShapeError: a size that no engine takes. SourceError: fps not above 0, or too narrow to be numbered.
    """

    def __init__(
        self,
        width: int = 640,
        height: int = 360,
        fps: Fraction | int = 30,
        *,
        frames: int | None = None,
        live: bool = True,
        numbered: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        check_size(height, width)
        if fps <= 0:
            raise SourceError(f"the pattern cannot run at {fps} frames per second", hint="give a number above 0")
        if numbered and width < 2 * CELLS:
            raise SourceError(f"{width} pixels are too few for a frame number", hint=f"at least {2 * CELLS}")
        self._info = SourceInfo("pattern", width, height, Fraction(fps), frames, live)
        self._scene = Scene(width, height)
        self._numbered = numbered
        self._clock = clock
        self._stop = threading.Event()

    @property
    def info(self) -> SourceInfo:
        """What is delivered."""
        return self._info

    def frames(self) -> Iterator[Frame]:
        """Yield the scene frame by frame; a live one skips frames that are already late."""
        ticker = Ticker(self._info.fps, self._stop, self._clock)
        index = tick = 0
        while not self._stop.is_set() and (self._info.frame_count is None or index < self._info.frame_count):
            rgb = self.picture(tick)
            if self._info.live and not ticker.wait(tick):
                return
            yield Frame(rgb, index, tick, 1 / self._info.fps, self._clock())
            index += 1
            tick = max(tick + 1, ticker.current()) if self._info.live else tick + 1

    def picture(self, number: int) -> RGB:
        """The picture of one frame number. (height, width, 3)."""
        rgb = self._scene.at(float(number / self._info.fps))
        if self._numbered:
            _write_number(rgb, number)
        return rgb

    def close(self) -> None:
        """End ``frames``, also when another thread waits in it."""
        self._stop.set()


def read_number(rgb: RGB) -> int:
    """Read the frame number back from the cells of a numbered picture, also after encoding.

    Args:
        rgb: (height, width, 3), a numbered picture that was not cropped or mirrored.
    """
    edges = _cell_edges(rgb.shape[1])
    row = rgb[-_cell_height(rgb.shape[0]) :].astype(np.float32).mean(axis=(0, 2))
    bits = [row[left:right].mean() > 127.5 for left, right in pairwise(edges)]
    return int("".join("1" if bit else "0" for bit in bits), 2)


def _write_number(rgb: RGB, number: int) -> None:
    height, width = rgb.shape[:2]
    edges, cell = _cell_edges(width), _cell_height(height)
    for bit, (left, right) in enumerate(pairwise(edges)):
        rgb[-cell:, left:right] = 255 if number >> (CELLS - 1 - bit) & 1 else 0
    scale = max(0.2, height / 700)
    cv2.rectangle(rgb, (0, 0), (round(130 * scale), round(34 * scale)), (0, 0, 0), -1)
    place = (round(10 * scale), round(25 * scale))
    cv2.putText(rgb, f"{number:06d}", place, cv2.FONT_HERSHEY_SIMPLEX, scale, (255, 255, 255), 1, cv2.LINE_AA)


def _cell_edges(width: int) -> list[int]:
    return [round(width * cell / CELLS) for cell in range(CELLS + 1)]


def _cell_height(height: int) -> int:
    return max(4, height // 22)
