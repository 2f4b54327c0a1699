"""What a file says about its video beside the pictures: 360° and stereo layout, and Dolby Vision.

PyAV hides it, but MP4's muxer writes it into boxes, and MP4's demuxer reads them again.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

import av
from av.bitstream import BitStreamFilterContext
from av.container import OutputContainer
from av.video.stream import VideoStream

_HEADER_ONLY = {"movflags": "+empty_moov", "strict": "unofficial"}
"""Options for an MP4 that holds nothing but descriptions, also of what is not in the standard yet."""

_LAYOUT = (b"st3d", b"sv3d")
"""Boxes of Google's Spherical Video V2: stereo, and projection."""

_DOLBY_VISION = (b"dvcC", b"dvvC")

_ABOVE_ENTRY = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd")


@dataclass(frozen=True)
class VideoSideData:
    """Boxes of a video track.

    Attributes:
        layout: 360° and stereo layout; empty for ordinary video.
        dolby_vision: configuration of Dolby Vision; empty for other video.
    """

    layout: bytes = b""
    dolby_vision: bytes = b""

    @classmethod
    def of(cls, stream: VideoStream) -> VideoSideData:
        """Read the boxes of a stream; those of codecs that MP4 cannot hold are not found."""
        header = _header(stream)
        dolby_vision = next((box for kind in _DOLBY_VISION if (box := _box(header, kind))), b"")
        return cls(b"".join(_box(header, kind) for kind in _LAYOUT), dolby_vision)

    @property
    def is_stereo(self) -> bool:
        """True if each frame holds a picture for each eye."""
        return self.layout[4:8] == _LAYOUT[0] and self.layout[12] != 0

    @property
    def has_own_colours(self) -> bool:
        """True for profiles of Dolby Vision, such as 5, whose colours only a Dolby Vision decoder knows."""
        # After size and type: two bytes of version, 7 bits of profile, and in the fifth byte the compatibility.
        return len(self.dolby_vision) > 12 and self.dolby_vision[12] >> 4 == 0


def encoder_with_layout(
    add_encoder: Callable[[OutputContainer], VideoStream], layout: bytes
) -> tuple[VideoStream, VideoStream]:
    """Describe what an encoder makes as 360° or stereo video.

    Args:
        add_encoder: adds a configured encoder to a file.
        layout: boxes that describe it.

    Returns:
        An open encoder, and a template for the track of its packets.

    Raises:
        av.FFmpegError, ValueError: the boxes are damaged.
    """
    file = io.BytesIO()
    with av.open(file, "w", format="mp4", container_options=dict(_HEADER_ONLY)) as output:
        encoder = add_encoder(output)
        output.start_encoding()
    described = av.open(io.BytesIO(_insert(file.getvalue(), layout))).streams.video[0]
    codec = described.codec_context.name
    if codec in ("h264", "hevc"):  # back from MP4's own form, which the encoder's packets do not have
        BitStreamFilterContext(f"{codec}_mp4toannexb", described, described)
    return encoder, described


def _header(stream: VideoStream) -> bytes:
    file = io.BytesIO()
    try:
        with av.open(file, "w", format="mp4", container_options=dict(_HEADER_ONLY)) as output:
            output.add_stream_from_template(stream, opaque=True)
            output.start_encoding()
    except (av.FFmpegError, ValueError):
        return b""
    return file.getvalue()


def _insert(header: bytes, layout: bytes) -> bytes:
    """Insert boxes at the end of the first track's sample entry in an MP4 header."""
    starts, at = [], 0
    for kind in _ABOVE_ENTRY:
        at = header.index(kind, at)
        starts.append(at - 4)
    starts.append(at + 12)  # the entry, after type, version and count of the table
    result = bytearray(header)
    for start in starts:
        size = int.from_bytes(header[start : start + 4], "big")
        result[start : start + 4] = (size + len(layout)).to_bytes(4, "big")
    end = starts[-1] + size
    result[end:end] = layout
    return bytes(result)


def _box(header: bytes, kind: bytes) -> bytes:
    """Return the first box of a kind, with its size and type; empty if there is none."""
    start = header.find(kind) - 4
    if start < 0:
        return b""
    size = int.from_bytes(header[start : start + 4], "big")
    return header[start : start + size]
