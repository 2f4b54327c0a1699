"""``rtstyle webcam``."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rtstyle.commands import options
from rtstyle.commands.json_output import Watch
from rtstyle.commands.mask_options import Masking
from rtstyle.commands.option_groups import grouped
from rtstyle.commands.play import Play
from rtstyle.commands.values import whole
from rtstyle.defaults import DEFAULT_STYLE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from engines.base import Engine
    from rtstyle.controls import Controls
    from rtstyle.live.webcam import WebcamJob
    from rtstyle.sources.base import Source
    from rtstyle.stats import Stats, StatsSnapshot

logger = logging.getLogger(__name__)

RATE_TOLERANCE = 0.15
"""Warn if the frame rate differs from the requested one by more than this share."""

# What to show, and where.
SourceName = Annotated[
    str,
    typer.Option(
        "--source",
        metavar="0|NAME|PATH|URL|screen|ndi|spout|syphon|pattern",
        envvar="RTSTYLE_SOURCE",
        show_envvar=False,
        help="What to stylize: number, name or path of a camera (`rtstyle devices` lists them), a video file, the "
        "URL of a stream, the screen (screen:2 is the second monitor, screen:640x360+100+50 a region), what another "
        "program sends (ndi:NAME in the network, spout:NAME on Windows, syphon:NAME on macOS), or `pattern`, a "
        "built-in moving scene.",
    ),
]
Sinks = Annotated[
    list[str],
    typer.Option(
        metavar="window|virtual|ndi|spout|syphon|null|URL|FILE",
        help="Where to show the result. Repeat it for several places. `virtual` is a camera for other programs "
        "(virtual:NAME picks one), `ndi` sends to programs in the network, `spout` to those on this Windows machine, "
        "`syphon` to those on this Mac (ndi:NAME says under which name), an rtmp://, srt:// or udp:// URL sends a "
        "stream, a file name records, and `null` only measures.",
    ),
]
Microphone = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|default",
        help="Let recordings, streams and --modulate hear this microphone, beside the sound of the source, if it has "
        "any: number, name or part of a name (`rtstyle devices` lists them). Needs the extra `microphone`.",
    ),
]
Frames = Annotated[int | None, typer.Option(metavar="N", parser=whole(1), help="Stop after N frames.")]

# Steering by other programs.
Control = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT",
        envvar="RTSTYLE_CONTROL",
        show_envvar=False,
        help="Let scripts steer rtstyle over HTTP at this address: GET /stats and /styles, POST /style, /strength, "
        "/mix, /glide, /playlist, /every, /scale, /texture, /colours, /only, /faces, /inside, /outside, /feather, "
        "/mirror, /hold_fps, /pause, /modulate, /snapshot, /record and /stop.",
    ),
]
ControlToken = Annotated[
    str | None,
    typer.Option(
        metavar="TOKEN",
        envvar="RTSTYLE_TOKEN",
        show_envvar=False,
        help="Token that these scripts must send; required if other machines can reach the address. "
        "RTSTYLE_TOKEN in the environment keeps it out of the list of processes.",
    ),
]


@grouped
def webcam(
    ctx: typer.Context,
    style: options.Style = DEFAULT_STYLE,
    source: SourceName = "0",
    sink: Sinks = ["window"],  # noqa: B006  # typer makes a new one
    microphone: Microphone = None,
    size: options.CameraSize = None,
    fps: options.CameraFps = None,
    loop: options.Loop = False,
    reconnect: options.Reconnect = True,
    mirror: options.Mirror = False,
    strength: options.Strength = 1.0,
    scale: options.Scale = 1.0,
    colours: options.Colours = 0.0,
    hold_fps: options.HoldFps = True,
    *,
    changes: options.Changes,
    masking: Masking,
    frames: Frames = None,
    engine: options.EngineName = "auto",
    device: options.Device = None,  # noqa: ARG001  # its callback has chosen it
    threads: options.Threads = None,
    bits: options.Bitrate = None,
    encoder: options.Encoder = "software",
    control: Control = None,
    control_token: ControlToken = None,
    play: Play,
    config: options.Config = None,  # noqa: ARG001  # its callback has read it
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Stylize a camera live, in a window or wherever --sink says.

    The newest frame is always shown, so the delay never grows. A machine that is too slow works at a smaller size, with
    larger strokes. A camera or stream that is lost leaves its last picture on screen and comes back by itself.

    In the window, H shows all keys: 1-9 choose a style, Space saves a picture, R records. Ctrl-C ends everything.

    Examples:
        rtstyle webcam
        rtstyle webcam --source "HD Pro Webcam" --size 1280x720 --mirror
        rtstyle webcam --source rtsp://camera.local/live --sink recording.mkv
        rtstyle webcam --source clip.mp4 --loop --sink virtual
        rtstyle webcam --source ndi:STUDIO --sink ndi:painting
        rtstyle webcam --sink window --sink rtmp://live.example/app/KEY --control 127.0.0.1:8765
        rtstyle webcam --config studio.toml --playlist vangogh,wave,scream --every 10 --glide 4
        rtstyle webcam --midi default --modulate strength=sine:4s:0.3..1
        rtstyle webcam --microphone default --modulate strength=beat:0.3..1
        rtstyle webcam --source pattern
    """
    from rtstyle.live.webcam import WebcamJob

    job = WebcamJob(source, tuple(sink), size, fps, frames, overwrite, reconnect, loop, bits, encoder, microphone)
    settings = {"strength": strength, "mirror": mirror, "scale": scale, "colours": colours, "hold_fps": hold_fps}
    run = _Run(job, _controls(changes.first(ctx, style), changes, masking, settings), quiet=quiet)
    watch = Watch(as_json=as_json, stop=run.stop, control=control, token=control_token, play=play)
    switching = "window" in sink or bool(control or changes.playlist or play.any)  # the style can be changed
    shared = switching or hold_fps
    load = partial(options.load_engine, name=engine, threads=threads, build_ahead=True, shared=shared, live=True)
    figures = run(load, watch, switching=switching)
    if as_json:
        watch.print_last(figures, job)
    elif not quiet:
        run.finish(figures)


