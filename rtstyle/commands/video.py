"""``rtstyle video``."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import typer

from rtstyle.commands import options
from rtstyle.commands.cluster import Sharing, stylize_on_cluster
from rtstyle.commands.mask_options import Masking
from rtstyle.commands.option_groups import grouped
from rtstyle.commands.video_options import (
    Clips,
    Container,
    Encoding,
    Height,
    NoAudio,
    Output,
    Preview,
    Reading,
    Resuming,
)
from rtstyle.defaults import DEFAULT_STYLE

if TYPE_CHECKING:
    from engines.base import Engine
    from rtstyle.jobs.batch import VideoFailure
    from rtstyle.sources.base import Source
    from rtstyle.video import VideoJob, VideoProgress, VideoReport

logger = logging.getLogger(__name__)

_Share: TypeAlias = "Callable[..., Iterator[VideoReport | VideoFailure]]"
"""Stylizes jobs on a cluster, see ``stylize_on_cluster``."""

PATTERN_S = 10.0
"""Length of the built-in scene as a clip, seconds."""


@grouped
def video(
    ctx: typer.Context,
    clips: Clips,
    output: Output,
    style: options.Style = DEFAULT_STYLE,
    strength: options.Strength = 1.0,
    scale: options.Scale = 1.0,
    colours: options.Colours = 0.0,
    engine: options.EngineName = "auto",
    device: options.Device = None,
    height: Height = None,
    preview: Preview = None,
    *,
    changes: options.ClipChanges,
    modulate: options.Modulate = [],  # noqa: B006  # typer makes a new one
    masking: Masking,
    reading: Reading,
    encoding: Encoding,
    container: Container = None,
    config: options.Config = None,  # noqa: ARG001  # its callback has read it
    overwrite: options.Overwrite = False,
    resuming: Resuming,
    sharing: Sharing,
    no_audio: NoAudio = False,
    threads: options.Threads = None,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Stylize a video file, or many into a folder.

    Sound, subtitles, timing, rotation and colours are kept. Of many clips, one that fails does not stop the others; the
    same command again skips what is finished.

    Examples:
        rtstyle video holiday.mp4 painting.mp4 --style wave --start 0:10 --end 0:20
        rtstyle video holiday.mp4 painting.mp4 --only background --feather 4
        rtstyle video film.mkv film-painted.mkv --height 720 --codec hevc --preview 3
        rtstyle video film.mkv film-painted.mkv --height 720 --codec hevc --resume
        rtstyle video film.mkv film-painted.mkv --cluster studio-a:6379
        rtstyle video holiday paintings/ --container mkv
        rtstyle video frames/%06d.png painting.mp4 --fps 24
        rtstyle video clip.mp4 - | ffmpeg -i - painting.mp4
        rtstyle video clip.mp4 painting.gif --height 240
        rtstyle video song.mp4 painting.mp4 --modulate strength=beat:0.3..1
        rtstyle video pattern painting.mp4 --playlist vangogh,wave,scream --every 5 --glide 2
    """
    from engines.errors import ConfigError
    from rtstyle.jobs.folder_batch import is_batch
    from rtstyle.modulation import moves_mix
    from rtstyle.video import VideoJob

    job = VideoJob(
        clips[0], Path(output), strength, height, overwrite=overwrite, audio=not no_audio, scale=scale, colours=colours,
        modulate=tuple(modulate), **vars(masking), **vars(reading), **vars(encoding), **vars(resuming),
    )  # fmt: skip
    if sharing.cluster and device is not None:
        raise ConfigError("--device is a GPU of this machine", hint="leave it out: Ray gives each worker its own")
    if preview is not None and modulate:
        raise ConfigError("a preview shows settings that stand still", hint="leave out --preview or --modulate")
    first = changes.first(ctx, style)
    load_engine, made_by = _engine(changes, first, engine, threads, preview, sharing, moves_mix(modulate))
    share = partial(stylize_on_cluster, sharing, style, engine, threads, quiet) if sharing.cluster else None
    telling = _Telling(style, quiet=quiet, as_json=as_json)
    many = clips != ["pattern"] and is_batch(clips, output)
    _check_together(many, container, preview, piped=output == "-", as_json=as_json)
    if many:
        _stylize_many(clips, job, container, load_engine, made_by, telling, share)
    elif preview is not None:
        _preview(job, load_engine, preview, telling)
    else:
        _stylize_one(job, load_engine, made_by, telling, share)


