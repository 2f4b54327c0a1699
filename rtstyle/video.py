"""Stylize a video file."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from engines.base import MAX_SIZE, MIN_SIDE, Engine, check_size
from engines.errors import ConfigError, SourceError, StylerError
from rtstyle.controls import Controls
from rtstyle.frame import Frame
from rtstyle.media.codecs import choose
from rtstyle.media.container import check_file
from rtstyle.media.urls import is_url
from rtstyle.pipeline import run
from rtstyle.sinks.file import FileSink
from rtstyle.sinks.track_remuxer import TrackSource
from rtstyle.sources.base import Source
from rtstyle.sources.file import FileSource
from rtstyle.sources.timestamps import exact_seconds
from rtstyle.stats import Stats, StatsSnapshot
from rtstyle.stroke_scale import SCALES, check_scale


class StoppedError(StylerError):
    """The job was stopped before its end; nothing was written."""


@dataclass(frozen=True)
class VideoJob:
    """A clip to stylize.

    Attributes:
        input: file or URL.
        output: ends in ``.mp4``, ``.m4v``, ``.mov``, ``.mkv`` or ``.webm``.
        strength: 0 shows the input, 1 the full style.
        height: of the output, pixels; ``None`` keeps the height of the input.
        start, end: part to stylize, seconds from the beginning of the clip; ``None`` for no limit.
        codec, crf, preset: see ``codecs.CODECS``; ``None`` for the default.
        overwrite: replace an existing output.
        audio: copy the sound.
        scale: size of the strokes; 1 is the style's own.
    """

    input: str
    output: Path
    strength: float = 1.0
    height: int | None = None
    start: float | None = None
    end: float | None = None
    codec: str | None = None
    crf: int | None = None
    preset: str | None = None
    overwrite: bool = False
    audio: bool = True
    scale: float = 1.0

    def check(self, *, named_input: bool = True) -> None:
        """Check all settings before anything is opened or written.

        Args:
            named_input: False if the frames come from elsewhere, so that ``input`` is not a file.

        Raises:
            ConfigError: a setting is invalid; several errors are joined in one line.
            SourceError: the input does not exist, or is a folder or an empty file.
        """
        if named_input and not is_url(self.input):
            check_file(Path(self.input))
            if not Path(self.input).is_file():
                # It is read twice, for the pictures and for the sound; a pipe would hang.
                raise SourceError(f"{self.input} is not a file", hint="use `rtstyle webcam` for devices and pipes")
        errors = [*self._range_errors(), *self._codec_errors(), *self._output_errors()]
        if len(errors) == 1:
            raise errors[0]
        if errors:
            raise ConfigError("; ".join(str(error) for error in errors))

    def _range_errors(self) -> list[ConfigError]:
        errors = []
        if not 0.0 <= self.strength <= 1.0:
            errors.append(ConfigError(f"strength {self.strength:g} is out of range", hint="give a value from 0 to 1"))
        if not SCALES[0] <= self.scale <= SCALES[1]:
            hint = f"give a value from {SCALES[0]:g} to {SCALES[1]:g}"
            errors.append(ConfigError(f"scale {self.scale:g} is out of range", hint=hint))
        if self.height is not None and not MIN_SIDE <= self.height <= MAX_SIZE[1]:
            hint = f"give {MIN_SIDE} to {MAX_SIZE[1]} pixels"
            errors.append(ConfigError(f"height {self.height} is out of range", hint=hint))
        times = [t for t in (self.start, self.end) if t is not None]
        if any(not math.isfinite(t) or t < 0 for t in times) or (len(times) == 2 and times[0] >= times[1]):
            errors.append(
                ConfigError("start and end are out of order", hint="give seconds from 0, with the end after the start")
            )
        return errors

    def _codec_errors(self) -> list[ConfigError]:
        try:
            _, codec = choose(self.output, self.codec)
            codec.encoder_options(self.crf, self.preset)
        except ConfigError as error:
            return [error]
        return []

    def _output_errors(self) -> list[ConfigError]:
        folder = self.output.parent
        if not folder.is_dir():
            return [ConfigError(f"no such folder: {folder}", hint="create it first")]
        if self.output.is_dir():
            return [ConfigError(f"{self.output} is a folder", hint="give the name of the file to write")]
        if self.output.exists() and Path(self.input).exists() and self.output.samefile(self.input):
            return [ConfigError("output and input are the same file", hint="give another name for the output")]
        if self.output.exists() and not self.overwrite:
            return [ConfigError(f"{self.output} already exists", hint="give another name, or add --overwrite")]
        if not os.access(folder, os.W_OK):
            return [ConfigError(f"cannot write to the folder {folder}", hint="choose another")]
        return []


@dataclass(frozen=True)
class VideoProgress:
    """Progress of a job.

    Attributes:
        frames: written so far.
        total: expected; ``None`` if the clip does not say.
        fps: recent frames per second.
        seconds: since the start.
    """

    frames: int
    total: int | None
    fps: float
    seconds: float


@dataclass(frozen=True)
class VideoReport:
    """Result of a job.

    Attributes:
        output: the written file.
        width, height: of its pictures, pixels.
        frames_in, frames_out: delivered by the source, written by the sink.
        frames_lost: frames of the clip that could not be decoded.
        seconds: duration of the whole job, with opening and closing.
        fps: ``frames_out`` divided by ``seconds``.
        warnings: one line each.
        figures: statistics of the pipeline.
    """

    output: Path
    width: int
    height: int
    frames_in: int
    frames_out: int
    frames_lost: int
    seconds: float
    fps: float
    warnings: tuple[str, ...]
    figures: StatsSnapshot

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            **asdict(self),
            "output": str(self.output),
            "seconds": round(self.seconds, 3),
            "fps": round(self.fps, 2),
            "warnings": list(self.warnings),
            "figures": self.figures.to_dict(),
        }


def stylize_video(
    job: VideoJob,
    load_engine: Callable[[], Engine],
    *,
    source: Source | None = None,
    on_progress: Callable[[VideoProgress], None] | None = None,
    controls: Controls | None = None,
) -> VideoReport:
    """Stylize a clip. The output appears under its name once it is complete, or not at all.

    Args:
        job: checked first.
        load_engine: called in another thread while the clip is opened; the engine is closed at the end.
        source: open source to use instead of ``job.input``, which then is only its name.
        on_progress: called after every frame, in this thread.
        controls: changes settings or stops the job; ``None`` takes strength and scale of the job.

    Raises:
        ConfigError: a setting is invalid.
        SourceError: the clip cannot be read.
        ShapeError: the frames are too small or too large.
        SinkError: the output cannot be written.
        StyleError: the style cannot be used.
        EngineError: the engine failed.
        StoppedError: ``controls.request_stop`` was called.
        KeyboardInterrupt: Ctrl-C; as after every error, no file is left behind.
    """
    start_s = time.monotonic()
    try:
        job.check(named_input=source is None)
        controls = controls or Controls(job.strength, scale=job.scale)
    except BaseException:
        if source is not None:
            source.close()
        raise
    with _BackgroundLoad(load_engine) as loading:
        clip, sink = _open(job, source)
        try:
            engine = loading.engine()
        except BaseException:
            clip.close()
            sink.close(completed=False)
            raise
        stats = Stats()
        report_progress = _progress_callback(on_progress, clip.info.frame_count, stats)
        completed = run(clip, engine, sink, controls, stats, on_frame=report_progress)
    if not completed:
        raise StoppedError("stopped before the end", hint="nothing was written")
    return _report(job, clip, sink, stats.snapshot(), time.monotonic() - start_s)


class _BackgroundLoad:
    """Loads an engine in another thread, and closes it at the end."""

    def __init__(self, load_engine: Callable[[], Engine]) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="load")
        self._future = self._pool.submit(load_engine)

    def __enter__(self) -> Self:
        return self

    def engine(self) -> Engine:
        """Wait for the engine; raise what loading raised."""
        return self._future.result()

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()
        if self._future.exception() is None:
            self._future.result().close()


def _open(job: VideoJob, source: Source | None) -> tuple[Source, FileSink]:
    """Open source and sink, in this order, so that nothing is created for a clip that cannot be read."""
    file: FileSource | None = None
    clip = source
    if clip is None:
        clip = file = FileSource(job.input, height=job.height, start=job.start, end=job.end)
    try:
        check_size(clip.info.height, clip.info.width)
        check_scale(job.scale, clip.info.height, clip.info.width)
        sink = FileSink(
            job.output,
            fps=clip.info.fps,
            codec=job.codec,
            crf=job.crf,
            preset=job.preset,
            colour=file.colour if file else None,
            pixel_aspect=file.pixel_aspect if file else None,
            tracks=_track_source(job, file) if file else None,
            last_end=lambda: file.end_pts if file else None,
            overwrite=job.overwrite,
        )
    except BaseException:
        clip.close()
        raise
    return clip, sink


def _track_source(job: VideoJob, clip: FileSource) -> TrackSource:
    """Return what to copy besides the pictures: everything, or what lies within the stylized part."""
    first_s = clip.first_pts * clip.time_base
    end_s = exact_seconds(job.end)
    trimmed = bool(job.start)
    return TrackSource(
        job.input,
        origin_s=first_s if trimmed else clip.origin_s,
        start_s=first_s if trimmed else None,
        end_s=None if end_s is None else end_s + clip.begin_s,
        audio=job.audio,
    )


def _progress_callback(
    on_progress: Callable[[VideoProgress], None] | None, total: int | None, stats: Stats
) -> Callable[[Frame], None] | None:
    if on_progress is None:
        return None

    def report(_: Frame) -> None:
        frames, fps, seconds = stats.progress()
        on_progress(VideoProgress(frames, total, fps, seconds))

    return report


def _report(job: VideoJob, clip: Source, sink: FileSink, figures: StatsSnapshot, seconds: float) -> VideoReport:
    file = clip if isinstance(clip, FileSource) else None
    return VideoReport(
        output=job.output,
        width=figures.width,
        height=figures.height,
        frames_in=figures.frames_in,
        frames_out=figures.frames_out,
        frames_lost=file.frames_lost if file else 0,
        seconds=seconds,
        fps=figures.frames_out / seconds if seconds > 0 else 0.0,
        warnings=(*(file.warnings if file else ()), *sink.warnings),
        figures=figures,
    )
