"""``rtstyle web``."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rtstyle.commands.options import (
    EngineName,
    Quiet,
    Scale,
    Strength,
    Style,
    Threads,
    load_engine,
)
from rtstyle.commands.values import RATE, SIZE, Size, whole
from rtstyle.defaults import DEFAULT_STYLE

if TYPE_CHECKING:
    from rtstyle.web.rooms import WebSettings
    from rtstyle.web.server import Server

logger = logging.getLogger(__name__)


def web(
    style: Style = DEFAULT_STYLE,
    source: Annotated[
        str | None,
        typer.Option(
            metavar="0|PATH|URL|pattern",
            help="Also show a source of this machine, as `rtstyle webcam --source` takes it, to every visitor.",
        ),
    ] = None,
    size: Annotated[
        Size | None, typer.Option(metavar="WxH", parser=SIZE, help="Frame size to request from that camera.")
    ] = None,
    fps: Annotated[
        float | None, typer.Option(metavar="N", parser=RATE, help="Frames per second to request from that camera.")
    ] = None,
    mirror: Annotated[bool, typer.Option("--mirror", help="Start with left and right swapped.")] = False,
    strength: Strength = 1.0,
    scale: Scale = 1.0,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Address to listen on; 127.0.0.1 is this machine only.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(metavar="N", parser=whole(0, 65535), help="Port to listen on; 0 takes a free one.")
    ] = 8765,
    token: Annotated[
        str,
        typer.Option(
            metavar="TOKEN",
            envvar="RTSTYLE_TOKEN",
            show_envvar=False,
            help="Token that visitors need; required if other machines can reach the address. RTSTYLE_TOKEN in the "
            "environment keeps it out of the list of processes.",
        ),
    ] = "",
    cert: Annotated[
        Path | None, typer.Option(metavar="FILE", help="TLS certificate (PEM), for visitors on other machines.")
    ] = None,
    key: Annotated[Path | None, typer.Option(metavar="FILE", help="Private key of the certificate (PEM).")] = None,
    stun: Annotated[
        str | None,
        typer.Option(metavar="URL", help="STUN server, for visitors beyond your router. [default: none]"),
    ] = None,
    peers: Annotated[int, typer.Option(metavar="N", parser=whole(1, 64), help="Visitors at the same time.")] = 4,
    engine: EngineName = "auto",
    threads: Threads = None,
    quiet: Quiet = False,  # noqa: ARG001  # its callback has set the level of messages
) -> None:
    """Serve a web page that stylizes the visitor's camera.

    Needs the extra "web". Open the address that is printed. Add ?view=only to it for a page that shows only the
    --source, as a browser source in OBS. Pictures travel between the browser and this machine, and nowhere else.

    Examples:
        rtstyle web
        rtstyle web --source 0
        rtstyle web --host 192.168.1.20 --token choose-one --cert cert.pem --key key.pem
    """
    from engines.base import check_size
    from engines.errors import EngineError
    from engines.install_hint import pip_install
    from rtstyle.signals import STOPPER
    from rtstyle.style_library import find

    try:
        from rtstyle.web.rooms import Rooms, WebSettings
        from rtstyle.web.server import Server
    except ImportError as error:
        raise EngineError(f"the page needs {error.name}", hint=pip_install("web")) from error
    from rtstyle.sources.factory import open_source

    find(style)  # fail now, not when the first browser comes
    settings = WebSettings(host, port, token, cert, key, peers, style, strength, scale, mirror, stun)
    settings.check()
    wanted = (size.width, size.height) if size else None
    open_shown = partial(open_source, source or "", size=wanted, fps=fps)
    if size is not None:
        check_size(size.height, size.width)
    if source is not None:
        open_shown().close()  # fail now, not when the first browser comes
    load = partial(load_engine, name=engine, threads=threads, build_ahead=True, shared=True)
    server = Server(Rooms(settings, load, open_shown if source else None))
    stopped = asyncio.Event()
    with asyncio.Runner() as runner:
        loop = runner.get_loop()

        def stop() -> None:
            loop.call_soon_threadsafe(stopped.set)

        with STOPPER.gently(stop):
            runner.run(_serve(server, settings, stopped))


async def _serve(server: Server, settings: WebSettings, stopped: asyncio.Event) -> None:
    await server.start()
    try:
        logger.info("the page is at %s", settings.address(server.port))
        for line in settings.advice():
            logger.info(line)
        await stopped.wait()
    finally:
        await server.close()
