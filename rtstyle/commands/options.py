"""Options that several commands share."""

from __future__ import annotations

import inspect
import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rtstyle.commands import logs
from rtstyle.commands.option_rules import is_given
from rtstyle.commands.values import BITS, RATE, SIZE, Size, number, whole

if TYPE_CHECKING:
    from engines.base import Engine

CONFIGURABLE = ("webcam", "video", "web")
"""Commands that take ``--config``. They share one file, and each ignores the settings that only others have."""

OF_THE_CAMERA = ("size", "fps")
"""Settings that mean the camera in a file, though ``video`` has options of these names: for raw video and pictures."""


def apply_config(ctx: typer.Context, path: Path | None) -> Path | None:
    """Make the settings of a file the defaults of this command's options."""
    if path is not None:
        from rtstyle.commands.config_file import read_config, settings_of

        commands: dict[str, Any] = getattr(ctx.find_root().command, "commands", {})
        known = settings_of(*(inspect.unwrap(commands[name].callback) for name in CONFIGURABLE))
        mine = {name.lstrip("-"): option.name for option in ctx.command.params for name in option.opts}
        if ctx.command.name == "video":
            mine = {key: name for key, name in mine.items() if key not in OF_THE_CAMERA}
        ctx.default_map = {mine[key]: value for key, value in read_config(path, known).items() if key in mine}
    return path


def apply_quiet(quiet: bool) -> bool:
    """Show warnings only."""
    if quiet:
        logs.configure(quiet=True)
    return quiet


def use_card(number: int | None) -> int | None:
    """Use one NVIDIA GPU only. Raise EngineError if there is none of this number."""
    if number is not None:
        from engines.cuda import driver

        driver.use_card(number)
    return number


def spelled_style(style: str) -> str:
    """Return a style, or a mix, as it is written everywhere."""
    from rtstyle.style_library import spelled

    return spelled(style)


def spelled_playlist(playlist: str | None) -> str | None:
    """Return a playlist with its styles as they are written everywhere. Raise StyleError if one does not exist."""
    from rtstyle.playlist import read_playlist
    from rtstyle.style_library import choices, find, spelled

    if playlist is None:
        return None
    styles = read_playlist(playlist, spelled)
    for name in choices((), styles):
        find(name)
    return ",".join(styles)


def complete_style(incomplete: str) -> list[str]:
    """Return the names of styles that begin so, for the shell."""
    from rtstyle.style_library import installed

    return [entry.name for entry in installed() if entry.name.startswith(incomplete)]


# What to paint, and how.
Style = Annotated[
    str,
    typer.Option(
        "--style",
        "-s",
        metavar="NAME|DIR|MIX",
        envvar="RTSTYLE_STYLE",
        show_envvar=False,
        callback=spelled_style,
        autocompletion=complete_style,
        help="Name of a style (`rtstyle styles` lists them), the folder of your own, or a mix of several, for example "
        "vangogh:0.6+wave:0.4. @0 to @1 after a name sets its texture, the pattern over everything: wave@0.5.",
    ),
]
Strength = Annotated[
    float,
    typer.Option(
        metavar="0..1",
        parser=number(0, 1),
        envvar="RTSTYLE_STRENGTH",
        show_envvar=False,
        help="How strongly the style shows: 0 leaves the picture as it is, 1 is the full style.",
    ),
]
Scale = Annotated[
    float,
    typer.Option(
        metavar="0.5..2",
        parser=number(0.5, 2),
        envvar="RTSTYLE_SCALE",
        show_envvar=False,
        help="Size of the brush strokes; larger ones are faster.",
    ),
]
Colours = Annotated[
    float,
    typer.Option(
        metavar="0..1",
        parser=number(0, 1),
        help="How much of the picture's own colours is kept: 0 takes those of the painting, 1 only its light and dark.",
    ),
]
Glide = Annotated[
    float,
    typer.Option(
        metavar="SECONDS",
        parser=number(0, 3600),
        help="How long a change of style takes: brush strokes turn into the next style's. [default: a short fade]",
        show_default=False,
    ),
]
ClipGlide = Annotated[
    float,
    typer.Option(
        "--glide",
        metavar="SECONDS",
        parser=number(0, 3600),
        help="How long a change of --playlist takes: brush strokes turn into the next style's. [default: 0, a cut]",
        show_default=False,
    ),
]
Playlist = Annotated[
    str | None,
    typer.Option(
        metavar="STYLE,STYLE…",
        callback=spelled_playlist,
        help="Styles or mixes that take turns, for example vangogh,wave,scream. The first is shown first, or --style "
        "if it is given.",
    ),
]
Every = Annotated[
    float,
    typer.Option(metavar="SECONDS", parser=number(0.1, 86400), help="Time from one style of --playlist to the next."),
]


