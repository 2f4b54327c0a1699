"""WHIP sink: paintings to a media server by WebRTC, with the delay of a call.

Source:
    WebRTC-HTTP ingestion protocol, RFC 9725: an offer is posted, the answer comes back, and the address that it
names is deleted at the end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from threading import Event, Thread
from urllib.parse import urljoin, urlsplit

from engines.errors import SinkError
from rtstyle.backoff import Backoff
from rtstyle.frame import Frame
from rtstyle.media.stream_addresses import check_stream
from rtstyle.media.urls import shown
from rtstyle.sinks.connection_state import State
from rtstyle.sinks.paused_slate import card

INSTALL = 'pip install "rtstyle[web]"'
"""Adds aiohttp and aiortc."""

CONNECT_S = 10.0
"""How long a server may take to answer, and then to connect, seconds."""

STEADY_S = 5.0
"""A connection that held for so long was a good one: the pauses begin anew."""

CLOSE_S = 3.0
"""How long the farewell may take, seconds."""


class WhipSink:
    """Sends H.264 or VP8, as the server likes; neither its absence nor its loss blocks anybody.

    Args:
        address: ``whip+https://TOKEN@HOST/PATH``, the token where the server wants one.
        paused: whether receivers are to see the card.
        on_state: told each change of the state in one line, in another thread.

    Raises:
        SinkError: the extra ``web`` is missing, or the address names no server.
    """

    main_thread = False

    def __init__(
        self,
        address: str,
        *,
        paused: Callable[[], bool] = lambda: False,
        on_state: Callable[[str], None] = lambda _: None,
    ) -> None:
        try:
            from rtstyle.webrtc.tracks import ViewersSink
        except ImportError as error:
            raise SinkError(f"WHIP needs {error.name}", hint=INSTALL) from error
        check_stream(address)
        self._address, self._paused = address, paused
        self._state = State(self.name, "connecting", on_state)
        self._connection: _Connection | None = None
        self._viewers = ViewersSink(lambda: [self._connection.track] if self._connection else [])
        self._loop = asyncio.new_event_loop()
        self._closing = asyncio.Event()
        self._ready = Event()
        self._thread = Thread(target=self._work, name=f"whip {self.name}", daemon=True)
        self._thread.start()
        self._ready.wait()

    @property
    def name(self) -> str:
        """The address without its secrets."""
        return shown(self._address)

    @property
    def state(self) -> str:
        """``connected``, or what else it is doing."""
        return self._state.now

    def write(self, frame: Frame) -> bool:
        """Send one frame if there is a connection; never waits."""
        if self._connection is not None:
            hidden = self._paused() or bool(frame.notice)
            self._viewers.write(Frame(card(frame.rgb), frame.index, frame.pts, frame.time_base, frame.captured_s)
                                if hidden else frame)  # fmt: skip
        return True

    def close(self, *, completed: bool) -> None:  # noqa: ARG002, what was sent is sent
        """Take leave of the server. Twice is fine."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._closing.set)
            self._thread.join()

    def _work(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        """One connection after the other."""
        self._ready.set()
        backoff = Backoff(0.5, 30.0)
        while not self._closing.is_set():
            connection, began_s = _Connection(self._address), self._loop.time()
            try:
                await connection.begin()
                self._connection = connection
                self._state.enter("connected")
                await _first(self._closing.wait(), connection.lost.wait())
                reason = "the connection broke off"
            except Exception as error:  # noqa: BLE001  # whatever server and network come up with: it is tried again
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
    """One connection to the server. Everything runs in the event loop."""

    def __init__(self, address: str) -> None:
        from aiortc import RTCConfiguration, RTCPeerConnection

        from rtstyle.web.peer import raise_bitrates
        from rtstyle.webrtc.tracks import PaintedTrack

        raise_bitrates()
        parts = urlsplit(address)
        host = parts.netloc.rpartition("@")[2]
        self._url = parts._replace(scheme=parts.scheme.removeprefix("whip+"), netloc=host).geturl()
        token = parts.username or ""
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._resource = ""
        self._peer = RTCPeerConnection(RTCConfiguration([]))
        self.track = PaintedTrack(asyncio.get_running_loop())
        self.lost, self._connected = asyncio.Event(), asyncio.Event()

    async def begin(self) -> None:
        """Connect.

        Raises:
            SinkError: the server does not want to, or does not answer in time. aiohttp's and aiortc's errors.
        """
        from aiohttp import ClientSession, ClientTimeout
        from aiortc import RTCRtpSender, RTCSessionDescription

        peer = self._peer
        transceiver = peer.addTransceiver(self.track, direction="sendonly")
        codecs = RTCRtpSender.getCapabilities("video").codecs
        # Servers that record or restream want H.264.
        transceiver.setCodecPreferences(sorted(codecs, key=lambda codec: codec.mimeType != "video/H264"))
        peer.on("connectionstatechange", self._on_state)
        await peer.setLocalDescription(await peer.createOffer())
        async with ClientSession(timeout=ClientTimeout(CONNECT_S)) as session:
            head = {"Content-Type": "application/sdp", **self._headers}
            async with session.post(self._url, data=peer.localDescription.sdp, headers=head) as answer:
                if answer.status != 201:
                    raise SinkError(f"the server says {answer.status} {answer.reason}")
                self._resource = urljoin(self._url, answer.headers.get("Location", ""))
                said = await answer.text()
        await peer.setRemoteDescription(RTCSessionDescription(said, "answer"))
        await asyncio.wait_for(_first(self._connected.wait(), self.lost.wait()), CONNECT_S)
        if self.lost.is_set():
            raise SinkError("the connection failed")

    async def end(self) -> None:
        """Take leave, which takes ``CLOSE_S`` at most, and close everything."""
        from aiohttp import ClientError

        self.track.stop()
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._leave()
        except (TimeoutError, ClientError, OSError):
            pass  # a server that has gone needs no farewell
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
    """Wait for the first of several, and forget the others."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]  # type: ignore[call-overload]  # awaitables of any kind
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
