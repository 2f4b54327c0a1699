"""Strictly increasing timestamps, and the frame rate of a clip."""

from __future__ import annotations

from fractions import Fraction

from av import VideoFrame
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


class BestTimes:
    """Chooses the time of each decoded picture, as the program ffmpeg does.

    Some containers, AVI among them, only store when a picture is decoded. As long as presentation times grow, they
    count; where they are missing or go wrong more often than the decoding times, those count.

    Source:
        FFmpeg's ``guess_correct_pts`` in libavcodec/decode.c.
    """

    def __init__(self) -> None:
        self._last_pts: int | None = None
        self._last_dts: int | None = None
        self._wrong_pts = self._wrong_dts = 0
        self._last: int | None = None
        self._step = 0

    def of(self, picture: VideoFrame) -> int | None:
        """Return the time of the next picture in presentation order, in its own units; None if it has none."""
        pts, dts = picture.pts, picture.dts
        if dts is not None:
            self._wrong_dts += self._last_dts is not None and dts <= self._last_dts
            self._last_dts = dts
        elif pts is not None:
            self._last_dts = pts
        if pts is not None:
            self._wrong_pts += self._last_pts is not None and pts <= self._last_pts
            self._last_pts = pts
        elif dts is not None:
            self._last_pts = dts
        best = pts if pts is not None and (dts is None or self._wrong_pts <= self._wrong_dts) else dts
        if best is None:
            # The last pictures leave the decoder without a packet, and so without a decoding time.
            best = None if self._last is None or not self._step else self._last + self._step
        elif self._last is not None and best > self._last:
            self._step = min(self._step or best, best - self._last)
        self._last = best
        return best


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
