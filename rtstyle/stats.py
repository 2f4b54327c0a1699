"""Statistics of a running pipeline: counts, ages, rates, and time spent in each stage."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from threading import Lock

AGE_WINDOW = 4096
"""Frames that percentiles are taken over; bounds the memory of an endless run."""

RATE_WINDOW_S = 2.0
"""Seconds over which frame rates are averaged; a slower stream goes by its last two frames."""

SILENCE_S = 10.0
"""Seconds without a frame after which the rate is 0."""


@dataclass(frozen=True)
class StatsSnapshot:
    """Statistics at one instant.

    Attributes:
        frames_in, frames_out: frames that the source delivered, and that the sink took.
        dropped: frames of a live source that newer ones replaced.
        dropped_engine: those dropped because the engine was too slow; the others were dropped before the sink.
        fps_in, fps_out: recent frames per second, averaged over ``RATE_WINDOW_S``.
        age_p50_ms, age_p95_ms, age_max_ms: from capture until the sink was done; percentiles over the last
            ``AGE_WINDOW`` frames, the maximum over all.
        engine_p50_ms: median time to stylize a frame.
        width, height: of the last frame, pixels.
        seconds: since the start.
        source_s, engine_s, sink_s: time that each stage was busy. The largest, divided by the number of frames, is
            the shortest possible time per frame.
        work_width, work_height: the size at which the last frame was stylized, pixels.
    """

    frames_in: int
    frames_out: int
    dropped: int
    dropped_engine: int
    fps_in: float
    fps_out: float
    age_p50_ms: float
    age_p95_ms: float
    age_max_ms: float
    engine_p50_ms: float
    width: int
    height: int
    seconds: float
    source_s: float
    engine_s: float
    sink_s: float
    work_width: int = 0
    work_height: int = 0

    def to_dict(self) -> dict[str, int | float]:
        """Return plain values for JSON, floats rounded to three digits."""
        return {k: round(v, 3) if isinstance(v, float) else v for k, v in asdict(self).items()}


class Stats:
    """Collects statistics from several threads; ``clock`` returns monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = Lock()
        self._start_s = clock()
        self._in, self._out = _Rate(), _Rate()
        self._dropped = self._dropped_engine = 0
        self._ages_ms: deque[float] = deque(maxlen=AGE_WINDOW)
        self._age_max_ms = 0.0
        self._engine_ms: deque[float] = deque(maxlen=AGE_WINDOW)
        self._source_s = self._engine_s = self._sink_s = 0.0
        self._size = self._work_size = (0, 0)
        self.unfound: tuple[str, ...] = ()  # what masks looked for in vain, in words; known at the end

    def frame_read(self, busy_s: float) -> None:
        """Count a frame that the source took ``busy_s`` seconds to deliver."""
        with self._lock:
            self._source_s += busy_s
            self._in.add(self._clock())

    def frame_dropped(self, *, stylized: bool = False) -> None:
        """Count a frame that a newer one replaced before the engine, or the sink if ``stylized``, took it."""
        with self._lock:
            self._dropped += 1
            self._dropped_engine += not stylized

    def frame_stylized(self, busy_s: float) -> None:
        """Count a frame that the engine took ``busy_s`` seconds to stylize."""
        with self._lock:
            self._engine_s += busy_s
            self._engine_ms.append(busy_s * 1e3)

    def worked_at(self, height: int, width: int) -> None:
        """Note that frames are stylized at a size, in pixels, other than their own."""
        self._work_size = (height, width)

    def frame_written(self, busy_s: float, captured_s: float, height: int, width: int) -> None:
        """Count a frame, captured at ``captured_s`` on the clock, that the sink took ``busy_s`` seconds to write."""
        with self._lock:
            now = self._clock()
            self._sink_s += busy_s
            age_ms = (now - captured_s) * 1e3
            self._ages_ms.append(age_ms)
            self._age_max_ms = max(self._age_max_ms, age_ms)
            self._size = (height, width)
            self._out.add(now)

    def progress(self) -> tuple[int, float, float]:
        """Return frames out, their recent rate, and seconds since the start. Cheap enough for every frame."""
        with self._lock:
            now = self._clock()
            return self._out.count, self._out.per_second(now), now - self._start_s

    def snapshot(self) -> StatsSnapshot:
        """Return all statistics at one instant."""
        with self._lock:
            now = self._clock()
            ages, engine = sorted(self._ages_ms), sorted(self._engine_ms)
            return StatsSnapshot(
                frames_in=self._in.count,
                frames_out=self._out.count,
                dropped=self._dropped,
                dropped_engine=self._dropped_engine,
                fps_in=self._in.per_second(now),
                fps_out=self._out.per_second(now),
                age_p50_ms=percentile(ages, 50),
                age_p95_ms=percentile(ages, 95),
                age_max_ms=self._age_max_ms,
                engine_p50_ms=percentile(engine, 50),
                width=self._size[1],
                height=self._size[0],
                work_width=self._work_size[1] or self._size[1],
                work_height=self._work_size[0] or self._size[0],
                seconds=now - self._start_s,
                source_s=self._source_s,
                engine_s=self._engine_s,
                sink_s=self._sink_s,
            )


class _Rate:
    """Counts events and averages their rate over the last ``RATE_WINDOW_S``."""

    def __init__(self) -> None:
        self.count = 0
        self._times_s: deque[float] = deque()

    def add(self, now_s: float) -> None:
        self.count += 1
        self._times_s.append(now_s)
        self._forget(now_s)

    def per_second(self, now_s: float) -> float:
        """Return events per second; 0 before the second event, and after ``SILENCE_S`` without any."""
        self._forget(now_s)
        waiting_s = now_s - self._times_s[-1] if self._times_s else 0.0
        if len(self._times_s) < 2 or waiting_s > SILENCE_S:
            return 0.0
        span_s = self._times_s[-1] - self._times_s[0]
        rate = (len(self._times_s) - 1) / span_s if span_s > 0 else 0.0
        return rate if waiting_s <= RATE_WINDOW_S else min(rate, 1 / waiting_s)

    def _forget(self, now_s: float) -> None:
        while len(self._times_s) > 2 and now_s - self._times_s[0] > RATE_WINDOW_S:
            self._times_s.popleft()


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Return the nearest-rank percentile of sorted values; 0 if there are none."""
    if not ordered:
        return 0.0
    return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)]
