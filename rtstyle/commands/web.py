"""``rtstyle web``."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rtstyle.commands.options import (
    DEFAULT_STYLE,
    EngineName,
    Quiet,
    Scale,
    Size,
    Strength,
    Style,
    Threads,
    load_engine,
    noting_once,
    parse_rate,
    parse_size,
)

if TYPE_CHECKING:
    from rtstyle.web.server import Server, WebSettings

TOKEN = "RTSTYLE_TOKEN"  # noqa: S105  # the name of a variable
"""Environment variable that holds the token, for a command line is seen by everybody on the machine."""


def web(
    style: Style = DEFAULT_STYLE,
    source: Annotated[
        str | None,
        typer.Option(
            metavar="0|PATH|URL|pattern",
            help="Also offer this machine's own camera, clip, stream or moving scene, as in `rtstyle webcam`.",
        ),
    ] = None,
    size: Annotated[
        Size | None, typer.Option(metavar="WxH", parser=parse_size, help="Size to ask that camera for.")
    ] = None,
    fps: Annotated[
        float | None, typer.Option(metavar="N", parser=parse_rate, help="Frames per second to ask that camera for.")
    ] = None,
    mirror: Annotated[bool, typer.Option("--mirror", help="Begin with left and right swapped.")] = False,
    strength: Strength = 1.0,
    scale: Scale = 1.0,
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="N", min=0, max=65535, help="Port; 0 takes a free one.")] = 8765,
    token: Annotated[
        str,
        typer.Option(
            envvar=TOKEN, show_envvar=False, metavar="TEXT", help=f"What browsers must bear; also in {TOKEN}."
        ),
    ] = "",
    cert: Annotated[Path | None, typer.Option(metavar="FILE", help="TLS certificate, PEM.")] = None,
    key: Annotated[Path | None, typer.Option(metavar="FILE", help="Its key, PEM.")] = None,
    stun: Annotated[
        str | None, typer.Option(metavar="URL", help="STUN server for browsers beyond a router. [default: none]")
    ] = None,
    peers: Annotated[int, typer.Option(metavar="N", min=1, max=64, help="Browsers at a time.")] = 4,
    engine: EngineName = "auto",
    threads: Threads = None,
    quiet: Quiet = False,
) -> None:
    """Serve a page that paints a browser's camera, or shows what this machine paints.

    Open the address that is printed. Add ?view=only to it for a bare page that shows this machine's source, for a
    browser source in OBS. Nothing is sent anywhere but between the browser and this machine.

    \b
    rtstyle web
    rtstyle web --source 0
    rtstyle web --host 192.168.1.20 --token choose-one --cert cert.pem --key key.pem
    """
    from engines.base import check_size
    from engines.errors import EngineError
    from rtstyle.signals import STOPPER
    from rtstyle.styles import find

    try:
        from rtstyle.web.server import Server, Studio, WebSettings
    except ImportError as error:
        raise EngineError(f"the page needs {error.name}", hint='pip install "rtstyle[web]"') from error
    from rtstyle.live.webcam import WebcamJob, open_source

    find(style)  # a wrong name is told now, not to the first browser
    settings = WebSettings(host, port, token, cert, key, peers, style, strength, scale, mirror, stun)
    settings.check()
    job = WebcamJob(source or "", (), (size.width, size.height) if size else None, fps)
    if size is not None:
        check_size(size.height, size.width)
    if source is not None:
        open_source(job).close()  # what is wrong with it is told now, to the one who typed it
    told = noting_once()
    load = partial(load_engine, name=engine, threads=threads, told=told, sharing=True)
    studio = Studio(settings, load, (lambda: open_source(job)) if source else None)
    server = Server(studio)
    stopped = asyncio.Event()
    with asyncio.Runner() as runner:
        loop = runner.get_loop()

        def stop() -> None:
            loop.call_soon_threadsafe(stopped.set)

        with STOPPER.gently(stop):
            runner.run(_serve(server, settings, stopped, quiet=quiet))


async def _serve(server: Server, settings: WebSettings, stopped: asyncio.Event, *, quiet: bool) -> None:
    await server.start()
    try:
        if not quiet:
            typer.echo(f"the page is at {settings.address(server.port)}", err=True)
            for line in settings.advice():
                typer.echo(line, err=True)
        await stopped.wait()
    finally:
        await server.close()
