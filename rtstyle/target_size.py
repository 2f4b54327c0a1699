"""Bit rate of the pictures for a file of a wanted size."""

from __future__ import annotations

import math

from engines.errors import ConfigError
from rtstyle.clip_length import clip_length
from rtstyle.media.codecs import choose
from rtstyle.media.urls import is_url
from rtstyle.sinks.live_encoder import bit_rate
from rtstyle.sinks.track import TrackSource
from rtstyle.sinks.track_sizes import frame_overhead, track_bytes
from rtstyle.sources.base import Source
from rtstyle.video_job import VideoJob

LEAST_SHARE = 1 / 20
"""Less than this share of a good live stream's bit rate is not a picture any more."""

MOST_BITS_PER_PIXEL = 12
"""More than this many bits for each pixel of a frame serve no purpose: it is what the raw picture has."""

LESS = {"av1": 0.96}
"""Codec → share of the bit rate that is asked for, where the encoder only keeps it on average."""

AHEAD_S = 0.5
"""An encoder may be this far ahead of its bit rate at the end of a piece: its buffer holds a second."""


def bits_for_size(job: VideoJob, clip: Source, tracks: TrackSource | None) -> int:
    """Return bits per second so that the output, with sound and container, is just smaller than ``job.target_bytes``.

    Raises:
        ConfigError: the length of the clip is unknown, or the size too small for it.
    """
    assert job.target_bytes is not None
    info, (kind, codec) = clip.info, choose(job.output, job.codec)
    length = clip_length(job, info)
    if length is None:
        raise ConfigError(
            f"{info.name} does not say how long it is",
            hint="give --bitrate instead of --target-size (in Python: bits, target_bytes)",
        )
    exact = not is_url(job.input)
    beside = length.frames * frame_overhead(kind)
    beside += track_bytes(tracks, kind, length.seconds, exact=exact) if tracks else 1000
    pieces = max(1, math.ceil(length.seconds / job.segment_s)) if job.segment_s and exact else 1
    seconds = length.seconds + AHEAD_S * pieces
    fps = max(1, round(length.frames / length.seconds))
    least = LEAST_SHARE * bit_rate(info.width, info.height, fps)
    bits = 8 * (job.target_bytes - beside) / seconds
    if bits < least:
        smallest = math.ceil((beside + least * seconds / 8) / 100_000) / 10
        size = f"{job.target_bytes / 1e6:g} MB" if job.target_bytes >= 10_000 else f"{job.target_bytes} bytes"
        problem = f"{size} are too little for {length.seconds:.0f} s of {info.width}×{info.height}"
        raise ConfigError(problem, hint=f"give at least {smallest:g}MB, or a smaller --height (in Python: height)")
    return round(LESS.get(codec.name, 1.0) * min(bits, MOST_BITS_PER_PIXEL * info.width * info.height * fps, 1e9))
