"""How long the part of a clip is that is to be stylized, in frames and seconds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import av
from av import Packet
from av.stream import Stream

from engines.base import MIN_SIDE
from rtstyle.frame import SourceInfo
from rtstyle.media.container import demux, open_input, video_stream
from rtstyle.media.urls import is_url
from rtstyle.sources.animated_webp import AnimatedWebpSource, is_animated_webp
from rtstyle.sources.timestamps import FALLBACK_FPS
from rtstyle.video_job import VideoJob


@dataclass(frozen=True)
class ClipLength:
    """Frames and seconds of the part to stylize; a raw stream is not ``timed``, and has no times to seek by."""

    frames: int
    seconds: float
    timed: bool = True


def clip_length(job: VideoJob, info: SourceInfo) -> ClipLength | None:
    """Return the length of the part to stylize; ``None`` if it is unknown.

    Files are read, but not decoded: many do not state it correctly.
    """
    fps = float(info.fps or FALLBACK_FPS)
    if is_url(job.input) or not Path(job.input).is_file():
        return ClipLength(info.frame_count, info.frame_count / fps) if info.frame_count else None
    if is_animated_webp(Path(job.input)):
        return _webp_length(job)
    container = open_input(job.input)
    try:
        stream = video_stream(container, job.input, job.video_stream)
        origin_s = (container.start_time or 0) / av.time_base
        first_s, end_s = job.start or 0.0, math.inf if job.end is None else job.end
        times = [_time_s(packet) - origin_s for packet in demux(container, stream) if packet.size]
    finally:
        container.close()
    known = [time_s for time_s in times if first_s <= time_s < end_s]
    if not known:
        return ClipLength(len(times), len(times) / fps, timed=False) if times else None
    return ClipLength(len(known), max(known) - max(first_s, min(known)) + 1 / fps)


def _webp_length(job: VideoJob) -> ClipLength | None:
    """Return the length of an animated WebP, whose times FFmpeg does not read."""
    clip = AnimatedWebpSource(Path(job.input), height=MIN_SIDE, start=job.start, end=job.end)
    frames = [(frame.pts, frame.time_base) for frame in clip.frames()]
    if not frames:
        return None
    first_pts, time_base = frames[0]
    return ClipLength(len(frames), float((clip.end_pts - first_pts) * time_base))


def _time_s(packet: Packet[Stream]) -> float:
    return math.nan if packet.pts is None else float(packet.pts * packet.time_base)
