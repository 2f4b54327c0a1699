"""``rtstyle video``."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rtstyle.commands import options
from rtstyle.commands.cluster import Sharing, stylize_on_cluster
from rtstyle.commands.option_groups import grouped
from rtstyle.commands.values import TIME, number, whole
from rtstyle.defaults import DEFAULT_STYLE

if TYPE_CHECKING:
    from rtstyle.progress import ProgressDisplay
    from rtstyle.sources.base import Source
    from rtstyle.video import VideoJob, VideoProgress, VideoReport

logger = logging.getLogger(__name__)

PATTERN_S = 10.0
"""Length of the built-in scene as a clip, seconds."""

# What to stylize.
Clip = Annotated[str, typer.Argument(metavar="IN", help="A video file, a URL, or `pattern`, a built-in moving scene.")]
Start = Annotated[float | None, typer.Option(metavar="TIME", parser=TIME, help="Start here, in seconds or like 1:30.")]
End = Annotated[float | None, typer.Option(metavar="TIME", parser=TIME, help="Stop here.")]
VideoStream = Annotated[
    int | None,
    typer.Option(
        metavar="N", parser=whole(1), help="Which video stream of the input, if it has several. [default: the film]"
    ),
]

# What to write.
Output = Annotated[
    Path, typer.Argument(metavar="OUT", help="The file to write; its name ends in .mp4, .m4v, .mov, .mkv or .webm.")
]
Height = Annotated[
    int | None, typer.Option(metavar="PX", parser=whole(16), help="Height of the result in pixels; smaller is faster.")
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run, if there is one.")]
Segment = Annotated[
    float,
    typer.Option(
        "--segment",
        metavar="SECONDS",
        parser=number(0, 3600),
        help="Keep what is done in segments of this length, so that an interrupted run can be resumed; 0 does not.",
    ),
]
JobDir = Annotated[Path | None, typer.Option(metavar="DIR", help="Folder of the segments. [default: OUT.rtstyle-job]")]
NoAudio = Annotated[bool, typer.Option("--no-audio", help="Leave the sound out.")]

# The encoder.
Codec = Annotated[
    str | None, typer.Option(metavar="h264|hevc|av1|vp9", help="Video codec. [default: suits the file type]")
]
Crf = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        parser=whole(0),
        help="Quality of the encoder: a lower number looks better and makes a larger file. Good values are 18 to 28 "
        "for h264 and hevc, 24 to 40 for av1 and vp9.",
    ),
]
Preset = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="Speed of the encoder, for example veryfast or slow; slower makes smaller files."
    ),
]


@dataclass(frozen=True)
class Part:
    """Which part of the clip to stylize."""

    start: Start = None
    end: End = None
    video_stream: VideoStream = None


@dataclass(frozen=True)
class Encoding:
    """How to encode the result."""

    codec: Codec = None
    crf: Crf = None
    preset: Preset = None


@dataclass(frozen=True)
class Resuming:
    """How an interrupted run goes on."""

    resume: Resume = False
    segment_s: Segment = 20.0
    job_dir: JobDir = None


@grouped
def video(
    clip: Clip,
    output: Output,
    style: options.Style = DEFAULT_STYLE,
    strength: options.Strength = 1.0,
    scale: options.Scale = 1.0,
    engine: options.EngineName = "auto",
    height: Height = None,
    *,
    part: Part,
    encoding: Encoding,
    config: options.Config = None,  # noqa: ARG001  # its callback has read it
    overwrite: options.Overwrite = False,
    resuming: Resuming,
    sharing: Sharing,
    no_audio: NoAudio = False,
    threads: options.Threads = None,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Stylize a video file.

    Sound, subtitles, timing, rotation and colours are kept.

    Examples:
        rtstyle video holiday.mp4 painting.mp4
        rtstyle video holiday.mp4 painting.mp4 --style wave --strength 0.8
        rtstyle video holiday.mp4 painting.mp4 --start 0:10 --end 0:20
        rtstyle video film.mkv film-painted.mkv --height 720 --codec hevc
        rtstyle video film.mkv film-painted.mkv --height 720 --codec hevc --resume
        rtstyle video film.mkv film-painted.mkv --cluster studio-a:6379
        rtstyle video pattern painting.mp4
    """
    from rtstyle.progress import ProgressDisplay
    from rtstyle.style_library import identify
    from rtstyle.video import VideoJob, stylize_video

    job = VideoJob(
        clip, output, strength, height, overwrite=overwrite, audio=not no_audio, scale=scale,
        **vars(part), **vars(encoding), **vars(resuming),
    )  # fmt: skip
    with _reporting_interruption(job), ProgressDisplay(Path(clip).name, quiet=quiet) as bar:
        if sharing.cluster:
            report = _shared(job, sharing, style, engine, threads, bar, quiet=quiet)
        else:
            report = stylize_video(
                job,
                partial(options.load_engine, style, engine, threads, build_ahead=True),
                source=_pattern(job) if clip == "pattern" else None,
                on_progress=lambda now: bar.update(now.frames, now.fps, now.total),
                made_by=identify(style, engine),
            )
    for warning in report.warnings:
        logger.warning(warning)
    if as_json:
        options.print_json({"style": style, **report.to_dict()})
    elif not quiet:
        typer.echo(_summary(report), err=True)


def _shared(
    job: VideoJob, sharing: Sharing, style: str, engine: str, threads: int | None, bar: ProgressDisplay, *, quiet: bool
) -> VideoReport:
    """Stylize a clip on a cluster."""
    from rtstyle.jobs.batch import VideoFailure

    job.check()  # before Ray is started

    def show(_: VideoJob, now: VideoProgress) -> None:
        bar.update(now.frames, now.fps, now.total)

    (report,) = stylize_on_cluster([job], sharing, style, engine, threads, quiet=quiet, on_progress=show)
    if isinstance(report, VideoFailure):
        raise report.error
    return report


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
    from rtstyle.jobs.manifest import Manifest

    if not Manifest.exists(job.folder):
        return False
    frames = sum(segment.frames for segment in Manifest.load(job.folder).segments)
    logger.warning("%d frames are kept in %s; the same command with --resume goes on", frames, job.folder)
    return True


def _pattern(job: VideoJob) -> Source:
    """Return the built-in scene; it lasts ten seconds unless ``--end`` says otherwise."""
    from rtstyle.sources.pattern import PatternSource

    height = job.even_height or 360
    first_s, last_s = job.start or 0.0, PATTERN_S if job.end is None else job.end
    # 16:9 with even sides, which every player accepts.
    return PatternSource(round(height * 8 / 9) * 2, height, frames=max(1, round((last_s - first_s) * 30)), live=False)


def _summary(report: VideoReport) -> str:
    lost = f", {report.frames_lost} lost" if report.frames_lost else ""
    return (
        f"{report.output}: {report.frames_out} frames of {report.width}×{report.height}{lost} "
        f"in {report.seconds:.1f} s ({report.fps:.1f} fps)"
    )
