"""Options that several commands share, and how their texts are read."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from engines.base import Engine

DEFAULT_STYLE = "vangogh"


@dataclass(frozen=True)
class Size:
    """Width and height in pixels."""

    width: int
    height: int


def parse_size(text: str) -> Size:
    """``640x360`` → Size(640, 360).

    Raises:
        typer.BadParameter
    """
    match = re.fullmatch(r"(\d{1,5})[xX×](\d{1,5})", text.strip())
    if match is None:
        raise typer.BadParameter(f"{text!r} is no size; write it like 640x360")
    return Size(int(match[1]), int(match[2]))


def parse_time(text: str) -> float:
    """``90``, ``1:30`` or ``0:01:30.5`` → seconds.

    Raises:
        typer.BadParameter
    """
    if not re.fullmatch(r"(\d+:){0,2}\d+(\.\d*)?", text.strip()):
        raise typer.BadParameter(f"{text!r} is no time; write seconds, or 1:30, or 0:01:30")
    seconds = 0.0
    for part in text.strip().split(":"):
        seconds = 60 * seconds + float(part)
    return seconds


def parse_rate(text: str) -> float:
    """A number of frames per second above 0.

    Raises:
        typer.BadParameter
    """
    try:
        rate = float(text)
    except ValueError:
        rate = math.nan
    if not 0 < rate <= 1000:
        raise typer.BadParameter(f"{text!r} is no frame rate; write a number like 30")
    return rate


def apply_config(ctx: typer.Context, path: Path | None) -> Path | None:
    """Take the settings of a file for what the command line does not say. Those of other commands are left out."""
    if path is not None:
        from rtstyle.commands.config_file import read_config

        mine = {parameter.name for parameter in ctx.command.params}
        settings = {key.replace("-", "_"): value for key, value in read_config(path).items()}
        ctx.default_map = {name: value for name, value in settings.items() if name in mine}
    return path


Config = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", is_eager=True, callback=apply_config, help="Settings in TOML; what is given here comes first."
    ),
]
Style = Annotated[
    str,
    typer.Option("--style", "-s", metavar="NAME|DIR", help="A style from `rtstyle styles`, or the folder of your own."),
]
Strength = Annotated[
    float, typer.Option(metavar="0..1", min=0.0, max=1.0, help="0 leaves the picture as it is, 1 is the full style.")
]
Scale = Annotated[
    float, typer.Option(metavar="0.5..2", min=0.5, max=2.0, help="Size of the strokes; larger ones take less time.")
]
EngineName = Annotated[
    str,
    typer.Option(
        "--engine",
        metavar="auto|tensorrt|cuda|cpu|torch",
        help="What computes; auto takes the fastest that works here.",
    ),
]
Threads = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="Processor threads of the engine. [default: all]")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what exists.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]


def load_engine(
    style: str,
    name: str,
    threads: int | None = None,
    told: Callable[[str], None] | None = None,
    *,
    sharing: bool = False,
) -> Engine:
    """The engine for a style of the gallery or a folder; ``told`` and ``sharing`` as for ``engines.load``.

    Raises:
        StyleError, EngineError
    """
    import engines
    from rtstyle import styles

    return engines.load(styles.find(style), name, threads=threads, told=told, sharing=sharing)


def noting_once(quiet: bool = False) -> Callable[[str], None]:
    """``note``, but for what it has told already: several engines may wait for one build. Any thread may call it."""
    seen: set[str] = set()

    def told(line: str) -> None:
        if not quiet and line not in seen:
            seen.add(line)
            note(line)

    return told


def print_json(value: dict[str, Any]) -> None:
    """The one object of ``--json``."""
    typer.echo(json.dumps(value, ensure_ascii=False, default=_plain))


def note(text: str) -> None:
    """One line on standard error about what goes on."""
    typer.echo(f"rtstyle: {text}", err=True)


def warn(text: str) -> None:
    """One line on standard error that does not stop anything."""
    typer.echo(f"rtstyle: warning: {text}", err=True)


def _plain(value: object) -> str:
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} does not go into JSON")
