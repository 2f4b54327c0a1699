"""Which frames belong to each segment of a clip, and from where they can be decoded, found without decoding."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby, pairwise

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from rtstyle.jobs.segmented_sink import segment_number
from rtstyle.media.container import demux, open_input, video_stream
from rtstyle.sources.file import FileSource
from rtstyle.sources.frame_loss import FrameLoss
from rtstyle.sources.timestamps import exact_seconds
from rtstyle.video_job import VideoJob

_MARGIN = 1
"""Key frames to go back before the last one: pictures around an open one, and after one that refreshes the picture
bit by bit, depend on what was before it."""


@dataclass(frozen=True)
class Key:
    """A key frame: when it is decoded, as far as the file tells, and shown, in units of the stream."""

    dts: int
    pts: int


@dataclass(frozen=True)
class PlannedSegment:
    """A segment to make.

    Attributes:
        number: of the segment in the clip.
        times: of its frames, in units of the stream, in order.
        next_pts: time of the first frame after it; ``None`` for the last segment.
        key: where to begin decoding; ``None`` for the beginning of the clip.
    """

    number: int
    times: tuple[int, ...]
    next_pts: int | None
    key: Key | None


@dataclass(frozen=True)
class Plan:
    """The segments of a clip by number, and how many of its frames are missing from the file."""

    segments: Mapping[int, PlannedSegment]
    frames_lost: int


def plan(job: VideoJob, clip: FileSource) -> Plan | None:
    """Return the plan of a clip, or ``None`` if its segments can only be made one after another.

    So it is where seeking is unreliable, times are missing, repeated or guessed, pictures are interlaced, or the file
    is damaged.

    Args:
        job: what to do.
        clip: open.
    """
    with closing(open_input(job.input)) as container:
        stream = video_stream(container, job.input, job.video_stream)
        if not clip.may_seek or stream.time_base != clip.time_base:
            return None
        loss = FrameLoss(container, stream, whole=job.start is None and job.end is None)
        try:
            listed, keys = _list(container, stream, loss)
        except (av.FFmpegError, OSError, ValueError):
            return None
        frames_lost = loss.count()
    times = _delivered(listed, job, clip)
    if not times or times[0] != clip.first_pts or any(a == b for a, b in pairwise(times)):
        return None
    segments = {one.number: one for one in _cut(times, keys, clip.time_base, job.segment_s)}
    return Plan(segments, frames_lost)


def _list(container: InputContainer, stream: VideoStream, loss: FrameLoss) -> tuple[list[int], list[Key]]:
    """Return the times of all frames and the key frames, in the order in which they are shown.

    Raises:
        ValueError: a packet has no time, or is damaged.
    """
    times, keys = list[int](), list[Key]()
    for packet in demux(container, *loss.streams_to_watch(container)):
        loss.packet(packet)
        if packet.stream.index != stream.index or not packet.size:
            continue
        if packet.pts is None or packet.is_corrupt:
            raise ValueError(packet)
        if packet.is_keyframe:
            keys.append(Key(packet.pts if packet.dts is None else packet.dts, packet.pts))
        if not packet.is_discard:
            times.append(packet.pts)
    loss.pictures = len(times)
    return sorted(times), sorted(keys, key=lambda key: key.pts)


def _delivered(times: Sequence[int], job: VideoJob, clip: FileSource) -> list[int]:
    """Return the times from the first frame to the end of the part to stylize."""
    end_s = exact_seconds(job.end)
    return [
        time
        for time in times
        if time >= clip.first_pts and (end_s is None or time * clip.time_base - clip.begin_s < end_s)
    ]


def _cut(times: Sequence[int], keys: Sequence[Key], unit_s: Fraction, segment_s: float) -> Iterator[PlannedSegment]:
    shown = [key.pts for key in keys]
    done = 0
    for number, group in groupby(times, lambda time: segment_number(time, times[0], unit_s, segment_s)):
        own = tuple(group)
        done += len(own)
        index = bisect_right(shown, own[0]) - 1 - _MARGIN
        next_pts = times[done] if done < len(times) else None
        yield PlannedSegment(number, own, next_pts, keys[index] if index >= 0 else None)
