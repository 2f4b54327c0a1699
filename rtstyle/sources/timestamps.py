"""Timestamps that only grow, and the rate of a clip."""

from __future__ import annotations

from fractions import Fraction

from av.video.stream import VideoStream

FALLBACK_FPS = Fraction(25)
"""For clips that do not say; the same guess as FFmpeg's."""

_MAX_FPS = 1000


def nominal_fps(stream: VideoStream) -> Fraction:
    """Frames per second as the container says, 0 when it does not or says nonsense."""
    for rate in (stream.average_rate, stream.guessed_rate, stream.base_rate):
        if rate is not None and 0 < rate <= _MAX_FPS:
            return Fraction(rate)
    return Fraction(0)


def exact_seconds(seconds: float | None) -> Fraction | None:
    """The number that was meant: 0.8 as a float is a little more, and would miss the frame at 20/25."""
    return None if seconds is None else Fraction(seconds).limit_denominator(1_000_000)


class Timeline:
    """Repairs presentation times.

    A clip may lack times, repeat them, or jump back. Every frame must come after the one before, or an
    encoder refuses it; times that are sound are never touched.

    Args:
        time_base: seconds per unit.
        fps: to fill gaps with; ``FALLBACK_FPS`` if 0.
    """

    def __init__(self, time_base: Fraction, fps: Fraction) -> None:
        self.step = max(1, round(1 / (fps or FALLBACK_FPS) / time_base))
        self.last: int | None = None
        self.repaired = 0

    def next(self, pts: int | None) -> int:
        """The time of the next frame: its own if it has one that is later than the last frame's.

        Without a time of its own it comes one nominal frame after the last; with one that does not grow,
        the smallest step after it, so that the next sound time is met again.
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
