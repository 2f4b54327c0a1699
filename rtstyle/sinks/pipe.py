"""Pipe sink: frames for another program, on standard output."""

from __future__ import annotations

import os
import sys
from fractions import Fraction

import numpy as np

from engines.errors import SinkError
from engines.os_errors import advice, reason
from rtstyle.frame import Frame
from rtstyle.media.colour import ColourTags, YuvWriter
from rtstyle.media.resize import letterbox

FORMATS = ("y4m", "rawvideo")
"""Formats for pipes: YUV4MPEG2, which states size and rate, and bare 24-bit RGB."""

_LATE = 0.75
"""Distance of a frame from its place at a constant rate that is reported, frames."""

_EXAMPLE = "rtstyle video clip.mp4 - | ffmpeg -i - painting.mp4"


class PipeWriter:
    """Standard output. Whatever else the process prints goes to standard error meanwhile."""

    def __init__(self) -> None:
        sys.stdout.flush()
        self._stdout = sys.stdout.fileno()
        self._descriptor = os.dup(self._stdout)
        os.dup2(sys.stderr.fileno(), self._stdout)
        self._closed = False

    def write(self, data: bytes | memoryview) -> None:
        """Write everything; raises BrokenPipeError when the reader has left."""
        rest = memoryview(data).cast("B")
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]

    def close(self) -> None:
        """Give standard output back. May be called twice."""
        if not self._closed:
            self._closed = True
            os.dup2(self._descriptor, self._stdout)
            os.close(self._descriptor)


class PipeSink:
    """Sends frames to standard output, as y4m or as raw 24-bit RGB.

    A pipe has one rate, so frames with times of their own come evenly. The first frame fixes the size; later frames of
    another size are fitted into it, with black bars. Chroma is halved (4:2:0) if the size is even. y4m states no
    matrix: it is BT.709 for 720 lines and more and BT.601 for fewer, which is what readers assume.

    Args:
        form: one of ``FORMATS``.
        fps: frames per second.
        pixel_aspect: width : height of a pixel; ``None`` for square.

    Attributes:
        warnings: one line each.

    Raises:
        SinkError: standard output is a terminal.
    """

    name = "standard output"
    main_thread = False

    def __init__(self, form: str, *, fps: Fraction, pixel_aspect: Fraction | None = None) -> None:
        try:
            if sys.stdout.isatty():
                raise SinkError("no program reads standard output", hint=_EXAMPLE)
            self._pipe = PipeWriter()
        except (AttributeError, OSError, ValueError) as error:  # closed, or replaced by what is no file
            raise SinkError("standard output cannot be written to", hint=_EXAMPLE) from error
        self.warnings: list[str] = []
        self._raw = form == "rawvideo"
        self._fps = fps
        self._pixel_aspect = pixel_aspect
        self._first_s: Fraction | None = None
        self._count = self._fitted = self._moved = 0
        self._to_yuv: YuvWriter | None = None

    def write(self, frame: Frame) -> bool:
        """Send one frame.

        Raises:
            BrokenPipeError: the reader has left.
            SinkError: it cannot be written.
        """
        time_s = frame.pts * frame.time_base
        if self._first_s is None:
            self._first_s = time_s
            self._size = (frame.rgb.shape[1], frame.rgb.shape[0])
        self._moved += abs((time_s - self._first_s) * self._fps - self._count) > _LATE
        self._fitted += frame.rgb.shape[:2] != self._size[::-1]
        rgb = letterbox(frame.rgb, self._size)
        try:
            if not self._raw and not self._count:
                self._begin()
            if self._to_yuv is None:
                self._pipe.write(rgb.data)
            else:
                self._pipe.write(b"FRAME\n" + np.ascontiguousarray(self._to_yuv(rgb).to_ndarray()).tobytes())
        except BrokenPipeError:
            raise
        except OSError as error:
            raise SinkError(f"cannot write to {self.name}: {reason(error)}", hint=advice(error)) from error
        self._count += 1
        return True

    def close(self, *, completed: bool) -> None:
        """End the film. May be called twice.

        Raises:
            SinkError: there was no frame.
        """
        self._pipe.close()
        if not completed:
            return
        if not self._count:
            raise SinkError("nothing was sent: there was no frame")
        if self._fitted:
            self.warnings.append(f"frames of another size: {self._fitted}; fitted with black bars")
        if self._moved:
            rate = f"{float(self._fps):.4g} frames a second"
            self.warnings.append(f"frames at other times than in the clip: {self._moved}; a pipe has {rate}")

    def _begin(self) -> None:
        """Write the header of y4m; FFmpeg's muxer, as PyAV drives it, would lose the shape of the pixels."""
        width, height = self._size
        subsampled = width % 2 == 0 and height % 2 == 0
        form, colours = ("yuv420p", "C420jpeg XYSCSS=420JPEG") if subsampled else ("yuv444p", "C444 XYSCSS=444")
        self._to_yuv = YuvWriter(ColourTags.by_size(min(height, width)), form, height, width)
        rate, aspect = self._fps.as_integer_ratio(), (self._pixel_aspect or Fraction(1)).as_integer_ratio()
        header = f"YUV4MPEG2 W{width} H{height} F{rate[0]}:{rate[1]} Ip A{aspect[0]}:{aspect[1]} {colours}"
        self._pipe.write(f"{header} XCOLORRANGE=LIMITED\n".encode())
