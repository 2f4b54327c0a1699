"""A clip's output in segments: which clips are cut, and what belongs to each segment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import av

import rtstyle
from rtstyle.frame import Frame
from rtstyle.jobs.join import join
from rtstyle.jobs.manifest import Manifest, identify
from rtstyle.jobs.segmented_sink import SegmentedSink
from rtstyle.media.codecs import choose
from rtstyle.media.container import open_input, video_stream
from rtstyle.sinks.file import FileSink
from rtstyle.sinks.output_path import write_errors
from rtstyle.sinks.track import TrackSource
from rtstyle.sinks.video_side_data import VideoSideData
from rtstyle.sources.file import FileSource
from rtstyle.video_job import VideoJob


def needs_segments(job: VideoJob, clip: FileSource) -> bool:
    """Return True if a clip is longer than a segment, may be longer, or has been begun in segments."""
    if not job.segment_s:
        return False
    count, fps = clip.info.frame_count, clip.info.fps
    return not (count and fps) or count > job.segment_s * fps or Manifest.exists(job.folder)


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
    codec = choose(job.output, job.codec)[1].name
    info = clip.info
    sink = SegmentedSink(
        str(job.output),
        job.folder,
        Manifest(identify(job.input), {**_settings(job, codec), **style}),
        (info.width, info.height),
        try_output=partial(_try_output, job, {**output, "codec": codec, "tracks": tracks}),
        open_segment=lambda path, last_end: FileSink(
            path, **output, codec=codec, side_data=_side_data(job), last_end=last_end, overwrite=True
        ),
        join=lambda segments: join(job.output, job.folder, segments, tracks, clip.time_base),
        end_pts=lambda: clip.end_pts,
        segment_s=job.segment_s,
    )
    clip.skip(sink.kept_frames)
    return sink


def _settings(job: VideoJob, codec: str) -> dict[str, Any]:
    """Return everything that the frames of a segment depend on."""
    names = ("strength", "scale", "start", "end", "crf", "preset", "video_stream", "segment_s")
    return {
        **{name: getattr(job, name) for name in names},
        "height": job.even_height,
        "codec": codec,
        "rtstyle": rtstyle.__version__,
        "PyAV": av.__version__,
    }


def _try_output(job: VideoJob, settings: Mapping[str, Any], frame: Frame) -> None:
    """Write one frame as the output would be written: what its container refuses must not show after hours."""
    path = job.folder / f"trial{job.output.suffix}"
    with write_errors(job.output):
        sink = FileSink(path, **settings, overwrite=True)
        try:
            tracks = settings["tracks"]
            sink.write(replace(frame, pts=round((tracks.start_s or tracks.origin_s) / frame.time_base)))
        finally:
            sink.close(completed=False)


def _side_data(job: VideoJob) -> VideoSideData:
    container = open_input(job.input)
    try:
        return VideoSideData.of(video_stream(container, job.input, job.video_stream))
    finally:
        container.close()