def _log_recordings(sinks: Sequence[str]) -> None:
    from rtstyle.media.codecs import CONTAINERS

    for name in sinks:
        if Path(name).suffix.lower() in CONTAINERS and Path(name).is_file():
            logger.info("recorded %s", name)


def _controls(style: str, changes: options.Changes, masking: Masking, settings: Mapping[str, Any]) -> Controls:
    """Return the initial settings; your own style comes first among the styles, so that its key is 1."""
    from rtstyle.controls import Controls
    from rtstyle.style_library import choices, installed

    masks: dict[str, Any] = {"only": masking.only, "masks": masking.settings(), "faces": masking.faces}
    styles = choices([entry.name for entry in installed() if not entry.fault], [style, *changes.styles()])
    return Controls(styles=styles, style=style, **changes.settings(), **masks, **settings)


class _Run:
    """A live run on the command line: its status line, its warnings, and how a signal stops it."""

    def __init__(self, job: WebcamJob, controls: Controls, *, quiet: bool) -> None:
        from rtstyle.progress import StatusLine

        self.line = StatusLine(quiet=quiet)
        self._job, self._controls = job, controls
        self._source: Source | None = None
        self._lost = False
        self._gentle = ExitStack()

    def __call__(self, load: Callable[[str], Engine], watch: Watch, *, switching: bool) -> StatsSnapshot:
        """Run until the end, and return the final figures."""
        from rtstyle.live.style_switcher import StyleSwitcher
        from rtstyle.live.webcam import run_webcam

        try:
            with self._gentle:
                return run_webcam(
                    self._job,
                    lambda: StyleSwitcher(load, self._controls, ahead=switching),
                    self._controls,
                    on_frame=self._show,
                    on_start=self._start,
                    on_ready=watch.begin,
                )
        finally:
            watch.close()
            self.line.finish()

    def finish(self, figures: StatsSnapshot) -> None:
        """Show the final figures, and what was recorded."""
        self._show_line(figures)
        self.line.finish()
        _log_recordings(self._job.sinks)

    def stop(self) -> None:
        self._controls.request_stop()
        if self._source is not None:
            self._source.close()

    def _start(self, source: Source) -> None:
        from rtstyle.signals import STOPPER

        self._source = source
        _warn_if_different(source, self._job)
        # Not earlier: while rtstyle waits for a camera or stream, the first Ctrl-C must end the wait.
        self._gentle.enter_context(STOPPER.gently(self.stop))

    def _show(self, stats: Stats) -> None:
        """Warn once when the source is lost and once when it is back, and keep the status line up to date."""
        from rtstyle.sources.base import notice_of

        assert self._source is not None
        notice = notice_of(self._source)
        if bool(notice) != self._lost:
            self._lost = bool(notice)
            self.line.finish()
            logger.warning(notice or f"{self._source.info.name} is back")
        if self.line.due():
            self._show_line(stats.snapshot())

    def _show_line(self, figures: StatsSnapshot) -> None:
        from rtstyle.style_mix import caption_of

        self.line.show(Path(caption_of(self._controls.style)).name, figures)


def _warn_if_different(source: Source, job: WebcamJob) -> None:
    """Warn if the camera delivers another size or rate than was requested."""
    got, size, fps = source.info, job.size, job.fps
    form = f" ({got.pixel_format})" if got.pixel_format else ""
    if size is not None and (got.width, got.height) != size:
        logger.warning("%s gives %d×%d%s, not %d×%d", got.name, got.width, got.height, form, *size)
    if fps is not None and got.fps and abs(float(got.fps) - fps) > RATE_TOLERANCE * fps:
        logger.warning("%s gives %.4g fps%s, not %.4g", got.name, float(got.fps), form, fps)
