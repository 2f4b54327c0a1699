"""A clip's output in segments: which clips are cut, and what belongs to each segment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import av

import rtstyle
from rtstyle.jobs.join import join
from rtstyle.jobs.manifest import Manifest, Segment, describe_masks, describe_modulation, identify
from rtstyle.jobs.segmented_sink import SegmentedSink
from rtstyle.media.container import open_input, video_stream
from rtstyle.media.urls import is_url
from rtstyle.sinks.file import FileSink
from rtstyle.sinks.track import TrackSource
from rtstyle.sinks.video_side_data import VideoSideData
from rtstyle.sources.file import FileSource
from rtstyle.video_job import VideoJob


def needs_segments(job: VideoJob, clip: FileSource) -> bool:
    """Return True if a clip is longer than a segment, may be longer, or has been begun in segments.

    What comes from a network may not come again in the same way, and segments would lose a 360° or stereo layout.
    """
    if not job.segment_s or is_url(job.input):
        return False
    count, fps = clip.info.frame_count, clip.info.fps
    may_be_long = not (count and fps) or count > job.segment_s * fps or Manifest.exists(job.folder)
    return may_be_long and not _side_data(job).layout


def open_segmented(
    job: VideoJob, clip: FileSource, tracks: TrackSource, style: Mapping[str, Any], output: Mapping[str, Any]
) -> SegmentedSink:
    """Open the sink of a clip that is written in segments, and let the clip skip the frames that are already there.

    Args:
        job: what to do.
        clip: just opened.
        tracks: what to copy besides the pictures.
        style: identifies the style and the engine.
        output: settings of ``FileSink`` that the output and its segments share.

    Raises:
        ConfigError: the job folder holds another job, or another process works in it.
        SinkError: the job folder cannot be created.
    """
    info = clip.info
    sink = SegmentedSink(
        str(job.output),
        job.folder,
        Manifest(identify(job.input), {**settings_of(job, output), **style}),
        (info.width, info.height),
        open_segment=lambda path, last_end: FileSink(path, **output, last_end=last_end, overwrite=True),
        join=partial(_join, job, tracks, clip),
        end_pts=lambda: clip.end_pts,
        first_pts=clip.first_pts,
        segment_s=job.segment_s,
    )
    clip.skip(lambda pts: sink.keeps(pts, clip.time_base))
    return sink


def settings_of(job: VideoJob, output: Mapping[str, Any]) -> dict[str, Any]:
    """Return everything that the frames of an output depend on."""
    names = ("strength", "scale", "colours", "start", "end", "crf", "preset", "video_stream", "audio", "segment_s")
    return {
        **{name: getattr(job, name) for name in names},
        **describe_masks(job.only, job.masks),
        **({"faces": job.faces} if job.faces else {}),  # jobs without it can be resumed by older versions
        **describe_modulation(job.modulate),
        "height": job.even_height,
        "codec": output["codec"],
        "bit rate": output["bits"],
        "rtstyle": rtstyle.__version__,
        "PyAV": av.__version__,
    }


def _join(job: VideoJob, tracks: TrackSource, clip: FileSource, segments: Sequence[Segment], trial: bool) -> list[str]:
    return join(job.output, job.folder, segments, tracks, clip.time_base, clip.info.fps, trial=trial)


def _side_data(job: VideoJob) -> VideoSideData:
    container = open_input(job.input)
    try:
        return VideoSideData.of(video_stream(container, job.input, job.video_stream))
    finally:
        container.close()
