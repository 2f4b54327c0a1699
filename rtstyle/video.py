"""One clip in, one painted clip out."""

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
from rtstyle.frame import Frame
from rtstyle.media.codecs import choose
from rtstyle.media.urls import is_url
from rtstyle.pipeline import Controls, run
from rtstyle.sinks.file import FileSink
from rtstyle.sinks.track_remuxer import Template
from rtstyle.sources.base import Source
from rtstyle.sources.container import check_file
from rtstyle.sources.file import FileSource
from rtstyle.sources.timestamps import exact_seconds
from rtstyle.stats import Figures, Stats
from rtstyle.stroke_scale import SCALES, check_scale


class StoppedError(StylerError):
    """Somebody stopped the job before its end; nothing was written."""


@dataclass(frozen=True)
class VideoJob:
    """What to do.

    Attributes:
        input: file or URL.
        output: ends in ``.mp4``, ``.m4v``, ``.mov``, ``.mkv`` or ``.webm``.
        strength: 0 gives the input back, 1 the full style.
        height: of the output, pixels; ``None`` keeps the size.
        start, end: part of the clip, seconds from its beginning; ``None`` for no limit.
        codec, crf, preset: as in ``codecs.CODECS``; ``None`` for the default.
        overwrite: replace an output of that name.
        audio: False leaves the sound out.
        scale: size of the strokes, 1 is the style's own.
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
        """Find every fault of the settings before anything is opened or written.

        Args:
            named_input: False when the frames come from elsewhere and ``input`` names no file.

        Raises:
            ConfigError: all faults in one line.
            SourceError: no such input, a folder, or an empty file.
        """
        if named_input and not is_url(self.input):
            check_file(Path(self.input))
            if not Path(self.input).is_file():
                # It is read twice, once for the pictures and once for the sound; a pipe would hang.
                raise SourceError(f"{self.input} is no file", hint="for devices and pipes there is `rtstyle webcam`")
        faults = [*self._range_faults(), *self._codec_faults(), *self._output_faults()]
        if len(faults) == 1:
            raise faults[0]
        if faults:
            raise ConfigError("; ".join(str(fault) for fault in faults))

    def _range_faults(self) -> list[ConfigError]:
        faults = []
        if not 0.0 <= self.strength <= 1.0:
            faults.append(ConfigError(f"strength {self.strength:g} is out of range", hint="give a value from 0 to 1"))
        if not SCALES[0] <= self.scale <= SCALES[1]:
            hint = f"give a value from {SCALES[0]:g} to {SCALES[1]:g}"
            faults.append(ConfigError(f"scale {self.scale:g} is out of range", hint=hint))
        if self.height is not None and not MIN_SIDE <= self.height <= MAX_SIZE[1]:
            hint = f"give {MIN_SIDE} to {MAX_SIZE[1]} pixels"
            faults.append(ConfigError(f"height {self.height} is out of range", hint=hint))
        times = [t for t in (self.start, self.end) if t is not None]
        if any(not math.isfinite(t) or t < 0 for t in times) or (len(times) == 2 and times[0] >= times[1]):
            faults.append(
                ConfigError("start and end are out of order", hint="give seconds from 0, the end after the start")
            )
        return faults

    def _codec_faults(self) -> list[ConfigError]:
        try:
            _, codec = choose(self.output, self.codec)
            codec.encoder_options(self.crf, self.preset)
        except ConfigError as fault:
            return [fault]
        return []

    def _output_faults(self) -> list[ConfigError]:
        folder = self.output.parent
        if not folder.is_dir():
            return [ConfigError(f"there is no folder {folder}", hint="make it first")]
        if self.output.is_dir():
            return [ConfigError(f"{self.output} is a folder", hint="give the name of the file to write")]
        if self.output.exists() and Path(self.input).exists() and self.output.samefile(self.input):
            return [ConfigError("output and input are the same file", hint="give another name for the output")]
        if self.output.exists() and not self.overwrite:
            return [ConfigError(f"{self.output} exists already", hint="give another name, or --overwrite")]
        if not os.access(folder, os.W_OK):
            return [ConfigError(f"the folder {folder} cannot be written", hint="choose another")]
        return []


@dataclass(frozen=True)
class Progress:
    """How far a job is.

    Attributes:
        frames: written so far.
        total: expected; ``None`` when the clip does not say.
        fps: frames per second lately.
        seconds: since the start.
    """

    frames: int
    total: int | None
    fps: float
    seconds: float


@dataclass(frozen=True)
class VideoReport:
    """What was done.

    Attributes:
        output: the file that was written.
        width, height: of its pictures, pixels.
        frames_in, frames_out: delivered by the source, written by the sink.
        frames_lost: that the clip promised and that could not be decoded.
        seconds: the whole job, with opening and closing.
        fps: frames out for each of these seconds.
        warnings: one line each.
        figures: of the pipeline.
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
    figures: Figures

    def to_dict(self) -> dict[str, Any]:
        """Plain form for JSON."""
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
    on_progress: Callable[[Progress], None] | None = None,
    controls: Controls | None = None,
) -> VideoReport:
    """Paint a clip; the output appears under its name when it is complete, or not at all.

    Args:
        job: what to do; checked first.
        load_engine: makes the engine, in another thread while the clip is opened; closed at the end.
        source: frames from elsewhere, open, instead of ``job.input``, which is then only their name.
        on_progress: called after every frame, in this thread.
        controls: to change the settings, or to stop; ``None`` takes strength and scale of the job.

    Raises:
        ConfigError, SourceError, ShapeError, SinkError, StyleError, EngineError: one clear line each.
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
    with _Loading(load_engine) as loading:
        clip, sink = _open(job, source)
        try:
            engine = loading.engine()
        except BaseException:
            clip.close()
            sink.close(completed=False)
            raise
        stats = Stats()
        tell = _teller(on_progress, clip.info.frame_count, stats)
        completed = run(clip, engine, sink, controls, stats, on_frame=tell)
    if not completed:
        raise StoppedError("stopped before the end", hint="nothing was written")
    return _report(job, clip, sink, stats.snapshot(), time.monotonic() - start_s)


class _Loading:
    """An engine that is loaded while other things happen, and closed at the end."""

    def __init__(self, load_engine: Callable[[], Engine]) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="load")
        self._future = self._pool.submit(load_engine)

    def __enter__(self) -> Self:
        return self

    def engine(self) -> Engine:
        """Wait for it; raises what loading raised."""
        return self._future.result()

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()
        if self._future.exception() is None:
            self._future.result().close()


def _open(job: VideoJob, source: Source | None) -> tuple[Source, FileSink]:
    """Open both ends, the output last: nothing is created for a clip that cannot be read."""
    of_clip: FileSource | None = None
    clip = source
    if clip is None:
        clip = of_clip = FileSource(job.input, height=job.height, start=job.start, end=job.end)
    try:
        check_size(clip.info.height, clip.info.width)
        check_scale(job.scale, clip.info.height, clip.info.width)
        sink = FileSink(
            job.output,
            fps=clip.info.fps,
            codec=job.codec,
            crf=job.crf,
            preset=job.preset,
            colour=of_clip.colour if of_clip else None,
            pixel_aspect=of_clip.pixel_aspect if of_clip else None,
            template=_template(job, of_clip) if of_clip else None,
            last_end=lambda: of_clip.end_pts if of_clip else None,
            overwrite=job.overwrite,
        )
    except BaseException:
        clip.close()
        raise
    return clip, sink


def _template(job: VideoJob, clip: FileSource) -> Template:
    """What goes along: all of it, or what lies within the part that is painted."""
    first_s = clip.first_pts * clip.time_base
    end_s = exact_seconds(job.end)
    trimmed = bool(job.start)
    return Template(
        job.input,
        origin_s=first_s if trimmed else clip.origin_s,
        start_s=first_s if trimmed else None,
        end_s=None if end_s is None else end_s + clip.begin_s,
        audio=job.audio,
    )


def _teller(
    on_progress: Callable[[Progress], None] | None, total: int | None, stats: Stats
) -> Callable[[Frame], None] | None:
    if on_progress is None:
        return None

    def tell(_: Frame) -> None:
        frames, fps, seconds = stats.progress()
        on_progress(Progress(frames, total, fps, seconds))

    return tell


def _report(job: VideoJob, clip: Source, sink: FileSink, figures: Figures, seconds: float) -> VideoReport:
    of_clip = clip if isinstance(clip, FileSource) else None
    return VideoReport(
        output=job.output,
        width=figures.width,
        height=figures.height,
        frames_in=figures.frames_in,
        frames_out=figures.frames_out,
        frames_lost=of_clip.frames_lost if of_clip else 0,
        seconds=seconds,
        fps=figures.frames_out / seconds if seconds > 0 else 0.0,
        warnings=(*(of_clip.warnings if of_clip else ()), *sink.warnings),
        figures=figures,
    )
