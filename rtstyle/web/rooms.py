"""Everything behind the page: settings, sessions and peers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from aioice.ice import get_host_addresses

from engines.base import Engine
from engines.errors import ConfigError, SinkError, SourceError, StylerError
from rtstyle.controls import Controls
from rtstyle.live.actions import Actions, apply_settings
from rtstyle.live.engine_pool import EnginePool
from rtstyle.live.http_guard import Address, Guard, is_loopback
from rtstyle.masks.settings import NO_MASK, MaskSettings
from rtstyle.playlist import EVERY_S
from rtstyle.shelf import stamps
from rtstyle.sources.base import Source
from rtstyle.style_library import StyleEntry, choices, installed, parse
from rtstyle.web.peer import OnEnd, Peer
from rtstyle.web.session import PageSession
from rtstyle.webrtc.mdns_candidates import with_addresses
from rtstyle.webrtc.tracks import BrowserSource


@dataclass(frozen=True)
class WebSettings:
    """How the page is served.

    Attributes:
        host, port, token: where to listen, and the token that requests must bear; see ``Guard``.
        cert, key: TLS certificate and its private key, PEM files; ``None`` serves without TLS.
        peers: most browsers at a time.
        style, strength, scale, mirror, colours, only, faces, hold_fps: initial settings of a browser.
        glide, playlist, every: how the style changes, see ``Controls``.
        stun: URL of a STUN server, for browsers beyond a router; ``None`` contacts no other machine.
        masks: of all browsers.
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
    colours: float = 0.0
    only: str = "all"
    faces: float = 0.0
    masks: MaskSettings = NO_MASK
    glide: float = 0.0
    playlist: tuple[str, ...] = ()
    every: float = EVERY_S
    hold_fps: bool = True

    def check(self) -> None:
        """Raise ConfigError if others could connect without a token, or a file is missing.

        Raises:
            ConfigError: likewise, or a setting of a mask is wrong.
            SourceError: the mask cannot be read.
        """
        Guard(Address(self.host, self.port), self.token or None)
        if (self.cert is None) != (self.key is None):
            raise ConfigError("a TLS certificate and its key belong together", hint="give --cert and --key")
        for file in (self.cert, self.key):
            if file is not None and not file.is_file():
                raise ConfigError(f"no such file: {file}")
        self.masks.check()

    def address(self, port: int) -> str:
        """Return the page's URL; the token is in its fragment, which browsers do not send."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        scheme = "http" if self.cert is None else "https"
        return f"{scheme}://{host}:{port}/" + (f"#token={quote(self.token, safe='')}" if self.token else "")

    def advice(self) -> list[str]:
        """Return hints for whoever starts the server."""
        if self.cert is None and not is_loopback(self.host):
            return ["browsers allow no camera on a page from another machine without TLS: add --cert and --key"]
        return []


class Rooms:
    """All sessions and peers of the page. Call it from the event loop only.

    ``source`` opens this machine's own source, which browsers can watch, if there is one. ``on_source`` gets what
    steers it each time it starts, and ``None`` when it has ended. ``microphone`` is heard beside it, see
    ``microphone.find_microphone``.

    Attributes:
        entries: the styles of the library.
        revision: changes with ``entries``.
        unfinished: name under which visitors see the style that is being learned, if there is something to see.
    """

    def __init__(
        self,
        settings: WebSettings,
        load: Callable[[str], Engine],
        source: Callable[[], Source] | None = None,
        on_source: Callable[[Actions | None], None] = lambda _: None,
        microphone: str | None = None,
    ) -> None:
        self.settings = settings
        self._on_source, self._microphone = on_source, microphone
        self._stamps, self.revision = stamps(), 0
        self.entries = _usable()
        self.watchable = source is not None
        self.unfinished: str | None = None
        self._unfinished_folders: dict[str, str] = {}
        self._pool = EnginePool(lambda style: load(self._unfinished_folders.get(style, style)))
        self._open_source = source
        self._local: PageSession | None = None
        self._opening = asyncio.Lock()
        self._peers: set[Peer] = set()
        self._count = self._joining = 0
        self._closing = False
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def styles(self) -> list[str]:
        """Names to choose from; those outside the library come first."""
        return choices([entry.name for entry in self.entries], [self.settings.style, *self.settings.playlist])

    @property
    def needed(self) -> set[str]:
        """Names of the styles that every visitor begins with, also in mixes."""
        return {name for style in (self.settings.style, *self.settings.playlist) for name in parse(style).styles}

    async def refresh(self, instead: str = "") -> None:
        """Read the library again, and let all visitors choose from what is there now.

        Those whose style is gone see ``instead``, by default the style that every visitor begins with.
        """
        self._stamps = await asyncio.to_thread(stamps)  # before the styles: what changes between is seen later
        self.entries = await asyncio.to_thread(_usable)
        self.revision += 1
        self._offer(instead)

    async def refresh_if_changed(self) -> None:
        """Read the library again if styles have come or gone, by `rtstyle styles` or by another server."""
        if await asyncio.to_thread(stamps) != self._stamps:
            await self.refresh()

    def show_unfinished(self, folder: Path) -> None:
        """Let visitors choose a style that is being learned in a folder."""
        # A name of its own for each training: sessions remember that a name could not be loaded.
        self.unfinished = f"unfinished.{len(self._unfinished_folders) + 1}"
        self._unfinished_folders[self.unfinished] = str(folder)
        self._offer()

    async def replace_unfinished(self, style: str = "") -> None:
        """End ``show_unfinished``; whoever sees that style sees another one from now on, see ``refresh``."""
        self.unfinished = None
        await self.refresh(style)

    def _offer(self, instead: str = "") -> None:
        sessions = {self._local, *(peer.session for peer in self._peers)}
        for session in sessions:
            if session is not None:
                session.controls.offer(self._offered(), instead or self.settings.style)

    def _offered(self) -> list[str]:
        return [*self.styles, *([self.unfinished] if self.unfinished else [])]

    async def join(self, offer: str, *, sender: str, watch: bool, initial: dict[str, Any]) -> str:
        """Return our answer (SDP) to the offer (SDP) of a browser at the address ``sender``.

        With ``watch`` it sees this machine's own source instead of its camera, with the settings of the others.

        Raises:
            SinkError: there are too many browsers, or the server is stopping.
            StylerError: there is nothing to watch, or the offer or an initial setting is invalid.
        """
        if len(self._peers) + self._joining >= self.settings.peers:
            raise SinkError(f"{self.settings.peers} browsers are connected already", hint="close one, or raise --peers")
        apply_settings(self._controls(), initial)  # fail before anything begins
        self._joining += 1
        try:
            watched = await self._local_session() if watch else None
        finally:
            self._joining -= 1
        self._refuse_when_closing()
        self._count += 1
        begin = None if watch else partial(self._begin, initial)
        peer = Peer(self._count, begin, watched, self.settings.stun, self._left)
        self._peers.add(peer)
        try:
            return await peer.answer(with_addresses(offer, sender, get_host_addresses(True, True)))
        except StylerError:
            await peer.ended()
            raise

    def state(self) -> list[dict[str, Any]]:
        """Return what each peer sees, as plain values; from any thread."""
        return [peer.state() for peer in list(self._peers)]  # a copy: one may come or go meanwhile

    def stats(self) -> dict[str, Any]:
        """Return the figures of this machine's own source, as ``--control`` does; empty while nobody watches it."""
        return self._local.state() if self._local else {}

    async def close(self) -> None:
        """Refuse new browsers, and end everything."""
        self._closing = True
        await asyncio.gather(*(peer.ended() for peer in list(self._peers)))
        with suppress(TimeoutError):  # whoever is opening the source closes it
            async with asyncio.timeout(2):
                await self._close_unwatched()

    def _controls(self) -> Controls:
        settings = self.settings
        return Controls(
            settings.strength, settings.mirror, settings.scale, self._offered(), settings.style, settings.colours,
            settings.only, settings.masks, settings.faces, settings.glide, settings.playlist, settings.every,
            settings.hold_fps,
        )  # fmt: skip

    def _begin(self, initial: dict[str, Any], source: BrowserSource, on_end: OnEnd) -> PageSession:
        controls = self._controls()
        apply_settings(controls, initial)
        return PageSession(source, self._pool.load, controls, on_end)

    async def _local_session(self) -> PageSession:
        """Return the session of this machine's own source; the first viewer starts it."""
        if self._open_source is None:
            raise SourceError("this server has no source of its own", hint="start it with --source")
        async with self._opening:  # two viewers at once must not open a camera twice
            if self._local is None:
                self._refuse_when_closing()
                loop = asyncio.get_running_loop()
                source = await loop.run_in_executor(None, self._open_source)
                try:
                    self._refuse_when_closing()
                except SinkError:
                    source.close()
                    raise

                def on_end(ended: PageSession, reason: str) -> None:
                    with suppress(RuntimeError):  # the session outlived the event loop
                        loop.call_soon_threadsafe(self._local_ended, ended, reason)

                controls, microphone = self._controls(), self._microphone
                self._local = PageSession(source, self._pool.load, controls, on_end, microphone)
                self._local.start()
                self._on_source(self._local.actions)
            return self._local

    def _refuse_when_closing(self) -> None:
        if self._closing:
            raise SinkError("the server is stopping")

    def _left(self, peer: Peer) -> None:
        """Forget a peer, and close the source that only it watched."""
        self._peers.discard(peer)
        task = asyncio.get_running_loop().create_task(self._close_unwatched())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _close_unwatched(self) -> None:
        """Close the source if nobody watches it, because a camera's light must not stay on."""
        async with self._opening:  # a new viewer waits: a camera cannot be opened twice
            local = self._local
            if local is None or self._joining or any(one.watches(local) for one in self._peers):
                return
            self._local = None
            self._on_source(None)
            await asyncio.get_running_loop().run_in_executor(None, local.close)

    def _local_ended(self, ended: PageSession, reason: str) -> None:
        if self._local is ended:
            self._local = None
            self._on_source(None)
        for peer in list(self._peers):
            if peer.watches(ended):
                peer.end(reason or "the source has ended")


def _usable() -> list[StyleEntry]:
    return [entry for entry in installed() if not entry.fault]
