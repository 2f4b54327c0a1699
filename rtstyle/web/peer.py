"""One browser: its WebRTC connection, the pictures that it sends, the painting that it gets, and what it asks for."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from aiortc import MediaStreamTrack, RTCConfiguration, RTCDataChannel, RTCIceServer, RTCPeerConnection
from aiortc import RTCSessionDescription as Description
from aiortc.codecs import h264, vpx
from aiortc.mediastreams import MediaStreamError
from av import VideoFrame

from engines.errors import SourceError, StylerError
from rtstyle.web.session import Session, obey
from rtstyle.webrtc.tracks import BrowserSource, PaintedTrack

CONNECT_S = 15.0
"""How long a browser may take to connect, seconds."""

SILENT_S = 30.0
"""A browser that sends no picture for so long is dropped, seconds: its camera is off, or its page sleeps."""

TELL_S = 1.0
"""Seconds between two readings of the figures."""

LARGEST = 1920 * 1080
"""Largest picture that is taken from a browser, pixels."""

MESSAGE = 2048
"""Longest message that is read from a browser, characters."""

SECTIONS = 3
"""Most media sections of an offer: video, data, and one to spare."""

BITRATES = (1_000_000, 4_000_000, 16_000_000)
"""Least, first and largest bit-rate of the painting, bits per second.

