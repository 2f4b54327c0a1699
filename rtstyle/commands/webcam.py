"""``rtstyle webcam``."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rtstyle.commands.json_output import Watch
from rtstyle.commands.options import (
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
    print_json,
)
from rtstyle.commands.values import RATE, SIZE, Size, whole
from rtstyle.defaults import DEFAULT_STYLE

if TYPE_CHECKING:
    from rtstyle.progress import StatusLine
    from rtstyle.sources.base import Source
    from rtstyle.stats import Stats

logger = logging.getLogger(__name__)

RATE_TOLERANCE = 0.15
"""Warn if the frame rate differs from the requested one by more than this share."""


def webcam(
    style: Style = DEFAULT_STYLE,
    source: Annotated[
        str,
        typer.Option(
            metavar="0|NAME|PATH|URL|screen|pattern",
            envvar="RTSTYLE_SOURCE",
            show_envvar=False,
            help="What to stylize: number, name or path of a camera (`rtstyle devices` lists them), a video file, the "
            "URL of a stream, the screen (screen:2 is the second monitor, screen:640x360+100+50 a region), or "
            "`pattern`, a built-in moving scene.",
        ),
    ] = "0",
    sink: Annotated[
        list[str],
        typer.Option(
            metavar="window|virtual|null|URL|FILE",
            help="Where to show the result. Repeat it for several places. `virtual` is a camera for other programs "
            "(virtual:NAME picks one), an rtmp://, srt:// or udp:// URL sends a stream, a file name records, and "
            "`null` only measures.",
        ),
    ] = ["window"],  # noqa: B006  # typer makes a new one
    size: Annotated[
        Size | None, typer.Option(metavar="WxH", parser=SIZE, help="Frame size to request from the camera.")
    ] = None,
    fps: Annotated[
        float | None, typer.Option(metavar="N", parser=RATE, help="Frames per second to request from the camera.")
    ] = None,
    loop: Annotated[bool, typer.Option("--loop", help="Repeat a video file forever.")] = False,
    reconnect: Annotated[
        bool, typer.Option(help="If the camera or stream is lost, wait for it, or end with an error.")
    ] = True,
    mirror: Annotated[bool, typer.Option("--mirror/--no-mirror", help="Swap left and right, like a mirror.")] = False,
    strength: Strength = 1.0,
    scale: Scale = 1.0,
    frames: Annotated[int | None, typer.Option(metavar="N", parser=whole(1), help="Stop after N frames.")] = None,
    engine: EngineName = "auto",
    threads: Threads = None,
    bitrate: Annotated[
        int | None,
        typer.Option(metavar="KBIT", parser=whole(100), help="Bit rate of streams, kbit/s. [default: by frame size]"),
    ] = None,
    control: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            envvar="RTSTYLE_CONTROL",
            show_envvar=False,
            help="Let scripts steer rtstyle over HTTP at this address: GET /stats and /styles, POST /style, /strength, "
            "/scale, /mirror, /pause, /snapshot, /record and /stop.",
        ),
    ] = None,
    control_token: Annotated[
        str | None,
        typer.Option(
            metavar="TOKEN",
            envvar="RTSTYLE_TOKEN",
            show_envvar=False,
            help="Token that these scripts must send; required if other machines can reach the address. "
            "RTSTYLE_TOKEN in the environment keeps it out of the list of processes.",
        ),
    ] = None,
    config: Config = None,  # noqa: ARG001  # its callback has read it
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Stylize a camera live, in a window or wherever --sink says.

    The newest frame is always shown: if the machine is too slow, frames are dropped, and the delay never grows. A
    camera or stream that is lost leaves its last picture on screen and comes back by itself.

    In the window, press H to see all keys: 1-9 choose a style, S shows the input beside the result, Space saves a
    picture, R records. Ctrl-C ends everything.

    Examples:
        rtstyle webcam
        rtstyle webcam --source "HD Pro Webcam" --size 1280x720 --mirror
        rtstyle webcam --source rtsp://camera.local/live --sink recording.mkv
        rtstyle webcam --source clip.mp4 --loop --sink virtual
        rtstyle webcam --sink window --sink virtual --sink take.mp4
        rtstyle webcam --sink window --sink rtmp://live.example/app/KEY --control 127.0.0.1:8765
        rtstyle webcam --config studio.toml --style wave
        rtstyle webcam --source pattern
    """
    from rtstyle.controls import Controls
    from rtstyle.live.style_switcher import StyleSwitcher
    from rtstyle.live.webcam import WebcamJob, run_webcam
    from rtstyle.media.urls import redact
    from rtstyle.progress import StatusLine
    from rtstyle.signals import STOPPER
    from rtstyle.style_library import installed

    names = [entry.name for entry in installed() if not entry.fault]
    # Your own style comes first, so that its key is 1.
    controls = Controls(strength, mirror, scale, names if style in names else [style, *names], style)
    line = StatusLine(Path(style).name, quiet=quiet)
    opened: list[Source] = []
    notices = _LossNotices()
    gentle = ExitStack()

    def started(live: Source) -> None:
        opened.append(live)
        _warn_if_different(live, size, fps)
        # Not earlier: while rtstyle waits for a camera or stream, the first Ctrl-C must end the wait.
        gentle.enter_context(STOPPER.gently(stop))

    def stop() -> None:
        controls.request_stop()
        for one in opened:
            one.close()

    def show(stats: Stats) -> None:
        notices.check(opened[0], line)
        if line.due():
            line.show(stats.snapshot())

    watch = Watch(as_json=as_json, stop=stop, control=control, token=control_token)
    switching = "window" in sink or control is not None  # the style can be changed
    load = partial(load_engine, name=engine, threads=threads, build_ahead=True, shared=switching)
    wanted = (size.width, size.height) if size else None
    bits = None if bitrate is None else 1000 * bitrate
    job = WebcamJob(source, tuple(sink), wanted, fps, frames, overwrite, reconnect, loop, bits)
    try:
        with gentle:
            figures = run_webcam(
                job,
                lambda: StyleSwitcher(load, controls, ahead=switching),
                controls,
                on_frame=show,
                on_start=started,
                on_ready=watch.begin,
            )
    finally:
        watch.close()
        line.finish()
    if as_json:
        sinks = [redact(one) for one in sink]
        print_json({**watch.last(figures), "source": redact(source), "sinks": sinks})
    elif not quiet:
        line.show(figures)
        line.finish()


class _LossNotices:
    """Warns once when a source is lost, and once when it is back."""

    def __init__(self) -> None:
        self._lost = False

    def check(self, source: Source, line: StatusLine) -> None:
        from rtstyle.sources.base import notice_of

        notice = notice_of(source)
        if bool(notice) != self._lost:
            self._lost = bool(notice)
            line.finish()
            logger.warning(notice or f"{source.info.name} is back")


def _warn_if_different(source: Source, size: Size | None, fps: float | None) -> None:
    """Warn if the camera delivers another size or rate than was requested."""
    got = source.info
    form = f" ({got.pixel_format})" if got.pixel_format else ""
    if size is not None and (got.width, got.height) != (size.width, size.height):
        logger.warning("%s gives %d×%d%s, not %d×%d", got.name, got.width, got.height, form, size.width, size.height)
    if fps is not None and got.fps and abs(float(got.fps) - fps) > RATE_TOLERANCE * fps:
        logger.warning("%s gives %.4g fps%s, not %.4g", got.name, float(got.fps), form, fps)
