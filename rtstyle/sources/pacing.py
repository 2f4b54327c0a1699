"""Paces live sources: waits until the next frame is due."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from fractions import Fraction


class Ticker:
    """Waits for the ticks of an absolute schedule, so small delays do not add up.

    Args:
        fps: ticks per second.
        clock: monotonic time in seconds.
        stop: set it from any thread to end a wait at once.
    """

    def __init__(self, fps: Fraction, stop: threading.Event, clock: Callable[[], float] = time.monotonic) -> None:
        self._fps = float(fps)
        self._stop = stop
        self._clock = clock
        self._start_s = clock()

    def current(self) -> int:
        """Return the tick that was due last; 0 at the start."""
        return int((self._clock() - self._start_s) * self._fps)

    def wait(self, tick: int) -> bool:
        """Wait until ``tick`` is due. Return False when stopped meanwhile."""
        delay = self._start_s + tick / self._fps - self._clock()
        if delay <= 0:
            return not self._stop.is_set()
        return not self._stop.wait(delay)


class Pace:
    """Waits until a picture with a timestamp of its own is due.

    Args:
        stop: set it from any thread to end a wait at once.
        late_s, early_s: a picture later or earlier than this restarts the schedule, so that playback continues after a
            stall without rushing, and jumping timestamps cause no wait. By default the schedule never restarts.
    """

    def __init__(self, stop: threading.Event, *, late_s: float = math.inf, early_s: float = math.inf) -> None:
        self._stop, self._late_s, self._early_s = stop, late_s, early_s
        self._start_s: float | None = None

    @property
    def start_s(self) -> float:
        """When the timestamp 0 was due, monotonic, seconds; only after the first ``wait``."""
        assert self._start_s is not None
        return self._start_s

    def wait(self, time_s: float) -> bool:
        """Wait until a timestamp of the pictures, seconds, is due. Return False when stopped meanwhile."""
        now_s = time.monotonic()
        if self._start_s is None or not -self._early_s <= now_s - self._start_s - time_s <= self._late_s:
            self._start_s = now_s - time_s
        return not self._stop.wait(max(0.0, self._start_s + time_s - now_s))
