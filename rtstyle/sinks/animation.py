"""Animated pictures: APNG, WebP and GIF."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av import VideoFrame
from av.container import OutputContainer
from av.video.stream import VideoStream

from engines.errors import SinkError
from rtstyle.frame import Frame
from rtstyle.media.animation_files import set_last_duration
from rtstyle.media.resize import letterbox
from rtstyle.sinks import gif
from rtstyle.sinks.output_path import OVERWRITE, OutputPath, part_path, write_errors

_LARGE_MB = 20
"""Size from which a GIF is reported."""


@dataclass(frozen=True)
class _Kind:
    """A kind of animated picture.

    Attributes:
        encoder, muxer: FFmpeg's names.
        opaque, transparent: pixel formats.
        unit_s: seconds per unit of its times.
        shortest: shortest time for a picture, in these units; browsers show shorter ones for 100 ms.
        options, muxer_options: of FFmpeg; all animations loop for ever.
    """

    encoder: str
    muxer: str
    opaque: str
    transparent: str
    unit_s: Fraction
    shortest: int
    options: dict[str, str] = field(default_factory=dict)
    muxer_options: dict[str, str] = field(default_factory=dict)


_MS = Fraction(1, 1000)

KINDS = {
    # What waits for the palette of a GIF.
    ".gif": _Kind("ffv1", "matroska", "bgr0", "bgra", gif.UNIT_S, 2),
    ".webp": _Kind("libwebp_anim", "webp", "bgra", "bgra", _MS, 11, {"quality": "85"}, {"loop": "0"}),
    ".apng": _Kind("apng", "apng", "rgb24", "rgba", _MS, 1, {"pred": "mixed"}, {"plays": "0"}),
}
"""Suffix → kind."""


class AnimationSink:
    """An animated picture, which appears under its name only when it is complete, and loops for ever.

    Frames keep their times as closely as the format can; those that come too soon after another are left out. The first
    frame fixes the size; later frames of another size are fitted into it, with bars.

    APNG and WebP are encoded as frames come. A GIF needs a palette of all its colours before its first picture can be
    written: its frames wait in a lossless file beside it.

    Args:
        path: its suffix is one of ``KINDS``.
        end: called at the end, returns when the last frame ends, in units of its ``pts``; None if unknown.
        overwrite: replace an existing file.

    Attributes:
        warnings: one line each.

    Raises:
        SinkError: the file exists, or cannot be created.
    """

    main_thread = False

    def __init__(self, path: Path, *, end: Callable[[], int | None] = lambda: None, overwrite: bool = False) -> None:
        self.warnings: list[str] = []
        self.name, self._path = path.name, path
        self._kind, self._is_gif = KINDS[path.suffix.lower()], path.suffix.lower() == ".gif"
        self._end = end
        self._first_s = self._input_unit_s = Fraction(0)
        self._times: list[int] = []
        self._early = self._fitted = 0
        self._closed = False
        self._output: OutputContainer | None = None
        if path.exists() and not overwrite:
            raise SinkError(f"{path} already exists", hint=f"give another name, or {OVERWRITE}")
        with write_errors(path):
            self._file = OutputPath(path)
        self._encoded = part_path(path.with_suffix(".mkv")) if self._is_gif else self._file.path

    def write(self, frame: Frame) -> bool:
        """Add one frame.

        Raises:
            SinkError: the disk is full, or the encoder failed.
        """
        with write_errors(self._path):
            if self._output is None:
                self._begin(frame)
            time = round((frame.pts * frame.time_base - self._first_s) / self._kind.unit_s)
            if self._times and time < self._times[-1] + self._kind.shortest:
                self._early += 1
                return True
            self._fitted += frame.rgb.shape[:2] != self._size[::-1]
            self._times.append(time)
            picture = self._picture(frame)
            picture.pts, picture.time_base = time, self._kind.unit_s
            self._muxer.mux(self._video.encode(picture))
        return True

    def close(self, *, completed: bool) -> None:
        """Finish the file and give it its name, or with ``completed=False`` remove it. May be called twice.

        Raises:
            SinkError: there was no frame, or the end cannot be written; nothing is left behind then.
        """
        if self._closed:
            return
        self._closed = True
        try:
            if completed:
                with write_errors(self._path):
                    self._finish()
        finally:
            if self._output is not None:
                with suppress(av.FFmpegError, OSError, ValueError):
                    self._output.close()
            self._file.discard()
            if self._is_gif:
                self._encoded.unlink(missing_ok=True)

    @property
    def _muxer(self) -> OutputContainer:
        assert self._output is not None, "the first frame opens it"
        return self._output

    def _begin(self, frame: Frame) -> None:
        kind = self._kind
        self._size = (frame.rgb.shape[1], frame.rgb.shape[0])
        self._alpha = frame.alpha is not None
        self._first_s, self._input_unit_s = frame.pts * frame.time_base, frame.time_base
        name = f"file:{self._encoded}"
        self._output = av.open(name, "w", format=kind.muxer, container_options=dict(kind.muxer_options))
        self._video = cast("VideoStream", self._output.add_stream(kind.encoder, options=dict(kind.options)))
        context = self._video.codec_context
        context.width, context.height = self._size
        context.pix_fmt = kind.transparent if self._alpha else kind.opaque
        context.time_base = kind.unit_s

    def _picture(self, frame: Frame) -> VideoFrame:
        rgb = letterbox(frame.rgb, self._size)
        if not self._alpha:
            return VideoFrame.from_ndarray(rgb, "rgb24").reformat(format=self._kind.opaque)
        alpha = np.full(rgb.shape[:2], 255, np.uint8) if frame.alpha is None else letterbox(frame.alpha, self._size)
        return VideoFrame.from_ndarray(np.dstack([rgb, alpha]), "rgba").reformat(format=self._kind.transparent)

    def _finish(self) -> None:
        if not self._times:
            raise SinkError(f"{self._path} was not written: there was no frame")
        self._muxer.mux(self._video.encode(None))
        self._muxer.close()
        end = self._last_end()
        if self._is_gif:
            gif.write_gif(self._encoded, self._file.path, self._times, end)
        else:
            set_last_duration(self._file.path, end - self._times[-1])
        size_mb = self._file.path.stat().st_size / 1e6
        self._file.publish()
        if self._is_gif and size_mb > _LARGE_MB:
            self.warnings.append(f"the GIF has {size_mb:.0f} MB; .webp or .mp4 would be much smaller")
        if self._early:
            least = float(self._kind.shortest * self._kind.unit_s) * 1000
            self.warnings.append(f"frames left out: {self._early}; pictures of less than {least:.0f} ms play slowly")
        if self._fitted:
            width, height = self._size
            self.warnings.append(f"frames of another size: {self._fitted}; fitted into {width}×{height} with bars")

    def _last_end(self) -> int:
        """Return when the last picture ends; if nobody knows, it is shown as long as the one before it."""
        end_pts, last = self._end(), self._times[-1]
        if end_pts is not None:
            end = round((end_pts * self._input_unit_s - self._first_s) / self._kind.unit_s)
        else:
            end = (
                2 * last - self._times[-2]
                if len(self._times) > 1
                else last + round(Fraction(1, 10) / self._kind.unit_s)
            )
        return max(end, last + self._kind.shortest)
