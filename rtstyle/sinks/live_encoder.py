"""Pictures into H.264 that is sent while it is made: no picture waits for a later one."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import av

from engines.base import RGB
from rtstyle.media.colour import ColourTags, YuvWriter

KEYFRAME_S = 2
"""Seconds between two keyframes: who tunes in waits no longer, and the large platforms ask for it."""

REFERENCE_BPS, REFERENCE_PIXELS_PER_S = 6_000_000, 1280 * 720 * 30
"""Bits per second for 720p30. Strokes are everywhere and move: at the 1 Mbit/s that is usual for 640×360 at 30 fps a
painting comes out at 37 dB, at twice as much at 42 dB, where the camera's own picture has more than 50 dB at either."""

THREADS = 4
"""More would cut a picture into more slices, each of which costs bits."""


def bit_rate(width: int, height: int, fps: int) -> int:
    """Bits per second for a painting: 2.1 M for 640×360 at 30 fps, 6 M for 1280×720, 11 M for 1920×1080.

    Larger pictures need fewer bits for each pixel.
    """
    share: float = width * height * fps / REFERENCE_PIXELS_PER_S
    return round(REFERENCE_BPS * share**0.75, -5) or 100_000


@dataclass(frozen=True)
class Unit:
    """One compressed picture.

    Attributes:
        data: H.264 with start codes; a keyframe brings what a decoder must know.
        number: its place at the constant rate, 0, 1, 2 …
        key: it can be shown without the ones before.
    """

    data: bytes
    number: int
    key: bool


class LiveEncoder:
    """Compresses at a constant rate and bit-rate, with no B-frames and no look-ahead.

    Args:
        width, height: of the video, pixels, even; pictures of another size are resized.
        fps: pictures per second.
        bits: per second.
    """

    def __init__(self, width: int, height: int, fps: int, bits: int) -> None:
        tags = ColourTags.by_size(height)
        self._to_yuv = YuvWriter(tags, "yuv420p", height, width)
        self._unit_s = Fraction(1, fps)
        context = av.CodecContext.create("libx264", "w")
        context.width, context.height, context.pix_fmt = width, height, "yuv420p"
        context.time_base, context.framerate = self._unit_s, Fraction(fps)
        context.bit_rate, context.gop_size, context.max_b_frames = bits, KEYFRAME_S * fps, 0
        context.thread_count = THREADS
        context.colorspace, context.color_primaries, context.color_trc = tags.matrix, tags.primaries, tags.transfer
        context.color_range = 1  # limited, as ``YuvWriter`` makes it
        context.options = {
            "preset": "superfast",
            "tune": "zerolatency",
            "sc_threshold": "0",  # keyframes where they are expected, and nowhere else
            "maxrate": str(bits),
            "bufsize": str(bits),  # one second: a keyframe of a painting is large
        }
        self._context = context

    def __call__(self, rgb: RGB, number: int) -> list[Unit]:
        """Compress one picture.

        Args:
            rgb: any size.
            number: larger than the one before.

        Raises:
            av.FFmpegError
        """
        picture = self._to_yuv(rgb)
        picture.pts, picture.time_base = number, self._unit_s
        return [Unit(bytes(one), one.pts or 0, one.is_keyframe) for one in self._context.encode(picture)]
