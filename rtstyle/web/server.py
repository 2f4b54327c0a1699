"""The page's server: hands out the page, answers offers, and keeps the peers."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from aiohttp import web
from aioice.ice import get_host_addresses

from engines.base import Engine
from engines.errors import ConfigError, SinkError, SourceError, StylerError
from rtstyle.live.http_guard import Address, Guard, is_loopback
from rtstyle.pipeline import Controls
from rtstyle.sources.base import Source
from rtstyle.styles import StyleEntry, installed
from rtstyle.web import http_limits
from rtstyle.web.peer import OnEnd, Peer, raise_bitrates
from rtstyle.web.session import Session, Shelf, obey
from rtstyle.webrtc.mdns_candidates import with_addresses
from rtstyle.webrtc.tracks import BrowserSource

PAGE = Path(__file__).parent / "page"
"""The page's own files; there are no others."""

KINDS = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


@dataclass(frozen=True)
class WebSettings:
    """How the page is served.

    Attributes:
        host, port: where to listen; port 0 takes a free one.
        token: what requests must bear; needed on any address but this machine's own.
        cert, key: files of the TLS certificate and its key; ``None`` serves without TLS.
        peers: browsers at a time.
        style, strength, scale, mirror: what a browser begins with.
        stun: a STUN server's URL, for browsers beyond a router; ``None`` asks nobody outside.
    """

    host: str = "127.0.0.1"
    port: int = 8765
    token: str = ""
    cert: Path | None = None
    key: Path | None = None
    peers: int = 4
    style: str = "vangogh"
    strength: float = 1.0
    scale: float = 1.0
    mirror: bool = False
    stun: str | None = None

    def check(self) -> None:
        """Refuse what would let strangers in, or cannot be served.

        Raises:
            ConfigError
        """
        Guard(Address(self.host, self.port), self.token or None)
        if (self.cert is None) != (self.key is None):
            raise ConfigError("a TLS certificate and its key belong together", hint="give --cert and --key")
        for file in (self.cert, self.key):
            if file is not None and not file.is_file():
                raise ConfigError(f"no such file: {file}")

    def address(self, port: int) -> str:
        """Where a browser finds the page; the token stays in the part that browsers send nobody."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        scheme = "http" if self.cert is None else "https"
        return f"{scheme}://{host}:{port}/" + (f"#token={quote(self.token, safe='')}" if self.token else "")

    def advice(self) -> list[str]:
        """What somebody should know who serves it so."""
        if self.cert is None and not is_loopback(self.host):
            return ["browsers give no camera to a page of another machine without TLS: --cert and --key"]
        return []


class Studio:
    """All that runs behind the page. In the event loop.

    Args:
        settings: what browsers begin with, and how many there may be.
        load: makes the engine of a style.
        source: opens this machine's own source, for those who only watch; ``None`` where there is none.
    """

    def __init__(
        self, settings: WebSettings, load: Callable[[str], Engine], source: Callable[[], Source] | None = None
    ) -> None:
        self.settings = settings
        self.entries = [entry for entry in installed() if not entry.fault]
        self.watchable = source is not None
        self._shelf = Shelf(load)
        self._open_source = source
        self._shown: Session | None = None
        self._opening = asyncio.Lock()
        self._peers: set[Peer] = set()
        self._count = self._joining = 0
        self._closing = False
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def styles(self) -> list[str]:
        """Names to choose from; one's own comes first."""
        names = [entry.name for entry in self.entries]
        return names if self.settings.style in names else [self.settings.style, *names]

    async def join(self, offer: str, *, sender: str, watch: bool, wishes: dict[str, Any]) -> str:
        """Answer a browser's offer.

        Args:
            offer: SDP.
            sender: address that it came from.
            watch: it wants to see this machine's own source, not to send pictures.
            wishes: settings to begin with, as ``obey`` takes them; ignored for one who watches.

        Returns:
            the answer's SDP.

        Raises:
            SinkError: there are too many already. SourceError: there is nothing to watch, or no offer. ConfigError,
            StyleError, ShapeError: a wish that cannot be fulfilled.
        """
        if len(self._peers) + self._joining >= self.settings.peers:
            raise SinkError(f"{self.settings.peers} browsers are here already", hint="close one, or raise --peers")
        obey(self._controls(), wishes)  # told before anything begins
        self._joining += 1
        try:
            watched = await self._watched() if watch else None
        finally:
            self._joining -= 1
        self._refuse_when_closing()
        self._count += 1
        begin = None if watch else partial(self._begin, wishes)
        peer = Peer(self._count, begin, watched, self.settings.stun, self._left)
        self._peers.add(peer)
        try:
            return await peer.answer(with_addresses(offer, sender, get_host_addresses(True, True)))
        except StylerError:
            await peer.ended()
            raise

    def state(self) -> list[dict[str, Any]]:
        """What each peer sees, plain values."""
        return [peer.state() for peer in self._peers]

    async def close(self) -> None:
        """End everything; nobody may join any more."""
        self._closing = True
        await asyncio.gather(*(peer.ended() for peer in list(self._peers)))
        with suppress(TimeoutError):  # a source that is being opened is closed by the one who opens it
            async with asyncio.timeout(2):
                await self._close_unwatched()

    def _controls(self) -> Controls:
        settings = self.settings
        return Controls(settings.strength, settings.mirror, settings.scale, self.styles, settings.style)

    def _begin(self, wishes: dict[str, Any], source: BrowserSource, on_end: OnEnd) -> Session:
        controls = self._controls()
        obey(controls, wishes)
        return Session(source, self._shelf.load, controls, on_end)

    async def _watched(self) -> Session:
        """The painting of this machine's own source; begun by the first who watches."""
        if self._open_source is None:
            raise SourceError("this server has no source of its own", hint="start it with --source")
        async with self._opening:  # two who come at once must not open a camera twice
            if self._shown is None:
                self._refuse_when_closing()
                loop = asyncio.get_running_loop()
                source = await loop.run_in_executor(None, self._open_source)
                try:
                    self._refuse_when_closing()
                except SinkError:
                    source.close()
                    raise

                def over(ended: Session, reason: str) -> None:
                    with suppress(RuntimeError):  # a session that outlives the loop tells nobody
                        loop.call_soon_threadsafe(self._shown_ended, ended, reason)

                self._shown = Session(source, self._shelf.load, self._controls(), over)
                self._shown.start()
            return self._shown

    def _refuse_when_closing(self) -> None:
        if self._closing:
            raise SinkError("the server is being stopped")

    def _left(self, peer: Peer) -> None:
        """Forget a peer."""
        self._peers.discard(peer)
        task = asyncio.get_running_loop().create_task(self._close_unwatched())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _close_unwatched(self) -> None:
        """Close the source that nobody watches: a camera's light must not stay on.

        Whoever comes meanwhile waits until it is closed, for a camera cannot be opened twice.
        """
        async with self._opening:
            shown = self._shown
            if shown is None or self._joining or any(one.watches(shown) for one in self._peers):
                return
            self._shown = None
            await asyncio.get_running_loop().run_in_executor(None, shown.close)

    def _shown_ended(self, ended: Session, reason: str) -> None:
        if self._shown is ended:
            self._shown = None
        for peer in list(self._peers):
            if peer.watches(ended):
                peer.end(reason or "the source has ended")


