"""``rtstyle web``."""

from __future__ import annotations

import asyncio
import logging
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rtstyle.commands import options
from rtstyle.commands.extras import needs_extra
from rtstyle.commands.mask_options import Masking
from rtstyle.commands.option_groups import grouped
from rtstyle.commands.play import Instruments, Play
from rtstyle.commands.values import number, whole
from rtstyle.defaults import DEFAULT_STYLE

if TYPE_CHECKING:
    from collections.abc import Callable

    from rtstyle.commands.values import Size
    from rtstyle.sources.base import Source as OpenSource
    from rtstyle.web.rooms import WebSettings
    from rtstyle.web.server import Server

logger = logging.getLogger(__name__)

Source = Annotated[
    str | None,
    typer.Option(
        metavar="0|PATH|URL|pattern",
        help="Also show a source of this machine, as `rtstyle webcam --source` takes it, to every visitor.",
    ),
]

Microphone = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|default",
        help="Let --modulate level and beat hear this microphone, beside the sound of --source, if it has any: number, "
        "name or part of a name (`rtstyle devices` lists them). Needs the extra `microphone`.",
    ),
]

# The server.
Host = Annotated[str, typer.Option(metavar="ADDRESS", help="Address to listen on; 127.0.0.1 is this machine only.")]
Port = Annotated[int, typer.Option(metavar="N", parser=whole(0, 65535), help="Port to listen on; 0 takes a free one.")]
Token = Annotated[
    str,
    typer.Option(
        metavar="TOKEN",
        envvar="RTSTYLE_TOKEN",
        show_envvar=False,
        help="Token that visitors need; required if other machines can reach the address. RTSTYLE_TOKEN in the "
        "environment keeps it out of the list of processes.",
    ),
]
Cert = Annotated[
    Path | None, typer.Option(metavar="FILE", help="TLS certificate (PEM), for visitors on other machines.")
]
Key = Annotated[Path | None, typer.Option(metavar="FILE", help="Private key of the certificate (PEM).")]
Stun = Annotated[
    str | None, typer.Option(metavar="URL", help="STUN server, for visitors beyond your router. [default: none]")
]
FilesDir = Annotated[
    Path | None,
    typer.Option(
        "--files",
        metavar="DIR",
        help="Let visitors upload clips and pictures, and keep the results in this folder. [default: they cannot]",
    ),
]
FilesLimit = Annotated[
    float,
    typer.Option(metavar="GB", parser=number(0.001, 1e6), help="Most space for uploads and results, 10^9 bytes."),
]
Train = Annotated[
    bool,
    typer.Option(
        "--train/--no-train",
        help="Let visitors drop a painting, learn its style here, with the lowest priority, and keep it among your own "
        "styles. Needs the extra `train`.",
    ),
]
Peers = Annotated[int, typer.Option(metavar="N", parser=whole(1, 64), help="Visitors at the same time.")]


@grouped
def web(
    ctx: typer.Context,
    style: options.Style = DEFAULT_STYLE,
    source: Source = None,
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
    host: Host = "127.0.0.1",
    port: Port = 8765,
    token: Token = "",
    cert: Cert = None,
    key: Key = None,
    stun: Stun = None,
    peers: Peers = 4,
    files: FilesDir = None,
    files_limit: FilesLimit = 20.0,
    train: Train = True,
    play: Play,
    engine: options.EngineName = "auto",
    device: options.Device = None,  # noqa: ARG001  # its callback has chosen it
    threads: options.Threads = None,
    config: options.Config = None,  # noqa: ARG001  # its callback has read it
    quiet: options.Quiet = False,  # noqa: ARG001  # its callback has set the level of messages
) -> None:
    """Serve a web page that stylizes cameras, clips and pictures.

    Needs the extra "web". Open the address that is printed. Add ?view=only to it for a page that shows only the
    --source, as a browser source in OBS. Pictures travel between the browser and this machine, and nowhere else.

    Examples:
        rtstyle web
        rtstyle web --playlist vangogh,wave,scream --glide 4
        rtstyle web --source 0 --osc 9000
        rtstyle web --source clip.mp4 --loop
        rtstyle web --files painted/
        rtstyle web --host 192.168.1.20 --token choose-one --cert cert.pem --key key.pem
    """
    from engines.errors import EngineError
    from rtstyle.style_library import open_style

    with needs_extra("web", "the page", EngineError):
        from rtstyle.web.files.routes import Files, FilesSettings
        from rtstyle.web.rooms import Rooms, WebSettings
        from rtstyle.web.server import Server
        from rtstyle.web.training.routes import OwnStyles

    style = changes.first(ctx, style)
    settings = WebSettings(
        host, port, token, cert, key, peers, style, strength, scale, mirror, stun, colours, masking.only,
        masking.faces, masking.settings(), hold_fps=hold_fps, **changes.settings(),
    )  # fmt: skip
    settings.check()
    open_style(style)  # fail now, not when the first browser comes
    open_shown = _checked_source(source, play, microphone, size=size, fps=fps, loop=loop, reconnect=reconnect)
    load = partial(options.load_engine, name=engine, threads=threads, build_ahead=True, shared=True, live=True)
    with closing(Instruments(play)) as instruments:
        rooms = Rooms(settings, load, open_shown, instruments.follow, microphone)
        queue = None
        if files:
            kept = FilesSettings(files, round(files_limit * 1e9), engine, threads)
            queue = Files(kept, lambda: rooms.styles)
        asyncio.run(_serve(Server(rooms, queue, OwnStyles(rooms) if train else None), settings))


def _checked_source(
    source: str | None,
    play: Play,
    microphone: str | None = None,
    *,
    size: Size | None,
    fps: float | None,
    loop: bool,
    reconnect: bool,
) -> Callable[[], OpenSource] | None:
    """Return what opens this machine's own source, which was tried once; ``None`` if there is none."""
    from engines.base import check_size
    from engines.errors import ConfigError
    from rtstyle.sound.feed import sound_of
    from rtstyle.sound.follower import check_sound
    from rtstyle.sound.microphone import find_microphone
    from rtstyle.sources.factory import open_source

    if size is not None:
        check_size(size.height, size.width)
    if source is None and (play.any or microphone is not None):
        told = "--osc, --midi, --modulate and --microphone belong to this machine's own source"
        raise ConfigError(told, hint="add --source")
    if source is None:
        return None
    open_shown = partial(open_source, source, size=size, fps=fps, loop=loop, reconnect=reconnect)
    follows_sound = play.follows_sound
    if microphone is not None:
        find_microphone(microphone)
    with closing(open_shown()) as opened:
        if follows_sound and microphone is None:
            check_sound(sound_of(opened))
    return open_shown


async def _serve(server: Server, settings: WebSettings) -> None:
    """Serve until a signal asks to stop."""
    from rtstyle.signals import STOPPER

    stopped, loop = asyncio.Event(), asyncio.get_running_loop()
    with STOPPER.gently(lambda: loop.call_soon_threadsafe(stopped.set)):
        await server.start()
        try:
            logger.info("the page is at %s", settings.address(server.port))
            for line in settings.advice():
                logger.info(line)
            await stopped.wait()
        finally:
            await server.close()