aiortc's own, 0.5 to 3 Mbit/s, are for faces before walls. Strokes are texture everywhere.
"""

OnEnd = Callable[[Session, str], None]

_log = logging.getLogger(__name__)


class Peer:
    """A connection, from the offer until either side ends it. Everything runs in the event loop.

    Args:
        number: for logs and names.
        begin: starts a session with what this browser's camera sends; for one that only watches ``None``.
        watched: the session that it watches; ``None`` for one that sends its own pictures.
        stun: a STUN server's URL; ``None`` asks nobody outside.
        on_end: told once, when everything is closed.
    """

    def __init__(
        self,
        number: int,
        begin: Callable[[BrowserSource, OnEnd], Session] | None,
        watched: Session | None,
        stun: str | None,
        on_end: Callable[[Peer], None],
    ) -> None:
        self.number = number
        self._begin, self._session, self._own = begin, watched, watched is None
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._connection = RTCPeerConnection(RTCConfiguration([RTCIceServer(stun)] if stun else []))
        self._painted = PaintedTrack(self._loop)
        self._source: BrowserSource | None = None
        self._channel: RTCDataChannel | None = None
        self._seen_s = self._loop.time()
        self._ending: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def answer(self, offer: str) -> str:
        """Begin.

        Args:
            offer: the browser's session description, SDP.

        Returns:
            ours, with all addresses in it.

        Raises:
            SourceError: it is no such description, or offers no video.
        """
        if not offer.startswith("v=0") or offer.count("\nm=") > SECTIONS or "\nm=video" not in offer:
            raise SourceError("this is no offer of video")
        connection = self._connection
        connection.on("track", self._on_track)
        connection.on("datachannel", self._on_channel)
        connection.on("connectionstatechange", self._on_state)
        try:
            await connection.setRemoteDescription(Description(offer, "offer"))
            connection.addTrack(self._painted)
            await connection.setLocalDescription(await connection.createAnswer())
        except Exception as error:  # aiortc raises whatever its parsers stumble over
            raise SourceError("this offer cannot be answered", hint=str(error)[:200]) from error
        if self._session is not None:
            self._session.add(self._painted)
        self._spawn(self._look_after())
        return str(connection.localDescription.sdp)

    def end(self, reason: str = "") -> None:
        """Close everything, once. In the event loop.

        Args:
            reason: told to the browser; empty for none.
        """
        if self._ending is None:
            self._ending = self._loop.create_task(self._end(reason))

    async def ended(self) -> None:
        """Wait until everything is closed."""
        self.end()
        if self._ending is not None:
            await self._ending

    def state(self) -> dict[str, Any]:
        """What runs, plain values."""
        return {
            "peer": self.number,
            "connection": self._connection.connectionState,
            "sent": self._painted.sent,
            **(self._session.state() if self._session else {}),
        }

    def watches(self, session: Session | None) -> bool:
        """True when it shows this session, which is not its own."""
        return not self._own and self._session is session

    def _on_track(self, track: MediaStreamTrack) -> None:
        if track.kind == "video" and self._own:
            self._spawn(self._receive(track))

    def _on_channel(self, channel: RTCDataChannel) -> None:
        self._channel = channel
        channel.on("message", self._on_message)

    def _on_message(self, message: object) -> None:
        try:
            wishes = json.loads(message) if isinstance(message, str) and len(message) <= MESSAGE else None
        except (ValueError, RecursionError):
            wishes = None
        if not isinstance(wishes, dict) or self._session is None:
            return
        try:
            obey(self._session.controls, wishes)
        except StylerError as error:
            self._tell({"error": str(error)})
        self._tell(self._session.state())

    def _on_state(self) -> None:
        if self._connection.connectionState in ("failed", "closed"):
            self.end()

    async def _receive(self, track: MediaStreamTrack) -> None:
        """Take each picture at once, so that none waits: the newest wins further on."""
        try:
            while True:
                picture = await track.recv()
                self._seen_s = self._loop.time()
                if not isinstance(picture, VideoFrame):
                    continue
                if picture.width * picture.height > LARGEST:
                    self.end(f"pictures of {picture.width}×{picture.height} are too large")
                    return
                if self._source is None:
                    self._start(picture)
                if self._source is None or not self._source.put(picture):
                    return
        except MediaStreamError:
            self.end()

    def _start(self, picture: VideoFrame) -> None:
        """Begin to paint; the size is known only now."""
        assert self._begin is not None
        self._source = BrowserSource(f"browser {self.number}", picture.height, picture.width)

        self._session = self._begin(self._source, self._over)
        self._session.add(self._painted)
        self._session.start()

    def _over(self, _: Session, reason: str) -> None:
        """The session has ended. In its thread."""
        with suppress(RuntimeError):  # the loop has ended, and with it the connection
            self._loop.call_soon_threadsafe(self.end, reason)

    async def _look_after(self) -> None:
        """Tell the figures, and drop a browser that went away or fell silent."""
        start_s = self._loop.time()
        while True:
            await asyncio.sleep(TELL_S)
            now_s, connected = self._loop.time(), self._connection.connectionState == "connected"
            if not connected and now_s - start_s > CONNECT_S:
                self.end("not connected in time")
            elif connected and self._own and now_s - self._seen_s > SILENT_S:
                self.end(f"no picture came for {SILENT_S:.0f} s")
            if self._session is not None:
                self._tell(self._session.state())

    def _tell(self, message: dict[str, Any]) -> None:
        channel = self._channel
        # One that does not read gets nothing more to wait for.
        if channel is not None and channel.readyState == "open" and channel.bufferedAmount < 8 * MESSAGE:
            channel.send(json.dumps(message))

    async def _end(self, reason: str) -> None:
        if reason:
            self._tell({"end": reason})
            await asyncio.sleep(0.2)  # closing a connection does not wait for what is under way
        self._painted.stop()
        if self._session is not None:
            self._session.remove(self._painted)
        for task in self._tasks:
            task.cancel()
        if self._source is not None:
            self._source.close()
        if self._own and self._session is not None:
            await self._loop.run_in_executor(None, self._session.close)
        try:
            async with asyncio.timeout(5):
                await self._connection.close()
        except Exception:  # noqa: BLE001  # what a half-open connection raises helps nobody
            _log.debug("closing peer %d", self.number, exc_info=True)
        self._on_end(self)

    def _spawn(self, work: Any) -> None:
        """A task that is kept until it is done: the loop itself holds no reference."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.end(f"{type(task.exception()).__name__}: {task.exception()}")


def raise_bitrates() -> None:
    """Let aiortc's encoders use ``BITRATES``; they have no setting of their own for it."""
    for codec in (h264, vpx):
        for name, value in zip(("MIN_BITRATE", "DEFAULT_BITRATE", "MAX_BITRATE"), BITRATES, strict=True):
            setattr(codec, name, value)
