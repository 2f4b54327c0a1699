"""File sink: encode frames into a video file."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import cast

import av
import cv2
import numpy as np
from av import Packet, VideoFrame
from av.codec.context import ThreadType
from av.container import OutputContainer
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from engines.errors import SinkError
from rtstyle.frame import Alpha, Frame
from rtstyle.media.codecs import choose, holds_alpha
from rtstyle.media.colour import ColourTags, YuvWriter
from rtstyle.media.hardware import check_encoder, pick
from rtstyle.media.resize import letterbox
from rtstyle.sinks.live_sound import MUXER_OPTIONS, LiveSoundTrack
from rtstyle.sinks.muxer_trial import can_hold
from rtstyle.sinks.output_path import OVERWRITE, OutputPath, write_errors
from rtstyle.sinks.track import TrackSource
from rtstyle.sinks.track_remuxer import TrackRemuxer
from rtstyle.sinks.video_side_data import VideoSideData, encoder_with_layout
from rtstyle.sound.feed import SoundFeed

# SVT-AV1 writes its settings to standard error unless its log level is "error".
os.environ.setdefault("SVT_LOG", "1")

_X265_BROKEN_DTS = 2
"""With so few frames x265 reads their decoding times from uninitialized memory, and the container refuses them
(github.com/Multicorewareinc/x265/issues/781). It does not reorder them, so each can be decoded when it is shown."""

_AVX_512 = 13
"""OpenCV's ``CV_CPU_AVX_512F``, which Python lacks."""

_X264_WITHOUT_AVX_512 = {"x264-params": "asm=AVX2"}
"""With AVX-512 the macroblock tree of x264 gives small pictures other bits from run to run: 13 of 30 files of 64×48
differed, and one of 20 of 320×180. A job that is resumed, or shared by machines, would not be the file of one run. With
AVX2 it wrote 640×360 in 8 % less time (Xeon with AMX, veryfast)."""

KEYFRAME_S = 2
"""Seconds between two keyframes of a live recording."""


