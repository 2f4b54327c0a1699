"""The functions of ``import rtstyle``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypedDict, Unpack

import engines
from engines.wrapper import EngineWrapper
from rtstyle import style_library
from rtstyle.defaults import DEFAULT_STYLE
from rtstyle.style_library import StyleEntry

if TYPE_CHECKING:
    from engines.base import Engine
    from rtstyle.jobs.batch import VideoBatch, VideoFailure
    from rtstyle.video import VideoProgress, VideoReport
    from rtstyle.video_job import VideoJob


class LoadedEngine(EngineWrapper):
    """An engine that closes itself at the end of a ``with`` block; see ``engines.base.Engine``."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def load(style: str | Path = DEFAULT_STYLE, engine: str = "auto", *, threads: int | None = None) -> LoadedEngine:
    """Load a style into an engine that stylizes pictures.

    ::

        with rtstyle.load("vangogh") as engine:
            painting = engine(photo, strength=0.8, colours=0.5)
            part = engine(photo, strength=mask)  # float32, (height, width), 0 … 1

    Pictures are uint8 RGB arrays of shape (height, width, 3). The first one of each size takes longer.

    Args:
        style: a name from ``rtstyle.styles()``, the folder of your own style, or a mix like ``vangogh:0.6+wave:0.4``.
        engine: ``auto`` takes the fastest that works here; see ``engines.NAMES``.
        threads: for arithmetic on the CPU; ``None`` takes every core.

    Returns:
        the engine. Call ``close`` if you do not use ``with``.

    Raises:
        StyleError: there is no such style, it is damaged, or the styles do not mix.
        EngineError: there is no such engine, or it cannot run here.
    """
    return LoadedEngine(engines.load(style_library.open_style(str(style)), engine, threads=threads))


def styles() -> list[StyleEntry]:
    """Return the styles that come with rtstyle, sorted by name. A damaged one has a ``fault``."""
    return style_library.installed()


class VideoSettings(TypedDict, total=False):
    """Settings of ``stylize_video`` and ``stylize_videos``; each has a default.

    Attributes:
        strength: 0 leaves the video as it is, 1 is the full style.
        scale: size of the brush strokes, 0.5 to 2.
        colours: 0 takes the colours of the style, 1 keeps those of the video.
        only: ``all``, or stylize only the ``person``, the ``background`` or ``faces``.
        faces: how much of the style is taken from faces, 0 to 1.
        mask: picture or clip, white where the style shows.
        inside: strength where masks let the style show, 0 to 1; ``strength`` multiplies it.
        outside: strength elsewhere, 0 to 1.
        feather: half the width of the soft border of masks, pixels.
        height: of the output, pixels; ``None`` keeps the size.
        start: first second of the input to use.
        end: last second of the input to use.
        video_stream: which video stream of the input, from 1; ``None`` for the film.
        codec: ``h264``, ``hevc``, ``av1``, ``vp9``, ``prores`` or ``ffv1``; ``None`` chooses by the name of the output.
        crf: quality of the encoder; lower looks better and makes a larger file.
        preset: speed of the encoder, for example ``slow``.
        encoder: what encodes: ``software``, ``auto``, ``nvenc``, ``qsv``, ``amf`` or ``videotoolbox``.
        bits: bits per second of the pictures, instead of ``crf``.
        target_bytes: largest size of the output, instead of ``crf`` and ``bits``.
        hwaccel: what decodes: ``none``, ``auto``, ``cuda``, ``vaapi``, ``qsv``, ``videotoolbox`` or ``d3d11va``.
        audio: False leaves the sound out.
        overwrite: replace an existing output.
        resume: go on with an interrupted run of the same settings, if there is one.
        segment_s: length of the segments that an interrupted run keeps, seconds; 0 writes in one piece.
        job_dir: folder of the segments; ``None`` for one beside the output.
        fps: rate of numbered pictures or raw video, frames per second; ``None`` for 25.
        size: (width, height) of raw video on standard input.
        modulate: settings that move by the time or the sound of the video, like ``["strength=beat 0.3..1"]``; ``mix``
            takes a style of two, like ``vangogh+wave``.
        pipe_format: ``y4m`` or ``rawvideo``, for ``-`` as input or output.
    """

    strength: float
    scale: float
    colours: float
    only: str
    faces: float
    mask: str | Path | None
    inside: float
    outside: float
    feather: float
    height: int | None
    start: float | None
    end: float | None
    video_stream: int | None
    codec: str | None
    crf: int | None
    preset: str | None
    encoder: str
    bits: int | None
    target_bytes: int | None
    hwaccel: str
    audio: bool
    overwrite: bool
    resume: bool
    segment_s: float
    job_dir: Path | None
    fps: float | None
    size: tuple[int, int] | None
    pipe_format: str | None
    modulate: Sequence[str]


