"""A look at a few stills before hours of work, with the time and the size that the whole clip will take."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import numpy as np

from engines.base import Engine, PipelinedEngine, check_size
from engines.errors import ConfigError, SourceError
from rtstyle.clip_length import ClipLength, clip_length
from rtstyle.frame import Frame, SourceInfo
from rtstyle.masks.strength_maps import StrengthMaps
from rtstyle.media.codecs import choose
from rtstyle.media.contact_sheet import Still, contact_sheet
from rtstyle.media.image_files import write_picture
from rtstyle.media.urls import is_url
from rtstyle.pipeline import run
from rtstyle.progress import clock
from rtstyle.sinks.file import FileSink
from rtstyle.sinks.track_sizes import frame_overhead, track_bytes
from rtstyle.sources.base import Source
from rtstyle.sources.file import FileSource
from rtstyle.sources.timestamps import FALLBACK_FPS
from rtstyle.stats import Stats
from rtstyle.stroke_scale import check_scale, stylize, submit
from rtstyle.target_size import bits_for_size
from rtstyle.video_ends import open_clip, sink_settings, track_source
from rtstyle.video_job import PIPE, VideoJob

SUFFIX = ".preview.jpg"
"""Ending of the sheet, in place of the output's own."""

SAMPLES, SAMPLE_S, SAMPLE_FRAMES = 9, 1.0, (8, 30)
"""Parts of the clip that are stylized and encoded to measure time and size: how many, and how long, in seconds and in
fewest and most frames. Three longer ones are 80 % off where a street is empty most of the time."""

MEASURING_S = 20.0
"""How long all of them may take together; on slow machines they are shorter, but for the fewest frames."""

KEYFRAME_EVERY = 250
"""Frames between two keyframes, as encoders place them by default in a scene without cuts."""


@dataclass(frozen=True)
class Preview:
    """What the whole clip will take.

    Attributes:
        sheet: the picture with the stills.
        times_s: of the stills, seconds from the beginning of the clip.
        width, height: of the output, pixels.
        frames: of the whole; ``None`` if the clip does not say how long it is.
        fps: frames that this machine stylizes and encodes per second.
        seconds: that the whole will take.
        bytes: size of the output.
        bytes_per_frame: of the pictures alone.
    """

    sheet: Path
    times_s: tuple[float, ...]
    width: int
    height: int
    frames: int | None
    fps: float
    seconds: float | None
    bytes: int | None
    bytes_per_frame: float


@dataclass(frozen=True)
class _Sample:
    """How long it took to stylize and encode some frames, and their sizes, bytes."""

    seconds: float
    sizes: tuple[int, ...]


def preview(
    job: VideoJob, load_engine: Callable[[], Engine], stills: int, *, pattern: Callable[[float | None], Source] | None
) -> Preview:
    """Stylize stills spread over a clip into one picture beside the output, and measure what the rest will take.

    Args:
        job: what would be done; it is checked as if it were.
        load_engine: called once; the engine is closed at the end.
        stills: how many; fewer if the clip has fewer frames, or one if it does not say how long it is.
        pattern: opens the source to use instead of ``job.input`` from a time on, or all of it; ``None`` opens the file.

    Raises:
        StylerError: as ``stylize_video``.
        SinkError: the picture cannot be written.
    """
    if PIPE in (job.input, str(job.output)) or not job.is_video_file:
        raise ConfigError("a preview is for files", hint="give a clip, and the name of a video file to write")
    job.check(named_input=pattern is None)
    whole = _open(job, pattern, None)
    try:
        info, sound = whole.info, 0
        check_size(info.height, info.width)
        check_scale(job.scale, info.height, info.width)
        length = clip_length(job, info)
        if length and isinstance(whole, FileSource):
            kind = choose(job.output, job.codec)[0]
            sound = track_bytes(track_source(job, whole), kind, length.seconds, exact=False)
        if job.target_bytes is not None:
            bits = bits_for_size(job, whole, track_source(job, whole) if isinstance(whole, FileSource) else None)
            job = replace(job, bits=bits, target_bytes=None)
    finally:
        whole.close()
    engine = load_engine()
    try:
        # The stills also prepare the engine for the size.
        with closing(StrengthMaps(job.controls(), whole)) as maps:
            clips = _clips(job, pattern, _offsets(length, stills), length)
            shown = dict(_still(job, engine, maps, clip) for clip in clips)
        if isinstance(engine, PipelinedEngine):  # for clips it compiles what stills do not need
            submit(engine, np.zeros((info.height, info.width, 3), np.uint8), scale=job.scale).result()
        samples = _samples(job, engine, pattern, length)
    finally:
        engine.close()
    sheet = job.output.with_suffix(SUFFIX)
    write_picture(sheet, contact_sheet(list(shown.values())))
    found = Preview(sheet, tuple(shown), info.width, info.height, None, 0.0, None, None, 0.0)
    return _estimate(found, job, length, sound, samples)


def describe(found: Preview) -> str:
    """Return the expected time and size as a sentence."""
    if found.frames is None or found.seconds is None or found.bytes is None:
        size = f"about {_size(found.bytes_per_frame * 1000)} for every 1 000 frames"
        return f"the clip does not say how long it is: {found.fps:.1f} fps, {size}"
    frames = f"{found.frames:,} frame{'' if found.frames == 1 else 's'}".replace(",", " ")
    return (
        f"the whole clip: {frames}, about {_duration(found.seconds)} at {found.fps:.1f} fps, about {_size(found.bytes)}"
    )


def _open(job: VideoJob, pattern: Callable[[float | None], Source] | None, offset_s: float | None) -> Source:
    """Open the clip from some seconds after the beginning of the part to stylize; ``None`` for all of it."""
    if pattern is not None:
        return pattern(offset_s)
    return open_clip(job if offset_s is None else replace(job, start=(job.start or 0.0) + offset_s))


