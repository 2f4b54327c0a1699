"""Join the segments of a video by copying their packets, and add the other tracks of the clip."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
from av import Packet
from av.video.stream import VideoStream

from engines.atomic_write import hidden_name, link_target
from rtstyle.jobs.manifest import Segment
from rtstyle.media.codecs import choose
from rtstyle.sinks.output_path import OutputPath, write_errors
from rtstyle.sinks.track import TrackSource
from rtstyle.sinks.track_remuxer import TrackRemuxer
from rtstyle.sources.timestamps import FALLBACK_FPS


def join(
    output: Path,
    folder: Path,
    segments: Sequence[Segment],
    tracks: TrackSource,
    time_base: Fraction,
    fps: Fraction,
    *,
    trial: bool = False,
) -> list[str]:
    """Write the output of a job; it appears under its name when it is complete.

    Args:
        output: file to write; an existing one is replaced.
        folder: of the job.
        segments: all of them, in order.
        tracks: clip whose other tracks and metadata are copied.
        time_base: seconds per unit of the segments' times.
        fps: nominal frames per second; 0 if unknown.
        trial: write the beginnings of all tracks, and discard the file.

    Returns:
        what could not be copied as it is, one line each.

    Raises:
        SinkError: the output cannot be written.
    """
    kind, _ = choose(output, None)
    with write_errors(output), ExitStack() as stack:
        name = hidden_name(output.stem, f".rtstyle-joined{output.suffix}")
        file = OutputPath(output, part=link_target(output).with_name(name))
        stack.callback(file.discard)
        muxer = av.open(f"file:{file.path}", "w", format=kind.format, container_options=dict(kind.options))
        stack.callback(_close, muxer)
        stack.callback(file.discard)  # before closing, which would reorder a whole MP4 in vain
        remuxer = TrackRemuxer(tracks, muxer, kind)
        stack.callback(remuxer.close)
        with av.open(f"file:{folder / segments[0].name}") as first:
            video = _add_video(muxer, first.streams.video[0], fps)
            unit_s = cast("Fraction", video.time_base)
            remuxer.add_tracks(video)
            muxer.start_encoding()
        for packet in joined_packets(folder, segments, unit_s, tracks.origin_s, time_base, fps):
            packet.stream = video
            time_s = (packet.pts or 0) * unit_s + tracks.origin_s
            muxer.mux(packet)
            remuxer.write_until(time_s)
        if not trial:
            remuxer.finish()
        muxer.close()
        if not trial:
            file.publish(durable=True)
        return remuxer.warnings


def joined_packets(
    folder: Path,
    segments: Sequence[Segment],
    unit_s: Fraction,
    origin_s: Fraction,
    time_base: Fraction,
    fps: Fraction,
) -> Iterator[Packet[VideoStream]]:
    """Yield the packets of all segments with their times in the whole video.

    A frame must be decoded before it is shown: with a reordering of d frames, packet i is decoded when frame i − d of
    the video is shown, across the segments, as in a video that was encoded in one piece.

    Args:
        folder: of the job.
        segments: all of them, in order.
        unit_s: seconds per unit of the packets' times.
        origin_s: time of the clip that becomes 0, seconds.
        time_base: seconds per unit of the segments' ``start_pts``.
        fps: nominal frames per second; 0 if unknown.
    """
    depth = max(segment.reorder for segment in segments)
    shown: deque[int] = deque()
    for segment in segments:
        shift = round((segment.start_pts * time_base - origin_s) / unit_s)
        path = folder / segment.name
        times = sorted(shift + time for time in _times(path, unit_s))
        if not shown:
            step = max(1, round(1 / (fps or FALLBACK_FPS) / unit_s))
            shown.extend(times[0] - step * before for before in range(depth, 0, -1))
        shown.extend(times)
        with av.open(f"file:{path}") as file:
            for packet in file.demux(video=0):
                if packet.size:
                    scale = packet.time_base / unit_s
                    packet.pts = shift + round((packet.pts or 0) * scale)
                    packet.duration = round((packet.duration or 0) * scale)
                    packet.dts, packet.time_base = shown.popleft(), unit_s
                    yield packet


def reorder_depth(path: Path) -> tuple[int, int]:
    """Return how many frames a file has, and how many of them a decoder must hold back to show them in order."""
    times = _times(path)
    shown = sorted(times)
    return len(times), max((place - bisect_left(shown, pts) for place, pts in enumerate(times)), default=0)


def _times(path: Path, unit_s: Fraction | None = None) -> list[int]:
    """Return the times of a file's frames in the order of decoding, in its own units or in those given."""
    with av.open(f"file:{path}") as file:
        scale = 1 if unit_s is None else cast("Fraction", file.streams.video[0].time_base) / unit_s
        return [round((packet.pts or 0) * scale) for packet in file.demux(video=0) if packet.size]


def _add_video(muxer: av.container.OutputContainer, template: VideoStream, fps: Fraction) -> VideoStream:
    video = muxer.add_stream_from_template(template, opaque=True)
    video.time_base = template.time_base
    if fps:  # Matroska states it, and MP4 needs it for a timecode
        video.codec_context.framerate = fps
    if template.codec_context.name == "hevc" and muxer.format.name in ("mp4", "mov"):
        video.codec_context.codec_tag = "hvc1"  # Apple's players refuse the default tag, hev1
    return video


def _close(muxer: av.container.OutputContainer) -> None:
    with suppress(av.FFmpegError, OSError, ValueError):
        muxer.close()
