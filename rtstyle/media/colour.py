"""Colour of video: which numbers mean sRGB, and how they come back as what the input was.

Video stores luma and chroma. Which red, green and blue they stand for depends on a matrix (BT.601, BT.709,
BT.2020) and a range (16…235 or 0…255) that are written in the stream or, when they are not, have to be
guessed as every player does: by size. Transfer and primaries of ordinary video differ from sRGB by less
than a style does; they are handed through untouched, and only HDR is converted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from av import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, ColorTrc, Interpolation, VideoReformatter

from engines.base import RGB
from rtstyle.media.hdr import ToneMapper

UNSPECIFIED = 2
"""In H.273, which all these numbers come from: the writer did not say."""

BT709, BT601_625, BT601_525, SMPTE240M, BT2020 = 1, 5, 6, 7, 9
"""Matrices, as numbered by H.273 table 4."""

_SWSCALE = {
    BT709: Colorspace.ITU709,
    4: Colorspace.FCC,
    BT601_625: Colorspace.ITU601,
    BT601_525: Colorspace.ITU601,
    SMPTE240M: Colorspace.SMPTE240M,
    BT2020: Colorspace.BT2020,
    10: Colorspace.BT2020,
}
"""H.273 matrix → the name that the scaler has for it."""

_HDR = {int(ColorTrc.SMPTE2084): "PQ", int(ColorTrc.ARIB_STD_B67): "HLG"}

# Without full chroma interpolation and accurate rounding a picture comes back 1 of 255 darker.
_READ = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
_SHRINK = Interpolation.AREA | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
_ENLARGE = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT


@dataclass(frozen=True)
class ColourTags:
    """What the stream that we write says of its colours. H.273 numbers.

    Attributes:
        matrix: table 4. Always said, for players guess differently.
        primaries: table 2; 2 when the input did not say.
        transfer: table 3; 2 when the input did not say.
    """

    matrix: int
    primaries: int = UNSPECIFIED
    transfer: int = UNSPECIFIED

    @classmethod
    def by_size(cls, height: int) -> ColourTags:
        """What players take an untagged stream of this height (pixels) for."""
        return cls(BT709 if height >= 720 else BT601_525)

    @classmethod
    def of(cls, frame: VideoFrame) -> ColourTags:
        """The tags of the input, its gaps filled; BT.709 where HDR is converted to it."""
        if hdr_name(frame) is not None:
            return cls(BT709, BT709, BT709)
        matrix = frame.colorspace
        if matrix not in _SWSCALE:
            matrix = cls.by_size(min(frame.width, frame.height)).matrix
        return cls(matrix, frame.color_primaries or UNSPECIFIED, frame.color_trc or UNSPECIFIED)

    @property
    def scaler_matrix(self) -> Colorspace:
        """The matrix by the name that the scaler has for it."""
        return _SWSCALE[self.matrix]


def hdr_name(frame: VideoFrame) -> str | None:
    """``PQ`` or ``HLG`` when the frame holds more light than a picture can show, else None."""
    return _HDR.get(frame.color_trc)


class RgbReader:
    """Decoded frames → RGB, with one scaler that keeps its tables.

    Args:
        threads: of the scaler.
    """

    def __init__(self, threads: int = 1) -> None:
        self._scaler = VideoReformatter()
        self._threads = threads
        self._tone_mappers: dict[str, ToneMapper] = {}

    def __call__(self, frame: VideoFrame, height: int, width: int) -> RGB:
        """Convert and resize in one pass.

        Args:
            frame: any pixel format.
            height: of the result, pixels.
            width: of the result, pixels.

        Returns:
            (height, width, 3); a view of the scaler's new frame when its rows have no padding.
        """
        hdr = hdr_name(frame)
        matrix = frame.colorspace
        if matrix not in _SWSCALE:
            matrix = BT2020 if hdr else ColourTags.of(frame).matrix
        rgb = self._scaler.reformat(
            frame,
            width=width,
            height=height,
            format="rgb24",
            src_colorspace=_SWSCALE[matrix],
            src_color_range=_range(frame),
            interpolation=_interpolation(frame, height),
            threads=self._threads,
        )
        plane = rgb.planes[0]
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(height, plane.line_size)
        picture = np.ascontiguousarray(rows[:, : width * 3]).reshape(height, width, 3)
        return picture if hdr is None else self._tone_mappers.setdefault(hdr, ToneMapper(hdr))(picture)


class YuvWriter:
    """RGB → frames for an encoder, the inverse of ``RgbReader``.

    Args:
        tags: the matrix to encode with; the range is limited, as players expect.
        pixel_format: e.g. ``yuv420p``.
        height, width: of the encoded picture, pixels.
        threads: of the scaler.
    """

    def __init__(self, tags: ColourTags, pixel_format: str, height: int, width: int, threads: int = 1) -> None:
        self._scaler = VideoReformatter()
        self._tags = tags
        self._format = pixel_format
        self._size = (height, width)
        self._threads = threads

    def __call__(self, rgb: RGB) -> VideoFrame:
        """Convert one picture; another size than agreed is resized."""
        frame = VideoFrame.from_numpy_buffer(np.ascontiguousarray(rgb), "rgb24")
        return self._scaler.reformat(
            frame,
            height=self._size[0],
            width=self._size[1],
            format=self._format,
            dst_colorspace=self._tags.scaler_matrix,
            dst_color_range=ColorRange.MPEG,
            interpolation=_READ,
            threads=self._threads,
        )


def _range(frame: VideoFrame) -> int | None:
    """The range of the stored numbers; None lets the scaler decide from the format."""
    if frame.color_range in (ColorRange.MPEG, ColorRange.JPEG):
        return frame.color_range
    return int(ColorRange.JPEG) if frame.format.name.startswith("yuvj") else None


def _interpolation(frame: VideoFrame, height: int) -> Interpolation:
    if height == frame.height:
        return _READ
    return _SHRINK if height < frame.height else _ENLARGE
