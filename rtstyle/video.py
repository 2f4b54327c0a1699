"""Stylize a video file."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

from engines.base import Engine, check_size
from engines.errors import StylerError
from rtstyle.clip_modulation import ClipModulation
from rtstyle.controls import Controls
from rtstyle.frame import Frame
from rtstyle.jobs.segmented_sink import SegmentedSink
from rtstyle.pipeline import run
from rtstyle.sources.base import Source
from rtstyle.sources.file import FileSource
from rtstyle.stats import Stats, StatsSnapshot
from rtstyle.stroke_scale import check_scale
from rtstyle.video_ends import Clip, Output, open_clip, open_output
from rtstyle.video_job import VideoJob

__all__ = ["StoppedError", "VideoJob", "VideoProgress", "VideoReport", "stylize_video"]


class StoppedError(StylerError):
    """The job was stopped before its end; the output was not written."""


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
        input: file or URL.
        output: the written file, or the pattern of the pictures.
        width, height: of its pictures, pixels.
        frames_in, frames_out: delivered by the source, written by the sink; with those of an interrupted run.
        frames_lost: frames of the clip that could not be decoded.
        seconds: duration of the whole job, with opening and closing.
        fps: frames of this run divided by ``seconds``.
        warnings: one line each.
        notes: likewise, where nothing is wrong: that no face was found, for example.
        figures: statistics of the pipeline.
    """

    input: str
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
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            **asdict(self),
            "output": str(self.output),
            "seconds": round(self.seconds, 3),
            "fps": round(self.fps, 2),
            "warnings": list(self.warnings),
            "notes": list(self.notes),
            "figures": self.figures.to_dict(),
        }


def stylize_video(
    job: VideoJob,
    load_engine: Callable[[], Engine],
    *,
    source: Source | None = None,
    on_progress: Callable[[VideoProgress], None] | None = None,
    controls: Controls | None = None,
    made_by: Mapping[str, Any] | None = None,
) -> VideoReport:
    """Stylize a clip. A file appears under its name once it is complete, or not at all; pictures appear one by one.

    A clip that is longer than ``job.segment_s`` is written in segments, which stay in ``job.folder`` if the job is
    interrupted in any way; ``job.resume`` goes on with them.

    Args:
        job: checked first.
        load_engine: called in another thread while the clip is opened; the engine is closed at the end.
        source: open source to use instead of ``job.input``, which then is only its name.
        on_progress: called after every frame, in this thread.
        controls: changes settings or stops the job; ``None`` takes those of the job.
        made_by: identifies the style and the engine, so that a job is not resumed with others.

    Raises:
        ConfigError: a setting is invalid.
        SourceError: the clip cannot be read.
        ShapeError: the frames are too small or too large.
        SinkError: the output cannot be written.
        StyleError: the style cannot be used.
        EngineError: the engine failed.
        StoppedError: ``controls.request_stop`` was called.
        KeyboardInterrupt: Ctrl-C; as after every error, no file is left behind but finished segments.
    """
    start_s = time.monotonic()
    try:
        job.check(named_input=source is None)
        controls = controls or job.controls()
    except BaseException:
        if source is not None:
            source.close()
        raise
    with _BackgroundLoad(load_engine) as loading, ExitStack() as stack:
        clip, sink, modulation = _open(job, source, made_by or {})
        stack.callback(modulation.close)
        try:
            engine = loading.engine()
            move = modulation.mover(controls, engine)
        except BaseException:
            clip.close()
            sink.close(completed=False)
            raise
        stats, kept = Stats(), getattr(sink, "kept_frames", 0)
        report_progress = _progress_callback(on_progress, clip.info.frame_count, stats, kept)
        part_of = sink.segment_of if isinstance(sink, SegmentedSink) else None
        completed = run(clip, engine, sink, controls, stats, on_frame=report_progress, part_of=part_of, before=move)
    if not completed:
        raise StoppedError("stopped before the end", hint="the output was not written")
    report = make_report(job, clip, sink, stats.snapshot(), time.monotonic() - start_s, kept)
    # Of what an earlier run has kept, nothing is known.
    return report if kept else replace(report, notes=stats.unfound)


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


def _open(job: VideoJob, source: Source | None, made_by: Mapping[str, Any]) -> tuple[Source, Output, ClipModulation]:
    """Open source and sink, in this order, so that nothing is created for a clip that cannot be read."""
    own: Clip | None = None
    clip, modulation = source, None
    if clip is None:
        clip = own = open_clip(job)
    try:
        if isinstance(own, FileSource):
            own.check_is_film()
        check_size(clip.info.height, clip.info.width)
        check_scale(job.scale, clip.info.height, clip.info.width)
        modulation = ClipModulation(job, clip)
        return clip, open_output(job, clip, own, made_by), modulation
    except BaseException:
        clip.close()
        if modulation is not None:
            modulation.close()
        raise


def _progress_callback(
    on_progress: Callable[[VideoProgress], None] | None, total: int | None, stats: Stats, kept: int
) -> Callable[[Frame], None] | None:
    if on_progress is None:
        return None

    def report(_: Frame) -> None:
        frames, fps, seconds = stats.progress()
        on_progress(VideoProgress(kept + frames, total, fps, seconds))

    return report


def make_report(
    job: VideoJob, clip: Source, sink: Output, figures: StatsSnapshot, seconds: float, kept: int
) -> VideoReport:
    """Return the report of a job: ``seconds`` long in this run, with ``kept`` frames of an earlier one."""
    warnings = [*getattr(clip, "warnings", ()), *sink.warnings]
    if job.height != job.even_height:
        warnings.append(f"height {job.height} is odd, which many players cannot show; it is now {job.even_height}")
    return VideoReport(
        input=job.input,
        output=job.output,
        width=clip.info.width,
        height=clip.info.height,
        frames_in=kept + figures.frames_in,
        frames_out=kept + figures.frames_out,
        frames_lost=getattr(clip, "frames_lost", 0),
        seconds=seconds,
        fps=figures.frames_out / seconds if seconds > 0 else 0.0,
        warnings=tuple(warnings),
        figures=figures,
    )