class FileSink:
    """A video file, which appears under its name only when it is complete; a live one is there from its first frame.

    A live picture cannot be captured again: the file of a live run is readable at any time, even after the process was
    killed (except for the last second or so), and it is kept whatever happens.

    Every frame keeps its time, whatever the rate. The first frame fixes the size; later frames of another size are
    fitted into it, with black bars. Odd sizes are kept exactly, in 4:4:4 if the codec needs it. Transparency is kept if
    the first frame has ``alpha`` and ``codecs.holds_alpha``.

    Args:
        path: ends in ``.mp4``, ``.m4v``, ``.mov``, ``.mkv`` or ``.webm``.
        fps: nominal frames per second; 0 if unknown.
        time_base: seconds per unit in the file; ``None`` takes that of the first frame.
        codec, crf, preset: see ``codecs.CODECS``; ``None`` for the default.
        encoder: one of ``codecs.ENCODERS``; see ``hardware.pick``.
        bits: bit rate of the pictures, per second, instead of ``crf``.
        colour: colour tags; ``None`` chooses them by size.
        pixel_aspect: width : height of a pixel; ``None`` for square.
        tracks: clip whose other tracks and metadata are copied.
        last_end: called at the end, returns when the last frame ends, in the units of its ``pts``.
        overwrite: replace an existing file.
        live: write fragments that can be read before the file is finished, under its own name.
        sound: of a live source, which is recorded beside the pictures.

    Attributes:
        warnings: what could not be copied as it is, one line each.

    Raises:
        ConfigError: unknown ending, codec, crf or preset; with the first frame, an encoder that does not work here.
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
        bits: int | None = None,
        encoder: str = "software",
        colour: ColourTags | None = None,
        pixel_aspect: Fraction | None = None,
        tracks: TrackSource | None = None,
        last_end: Callable[[], int | None] = lambda: None,
        overwrite: bool = False,
        live: bool = False,
        sound: SoundFeed | None = None,
    ) -> None:
        self.warnings: list[str] = []
        self._sound_feed = sound
        self._sound: LiveSoundTrack | None = None
        self._path, self.name = path, str(path)
        self._live = live
        self._container_kind, self._codec = choose(path, codec)
        check_encoder(self._codec, encoder)
        self._codec.encoder_options(crf, preset, bits)
        self._encoder_name, self._quality = encoder, (crf, preset, bits)
        self._fps = fps
        self._time_base = time_base
        self._colour = colour
        self._pixel_aspect = pixel_aspect
        self._track_source = tracks
        self._last_end = last_end
        self._tracks: TrackRemuxer | None = None
        self._closed = False
        self._last_pts: int | None = None
        self._count = 0
        self._fitted = 0
        self._kept: list[Packet[VideoStream]] = []
        self._output: OutputContainer | None = None
        with write_errors(self._path):
            if path.exists() and not overwrite:
                raise SinkError(f"{path} already exists", hint=f"give another name, or {OVERWRITE}")
            self._file = OutputPath(path, visible=live)

    def write(self, frame: Frame) -> bool:
        """Encode one frame, and the sound that belongs before it.

        Raises:
            SinkError: the disk is full, or the encoder failed.
        """
        with write_errors(self._path):
            if self._last_pts is None:
                self._begin(frame)
            self._fitted += frame.rgb.shape[:2] != self._size[::-1]
            picture = self._to_yuv(letterbox(frame.rgb, self._size), self._alpha_of(frame))
            pts = self._own_pts(frame.pts, frame.time_base)
            picture.pts = pts if self._last_pts is None else max(pts, self._last_pts + 1)
            picture.time_base = self._unit_s
            picture.duration = self._step
            self._last_pts = picture.pts
            self._count += 1
            self._mux_but_last(self._encode(picture))
            if self._tracks is not None:
                self._tracks.write_until(frame.pts * frame.time_base)
            if self._sound is not None:
                self._sound.write_until(frame, float(picture.pts * self._unit_s))
        return True

    def close(self, *, completed: bool) -> None:
        """Finish the file and give it its name, or with ``completed=False`` remove it. May be called twice.

        A live file is finished and kept in any case.

        Raises:
            SinkError: there was no frame, or the end cannot be written; nothing is left behind then, except what a live
                file has so far.
        """
        if self._closed:
            return
        self._closed = True
        try:
            if completed:
                with write_errors(self._path):
                    self._finish()
            elif self._live and self._last_pts is not None:
                with suppress(av.FFmpegError, OSError):
                    self._finish()
        finally:
            self._release()

    def _begin(self, frame: Frame) -> None:
        """Set up encoder and tracks for the first frame, and write the header."""
        kind = self._container_kind
        options = kind.live_options if self._live else kind.options
        options = options if self._sound_feed is None else {**options, **MUXER_OPTIONS}
        self._output = av.open(f"file:{self._file.path}", "w", format=kind.format, container_options=dict(options))
        height, width = frame.rgb.shape[:2]
        self._size = (width, height)
        self._codec = pick(self._codec, self._encoder_name, width, height)
        self._has_alpha = frame.alpha is not None and holds_alpha(kind, self._codec)
        self._pixel_format = self._codec.format_for(width, height, alpha=self._has_alpha)
        self._tags = self._colour or ColourTags.by_size(min(height, width))
        self._to_yuv = YuvWriter(self._tags, self._pixel_format, height, width)
        self._unit_s = self._time_base or frame.time_base
        self._frame_unit_s = frame.time_base
        self._step = max(1, round(1 / self._fps / self._unit_s)) if self._fps else 0
        self._origin_s = frame.pts * frame.time_base if self._track_source is None else self._track_source.origin_s
        if self._track_source is not None:
            self._tracks = TrackRemuxer(self._track_source, self._muxer, kind)
        self._add_video()
        if self._tracks is not None:
            self._tracks.add_tracks(self._video)
            self.warnings += self._tracks.warnings
        if self._sound_feed is not None and self._sound_feed.format is not None:
            self._sound = LiveSoundTrack(self._sound_feed, self._muxer, kind, frame)
        self._muxer.start_encoding()

    def _add_video(self) -> None:
        side_data = VideoSideData() if self._tracks is None else self._tracks.side_data
        layout, format_name = side_data.layout, self._container_kind.format
        if side_data.is_stereo and format_name == "mov":
            self.warnings.append("mov loses how the pictures for both eyes lie in a frame")
        if layout:
            with suppress(av.FFmpegError, ValueError):
                encoder, template = encoder_with_layout(self._add_encoder, layout)
                if can_hold(self._container_kind, template, None):
                    self._encoder, self._video = encoder, self._muxer.add_stream_from_template(template, opaque=True)
                    self._video.time_base = self._unit_s
                    self._video.codec_context.pix_fmt = self._pixel_format
                    self._video.codec_context.framerate = self._fps
                    self._set_tag(self._video.codec_context)
                    self._muxer.container_options["strict"] = "unofficial"
                    return
            self.warnings.append(f"{format_name} loses that the video is 360° or stereo")
        self._encoder = self._video = self._add_encoder(self._muxer)

    def _add_encoder(self, output: OutputContainer) -> VideoStream:
        options = self._codec.encoder_options(*self._quality)
        if self._codec.encoder == "libx264" and cv2.checkHardwareSupport(_AVX_512):
            options |= _X264_WITHOUT_AVX_512
        if self._has_alpha:
            options |= self._codec.alpha_options
        stream = cast("VideoStream", output.add_stream(self._codec.encoder, rate=self._fps or None, options=options))
        context, tags = stream.codec_context, self._tags
        (context.width, context.height), context.pix_fmt = self._size, self._pixel_format
        context.time_base = self._unit_s
        context.colorspace, context.color_primaries, context.color_trc = tags.matrix, tags.primaries, tags.transfer
        context.color_range = 1  # limited, as ``YuvWriter`` makes it
        if self._pixel_format.startswith("bgr"):
            context.colorspace, context.color_range = 0, 2
        if self._has_alpha:
            stream.metadata["alpha_mode"] = "1"  # without which Matroska's transparency is not looked for
        if self._live:
            context.gop_size = max(1, round(KEYFRAME_S * (self._fps or 30)))
            context.max_b_frames = 0  # a kill between reordered frames would leave a gap
        elif self._codec.threads:
            context.thread_count = self._codec.threads
            context.thread_type = ThreadType.FRAME  # slices, the default, make H.264 files 2 to 12 % larger
        if self._pixel_aspect is not None:
            context.sample_aspect_ratio = self._pixel_aspect
        self._set_tag(context)
        return stream

    def _alpha_of(self, frame: Frame) -> Alpha | None:
        """Return the opacity to encode; None if the output has none."""
        if not self._has_alpha:
            return None
        if frame.alpha is None:
            return np.full(self._size[::-1], 255, np.uint8)
        return letterbox(frame.alpha, self._size)

    def _set_tag(self, context: VideoCodecContext) -> None:
        if self._codec.name == "hevc" and self._container_kind.format in ("mp4", "mov"):
            context.codec_tag = "hvc1"  # Apple's players refuse the default tag, hev1

    def _encode(self, picture: VideoFrame | None) -> list[Packet[VideoStream]]:
        packets = self._encoder.encode(picture)
        for packet in packets:
            packet.stream = self._video
        return packets

    def _mux_but_last(self, packets: list[Packet[VideoStream]]) -> None:
        """Keep the newest packets, the last of which gets its duration at the end; what is live cannot wait."""
        if self._sound is not None:
            kept, self._kept = _lasting_until_next(self._kept + packets)
        else:
            kept, self._kept = (packets, []) if self._live else (self._kept, packets)
        self._muxer.mux(kept)

    @property
    def _muxer(self) -> OutputContainer:
        assert self._output is not None, "the first frame opens it"
        return self._output

    def _own_pts(self, pts: int, unit_s: Fraction) -> int:
        """Convert a time of the input into units of the output."""
        return round((pts * unit_s - self._origin_s) / self._unit_s)

    def _finish(self) -> None:
        if self._last_pts is None:
            raise SinkError(f"{self._path} was not written: there was no frame")
        packets = self._kept + self._encode(None)
        if self._codec.encoder == "libx265" and self._count <= _X265_BROKEN_DTS:
            for packet in packets:
                packet.dts = packet.pts
        if self._sound is not None:
            _lasting_until_next(packets)
        self._lengthen_last(packets)
        self._muxer.mux(packets)
        if self._tracks is not None:
            known = len(self._tracks.warnings)
            self._tracks.finish()
            self.warnings += self._tracks.warnings[known:]
        if self._sound is not None:
            self._sound.finish(float((self._last_pts + self._step) * self._unit_s))
        if self._fitted:
            width, height = self._size
            fitted = f"fitted into {width}×{height} with black bars"
            self.warnings.append(f"frames of another size: {self._fitted}; {fitted}")
        self._muxer.close()
        self._file.publish()

    def _lengthen_last(self, packets: list[Packet[VideoStream]]) -> None:
        """Give the last frame its duration in the input; the encoder only knows the nominal one."""
        end_pts = self._last_end()
        if end_pts is None or self._last_pts is None:
            return
        for packet in packets:
            # MP4 adds up the durations as they are decoded, so that the packet written last counts as well.
            if packet.pts == self._last_pts or packet is packets[-1]:
                packet.duration = max(1, self._own_pts(end_pts, self._frame_unit_s) - self._last_pts)

    def _release(self) -> None:
        """Close everything, and remove an unfinished file."""
        # Removed before closing, which would reorder a whole MP4 in vain.
        self._file.discard()
        if self._output is not None:
            with suppress(av.FFmpegError, OSError, ValueError):
                self._output.close()
        if self._tracks is not None:
            self._tracks.close()
        self._file.discard()  # Windows does not remove open files


def _lasting_until_next(
    packets: list[Packet[VideoStream]],
) -> tuple[list[Packet[VideoStream]], list[Packet[VideoStream]]]:
    """Give all packets but the last their durations, and return them and the last one.

    Sound may end a fragment of MP4 between two frames; the next frame is then taken to follow the last one at once.
    """
    for packet, following in pairwise(packets):
        packet.duration = max(1, (following.pts or 0) - (packet.pts or 0))
    return packets[:-1], packets[-1:]
