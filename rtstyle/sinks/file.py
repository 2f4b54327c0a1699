"""Painted frames into a video file."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
from av import Packet
from av.container import OutputContainer
from av.video.stream import VideoStream

from engines.errors import SinkError
from rtstyle.frame import Frame
from rtstyle.media.codecs import choose
from rtstyle.media.colour import ColourTags, YuvWriter
from rtstyle.sinks.output_path import Growing, Hidden, Place
from rtstyle.sinks.track_remuxer import Template, Tracks

# SVT-AV1 writes its settings to standard error unless it is told that only errors matter.
os.environ.setdefault("SVT_LOG", "1")

_REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EFBIG: "the file has reached the size limit that is set here",
    errno.EDQUOT: "your share of the disk is full",
}

_TIMELESS = 2
"""Of so few frames x265 takes the decoding times from memory that it never wrote, and the container refuses them
(github.com/Multicorewareinc/x265/issues/781). It does not reorder them, so each is decoded when it is shown."""


KEYFRAME_S = 2
"""Seconds between two pictures of a live recording that can be shown without the ones before."""


class FileSink:
    """A video file that appears under its name only when it is complete; a live one is there from its first frame.

    What is live cannot be had again: its file is readable at every moment, also after the process was killed, but for
    the last second or so, and it is kept whatever happens.

    Every frame keeps its time, whatever the rate. The first frame fixes the size; a later frame of
    another size is resized. Odd sizes are kept exactly, in 4:4:4 where the codec needs it.

    Args:
        path: ends in ``.mp4``, ``.m4v``, ``.mov``, ``.mkv`` or ``.webm``.
        fps: nominal frames per second; 0 when unknown.
        time_base: seconds per unit in the file; ``None`` takes that of the first frame.
        codec, crf, preset: as in ``codecs.CODECS``; ``None`` for the default.
        colour: what to say of the colours; ``None`` goes by size.
        pixel_aspect: width : height of a pixel; ``None`` for square.
        template: clip whose other tracks and metadata go along.
        last_end: asked at the end for the moment when the last frame ends, in the units of its ``pts``.
        overwrite: replace a file of that name.
        live: write it under its own name, in fragments that can be read before it is finished.

    Raises:
        ConfigError: unknown ending, codec, crf or preset.
        SinkError: the file exists, or cannot be created.
    """

    main_thread = False

    def __init__(
        self,
        path: Path,
        *,
        fps: Fraction = Fraction(0),
        time_base: Fraction | None = None,
        codec: str | None = None,
        crf: int | None = None,
        preset: str | None = None,
        colour: ColourTags | None = None,
        pixel_aspect: Fraction | None = None,
        template: Template | None = None,
        last_end: Callable[[], int | None] = lambda: None,
        overwrite: bool = False,
        live: bool = False,
    ) -> None:
        self.warnings: list[str] = []
        self._path = path
        self._live = live
        self._container_kind, self._codec = choose(path, codec)
        self._options = self._codec.encoder_options(crf, preset)
        self._fps = fps
        self._time_base = time_base
        self._colour = colour
        self._pixel_aspect = pixel_aspect
        self._template = template
        self._last_end = last_end
        self._tracks: Tracks | None = None
        self._closed = False
        self._last_pts: int | None = None
        self._count = 0
        self._output: OutputContainer | None = None
        if path.exists() and not overwrite:
            raise SinkError(f"{path} exists already", hint="give another name, or --overwrite")
        with self._errors():
            self._place: Place = Growing(path) if live else Hidden(path)

    @property
    def name(self) -> str:
        """The path."""
        return str(self._path)

    def write(self, frame: Frame) -> bool:
        """Encode one frame, and the sound that belongs before it.

        Returns:
            True.

        Raises:
            SinkError: the disk is full, or the encoder refuses the frame.
        """
        with self._errors():
            if self._last_pts is None:
                self._begin(frame)
            picture = self._to_yuv(frame.rgb)
            pts = self._own_pts(frame.pts, frame.time_base)
            picture.pts = pts if self._last_pts is None else max(pts, self._last_pts + 1)
            picture.time_base = self._unit_s
            picture.duration = self._step
            self._last_pts = picture.pts
            self._count += 1
            self._muxer.mux(self._video.encode(picture))
            if self._tracks is not None:
                self._tracks.write_until(frame.pts * frame.time_base)
        return True

    def close(self, *, completed: bool) -> None:
        """Finish the file and give it its name, or with ``completed=False`` remove it. Twice is fine.

        A live one is finished and kept in any case.

        Raises:
            SinkError: there was no frame, or the end cannot be written; then nothing is left behind, except what a
            live one has so far.
        """
        if self._closed:
            return
        self._closed = True
        try:
            if completed:
                with self._errors():
                    self._finish()
            elif self._live and self._last_pts is not None:
                with suppress(av.FFmpegError, OSError):
                    self._finish()
        finally:
            self._let_go()

    def _begin(self, frame: Frame) -> None:
        """Set up encoder and tracks by the first frame, and write the header."""
        kind = self._container_kind
        options = kind.live_options if self._live else kind.options
        self._output = av.open(f"file:{self._place.path}", "w", format=kind.format, container_options=dict(options))
        height, width = frame.rgb.shape[:2]
        odd = bool(height % 2 or width % 2)
        tags = self._colour or ColourTags.by_size(min(height, width))
        pixel_format = self._codec.odd_format if odd else "yuv420p"
        self._to_yuv = YuvWriter(tags, pixel_format, height, width)
        self._unit_s = self._time_base or frame.time_base
        self._frame_unit_s = frame.time_base
        self._step = max(1, round(1 / self._fps / self._unit_s)) if self._fps else 0
        self._video = cast(
            "VideoStream", self._muxer.add_stream(self._codec.encoder, rate=self._fps or None, options=self._options)
        )
        context = self._video.codec_context
        context.width, context.height, context.pix_fmt = width, height, pixel_format
        context.time_base = self._unit_s
        context.colorspace, context.color_primaries, context.color_trc = tags.matrix, tags.primaries, tags.transfer
        context.color_range = 1  # limited, as ``YuvWriter`` makes it
        if self._live:
            context.gop_size = max(1, round(KEYFRAME_S * (self._fps or 30)))
            context.max_b_frames = 0  # a kill between two of them would leave a gap
        if self._pixel_aspect is not None:
            context.sample_aspect_ratio = self._pixel_aspect
        if self._codec.name == "hevc" and self._container_kind.format in ("mp4", "mov"):
            context.codec_tag = "hvc1"  # the default tag, hev1, does not play on Apple's systems
        self._origin_s = frame.pts * frame.time_base if self._template is None else self._template.origin_s
        if self._template is not None:
            self._tracks = Tracks(self._template, self._muxer, self._container_kind)
            self._tracks.copy_video_metadata(self._video)
            self.warnings += self._tracks.warnings
        self._muxer.start_encoding()

    @property
    def _muxer(self) -> OutputContainer:
        assert self._output is not None, "it is opened with the first frame"
        return self._output

    def _own_pts(self, pts: int, unit_s: Fraction) -> int:
        """A time of the input on the scale of the output."""
        return round((pts * unit_s - self._origin_s) / self._unit_s)

    def _finish(self) -> None:
        if self._last_pts is None:
            raise SinkError(f"{self._path} is not written: there was no frame")
        packets = self._video.encode(None)
        if self._codec.name == "hevc" and self._count <= _TIMELESS:
            for packet in packets:
                packet.dts = packet.pts
        self._lengthen_last(packets)
        self._muxer.mux(packets)
        if self._tracks is not None:
            known = len(self._tracks.warnings)
            self._tracks.finish()
            self.warnings += self._tracks.warnings[known:]
        self._muxer.close()
        self._place.publish()

    def _lengthen_last(self, packets: list[Packet[VideoStream]]) -> None:
        """The last frame lasts as long as it did in the input; the encoder only knows the nominal length."""
        end_pts = self._last_end()
        if end_pts is None or self._last_pts is None:
            return
        for packet in packets:
            if packet.pts == self._last_pts:
                packet.duration = max(1, self._own_pts(end_pts, self._frame_unit_s) - self._last_pts)

    def _let_go(self) -> None:
        """Let go of everything; after ``_finish`` there is nothing left to remove."""
        # Removed first: an MP4 that nobody wants need not be reordered, and cannot be without its name.
        self._place.discard()
        if self._output is not None:
            with suppress(av.FFmpegError, OSError, ValueError):
                self._output.close()
        if self._tracks is not None:
            self._tracks.close()
        self._place.discard()  # Windows does not remove open files

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Foreign errors become ours."""
        try:
            yield
        except (av.FFmpegError, OSError) as error:
            reason = _REASONS.get(error.errno or 0, error.strerror or str(error))
            raise SinkError(f"cannot write {self._path}", hint=reason) from error
