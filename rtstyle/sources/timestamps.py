"""Strictly increasing timestamps, and the frame rate of a clip."""

from __future__ import annotations

from fractions import Fraction

from av.video.stream import VideoStream

FALLBACK_FPS = Fraction(25)
"""Rate for clips that state none; FFmpeg's default, too."""

_MAX_FPS = 1000


def nominal_fps(stream: VideoStream) -> Fraction:
    """Return the frames per second stated by the container; 0 if missing or implausible."""
    for rate in (stream.average_rate, stream.guessed_rate, stream.base_rate):
        if rate is not None and 0 < rate <= _MAX_FPS:
            return Fraction(rate)
    return Fraction(0)


def exact_seconds(seconds: float | None) -> Fraction | None:
    """Return the decimal number that a float stands for: 0.8 is a little more, and would miss the frame at 20/25."""
    return None if seconds is None else Fraction(seconds).limit_denominator(1_000_000)


class Timeline:
    """Repairs presentation times.

    The timestamps of a clip may be missing, repeat, or jump back, but encoders require increasing ones. Valid
    timestamps stay as they are.

    Args:
        time_base: seconds per unit.
        fps: rate that fills gaps; ``FALLBACK_FPS`` if 0.
    """

    def __init__(self, time_base: Fraction, fps: Fraction) -> None:
        self.step = max(1, round(1 / (fps or FALLBACK_FPS) / time_base))
        self.last: int | None = None
        self.repaired = 0

    def next(self, pts: int | None) -> int:
        """Return the timestamp of the next frame: its own, if later than that of the last frame.

        A frame without a timestamp is placed one nominal frame after the last one. A frame that is not later is placed
        one unit after it, so that the next valid timestamp still fits.
        """
        if self.last is None:
            fixed = 0 if pts is None else pts
        elif pts is None:
            fixed = self.last + self.step
        else:
            fixed = max(pts, self.last + 1)
        self.repaired += fixed != pts
        self.last = fixed
        return fixed
