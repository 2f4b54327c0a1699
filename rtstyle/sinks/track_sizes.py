"""How much room the tracks beside the stylized video take in the output."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import cast

import av
from av.video.stream import VideoStream

from rtstyle.media.codecs import Container
from rtstyle.sinks.muxer_trial import Nowhere
from rtstyle.sinks.track import TrackSource
from rtstyle.sinks.track_remuxer import TrackRemuxer

SAMPLE_S = 10
"""Length of the part that is written to find the rate, seconds."""


def frame_overhead(kind: Container) -> int:
    """Return how many bytes a container adds to each frame at most, measured beside sound of 40 packets a second."""
    return 36 if kind.format in ("mp4", "mov") else 10


def track_bytes(clip: TrackSource, kind: Container, seconds: float, *, exact: bool) -> int:
    """Return the size of a file with everything but the pictures: sound, subtitles, fonts, covers and metadata.

    The tracks are really written, but to nowhere, so that those that must be re-encoded have their new size.

    Args:
        clip: what is copied.
        kind: container of the output.
        seconds: length of the output.
        exact: write all of the tracks, which reads the whole clip; otherwise the first seconds say what follows.

    Raises:
        SourceError: the clip cannot be opened a second time.
    """
    whole, empty = _written(clip, kind, None if exact else SAMPLE_S), _written(clip, kind, 0)
    if exact or seconds <= SAMPLE_S:
        return whole
    return round(empty + (whole - empty) * seconds / SAMPLE_S)


def _written(clip: TrackSource, kind: Container, seconds: int | None) -> int:
    """Return the bytes of a file with the first seconds of the tracks; ``None`` for all."""
    if seconds is not None:
        end_s = (clip.origin_s if clip.start_s is None else clip.start_s) + seconds
        clip = replace(clip, end_s=end_s if clip.end_s is None else min(end_s, clip.end_s))
    file = Nowhere()
    output = av.open(file, "w", format=kind.format)
    remuxer = TrackRemuxer(clip, output, kind)
    try:
        # Matroska takes VP9 without an encoder's description of it, and QuickTime H.264.
        name = "vp9" if "vp9" in kind.codecs else kind.codecs[0]
        video = cast("VideoStream", output.add_mux_stream(name, rate=25, width=64, height=64))
        remuxer.add_tracks(video)
        output.start_encoding()
        remuxer.finish()
    finally:
        remuxer.close()
        with suppress(av.FFmpegError, ValueError):  # a track of pictures without pictures
            output.close()
    return file.size