def _engine(
    changes: options.Changes,
    style: str,
    engine: str,
    threads: int | None,
    preview: int | None,
    sharing: Sharing,
    mix_moves: bool,
) -> tuple[Callable[[], Engine], dict[str, str]]:
    """Return what loads the engine of a style, or one that follows the playlist, and what identifies its frames."""
    from engines.errors import ConfigError
    from rtstyle.mix_engine import mix_loader
    from rtstyle.playlist import Playlist
    from rtstyle.playlist_engine import PlaylistEngine
    from rtstyle.style_library import identify

    load_one = partial(options.load_engine, name=engine, threads=threads, shared=True)
    if mix_moves:
        if changes.playlist is not None:
            raise ConfigError("a playlist and a mix that moves exclude each other", hint="leave out one of them")
        return mix_loader(load_one, style), identify(style, engine)
    if changes.playlist is None:
        load = partial(options.load_engine, style, engine, threads, build_ahead=preview is None)
        return load, identify(style, engine)
    if sharing.cluster is not None or preview is not None:
        raise ConfigError("a playlist needs one process and the whole clip", hint="leave out --cluster and --preview")
    playlist = Playlist(changes.styles(), changes.every, changes.glide, style)
    styles = [identify(name, engine)["style"] for name in playlist.styles]
    times = f"every {playlist.every:g} s, glide {playlist.glide:g} s"
    if style != playlist.styles[0]:
        times += f", beginning with {identify(style, engine)['style']}"
    return partial(PlaylistEngine, load_one, playlist), {"style": f"{', '.join(styles)}, {times}", "engine": engine}


@dataclass(frozen=True)
class _Telling:
    """What to print, and the style to name in it."""

    style: str
    quiet: bool
    as_json: bool


def _stylize_one(
    job: VideoJob,
    load_engine: Callable[[], Engine],
    made_by: Mapping[str, Any],
    telling: _Telling,
    share: _Share | None,
) -> None:
    from rtstyle.progress import ProgressDisplay
    from rtstyle.video import stylize_video

    with _reporting_interruption(job), ProgressDisplay(Path(job.input).name, quiet=telling.quiet) as bar:

        def show(now: VideoProgress) -> None:
            bar.update(now.frames, now.fps, now.total)

        if share is None:
            source = _pattern(job) if job.input == "pattern" else None
            report = stylize_video(job, load_engine, source=source, on_progress=show, made_by=made_by)
        else:
            report = _shared(job, share, show)
    for warning in report.warnings:
        logger.warning(warning)
    for note in report.notes:
        logger.info(note)
    if telling.as_json:
        options.print_json({"style": telling.style, **report.to_dict()})
    elif not telling.quiet:
        typer.echo(_summary(report), err=True)


def _shared(job: VideoJob, share: _Share, show: Callable[[VideoProgress], None]) -> VideoReport:
    """Stylize one clip on a cluster."""
    from engines.errors import ConfigError
    from rtstyle.jobs.batch import VideoFailure
    from rtstyle.jobs.cluster_clip import check_shared

    if job.input == "pattern":
        raise ConfigError("a cluster shares video files", hint="leave out --cluster for the built-in scene")
    check_shared(job)  # before Ray is started
    (result,) = share([job], on_progress=lambda _, now: show(now))
    if isinstance(result, VideoFailure):
        raise result.error
    return result


def _stylize_many(
    clips: Sequence[str],
    job: VideoJob,
    container: str | None,
    load_engine: Callable[[], Engine],
    made_by: Mapping[str, Any],
    telling: _Telling,
    share: _Share | None,
) -> None:
    from rtstyle.commands.batch import BatchDisplay
    from rtstyle.jobs.batch import VideoBatch, VideoFailure

    with VideoBatch(clips, job.output, job, container=container, made_by=made_by) as batch:
        display = BatchDisplay(batch, "clips", quiet=telling.quiet, as_json=telling.as_json)
        with display.explaining_stop(lambda: _kept(batch.current)):
            on_progress = None if share else lambda _, now: display.update(_fraction(now))
            for result in batch.run(load_engine, share, on_progress=on_progress):
                if isinstance(result, VideoFailure):
                    display.failed(result.input, result.output, result.error)
                    continue
                for warning in result.warnings:
                    logger.warning("%s: %s", result.output, warning)
                for note in result.notes:
                    logger.info("%s: %s", result.output, note)
                told = f"{result.frames_out} frames of {result.width}×{result.height} in {result.seconds:.1f} s"
                display.done(result.output, told, {"style": telling.style, **result.to_dict()})
    display.finish()