class Server:
    """The page on an address.

    Args:
        studio: what is behind it.
    """

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._runner: web.AppRunner | None = None
        self._listening: asyncio.Server | None = None
        self._watch: asyncio.Task[None] | None = None
        self._limit: http_limits.ConnectionLimit | None = None
        self.port = studio.settings.port

    async def start(self) -> None:
        """Listen.

        Raises:
            SinkError: the address is taken or not this machine's. ConfigError: the certificate cannot be used.
        """
        settings = self._studio.settings
        raise_bitrates()
        app = web.Application(client_max_size=http_limits.BODY, middlewares=[self._checked])
        app.router.add_get("/", self._file("index.html"))
        for path in PAGE.iterdir():
            app.router.add_get(f"/{path.name}", self._file(path.name))
        app.router.add_get("/styles", self._styles)
        app.router.add_get("/styles/{name}.jpg", self._preview)
        app.router.add_get("/stats", self._stats)
        app.router.add_post("/offer", self._offer)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
        await self._runner.setup()
        assert self._runner.server is not None
        loop = asyncio.get_running_loop()
        try:
            tls = _tls(settings)
            self._limit = http_limits.ConnectionLimit(
                self._runner.server, http_limits.HANDSHAKE_S if tls else http_limits.ACCEPT_S
            )
            self._listening = await loop.create_server(
                self._limit,
                settings.host,
                settings.port,
                ssl=tls,
                ssl_handshake_timeout=http_limits.HANDSHAKE_S if tls else None,
                backlog=http_limits.CONNECTIONS,
            )
        except OSError as error:
            await self._runner.cleanup()
            where = f"{settings.host}:{settings.port}"
            raise SinkError(
                f"cannot listen on {where}: {error.strerror or error}",
                hint="is it running already? --port takes another",
            ) from error
        self.port = self._listening.sockets[0].getsockname()[1]
        self._guard = Guard(Address(settings.host, self.port), settings.token or None)
        self._watch = loop.create_task(self._limit.watch())

    async def close(self) -> None:
        """End all connections, then stop listening."""
        if self._listening is not None:
            self._listening.close()
        if self._watch is not None:
            self._watch.cancel()
        await self._studio.close()
        if self._runner is not None:
            await self._runner.cleanup()
        await self._studio.close()  # whoever was joining meanwhile

    @web.middleware
    async def _checked(self, request: web.Request, handler: http_limits.Handler) -> web.StreamResponse:
        assert self._limit is not None
        with self._limit.answering(request):
            return await http_limits.checked(self._guard, request, handler)

    @staticmethod
    def _file(name: str) -> http_limits.Handler:
        path = PAGE / name

        async def handler(_: web.Request) -> web.StreamResponse:
            return web.Response(body=path.read_bytes(), content_type=KINDS[path.suffix], charset="utf-8")

        return handler

    async def _styles(self, _: web.Request) -> web.StreamResponse:
        """What the page needs before it can ask for anything."""
        settings, studio = self._studio.settings, self._studio
        known = {entry.name: entry for entry in studio.entries}
        styles = [_described(name, known.get(name)) for name in studio.styles]
        begin = {
            "style": settings.style,
            "strength": settings.strength,
            "scale": settings.scale,
            "mirror": settings.mirror,
            "stun": settings.stun,
        }
        return web.json_response({"styles": styles, "watchable": studio.watchable, "begin": begin})

    async def _preview(self, request: web.Request) -> web.StreamResponse:
        entry = next((e for e in self._studio.entries if e.name == request.match_info["name"]), None)
        path = Path(entry.path) / "preview.jpg" if entry else None
        if path is None or not path.is_file():
            raise web.HTTPNotFound
        return web.Response(body=path.read_bytes(), content_type="image/jpeg")

    async def _stats(self, _: web.Request) -> web.StreamResponse:
        return web.json_response(self._studio.state())

    async def _offer(self, request: web.Request) -> web.StreamResponse:
        try:
            async with asyncio.timeout(http_limits.SLOW_S):
                body = json.loads(await request.read())
        except TimeoutError:
            raise web.HTTPRequestTimeout from None
        except (ValueError, RecursionError):
            raise web.HTTPBadRequest(reason="the body is no JSON") from None
        if not isinstance(body, dict) or not isinstance(body.get("sdp"), str):
            raise web.HTTPBadRequest(reason="sdp is missing")
        wishes = body.get("begin", {})
        try:
            if not isinstance(wishes, dict):
                raise ConfigError("begin must be a table")
            answer = await self._studio.join(
                body["sdp"], sender=request.remote or "", watch=body.get("watch") is True, wishes=wishes
            )
        except StylerError as error:
            status = 503 if isinstance(error, SinkError) else 400
            return web.json_response({"error": str(error)}, status=status)
        return web.json_response({"sdp": answer})


def _described(name: str, entry: StyleEntry | None) -> dict[str, str]:
    if entry is None:  # one's own, by its folder
        return {"name": name, "title": Path(name).name, "painter": ""}
    return {"name": name, "title": entry.title, "painter": entry.painter, "preview": f"styles/{name}.jpg"}


def _tls(settings: WebSettings) -> ssl.SSLContext | None:
    if settings.cert is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(settings.cert, settings.key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"the certificate {settings.cert} cannot be used: {error}") from error
    return context
