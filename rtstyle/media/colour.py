"""Conversion between video frames and RGB, and the colour tags of a stream.

Video stores luma and chroma. Their meaning as RGB depends on a matrix (BT.601, BT.709, BT.2020) and a range (16…235 or
0…255). The stream states both, or they are guessed by size, as players do. Transfer and primaries of standard video
differ from sRGB by less than a style changes, so they are passed through; only HDR is converted.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from av import VideoFrame
from av.video.format import VideoFormat
from av.video.reformatter import ColorRange, Colorspace, ColorTrc, Interpolation, VideoReformatter

from engines.base import RGB
from rtstyle.frame import Alpha
from rtstyle.media.hdr import ToneMapper
from rtstyle.media.resize import resized
from rtstyle.media.transparency import continue_colours, on_black
from rtstyle.media.yuv_planes import frame_of, rgb_of

UNSPECIFIED = 2
"""H.273: not stated. All these numbers come from that standard."""

BT709, BT601_625, BT601_525, SMPTE240M, BT2020 = 1, 5, 6, 7, 9
"""Matrices, H.273 table 4."""

_SWSCALE = {
    BT709: Colorspace.ITU709,
    4: Colorspace.FCC,
    BT601_625: Colorspace.ITU601,
    BT601_525: Colorspace.ITU601,
    SMPTE240M: Colorspace.SMPTE240M,
    BT2020: Colorspace.BT2020,
    10: Colorspace.BT2020,
}
"""H.273 matrix → FFmpeg's scaler constant."""

_HDR = {int(ColorTrc.SMPTE2084): "PQ", int(ColorTrc.ARIB_STD_B67): "HLG"}

# Without full chroma interpolation and accurate rounding, a round trip darkens the picture by 1 of 255.
_READ = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
_SHRINK = Interpolation.AREA | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
_ENLARGE = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT


@dataclass(frozen=True)
class ColourTags:
    """Colour tags of an output stream, numbers of H.273.

    Attributes:
        matrix: table 4. Always stated, since players guess differently.
        primaries: table 2; 2 if the input does not state it.
        transfer: table 3; 2 if the input does not state it.
    """

    matrix: int
    primaries: int = UNSPECIFIED
    transfer: int = UNSPECIFIED

    @classmethod
    def by_size(cls, height: int) -> ColourTags:
        """Return the tags that players assume for an untagged stream of this height, pixels."""
        return cls(BT709 if height >= 720 else BT601_525)

    @classmethod
    def of(cls, frame: VideoFrame) -> ColourTags:
        """Return the tags of a frame with gaps filled; BT.709 for HDR, which is converted to it."""
        if hdr_name(frame) is not None:
            return cls(BT709, BT709, BT709)
        matrix = frame.colorspace
        if matrix not in _SWSCALE:
            matrix = cls.by_size(min(frame.width, frame.height)).matrix
        return cls(matrix, frame.color_primaries or UNSPECIFIED, frame.color_trc or UNSPECIFIED)

    @property
    def scaler_matrix(self) -> Colorspace:
        """FFmpeg's scaler constant for the matrix."""
        return _SWSCALE[self.matrix]


def hdr_name(frame: VideoFrame) -> str | None:
    """Return ``PQ`` or ``HLG`` for a high dynamic range frame, else None."""
    return _HDR.get(frame.color_trc)


