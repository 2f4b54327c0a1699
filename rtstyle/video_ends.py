"""The two ends of a job: what its input is read with, and what its output is written with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeAlias

from rtstyle.jobs.picture_job import open_pictures
from rtstyle.jobs.segmented_sink import SegmentedSink
from rtstyle.jobs.segmented_video import needs_segments, open_segmented
from rtstyle.media.codecs import choose, holds_alpha
from rtstyle.media.hardware import pick
from rtstyle.media.urls import is_url
from rtstyle.sinks.animation import KINDS, AnimationSink
from rtstyle.sinks.file import FileSink
from rtstyle.sinks.pipe import FORMATS, PipeSink
from rtstyle.sinks.sequence import SequenceSink, keeps_alpha
from rtstyle.sinks.track import TrackSource
from rtstyle.sources.animated_webp import AnimatedWebpSource, is_animated_webp
from rtstyle.sources.base import Source
from rtstyle.sources.file import FileSource
from rtstyle.sources.pipe import PipeSource
from rtstyle.sources.sequence import SequenceSource
from rtstyle.sources.timestamps import FALLBACK_FPS, exact_seconds
from rtstyle.target_size import bits_for_size
from rtstyle.video_job import PIPE, VideoJob

Clip: TypeAlias = FileSource | SequenceSource | AnimatedWebpSource
Output: TypeAlias = FileSink | SegmentedSink | SequenceSink | PipeSink | AnimationSink


def open_clip(job: VideoJob) -> Clip:
    """Open the input of a job.

    Raises:
        SourceError: it cannot be read.
    """
    part: dict[str, Any] = {"height": job.even_height, "start": job.start, "end": job.end}
    part["keep_alpha"] = _keeps_alpha(job)
    fps = None if job.fps is None else Fraction(job.fps).limit_denominator(1001)
    if job.input == PIPE:
        pipe = PipeSource(**part, raw_size=job.size, raw_fps=fps)
        if job.audio and pipe.info.sound:
            pipe.warnings.append("the sound in the pipe is left out")
        return pipe
    pictures = job.input_pictures
    if pictures is not None:
        clip = SequenceSource(pictures, **part, fps=fps)
        if fps is None:
            clip.warnings.append(
                f"pictures have no rate; they are shown at {clip.info.fps} a second (--fps, in Python: fps)"
            )
        return clip
    if not is_url(job.input) and is_animated_webp(Path(job.input)):
        return AnimatedWebpSource(Path(job.input), **part)
    return FileSource(job.input, **part, video_stream=job.video_stream, hwaccel=job.hwaccel)


def open_output(job: VideoJob, source: Source, clip: Clip | None, made_by: Mapping[str, Any]) -> Output:
    """Open the output of a job.

    Args:
        job: checked.
        source: what the frames come from, open.
        clip: the same, if it is the job's input; None if the frames come from elsewhere.
        made_by: identifies the style and the engine.

    Raises:
        ConfigError: a job folder holds another job.
        SinkError: the output cannot be written.
    """
    sink = _open_special(job, clip, source.info.fps, made_by)
    if sink is None:
        return _open_file(job, source, clip, made_by)
    if job.audio and clip is not None and clip.info.sound:
        sink.warnings.append(f"the sound is left out: {sink.name} cannot hold it")
    return sink


def sink_settings(job: VideoJob, source: Source) -> dict[str, Any]:
    """Return the settings of ``FileSink`` that the output shares with parts of it."""
    info = source.info
    settings: dict[str, Any] = {
        "fps": info.fps,
        "codec": pick(choose(job.output, job.codec)[1], job.encoder, info.width, info.height).full_name,
        "crf": job.crf,
        "preset": job.preset,
        "bits": job.bits,
    }
    if isinstance(source, FileSource):
        settings |= {"colour": source.colour, "pixel_aspect": source.pixel_aspect}
    return settings


def track_source(job: VideoJob, clip: FileSource) -> TrackSource:
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
        video_stream=job.video_stream,
    )


def _open_special(
    job: VideoJob, clip: Clip | None, fps: Fraction, made_by: Mapping[str, Any]
) -> AnimationSink | PipeSink | SequenceSink | None:
    """Open an output that holds nothing but frames; return None for a video file."""
    if job.output_pictures is not None:
        return open_pictures(job, clip, made_by)
    if str(job.output) == PIPE:
        aspect = clip.pixel_aspect if isinstance(clip, FileSource) else None
        return PipeSink(job.pipe_format or FORMATS[0], fps=fps or FALLBACK_FPS, pixel_aspect=aspect)
    if job.output.suffix.lower() in KINDS:
        return AnimationSink(job.output, end=_end_of(clip), overwrite=job.overwrite)
    return None


def _open_file(
    job: VideoJob, source: Source, clip: Clip | None, made_by: Mapping[str, Any]
) -> FileSink | SegmentedSink:
    settings = sink_settings(job, source)
    file = clip if isinstance(clip, FileSource) and not isinstance(clip, PipeSource) else None
    tracks = None if file is None else track_source(job, file)
    if job.target_bytes is not None:
        settings["bits"] = bits_for_size(job, source, tracks)
    if file is not None and tracks is not None and may_be_cut(job, file) and needs_segments(job, file):
        return open_segmented(job, file, tracks, made_by, settings)
    return FileSink(job.output, **settings, tracks=tracks, last_end=_end_of(clip), overwrite=job.overwrite)


def may_be_cut(job: VideoJob, clip: FileSource) -> bool:
    """Return True if segments, which are MP4, can hold what the output holds."""
    # An animated picture is short, though an APNG does not say how long it is.
    return job.may_have_segments and not clip.transparent and Path(job.input).suffix.lower() not in (*KINDS, ".png")


def _end_of(clip: Clip | None) -> Callable[[], int | None]:
    """Return a function that says when the last frame of a clip ends, in units of its ``pts``."""
    return (lambda: None) if clip is None else (lambda: clip.end_pts)


def _keeps_alpha(job: VideoJob) -> bool:
    """Return True if the output can hold transparency."""
    pictures = job.output_pictures
    if pictures is not None:
        return keeps_alpha(pictures)
    if str(job.output) == PIPE:
        return False
    return job.output.suffix.lower() in KINDS or holds_alpha(*choose(job.output, job.codec))
