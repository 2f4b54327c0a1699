"""Encode H.264 for live streams, in which no picture waits for a later one."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from av.video.codeccontext import VideoCodecContext

from engines.base import RGB
from rtstyle.media.codecs import CODECS
from rtstyle.media.colour import ColourTags, YuvWriter
from rtstyle.media.hardware import pick

KEYFRAME_S = 2
"""Seconds between two keyframes: the longest wait of a new viewer, and what large platforms ask for."""

REFERENCE_BPS, REFERENCE_PIXELS_PER_S = 6_000_000, 1280 * 720 * 30
"""Bits per second for 720p30. Moving strokes need more than usual: at the common 1 Mbit/s for 640×360 at 30 fps, a
stylized stream reaches 37 dB, at 2 Mbit/s 42 dB; the camera's own picture has more than 50 dB at either rate."""

THREADS = 4
"""Encoder threads; more would split a picture into more slices, each of which costs bits."""


def bit_rate(width: int, height: int, fps: int) -> int:
    """Return bits per second: 2.1 M for 640×360 at 30 fps, 6 M for 1280×720, 11 M for 1920×1080.

    Larger pictures need fewer bits per pixel.
    """
    share: float = width * height * fps / REFERENCE_PIXELS_PER_S
    return round(REFERENCE_BPS * share**0.75, -5) or 100_000


@dataclass(frozen=True)
class EncodedFrame:
    """One encoded picture.

    Attributes:
        data: H.264 with start codes; a keyframe contains its parameter sets.
        number: its position at the constant rate, 0, 1, 2 …
        key: True for a keyframe.
    """

    data: bytes
    number: int
    key: bool


class LiveEncoder:
    """Encodes at a constant frame rate and bit rate, without B-frames and look-ahead.

    Args:
        width, height: of the video, pixels, even; pictures of another size are resized.
        fps: pictures per second.
        bits: bits per second.
        encoder: one of ``codecs.ENCODERS``; see ``hardware.pick``.

    Raises:
        ConfigError: the encoder does not work here.
    """

    def __init__(self, width: int, height: int, fps: int, bits: int, encoder: str = "software") -> None:
        codec, tags = pick(CODECS["h264"], encoder, width, height), ColourTags.by_size(height)
        self._to_yuv = YuvWriter(tags, codec.pixel_format, height, width)
        self._unit_s = Fraction(1, fps)
        context = VideoCodecContext.create(codec.encoder, "w")
        assert isinstance(context, VideoCodecContext)
        context.width, context.height, context.pix_fmt = width, height, codec.pixel_format
        context.time_base, context.framerate = self._unit_s, Fraction(fps)
        context.bit_rate, context.gop_size, context.max_b_frames = bits, KEYFRAME_S * fps, 0
        context.thread_count = THREADS
        context.colorspace, context.color_primaries, context.color_trc = tags.matrix, tags.primaries, tags.transfer
        context.color_range = 1  # limited, as ``YuvWriter`` makes it
        # The rate holds within a second: a keyframe of a stylized picture is large.
        speed = "superfast" if codec.family == "software" else "fast"
        context.options = {**codec.encoder_options(None, speed, bits), **codec.live_options}
        self._context = context

    def __call__(self, rgb: RGB, number: int) -> list[EncodedFrame]:
        """Encode one picture.

        Args:
            rgb: any size.
            number: larger than the previous one.

        Raises:
            av.FFmpegError: the encoder failed.
        """
        picture = self._to_yuv(rgb)
        picture.pts, picture.time_base = number, self._unit_s
        return [EncodedFrame(bytes(one), one.pts or 0, one.is_keyframe) for one in self._context.encode(picture)]
