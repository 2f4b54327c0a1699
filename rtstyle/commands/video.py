"""``rtstyle video``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rtstyle.commands.options import (
    DEFAULT_STYLE,
    EngineName,
    Json,
    Overwrite,
    Quiet,
    Strength,
    Style,
    Threads,
    load_engine,
    parse_time,
    print_json,
    warn,
)


def video(
    input: Annotated[str, typer.Argument(metavar="IN", help="A clip, a URL, or `pattern`, the built-in moving scene.")],
    output: Annotated[Path, typer.Argument(metavar="OUT", help="The file to write: .mp4, .mov, .mkv or .webm.")],
    style: Style = DEFAULT_STYLE,
    strength: Strength = 1.0,
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