def _check_together(many: bool, container: str | None, preview: int | None, *, piped: bool, as_json: bool) -> None:
    """Raise ConfigError for options that do not go together."""
    from engines.errors import ConfigError

    if as_json and piped:
        raise ConfigError("--json needs standard output for itself", hint="write to a file, or leave out --json")
    if many and preview is not None:
        raise ConfigError("--preview is for one clip", hint="give one clip and the name of a file")
    if not many and container is not None:
        raise ConfigError("--container is for a folder of clips", hint="the name of the output says what file it is")


def _fraction(now: VideoProgress) -> float:
    return now.frames / now.total if now.total else 0.0


def _preview(job: VideoJob, load_engine: Callable[[], Engine], stills: int, telling: _Telling) -> None:
    """Show some stills, and say what the whole will take."""
    from rtstyle.preview import describe, preview

    with _reporting_interruption(job):
        found = preview(job, load_engine, stills, pattern=partial(_pattern, job) if job.input == "pattern" else None)
    if telling.as_json:
        options.print_json(vars(found))
    elif not telling.quiet:
        stills = len(found.times_s)
        typer.echo(f"{found.sheet}: {stills} still{'' if stills == 1 else 's'}, the input above the painting", err=True)
        typer.echo(describe(found), err=True)


@contextmanager
def _reporting_interruption(job: VideoJob) -> Iterator[None]:
    """Say what became of the output when the run ends early, and how to go on."""
    from engines.errors import EngineError, SinkError, SourceError

    try:
        yield
    except KeyboardInterrupt:
        if not _report_kept(job):
            logger.warning("stopped before the end; nothing was written")
        raise
    except (SinkError, SourceError, EngineError):
        _report_kept(job)
        raise


def _report_kept(job: VideoJob) -> bool:
    """Return False if nothing is kept."""
    frames = _kept_frames(job)
    if job.output_pictures is not None:
        return _report_pictures(job, resumable=frames is not None)
    if frames is not None:
        logger.warning("%d frames are kept in %s; the same command with --resume goes on", frames, job.folder)
    return frames is not None


def _report_pictures(job: VideoJob, *, resumable: bool) -> bool:
    folder = job.output.parent
    if resumable:
        logger.warning("the pictures in %s are complete; the same command with --resume goes on", folder)
        return True
    written = job.output_pictures is not None and bool(job.output_pictures.numbers())
    if written:
        logger.warning("the pictures that were written stay in %s", folder)
    return written


def _kept(job: VideoJob | None) -> str:
    """Return what is kept of a clip in a batch; empty if nothing is."""
    frames = job and _kept_frames(job)
    return f"{frames} frames of {job.output.name} are kept" if job and frames else ""


def _kept_frames(job: VideoJob) -> int | None:
    """Return the number of frames in finished segments, or ``None`` if there is no job folder."""
    from rtstyle.jobs.manifest import Manifest

    if not Manifest.exists(job.folder):
        return None
    return sum(segment.frames for segment in Manifest.load(job.folder).segments)


def _pattern(job: VideoJob, offset_s: float | None = None) -> Source:
    """Return the built-in scene, from an offset on; it lasts ten seconds unless ``--end`` says otherwise."""
    from rtstyle.sources.pattern import PatternSource

    height = job.even_height or 360
    first_s, last_s = job.start or 0.0, PATTERN_S if job.end is None else job.end
    frames, first = max(1, round((last_s - first_s) * 30)), math.ceil((offset_s or 0.0) * 30)
    # 16:9 with even sides, which every player accepts.
    return PatternSource(round(height * 8 / 9) * 2, height, frames=max(1, frames - first), first=first, live=False)


def _summary(report: VideoReport) -> str:
    lost = f", {report.frames_lost} lost" if report.frames_lost else ""
    return (
        f"{report.output}: {report.frames_out} frames of {report.width}×{report.height}{lost} "
        f"in {report.seconds:.1f} s ({report.fps:.1f} fps)"
    )