def _offsets(length: ClipLength | None, count: int) -> list[float | None]:
    """Return where to open the clip for frames in the middle of equal parts of it, seconds; ``None`` for the start."""
    if length is None:
        return [None]
    count = min(count, length.frames)
    places = (int((number + 0.5) * length.frames / count) for number in range(count))
    # Half a frame early: times are rounded.
    return [max(0.0, place - 0.5) * length.seconds / length.frames for place in places]


def _clips(
    job: VideoJob,
    pattern: Callable[[float | None], Source] | None,
    offsets: list[float | None],
    length: ClipLength | None,
) -> Iterator[Source]:
    """Open the clip at each of some places, and close it after use; one at least."""
    timed = length is None or length.timed
    for number, offset_s in enumerate(offsets):
        try:
            clip = _open(job, pattern, offset_s if timed else None)
        except SourceError:
            if number:  # the clip is shorter than it says
                return
            clip = _open(job, pattern, None)
        if length and not timed and offset_s is not None and isinstance(clip, FileSource):
            clip.skip_first(math.ceil(offset_s * length.frames / length.seconds))
        try:
            yield clip
        finally:
            clip.close()


def _still(job: VideoJob, engine: Engine, maps: StrengthMaps, clip: Source) -> tuple[float, Still]:
    """Stylize the first frame; return its time, seconds from the beginning of the clip, and both pictures."""
    first = next(iter(clip.frames()), None)
    if first is None:
        raise SourceError(f"no picture in {clip.info.name} can be decoded")
    time_s = float(first.pts * first.time_base - (clip.begin_s if isinstance(clip, FileSource) else 0))
    strength = maps.of_picture(first.rgb, time_s)
    return time_s, Still(_label(time_s), (first.rgb, stylize(engine, first.rgb, strength, job.scale, job.colours)))


def _samples(
    job: VideoJob, engine: Engine, pattern: Callable[[float | None], Source] | None, length: ClipLength | None
) -> list[_Sample]:
    """Stylize parts of the clip as the whole will be; all of it if it is short."""
    least, most = SAMPLE_FRAMES
    offsets: list[float | None] = [None]
    if length is None or not length.timed or length.frames <= 2 * most:
        least = most = 2 * most
    else:
        offsets = _offsets(length, min(SAMPLES, length.frames // most))
    samples = []
    with TemporaryDirectory(prefix="rtstyle-preview-") as folder:
        path = Path(folder, f"sample{job.output.suffix}")
        for clip in _clips(job, pattern, offsets, length):
            frames = max(least, min(most, round(SAMPLE_S * float(clip.info.fps or FALLBACK_FPS))))
            sink = FileSink(path, **sink_settings(job, clip), overwrite=True)
            excerpt = _Excerpt(clip, least, frames, MEASURING_S / len(offsets))
            start_s = time.monotonic()
            run(excerpt, engine, sink, job.controls(), Stats())
            seconds = time.monotonic() - start_s
            with av.open(str(path)) as file:
                samples.append(_Sample(seconds, tuple(packet.size for packet in file.demux(video=0) if packet.size)))
    return samples


class _Excerpt:
    """The first frames of a source.

    Args:
        clip: open; closed with this.
        least, most: how many.
        limit_s: after so many seconds there are not more than the least.
    """

    def __init__(self, clip: Source, least: int, most: int, limit_s: float) -> None:
        self._clip, self._least, self._most, self._limit_s = clip, least, most, limit_s

    @property
    def info(self) -> SourceInfo:
        return self._clip.info

    def frames(self) -> Iterator[Frame]:
        end_s = time.monotonic() + self._limit_s
        for number, frame in enumerate(islice(self._clip.frames(), self._most)):
            if number >= self._least and time.monotonic() > end_s:
                return
            yield frame

    def close(self) -> None:
        self._clip.close()


def _estimate(found: Preview, job: VideoJob, length: ClipLength | None, sound: int, samples: list[_Sample]) -> Preview:
    fps = sum(len(sample.sizes) for sample in samples) / sum(sample.seconds for sample in samples)
    keys = [sample.sizes[0] for sample in samples]
    others = [size for sample in samples for size in sample.sizes[1:]] or keys
    key, other = sum(keys) / len(keys), sum(others) / len(others)
    overhead = frame_overhead(choose(job.output, job.codec)[0])
    found = replace(found, fps=fps, bytes_per_frame=other + overhead)
    if length is None:
        return found
    segment_s = (0 if is_url(job.input) else job.segment_s) or length.seconds
    pieces = max(1, math.ceil(length.seconds / segment_s))
    key_count = min(length.frames, pieces * math.ceil(length.frames / pieces / KEYFRAME_EVERY))
    pictures = key_count * key + (length.frames - key_count) * other
    if job.bits is not None:
        pictures = job.bits * length.seconds / 8
    size = pictures + length.frames * overhead + sound
    return replace(found, frames=length.frames, seconds=length.frames / fps, bytes=round(size))


def _label(seconds: float) -> str:
    """Return a time like 1:02.4."""
    tenths = max(0, int(10 * seconds))
    return f"{clock(tenths // 10)}.{tenths % 10}"


def _duration(seconds: float) -> str:
    """Return e.g. ``40 s``, ``9 min`` or ``2 h 5 min``."""
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


def _size(count: float) -> str:
    """Return bytes as people read them, e.g. ``84 MB``."""
    for unit, step in (("GB", 1e9), ("MB", 1e6)):
        if count >= step:
            return f"{count / step:.2g} {unit}" if count < 10 * step else f"{count / step:.0f} {unit}"
    return f"{max(1, round(count / 1000))} kB"
