"""``rtstyle webcam``."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rtstyle.commands.json_output import Watch
from rtstyle.commands.options import (
    DEFAULT_STYLE,
    Config,
    EngineName,
    Json,
    Overwrite,
    Quiet,
    Scale,
    Size,
    Strength,
    Style,
    Threads,
    load_engine,
    note,
    noting_once,
    parse_rate,
    parse_size,
    print_json,
    warn,
)

if TYPE_CHECKING:
    from rtstyle.progress import StatusLine
    from rtstyle.sources.base import Source
    from rtstyle.stats import Stats

RATE_TOLERANCE = 0.15
"""A rate that is further off than this share is told."""


def webcam(
    style: Style = DEFAULT_STYLE,
    source: Annotated[
        str,
        typer.Option(
            metavar="0|NAME|PATH|URL|screen|pattern",
            help="Number, name or path of a camera (`rtstyle devices` lists them), a clip, a stream, the screen "
            "(screen:2 is the second monitor, screen:640x360+100+50 a region), or the built-in moving scene.",
        ),
    ] = "0",
    sink: Annotated[
        list[str],
        typer.Option(
            metavar="window|virtual|null|URL|FILE",
            help="Where the painting goes; repeat it for more. virtual is a camera for other programs, virtual:NAME "
            "a certain one; rtmp:// and udp:// send a stream; null only measures.",
        ),
    ] = ["window"],  # noqa: B006  # typer makes a new one
    size: Annotated[
        Size | None, typer.Option(metavar="WxH", parser=parse_size, help="Size to ask the camera for.")
    ] = None,
    fps: Annotated[
        float | None, typer.Option(metavar="N", parser=parse_rate, help="Frames per second to ask the camera for.")
    ] = None,
    loop: Annotated[bool, typer.Option("--loop", help="Show a clip over and over.")] = False,
    reconnect: Annotated[
        bool, typer.Option(help="Wait for a camera or stream that is lost, or end with an error.")
    ] = True,
    mirror: Annotated[bool, typer.Option("--mirror/--no-mirror", help="Swap left and right, like a mirror.")] = False,
    strength: Strength = 1.0,
    scale: Scale = 1.0,
    frames: Annotated[int | None, typer.Option(metavar="N", min=1, help="Stop after N frames.")] = None,
    engine: EngineName = "auto",
    threads: Threads = None,
    bitrate: Annotated[
        int | None, typer.Option(metavar="KBIT", min=100, help="Of streams, kbit/s. [default: by size]")
    ] = None,
    control: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Listen here for scripts: GET /stats and /styles, POST /style, /strength, /scale, /mirror, /pause, "
            "/snapshot, /record and /stop.",
        ),
    ] = None,
    control_token: Annotated[
        str | None,
        typer.Option(metavar="TOKEN", envvar="RTSTYLE_TOKEN", help="What they must know; needed beyond this machine."),
    ] = None,
    config: Config = None,  # noqa: ARG001  # its callback has read it
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Paint what a camera sees, as it happens.

    Always shows the newest picture: when the machine is too slow, pictures are dropped and delay never builds up.
    In the window H shows the keys: 1-9, A and D change the style, S shows the input beside it, Space saves a picture,
    R records. Ctrl-C stops everywhere. A camera or stream that is lost leaves its last picture, and comes back by
    itself.

    \b
    rtstyle webcam
    rtstyle webcam --source pattern
    rtstyle webcam --source "HD Pro Webcam" --size 1280x720 --mirror
    rtstyle webcam --source rtsp://camera.local/live --sink recording.mkv
    rtstyle webcam --source clip.mp4 --loop --sink virtual
    rtstyle webcam --sink window --sink virtual --sink take.mp4
    rtstyle webcam --config studio.toml --style wave
    rtstyle webcam --sink window --sink rtmp://live.example/app/KEY --control 127.0.0.1:8765
    """
    from rtstyle.live.style_switcher import Palette
    from rtstyle.live.webcam import WebcamJob, run_webcam
    from rtstyle.media.urls import shown
    from rtstyle.pipeline import Controls
    from rtstyle.progress import StatusLine
    from rtstyle.signals import STOPPER
    from rtstyle.styles import installed

    names = [entry.name for entry in installed() if not entry.fault]
    # One's own comes first, so that its key is 1.
    controls = Controls(strength, mirror, scale, names if style in names else [style, *names], style)
    line, told = StatusLine(Path(style).name, quiet=quiet), noting_once(quiet)
    opened: list[Source] = []
    notices = _Notices()
    gentle = ExitStack()

    def started(live: Source) -> None:
        opened.append(live)
        _tell_got(live, size, fps)
        # Only now: while a camera or stream is awaited, the first Ctrl-C must end the wait.
        gentle.enter_context(STOPPER.gently(stop))

    def stop() -> None:
        controls.request_stop()
        for one in opened:
            one.close()

    def show(stats: Stats) -> None:
        notices.look(opened[0], line)
        if line.due():
            line.show(stats.snapshot())

    watch = Watch(as_json=as_json, stop=stop, control=control, token=control_token)
    changing = "window" in sink or control is not None  # the style
    load = partial(load_engine, name=engine, threads=threads, told=told, sharing=changing)
    wanted = (size.width, size.height) if size else None
    bits = None if bitrate is None else 1000 * bitrate
    job = WebcamJob(source, tuple(sink), wanted, fps, frames, overwrite, reconnect, loop, bits)
    try:
        with gentle:
            figures = run_webcam(
                job,
                lambda: Palette(load, controls, ahead=changing),
                controls,
                on_frame=show,
                on_start=started,
                on_failure=warn,
                on_state=note,
                on_ready=watch.begin,
            )
    finally:
        watch.close()
        line.finish()
    if as_json:
        sinks = [shown(one) for one in sink]
        print_json({**watch.last(figures), "source": shown(source), "sinks": sinks})
    elif not quiet:
        line.show(figures)
        line.finish()


class _Notices:
    """Says once that a source is lost, and once that it is back."""

    def __init__(self) -> None:
        self._lost = False

    def look(self, source: Source, line: StatusLine) -> None:
        """Warn when something has changed."""
        from rtstyle.sources.base import notice_of

        notice = notice_of(source)
        if bool(notice) != self._lost:
            self._lost = bool(notice)
            line.finish()
            warn(notice or f"{source.info.name} is back")


def _tell_got(source: Source, size: Size | None, fps: float | None) -> None:
    """A camera takes the request for a size and a rate as a wish; say so when it does not fulfil it."""
    got = source.info
    form = f" ({got.pixel_format})" if got.pixel_format else ""
    if size is not None and (got.width, got.height) != (size.width, size.height):
        warn(f"{got.name} gives {got.width}×{got.height}{form}, not {size.width}×{size.height}")
    if fps is not None and got.fps and abs(float(got.fps) - fps) > RATE_TOLERANCE * fps:
        warn(f"{got.name} gives {float(got.fps):.4g} fps{form}, not {fps:.4g}")
