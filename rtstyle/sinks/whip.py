"""WHIP sink: send frames to a media server by WebRTC, with the delay of a call.

Source:
    WebRTC-HTTP ingestion protocol, RFC 9725: post an offer, receive the answer and a resource's address, and delete
    the resource at the end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from threading import Event, Thread
from urllib.parse import urljoin, urlsplit

from engines.errors import SinkError
from engines.install_hint import pip_install
from rtstyle.backoff import Backoff
from rtstyle.frame import Frame
from rtstyle.media.urls import check_output_url, redact
from rtstyle.sinks.connection_state import ConnectionState
from rtstyle.sinks.paused_slate import paused_slate
from rtstyle.sound.feed import SoundFeed

CONNECT_S = 10.0
"""How long a server may take to answer, and again to connect, seconds."""

STEADY_S = 5.0
"""A connection that lasted this long was a good one, so the pauses start again with the shortest."""

CLOSE_S = 3.0
"""How long saying goodbye to the server may take, seconds."""


class WhipSink:
    """Sends H.264 or VP8, whichever the server accepts; neither an absent nor a lost server blocks anybody.

    A server that cannot be reached is tried again and again; changes of the state are logged.

    Args:
        address: ``whip+https://TOKEN@HOST/PATH``, with a token if the server requires one.
        paused: returns True while receivers are to see the paused slate.
        sound: sent beside the pictures, as late as they are.

    Attributes:
        name: the address without its secrets.

    Raises:
        SinkError: the extra ``web`` is missing, or the address is invalid.
    """

    main_thread = False

    def __init__(
        self,
        address: str,
        *,
        paused: Callable[[], bool] = lambda: False,
        sound: SoundFeed | None = None,
    ) -> None:
        try:
            from rtstyle.webrtc.tracks import ViewersSink
        except ImportError as error:
            raise SinkError(f"WHIP needs {error.name}", hint=pip_install("web")) from error
        check_output_url(address)
        self._address, self.name, self._paused = address, redact(address), paused
        self._sound = sound
        self._state = ConnectionState(self.name, "connecting")
        self._connection: _Connection | None = None
        self._viewers = ViewersSink(lambda: [self._connection.track] if self._connection else [])
        self._loop = asyncio.new_event_loop()
        self._closing = asyncio.Event()
        self._ready = Event()
        self._thread = Thread(target=self._work, name=f"whip {self.name}", daemon=True)
        self._thread.start()
        self._ready.wait()

    @property
    def state(self) -> str:
        """What the connection is doing, e.g. ``connected``."""
        return self._state.now

    def write(self, frame: Frame) -> bool:
        """Send one frame if there is a connection; never waits."""
        connection = self._connection
        if connection is not None:
            if connection.sound is not None and not frame.notice:
                connection.sound.shown(frame.moment_s)
            hidden = self._paused() or bool(frame.notice)
            self._viewers.write(replace(frame, rgb=paused_slate(frame.rgb)) if hidden else frame)
        return True

    def close(self, *, completed: bool) -> None:  # noqa: ARG002 - what was sent is sent
        """Say goodbye to the server; may be called twice."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._closing.set)
            self._thread.join()

    def _work(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        """Serve one connection after the other."""
        self._ready.set()
        backoff = Backoff(0.5, 30.0)
        while not self._closing.is_set():
            connection, began_s = _Connection(self._address, self._sound), self._loop.time()
            try:
                await connection.begin()
                self._connection = connection
                self._state.enter("connected")
                await _first(self._closing.wait(), connection.lost.wait())
                reason = "the connection was lost"
            except Exception as error:  # noqa: BLE001 - whatever happened, try again
                reason = str(error) or type(error).__name__
            finally:
                self._connection = None
                await connection.end()
            if self._closing.is_set():
                return
            if self._loop.time() - began_s > STEADY_S:
                backoff.reset()
            self._state.enter(f"not connected ({reason}), trying again")
            await _first(self._closing.wait(), asyncio.sleep(backoff.wait_s()))


class _Connection:
    """One connection to the server. All methods run in the event loop."""

    def __init__(self, address: str, sound: SoundFeed | None) -> None:
        from aiortc import RTCConfiguration, RTCPeerConnection

        from rtstyle.webrtc.sound_track import SoundTrack
        from rtstyle.webrtc.tracks import StylizedTrack, raise_bitrates

        raise_bitrates()
        parts = urlsplit(address)
        host = parts.netloc.rpartition("@")[2]
        self._url = parts._replace(scheme=parts.scheme.removeprefix("whip+"), netloc=host).geturl()
        token = parts.username or ""
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._resource = ""
        self._peer = RTCPeerConnection(RTCConfiguration([]))
        self.track = StylizedTrack(asyncio.get_running_loop())
        self.sound = SoundTrack(sound) if sound is not None and sound.format is not None else None
        self.lost, self._connected = asyncio.Event(), asyncio.Event()

    async def begin(self) -> None:
        """Connect.

        Raises:
            SinkError: the server refused, or did not connect in time.
            Exception: errors of aiohttp and aiortc, unchanged.
        """
        from aiohttp import ClientSession, ClientTimeout
        from aiortc import RTCRtpSender, RTCSessionDescription

        peer = self._peer
        transceiver = peer.addTransceiver(self.track, direction="sendonly")
        codecs = RTCRtpSender.getCapabilities("video").codecs
        # Servers that record or restream prefer H.264.
        transceiver.setCodecPreferences(sorted(codecs, key=lambda codec: codec.mimeType != "video/H264"))
        if self.sound is not None:
            peer.addTransceiver(self.sound, direction="sendonly")
        peer.on("connectionstatechange", self._on_state)
        await peer.setLocalDescription(await peer.createOffer())
        async with ClientSession(timeout=ClientTimeout(CONNECT_S)) as session:
            head = {"Content-Type": "application/sdp", **self._headers}
            async with session.post(self._url, data=peer.localDescription.sdp, headers=head) as answer:
                if answer.status != 201:
                    raise SinkError(f"the server answered {answer.status} {answer.reason}")
                self._resource = urljoin(self._url, answer.headers.get("Location", ""))
                sdp = await answer.text()
        await peer.setRemoteDescription(RTCSessionDescription(sdp, "answer"))
        await asyncio.wait_for(_first(self._connected.wait(), self.lost.wait()), CONNECT_S)
        if self.lost.is_set():
            raise SinkError("the connection failed")

    async def end(self) -> None:
        """Say goodbye within ``CLOSE_S``, and close everything."""
        from aiohttp import ClientError

        self.track.stop()
        if self.sound is not None:
            self.sound.stop()
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._leave()
        except (TimeoutError, ClientError, OSError):
            pass  # the server is gone
        finally:
            await self._peer.close()

    async def _leave(self) -> None:
        from aiohttp import ClientSession

        if self._resource and self._resource != self._url:
            async with ClientSession() as session, session.delete(self._resource, headers=self._headers):
                pass

    def _on_state(self) -> None:
        state = self._peer.connectionState
        if state == "connected":
            self._connected.set()
        elif state in ("failed", "closed"):
            self.lost.set()


async def _first(*waits: object) -> None:
    """Wait for the first of several awaitables, and cancel the others."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]  # type: ignore[call-overload]  # awaitables of any kind
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