@dataclass(frozen=True)
class Changes:
    """How the style changes by itself, and how long a change takes."""

    glide: Glide = 0.0
    playlist: Playlist = None
    every: Every = 8.0

    def styles(self) -> tuple[str, ...]:
        """Return the styles that take turns; none without a playlist. Raises ConfigError if the times do not fit."""
        from rtstyle.playlist import Playlist, read_playlist

        return Playlist(read_playlist(self.playlist), self.every, self.glide).styles if self.playlist else ()

    def settings(self) -> dict[str, Any]:
        """Return them by the names of ``Controls``. Raises as ``styles``."""
        return {"glide": self.glide, "playlist": self.styles(), "every": self.every}

    def first(self, ctx: typer.Context, style: str) -> str:
        """Return the style to begin with: the first one that takes turns, unless ``--style`` is given."""
        return self.styles()[0] if self.playlist and not is_given(ctx, "style") else style


@dataclass(frozen=True)
class ClipChanges(Changes):
    """How the style of a clip changes."""

    glide: ClipGlide = 0.0


Modulate = Annotated[
    list[str],
    typer.Option(
        metavar="TARGET=SHAPE:PERIOD[:LOW..HIGH]|TARGET=level|beat",
        help="Move strength, scale, colours, faces, inside, outside or mix (between two styles) by itself: "
        "strength=sine:4s:0.3..1 in cycles, strength=level or strength=beat:0.3..1 with the sound. Shapes: sine, "
        "triangle, saw, square, random; periods: 4s, 500ms, 0.25Hz, 120bpm. Repeat it for several.",
    ),
]

EngineName = Annotated[
    str,
    typer.Option(
        "--engine",
        metavar="NAME",
        envvar="RTSTYLE_ENGINE",
        show_envvar=False,
        help="What runs the network: tensorrt, cuda, intel-gpu, intel-npu, cpu (or cpu:fp32, cpu:int8, cpu:bf16), "
        "torch; auto takes the fastest that works on this machine.",
    ),
]
Device = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        parser=whole(0),
        callback=use_card,
        help="Which NVIDIA card to use, as `rtstyle doctor` and nvidia-smi number them. [default: the fastest]",
    ),
]
Threads = Annotated[
    int | None, typer.Option(metavar="N", parser=whole(1), help="Processor threads to use. [default: all]")
]

Bitrate = Annotated[
    int | None,
    typer.Option(
        "--bitrate",
        metavar="RATE",
        parser=BITS,
        help="Bit rate of video files and streams, for example 4M or 4000k; a plain number means kbit/s.",
    ),
]

Encoder = Annotated[
    str,
    typer.Option(
        metavar="software|auto|nvenc|qsv|amf|videotoolbox",
        help="What encodes: the processor, or a chip by NVIDIA, Intel, AMD or Apple; auto takes the first that works.",
    ),
]

# A camera.
CameraSize = Annotated[
    Size | None, typer.Option(metavar="WxH", parser=SIZE, help="Frame size to request from the camera.")
]
CameraFps = Annotated[
    float | None, typer.Option(metavar="N", parser=RATE, help="Frames per second to request from the camera.")
]
Loop = Annotated[bool, typer.Option("--loop", help="Repeat a video file forever.")]
Reconnect = Annotated[bool, typer.Option(help="If the camera or stream is lost, wait for it, or end with an error.")]
HoldFps = Annotated[
    bool,
    typer.Option(
        "--hold-fps/--no-hold-fps",
        help="While this machine is too slow for the camera's frame rate, stylize at a smaller size, with larger "
        "strokes, or drop frames.",
    ),
]
Mirror = Annotated[bool, typer.Option("--mirror/--no-mirror", help="Swap left and right, like a mirror.")]

# A style to examine.
StyleArgument = Annotated[
    str, typer.Argument(metavar="STYLE", help="As for --style: a name, a folder, a mix or a texture.")
]
Painting = Annotated[Path | None, typer.Option(metavar="FILE", help="The painting that the style was trained on.")]

# The command itself.
Config = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        is_eager=True,
        callback=apply_config,
        help="Read options from a TOML file, for example a line: strength = 0.8. The command line takes precedence.",
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", callback=apply_quiet, help="Print warnings and errors only.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]


def load_engine(
    style: str,
    name: str,
    threads: int | None = None,
    *,
    build_ahead: bool = False,
    shared: bool = False,
    live: bool = False,
) -> Engine:
    """Start the engine of a style, given by name or folder, or of a mix. The flags are those of ``engines.load``.

    Where engines share their graph, that of one's own style follows the files, which may be in training.
    """
    import engines
    from rtstyle import style_library

    model = style_library.open_style(style)
    engine = engines.load(model, name, threads=threads, build_ahead=build_ahead, shared=shared, live=live)
    if shared and len(style_library.parse(style).parts) == 1 and model.folder.parent != style_library.GALLERY:
        from rtstyle.live.reloading_engine import reloading

        return reloading(engine, model.folder, partial(style_library.open_style, style))
    return engine


def print_json(value: dict[str, Any]) -> None:
    """Print one JSON object on standard output; the values may be dataclasses and paths."""
    text = json.dumps(value, ensure_ascii=False, default=_plain)
    if any("\ud800" <= letter <= "\udfff" for letter in text):  # a file name that is not valid UTF-8
        text = json.dumps(value, default=_plain)
    typer.echo(text)


def _plain(value: Any) -> object:
    if isinstance(value, Path):
        return str(value)
    return {key: round(one, 3) if isinstance(one, float) else one for key, one in vars(value).items()}
