"""Figures of a running pipeline: counts, ages, rates, and where the time goes."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from threading import Lock

AGE_WINDOW = 4096
"""Frames over which the percentiles are taken; bounds the memory of an endless run."""

RATE_WINDOW_S = 2.0
"""Seconds over which frames per second are averaged; a slower stream is judged by its last two frames."""

SILENCE_S = 10.0
"""Seconds without a frame after which the rate is 0."""


@dataclass(frozen=True)
class Figures:
    """One reading.

    Attributes:
        frames_in: frames that the source delivered.
        frames_out: frames that the sink took.
        dropped: frames of a live source that were replaced by newer ones.
        dropped_engine: those of them that the engine was too slow for; for the others it was the sink.
        fps_in, fps_out: frames per second lately, over ``RATE_WINDOW_S``.
        age_p50_ms, age_p95_ms, age_max_ms: from capture until the sink was done; percentiles over the
            last ``AGE_WINDOW`` frames, the maximum over all.
        engine_p50_ms: median time to paint one frame.
        width, height: of the last frame, pixels.
        seconds: since the start.
        source_s, engine_s, sink_s: time for which each stage was at work. Divided by the number of
            frames, the largest is what the whole could not be faster than.
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

    def to_dict(self) -> dict[str, int | float]:
        """Plain form for JSON, floats rounded to three digits."""
        return {k: round(v, 3) if isinstance(v, float) else v for k, v in asdict(self).items()}


class Stats:
    """Collects figures from several threads.

    Args:
        clock: seconds that only grow; tests give their own.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = Lock()
        self._start_s = clock()
        self._in = _Rate()
        self._out = _Rate()
        self._dropped = self._dropped_engine = 0
        self._ages_ms: deque[float] = deque(maxlen=AGE_WINDOW)
        self._age_max_ms = 0.0
        self._engine_ms: deque[float] = deque(maxlen=AGE_WINDOW)
        self._source_s = self._engine_s = self._sink_s = 0.0
        self._size = (0, 0)

    def frame_read(self, busy_s: float) -> None:
        """A frame came out of the source, which took ``busy_s`` seconds."""
        with self._lock:
            self._source_s += busy_s
            self._in.add(self._clock())

    def frame_dropped(self, *, painted: bool = False) -> None:
        """A frame was replaced by a newer one before anybody fetched it: the sink, when it was painted already."""
        with self._lock:
            self._dropped += 1
            self._dropped_engine += not painted

    def frame_painted(self, busy_s: float) -> None:
        """The engine returned a frame after ``busy_s`` seconds."""
        with self._lock:
            self._engine_s += busy_s
            self._engine_ms.append(busy_s * 1e3)

    def frame_written(self, busy_s: float, captured_s: float, height: int, width: int) -> None:
        """The sink is done with a frame.

        Args:
            busy_s: seconds that the sink took.
            captured_s: when the frame was captured, on the clock of these statistics.
            height: of the frame, pixels.
            width: of the frame, pixels.
        """
        with self._lock:
            now = self._clock()
            self._sink_s += busy_s
            age_ms = (now - captured_s) * 1e3
            self._ages_ms.append(age_ms)
            self._age_max_ms = max(self._age_max_ms, age_ms)
            self._size = (height, width)
            self._out.add(now)

    def progress(self) -> tuple[int, float, float]:
        """Frames out, frames out per second lately, seconds since the start; cheap enough for every frame."""
        with self._lock:
            now = self._clock()
            return self._out.count, self._out.per_second(now), now - self._start_s

    def snapshot(self) -> Figures:
        """Read all figures at one instant."""
        with self._lock:
            now = self._clock()
            ages, engine = sorted(self._ages_ms), sorted(self._engine_ms)
            return Figures(
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
        """One event at ``now_s``."""
        self.count += 1
        self._times_s.append(now_s)
        self._forget(now_s)

    def per_second(self, now_s: float) -> float:
        """Events per second; 0 before the second one, and after ``SILENCE_S`` without any."""
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
    """The value that ``percent`` of the sorted values do not exceed (nearest rank); 0 when there are none."""
    if not ordered:
        return 0.0
    return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)]
