"""The connection to one browser: its camera, its stylized video and its settings."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from aiortc import MediaStreamTrack, RTCConfiguration, RTCDataChannel, RTCIceServer, RTCPeerConnection
from aiortc import RTCSessionDescription as Description
from aiortc.mediastreams import MediaStreamError
from av import VideoFrame

from engines.errors import ConfigError, StylerError
from rtstyle.live.actions import apply_settings
from rtstyle.web.session import PageSession
from rtstyle.webrtc.tracks import BrowserSource, StylizedTrack

CONNECT_S = 15.0
"""Time for a browser to connect, seconds."""

SILENT_S = 30.0
"""A browser that sends no frame for this long is dropped, seconds: its camera is off, or its page is suspended."""

STATS_S = 1.0
"""Interval at which a browser gets the figures, seconds."""

MAX_PIXELS = 1920 * 1080
"""Largest frame accepted from a browser, pixels."""

MAX_MESSAGE = 2048
"""Longest message accepted from a browser, characters."""

MAX_SECTIONS = 3
"""Most media sections of an offer: video, data and one to spare."""

OnEnd = Callable[[PageSession, str], None]

logger = logging.getLogger(__name__)


class Peer:
    """A connection, from the offer until either side ends it. Call it from the event loop only.

    The session is made by ``begin`` from the browser's camera, or is the one that is ``watched``. ``on_end`` is called
    once, when everything is closed.
    """

    def __init__(
        self,
        number: int,
        begin: Callable[[BrowserSource, OnEnd], PageSession] | None,
        watched: PageSession | None,
        stun: str | None,
        on_end: Callable[[Peer], None],
    ) -> None:
        self.number = number
        self._begin, self._session, self._own = begin, watched, watched is None
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._connection = RTCPeerConnection(RTCConfiguration([RTCIceServer(stun)] if stun else []))
        self._track = StylizedTrack(self._loop)
        self._source: BrowserSource | None = None
        self._channel: RTCDataChannel | None = None
        self._last_frame_s = self._loop.time()
        self._ending: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def answer(self, offer: str) -> str:
        """Start, and return our answer (SDP, with all candidates) to the browser's offer (SDP) of video."""
        if not offer.startswith("v=0") or offer.count("\nm=") > MAX_SECTIONS or "\nm=video" not in offer:
            raise ConfigError("this is not an offer of video", hint="send one that sends or takes video")
        connection = self._connection
        connection.on("track", self._on_track)
        connection.on("datachannel", self._on_channel)
        connection.on("connectionstatechange", self._on_state)
        try:
            await connection.setRemoteDescription(Description(offer, "offer"))
            connection.addTrack(self._track)
            await connection.setLocalDescription(await connection.createAnswer())
        except Exception as error:  # aiortc raises whatever its parsers stumble over
            problem = f"this offer cannot be answered: {error}"[:200]
            raise ConfigError(problem, hint="reload the page, or try another browser") from error
        if self._session is not None:
            self._session.add(self._track)
        self._spawn(self._supervise())
        return str(connection.localDescription.sdp)

    def end(self, reason: str = "") -> None:
        """Start to close everything, and show the reason, if any, in the browser; may be called twice."""
        if self._ending is None:
            self._ending = self._loop.create_task(self._end(reason))

    async def ended(self) -> None:
        """Close everything, and wait until it is closed."""
        self.end()
        if self._ending is not None:
            await self._ending

    def state(self) -> dict[str, Any]:
        """Return the state as plain values."""
        return {
            "peer": self.number,
            "connection": self._connection.connectionState,
            "sent": self._track.sent,
            **(self._session.state() if self._session else {}),
        }

    @property
    def session(self) -> PageSession | None:
        """The session that it sees; ``None`` before the first frame of its camera."""
        return self._session

    def watches(self, session: PageSession | None) -> bool:
        """Return True if it watches this session."""
        return not self._own and self._session is session

    def _on_track(self, track: MediaStreamTrack) -> None:
        if track.kind == "video" and self._own:
            self._spawn(self._receive(track))

    def _on_channel(self, channel: RTCDataChannel) -> None:
        self._channel = channel
        channel.on("message", self._on_message)

    def _on_message(self, message: object) -> None:
        try:
            changes = json.loads(message) if isinstance(message, str) and len(message) <= MAX_MESSAGE else None
        except (ValueError, RecursionError):
            changes = None
        if not isinstance(changes, dict) or self._session is None:
            return
        try:
            apply_settings(self._session.controls, changes)
        except StylerError as error:
            self._send({"error": str(error)})
        self._send(self._session.state())

    def _on_state(self) -> None:
        if self._connection.connectionState in ("failed", "closed"):
            self.end()

    async def _receive(self, track: MediaStreamTrack) -> None:
        """Take each frame at once, so that none queues up here; the newest wins further on."""
        try:
            while True:
                frame = await track.recv()
                self._last_frame_s = self._loop.time()
                if not isinstance(frame, VideoFrame):
                    continue
                if frame.width * frame.height > MAX_PIXELS:
                    self.end(f"frames of {frame.width}×{frame.height} are too large")
                    return
                if self._source is None:
                    self._start(frame)
                if self._source is None or not self._source.put(frame):
                    return
        except MediaStreamError:
            self.end()

    def _start(self, frame: VideoFrame) -> None:
        """Start the session; the frame size is known only now."""
        assert self._begin is not None
        self._source = BrowserSource(f"browser {self.number}", frame.height, frame.width)
        self._session = self._begin(self._source, self._session_ended)
        self._session.add(self._track)
        self._session.start()

    def _session_ended(self, _: PageSession, reason: str) -> None:
        """End with the session; called in a thread of the session."""
        with suppress(RuntimeError):  # the loop has stopped, and the connection with it
            self._loop.call_soon_threadsafe(self.end, reason)

    async def _supervise(self) -> None:
        """Send the figures, and drop a browser that does not connect or sends no frames."""
        start_s = self._loop.time()
        while True:
            await asyncio.sleep(STATS_S)
            now_s, connected = self._loop.time(), self._connection.connectionState == "connected"
            if not connected and now_s - start_s > CONNECT_S:
                self.end("not connected in time")
            elif connected and self._own and now_s - self._last_frame_s > SILENT_S:
                self.end(f"no frame came for {SILENT_S:.0f} s")
            if self._session is not None:
                self._send(self._session.state())

    def _send(self, message: dict[str, Any]) -> None:
        channel = self._channel
        # A browser that does not read must not fill the buffer.
        if channel is not None and channel.readyState == "open" and channel.bufferedAmount < 8 * MAX_MESSAGE:
            channel.send(json.dumps(message))

    async def _end(self, reason: str) -> None:
        if reason:
            self._send({"end": reason})
            await asyncio.sleep(0.2)  # closing does not wait for messages in flight
        self._track.stop()
        if self._session is not None:
            self._session.remove(self._track)
        for task in self._tasks:
            task.cancel()
        if self._source is not None:
            self._source.close()
        if self._own and self._session is not None:
            await self._loop.run_in_executor(None, self._session.close)
        try:
            async with asyncio.timeout(5):
                await self._connection.close()
        except Exception:  # a half-open connection may raise anything
            logger.debug("closing peer %d", self.number, exc_info=True)
        self._on_end(self)

    def _spawn(self, work: Any) -> None:
        """Start a task and keep a reference, because the event loop keeps none."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.end(f"{type(task.exception()).__name__}: {task.exception()}")
