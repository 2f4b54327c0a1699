"""Measure how fast an engine is on this machine."""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from engines.base import RGB, Engine, PendingFrame, PipelinedEngine, check_size

SIZES = ((640, 360), (1280, 720), (1920, 1080))
"""Default frame sizes, (width, height) in pixels."""

WARM_UP = 3
"""Calls before the measurement; the first of each size compiles."""


@dataclass(frozen=True)
class Timing:
    """Speed at one size.

    Attributes:
        width, height: pixels.
        median_ms, p95_ms: time of one call, uint8 in to uint8 out, milliseconds.
        fps: frames per second at the median, one frame at a time, as of a camera.
        pipelined_fps: frames per second with several frames under way, as of a file; ``None`` if the engine takes
            one at a time.
        first_ms: the first call, which compiles for the size, milliseconds.
        calls: number of calls that were timed.
    """

    width: int
    height: int
    median_ms: float
    p95_ms: float
    fps: float
    pipelined_fps: float | None
    first_ms: float
    calls: int


def measure(
    engine: Engine, width: int, height: int, *, seconds: float = 3.0, clock: Callable[[], float] = time.perf_counter
) -> Timing:
    """Time an engine at one frame size for some seconds, at least five calls."""
    check_size(height, width)
    frames = [_picture(width, height, seed) for seed in range(4)]
    first_s = _time(engine, frames[0], clock)
    for number in range(WARM_UP):
        engine(frames[number])
    times: list[float] = []
    while sum(times) < seconds or len(times) < 5:
        times.append(_time(engine, frames[len(times) % len(frames)], clock))
    median_s = statistics.median(times)
    p95_s = sorted(times)[max(0, round(0.95 * len(times)) - 1)]
    fps = 1 / median_s if median_s > 0 else 0.0
    pipelined_fps = _pipelined_fps(engine, frames, seconds, clock) if isinstance(engine, PipelinedEngine) else None
    return Timing(width, height, median_s * 1e3, p95_s * 1e3, fps, pipelined_fps, first_s * 1e3, len(times))


def _time(engine: Engine, rgb: RGB, clock: Callable[[], float]) -> float:
    start_s = clock()
    engine(rgb)
    return clock() - start_s


def _pipelined_fps(engine: PipelinedEngine, frames: list[RGB], seconds: float, clock: Callable[[], float]) -> float:
    flight: deque[PendingFrame] = deque()
    start_s, submitted = clock(), 0
    while clock() - start_s < seconds or submitted < 5:
        if len(flight) >= engine.info.in_flight:
            flight.popleft().result()
        flight.append(engine.submit(frames[submitted % len(frames)]))
        submitted += 1
    for pending in flight:
        pending.result()
    return submitted / max(clock() - start_s, 1e-9)


def _picture(width: int, height: int, seed: int) -> RGB:
    """Return a frame with edges and flat parts; zeros can be faster than real pictures."""
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 16, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)