class RgbReader:
    """Converts decoded frames to RGB. Reuse one instance: its scaler keeps its tables.

    Args:
        threads: threads of the scaler.

    Attributes:
        transparent: whether a frame so far had transparent parts; they are shown on black.
    """

    def __init__(self, threads: int = 1) -> None:
        self.transparent = False
        self._scaler = VideoReformatter()
        self._threads = threads
        self._tone_mappers: dict[str, ToneMapper] = {}

    def __call__(self, frame: VideoFrame, height: int, width: int) -> RGB:
        """Convert and resize in one pass.

        Args:
            frame: a frame of any pixel format.
            height: height of the result, pixels.
            width: width of the result, pixels.

        Returns:
            (height, width, 3); a view of the scaler's new frame when its rows have no padding.
        """
        picture = self._scaled(frame, height, width)
        if picture.shape[2] == 4:
            picture = self._on_black(picture)
        return self._standard_range(frame, picture)

    def with_alpha(self, frame: VideoFrame, height: int, width: int) -> tuple[RGB, Alpha]:
        """Convert and resize a frame that ``has_alpha``.

        Returns:
            The colours, continued behind transparent parts, and the opacity.
        """
        # Resizing would mix hidden colours into the edges of what is visible.
        rgba = self._scaled(frame, frame.height, frame.width)
        alpha = np.ascontiguousarray(rgba[..., 3])
        rgb = self._standard_range(frame, continue_colours(np.ascontiguousarray(rgba[..., :3]), alpha))
        return resized(rgb, (width, height)), resized(alpha, (width, height))

    def _scaled(self, frame: VideoFrame, height: int, width: int) -> npt.NDArray[np.uint8]:
        """Return RGB, (height, width, 3), or RGBA for a frame that ``has_alpha``."""
        hdr = hdr_name(frame)
        alpha = has_alpha(frame)
        matrix = frame.colorspace
        if matrix not in _SWSCALE:
            matrix = BT2020 if hdr else ColourTags.of(frame).matrix
        if (height, width) == (frame.height, frame.width):
            ready = rgb_of(frame, matrix, _range(frame) == ColorRange.JPEG)
            if ready is not None:
                return ready
        rgb = self._scaler.reformat(
            frame,
            width=width,
            height=height,
            format="rgba" if alpha else "rgb24",
            src_colorspace=_SWSCALE[matrix],
            src_color_range=_range(frame),
            interpolation=_interpolation(frame, height),
            threads=self._threads,
        )
        plane, channels = rgb.planes[0], 4 if alpha else 3
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(height, plane.line_size)
        return np.ascontiguousarray(rows[:, : width * channels]).reshape(height, width, channels)

    def _standard_range(self, frame: VideoFrame, rgb: RGB) -> RGB:
        hdr = hdr_name(frame)
        return rgb if hdr is None else self._tone_mappers.setdefault(hdr, ToneMapper(hdr))(rgb)

    def _on_black(self, rgba: npt.NDArray[np.uint8]) -> RGB:
        """Compose a picture, (H, W, 4), on black."""
        rgb, opacity = rgba[..., :3], rgba[..., 3]
        if int(opacity.min()) == 255:
            return np.ascontiguousarray(rgb)
        self.transparent = True
        return on_black(rgb, opacity)


class YuvWriter:
    """Converts RGB to frames for an encoder, the inverse of ``RgbReader``.

    Args:
        tags: the matrix to encode with; the range is limited, as players expect.
        pixel_format: e.g. ``yuv420p``.
        height, width: size of the encoded picture, pixels.
        threads: threads of the scaler.
    """

    def __init__(self, tags: ColourTags, pixel_format: str, height: int, width: int, threads: int = 1) -> None:
        self._scaler = VideoReformatter()
        self._tags = tags
        self._format = pixel_format
        self._size = (height, width)
        self._threads = threads

    def __call__(self, rgb: RGB, alpha: Alpha | None = None) -> VideoFrame:
        """Convert a picture, and its opacity for a pixel format that keeps it; resized if its size differs."""
        if alpha is None:
            ready = frame_of(rgb, self._tags.matrix, self._format) if rgb.shape[:2] == self._size else None
            if ready is not None:
                return ready
            frame = VideoFrame.from_numpy_buffer(np.ascontiguousarray(rgb), "rgb24")
        else:
            frame = VideoFrame.from_numpy_buffer(np.dstack([rgb, alpha]), "rgba")
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


def has_alpha(frame: VideoFrame) -> bool:
    """Return True if pixels may be transparent; the colours of a palette may, too."""
    return _has_alpha(frame.format.name)


@cache
def _has_alpha(pixel_format: str) -> bool:
    form = VideoFormat(pixel_format)
    return form.has_palette or any(component.is_alpha for component in form.components)


def _range(frame: VideoFrame) -> int | None:
    """Return the range of the stored values; None lets the scaler decide by the pixel format."""
    if frame.color_range in (ColorRange.MPEG, ColorRange.JPEG):
        return frame.color_range
    return int(ColorRange.JPEG) if frame.format.name.startswith("yuvj") else None


def _interpolation(frame: VideoFrame, height: int) -> Interpolation:
    if height == frame.height:
        return _READ
    return _SHRINK if height < frame.height else _ENLARGE