def stylize_video(
    input: str | Path,  # noqa: A002  # the name that a caller expects
    output: str | Path,
    style: str | Path = DEFAULT_STYLE,
    *,
    engine: str = "auto",
    threads: int | None = None,
    on_progress: Callable[[VideoProgress], None] | None = None,
    **settings: Unpack[VideoSettings],
) -> VideoReport:
    """Stylize a video file and return a report; sound, subtitles, timing, rotation and colours are kept.

    Args:
        input: file or URL, numbered pictures as in ``frames/%06d.png``, or ``-`` for standard input.
        output: file that appears when it is complete: ``.mp4``, ``.m4v``, ``.mov``, ``.mkv`` or ``.webm``, or ``.gif``,
            ``.webp`` or ``.apng``; numbered pictures; or ``-`` for standard output.
        style: as in ``load``.
        engine: as in ``load``.
        threads: as in ``load``.
        on_progress: called after each frame.
        settings: see ``VideoSettings``.

    Raises:
        ConfigError: settings are wrong; every error is named.
        SourceError: the input cannot be read.
        SinkError: the output cannot be written.
        StyleError: there is no such style, or it is damaged.
        EngineError: there is no such engine, or it cannot run here.
    """
    from rtstyle import video

    job = video.VideoJob(str(input), Path(output), **settings)
    made_by = style_library.identify(str(style), engine)
    start_engine = _starter(style, engine, threads, job.modulate)
    return video.stylize_video(job, start_engine, on_progress=on_progress, made_by=made_by)


def stylize_videos(
    inputs: str | Path | Sequence[str | Path],
    folder: str | Path,
    style: str | Path = DEFAULT_STYLE,
    *,
    engine: str = "auto",
    threads: int | None = None,
    container: str | None = None,
    on_progress: Callable[[VideoJob, VideoProgress], None] | None = None,
    **settings: Unpack[VideoSettings],
) -> Iterator[VideoReport | VideoFailure]:
    """Stylize many videos into a folder with one engine, and yield a report or a failure for each.

    Those that an earlier call has finished with the same settings are skipped, and interrupted ones are resumed.

    Args:
        inputs: files, folders with what is below them, patterns like ``*.mp4``, or URLs.
        folder: created if it does not exist; the tree of an input folder is kept below it.
        style: as in ``load``.
        engine: as in ``load``.
        threads: as in ``load``.
        container: ``mp4``, ``mkv``, ``mov`` or ``webm``; ``None`` keeps the type of the input, or takes ``mp4``.
        on_progress: called after each frame.
        settings: see ``VideoSettings``; ``overwrite`` replaces files that were made otherwise.

    Returns:
        an iterator; a video is stylized when its report is asked for.

    Raises:
        ConfigError: settings are wrong, or another process is writing into the folder.
        SourceError: an input does not exist, or there is nothing to stylize.
        SinkError: two outputs would have the same name, or the disk is full.
        StyleError: there is no such style, or it is damaged.
        EngineError: there is no such engine, it cannot run here, or it failed.
    """
    from rtstyle.jobs.batch import VideoBatch
    from rtstyle.video_job import VideoJob

    names = [str(name) for name in ([inputs] if isinstance(inputs, str | Path) else inputs)]
    made_by = style_library.identify(str(style), engine)
    job = VideoJob("", Path(folder), **settings)
    batch = VideoBatch(names, Path(folder), job, container=container, made_by=made_by)
    return _results(batch, _starter(style, engine, threads, job.modulate), on_progress)


def _starter(style: str | Path, name: str, threads: int | None, modulate: Sequence[str]) -> Callable[[], Engine]:
    """Return what starts the engine of a style, or of a mix that moves."""
    from rtstyle.mix_engine import mix_loader
    from rtstyle.modulation import moves_mix

    if not moves_mix(modulate):
        return partial(load, style, name, threads=threads)

    def load_one(mix: str) -> Engine:
        return engines.load(style_library.open_style(mix), name, threads=threads, shared=True)

    return mix_loader(load_one, str(style))


def _results(
    batch: VideoBatch,
    load_engine: Callable[[], Engine],
    on_progress: Callable[[VideoJob, VideoProgress], None] | None,
) -> Iterator[VideoReport | VideoFailure]:
    with batch:
        yield from batch.run(load_engine, on_progress=on_progress)
