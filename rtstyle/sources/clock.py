"""Pacing: when the next frame of a live source is due."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from fractions import Fraction


class Ticker:
    """Waits for the ticks of an absolute schedule, so that small delays never add up.

    Args:
        fps: ticks per second.
        clock: monotonic time in seconds.
        stop: set from any thread to end a wait at once.
    """

    def __init__(self, fps: Fraction, stop: threading.Event, clock: Callable[[], float] = time.monotonic) -> None:
        self._fps = float(fps)
        self._stop = stop
        self._clock = clock
        self._start_s = clock()

    def current(self) -> int:
        """The tick that is due now or was due last; 0 at the start."""
        return int((self._clock() - self._start_s) * self._fps)

    def wait(self, tick: int) -> bool:
        """Wait until ``tick`` is due. Returns: False when stopped meanwhile."""
        delay = self._start_s + tick / self._fps - self._clock()
        if delay <= 0:
            return not self._stop.is_set()
        return not self._stop.wait(delay)
