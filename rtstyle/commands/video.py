"""``rtstyle video``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rtstyle.commands.options import (
    DEFAULT_STYLE,
    Config,
    EngineName,
    Json,
    Overwrite,
    Quiet,
    Scale,
    Strength,
    Style,
    Threads,
    load_engine,
    noting_once,
    parse_time,
    print_json,
    warn,
)

if TYPE_CHECKING:
    from rtstyle.sources.base import Source
    from rtstyle.video import VideoJob, VideoReport

PATTERN_S = 10.0
"""How long the built-in scene is as a clip, seconds."""


def video(
    clip: Annotated[str, typer.Argument(metavar="IN", help="A clip, a URL, or `pattern`, the built-in moving scene.")],
    output: Annotated[Path, typer.Argument(metavar="OUT", help="The file to write: .mp4, .mov, .mkv or .webm.")],
    style: Style = DEFAULT_STYLE,
    strength: Strength = 1.0,
    scale: Scale = 1.0,
    engine: EngineName = "auto",
    height: Annotated[
        int | None, typer.Option(metavar="PX", min=16, help="Height of the result; smaller is faster.")
    ] = None,
    start: Annotated[
        float | None, typer.Option(metavar="T", parser=parse_time, help="Begin here: seconds, or 1:30.")
    ] = None,
    end: Annotated[float | None, typer.Option(metavar="T", parser=parse_time, help="End here.")] = None,
    codec: Annotated[str | None, typer.Option(metavar="h264|hevc|av1|vp9", help="How video is compressed.")] = None,
    crf: Annotated[int | None, typer.Option(metavar="N", help="Quality: smaller is better and larger.")] = None,
    preset: Annotated[str | None, typer.Option(metavar="P", help="The encoder's speed, e.g. veryfast, slow.")] = None,
    config: Config = None,  # noqa: ARG001  # its callback has read it
    overwrite: Overwrite = False,
    no_audio: Annotated[bool, typer.Option("--no-audio", help="Leave the sound out.")] = False,
    threads: Threads = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Paint a clip; sound, subtitles, timing, rotation and colours are kept.

    \b
    rtstyle video holiday.mp4 painting.mp4
    rtstyle video holiday.mp4 painting.mp4 --start 0:10 --end 0:20 --strength 0.8
    rtstyle video film.mkv film-painted.mkv --height 720 --codec hevc
    rtstyle video pattern painting.mp4
    """
    from rtstyle.progress import Progress
    from rtstyle.video import VideoJob, stylize_video

    job = VideoJob(
        clip,
        output,
        strength,
        height,
        start,
        end,
        codec,
        crf,
        preset,
        overwrite=overwrite,
        audio=not no_audio,
        scale=scale,
    )
    told = noting_once(quiet)
    with Progress(Path(clip).name, quiet=quiet) as bar:
        report = stylize_video(
            job,
            lambda: load_engine(style, engine, threads, told),
            source=_pattern(job) if clip == "pattern" else None,
            on_progress=lambda now: bar.update(now.frames, now.fps, now.total),
        )
    for warning in report.warnings:
        warn(warning)
    if as_json:
        print_json({"style": style, "input": clip, **report.to_dict()})
    elif not quiet:
        typer.echo(_summary(report), err=True)


def _pattern(job: VideoJob) -> Source:
    """The built-in scene in place of a clip: ten seconds unless ``--end`` says otherwise."""
    from rtstyle.sources.pattern import PatternSource

    height = job.height or 360
    first_s, last_s = job.start or 0.0, PATTERN_S if job.end is None else job.end
    # Even sides, which every player likes; 16:9.
    return PatternSource(round(height * 8 / 9) * 2, height, frames=max(1, round((last_s - first_s) * 30)), live=False)


def _summary(report: VideoReport) -> str:
    lost = f", {report.frames_lost} lost" if report.frames_lost else ""
    return (
        f"{report.output}: {report.frames_out} frames of {report.width}×{report.height}{lost} "
        f"in {report.seconds:.1f} s ({report.fps:.1f} fps)"
    )
