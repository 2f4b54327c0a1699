"""Pattern source: a built-in moving scene, for demos, tests and benchmarks without a camera."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction

from engines.base import RGB, check_size
from engines.errors import SourceError
from rtstyle.frame import Frame, SourceInfo
from rtstyle.sources.pacing import Ticker
from rtstyle.sources.scene import Scene


class PatternSource:
    """Draws a scene by the sea with drifting clouds, boats, a windmill and a walker.

    Args:
        width, height: pixels.
        fps: frames per second.
        frames: number of frames; ``None`` never ends.
        first: number of the first one.
        live: deliver in real time and skip late frames; otherwise as fast as frames are read.
        clock: monotonic time in seconds.

    Raises:
        ShapeError: engines do not accept the size.
        SourceError: ``fps`` is not above 0.
    """

    def __init__(
        self,
        width: int = 640,
        height: int = 360,
        fps: Fraction | int = 30,
        *,
        frames: int | None = None,
        first: int = 0,
        live: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        check_size(height, width)
        if fps <= 0:
            raise SourceError(f"the pattern cannot run at {fps} frames per second", hint="give a number above 0")
        self._info = SourceInfo("pattern", width, height, Fraction(fps), frames, live)
        self._scene = Scene(width, height)
        self._clock, self._first = clock, first
        self._stop = threading.Event()

    @property
    def info(self) -> SourceInfo:
        """What the source delivers."""
        return self._info

    def frames(self) -> Iterator[Frame]:
        """Yield frames of the scene; a live source skips frames that are already late."""
        ticker = Ticker(self._info.fps, self._stop, self._clock)
        index = tick = 0
        while not self._stop.is_set() and (self._info.frame_count is None or index < self._info.frame_count):
            rgb = self.picture(self._first + tick)
            if self._info.live and not ticker.wait(tick):
                return
            yield Frame(rgb, index, self._first + tick, 1 / self._info.fps, self._clock())
            index += 1
            tick = max(tick + 1, ticker.current()) if self._info.live else tick + 1

    def picture(self, number: int) -> RGB:
        """Draw the picture of a frame number. (height, width, 3)."""
        return self._scene.at(float(number / self._info.fps))

    def close(self) -> None:
        """End ``frames``. May be called from any thread."""
        self._stop.set()
