"""Stream sink: send frames to a server or a player over the network, and reconnect as long as it takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from functools import partial
from threading import Thread
from urllib.parse import urlsplit

from engines.base import RGB
from engines.errors import SinkError
from rtstyle.backoff import Backoff
from rtstyle.frame import Frame
from rtstyle.frame_queue import FrameQueue, QueueClosedError
from rtstyle.media.resize import letterbox
from rtstyle.media.urls import MUXER_OPTIONS, MUXERS, check_output_url, muxer_url, redact
from rtstyle.sinks.connection_state import ConnectionState
from rtstyle.sinks.live_encoder import LiveEncoder, bit_rate
from rtstyle.sinks.paused_slate import SLATE_AFTER_S, paused_slate
from rtstyle.sinks.stream_process import StreamProcess, StreamSound, StreamTarget
from rtstyle.sound.feed import SoundFeed
from rtstyle.sound.pcm import RATE, PcmTrack

WAITING = 2
"""Frames that may wait before the oldest is dropped."""

MAX_FPS = 60
"""Highest frame rate that is sent."""

DEFAULT_FPS = 30
"""Frame rate if the source does not know its own."""

CONNECT_S = 10.0
"""How long a server may take to answer, seconds."""

STALL_S = 4.0
"""How long a connected server may accept nothing before the connection is closed, seconds."""

REPEAT_S = 0.2
"""Seconds without a new frame after which the last one is sent again: receivers expect a constant rate."""

RETRY_S = (0.5, 30.0)
"""Shortest and longest pause before the next attempt, seconds; see ``Backoff``."""

STEADY_S = 5.0
"""A connection that lasted this long was a good one, so the pauses start again with the shortest."""


class StreamSink:
    """Sends frames as H.264; neither an absent nor a lost server blocks anybody.

    The rate is constant: a frame is placed by its capture time, and gaps are filled with the frame before. A server
    that is absent, goes away or stops accepting data is tried again and again; changes of the state are logged.

    Args:
        address: ``rtmp://``, ``rtmps://``, ``udp://`` or ``srt://``.
        fps: frames per second; 0 if unknown.
        bits: bits per second; ``None`` chooses by size, see ``live_encoder.bit_rate``.
        encoder: one of ``codecs.ENCODERS``.
        paused: returns True while receivers are to see the paused slate.
        sound: sent as AAC, as late as the picture that belongs to it.

    Attributes:
        name: the address without its secrets.

    Raises:
        SinkError: the address is invalid.
    """

    main_thread = False

    def __init__(
        self,
        address: str,
        fps: Fraction = Fraction(0),
        *,
        bits: int | None = None,
        encoder: str = "software",
        paused: Callable[[], bool] = lambda: False,
        sound: SoundFeed | None = None,
    ) -> None:
        check_output_url(address)
        self._address, self.name = address, redact(address)
        self._fps = min(MAX_FPS, max(1, round(fps or DEFAULT_FPS)))
        self._bits, self._encoder, self._paused = bits, encoder, paused
        self._sound = sound
        self._queue: FrameQueue[Frame] = FrameQueue(WAITING, newest_wins=True)
        self._skipped = 0
        self._state = ConnectionState(self.name, "waits for the first picture")
        self._failure = self._hint = ""
        self._thread = Thread(target=self._work, name=f"stream {self.name}", daemon=True)
        self._thread.start()

    @property
    def state(self) -> str:
        """What the connection is doing, e.g. ``connected``."""
        return self._state.now

    @property
    def dropped(self) -> int:
        """Frames that could not be sent because there was no server, or the network was too slow."""
        return self._skipped + self._queue.dropped

    def write(self, frame: Frame) -> bool:
        """Send one frame; never waits.

        Raises:
            SinkError: sending is impossible, now and later.
        """
        if self._failure:
            raise SinkError(f"cannot send to {self.name}: {self._failure}", hint=self._hint)
        with suppress(QueueClosedError):
            self._queue.put(frame)
        return True

    def close(self, *, completed: bool) -> None:  # noqa: ARG002 - what was sent is sent
        """End the stream; may be called twice."""
        self._queue.close(drain=False)
        self._thread.join()

    def _work(self) -> None:
        """Serve one connection after the other."""
        backoff = Backoff(*RETRY_S)
        while (first := self._queue.get(None)) is not None:
            self._state.enter("connecting", quietly=True)
            start_s = time.monotonic()
            try:
                self._serve(first)
            except _ConnectionLostError as lost:
                if self._failure:
                    return
                if time.monotonic() - start_s > STEADY_S:
                    backoff.reset()
                self._state.enter(f"not connected ({lost}), trying again")
            except Exception as error:  # noqa: BLE001 - ``write`` raises it
                self._failure = str(error) or type(error).__name__
                return
            self._pause(backoff.wait_s())

    def _serve(self, first: Frame) -> None:
        """Serve one connection until it is lost; return if the sink is closed."""
        height, width = (side + side % 2 for side in first.rgb.shape[:2])
        scheme = urlsplit(self._address).scheme
        kind = MUXERS[scheme]
        sound = self._sound if self._sound is not None and self._sound.format is not None else None
        options = MUXER_OPTIONS[kind]
        target = StreamTarget(muxer_url(self._address), kind, width, height, self._fps, options, sound is not None)
        bits = self._bits or bit_rate(width, height, self._fps)
        connection = StreamProcess(target)
        try:
            encoder = partial(LiveEncoder, width, height, self._fps, bits, self._encoder)
            sending = _Sending(connection, encoder, target, sound)
            sending.start(first.rgb, dimmed=self._paused())
            self._await(connection)
            if not connection.connected:
                return  # the sink was closed
            self._state.enter("sending" if scheme == "udp" else "connected")  # datagrams are not answered
            sending.begin()
            self._stream(sending)
        finally:
            connection.close()

    def _await(self, connection: StreamProcess) -> None:
        """Drop frames until the server has answered."""
        until_s = time.monotonic() + CONNECT_S
        while not connection.connected and not self._queue.closed:
            if connection.error:
                if "Protocol not found" in connection.error:
                    self._failure = f"this build of PyAV has no {urlsplit(self._address).scheme}"
                    self._hint = "use rtmp:// or udp:// instead"
                raise _ConnectionLostError(connection.error)
            if time.monotonic() > until_s:
                raise _ConnectionLostError("no answer")
            if self._queue.get(0.05) is not None:
                self._skipped += 1

    def _stream(self, sending: _Sending) -> None:
        fresh_s = time.monotonic()
        while not self._queue.closed:
            frame = self._queue.get(REPEAT_S)
            if self._paused() or (frame is not None and frame.notice):
                frame = None  # a lost source repeats its last picture, with a notice
            if frame is not None:
                fresh_s = time.monotonic()
            elif self._paused() or time.monotonic() - fresh_s > SLATE_AFTER_S:
                sending.dim()
            if sending.connection.error:
                raise _ConnectionLostError(sending.connection.error)
            if sending.connection.stalled_s > STALL_S:
                raise _ConnectionLostError("the server stopped accepting data")
            if not sending.frame(frame):
                self._skipped += 1

    def _pause(self, seconds: float) -> None:
        """Wait until the time is up or the sink is closed, dropping frames."""
        until_s = time.monotonic() + seconds
        while not self._queue.closed and (left_s := until_s - time.monotonic()) > 0:
            if self._queue.get(left_s) is not None:
                self._skipped += 1


class _ConnectionLostError(Exception):
    """The connection has ended; the message says why."""


class _Sending:
    """Places frames at the constant rate, and sound where it belongs beside them."""

    def __init__(
        self,
        connection: StreamProcess,
        encoder: Callable[[], LiveEncoder],
        target: StreamTarget,
        sound: SoundFeed | None,
    ) -> None:
        self.connection, self._make, self._encoder = connection, encoder, encoder()
        self._size, self._fps = (target.width, target.height), target.fps
        self._last: RGB | None = None
        self._dimmed = False
        self._number = 0
        self._start_s: float | None = None
        self._lag_s = 0.0  # between the moment of a picture and its arrival
        self._feed = sound
        self._track: PcmTrack | None = None

    def start(self, rgb: RGB, *, dimmed: bool) -> None:
        """Send the first frame, which tells the server the format; as the paused slate if ``dimmed``."""
        self.send(paused_slate(rgb) if dimmed else rgb, 0)
        self._dimmed = dimmed

    def begin(self) -> None:
        """Start over with a keyframe once the server listens, without making up for frames lost before."""
        self._encoder = self._make()
        self._start_s = None

    def frame(self, frame: Frame | None) -> bool:
        """Send a frame, or repeat the last one if it is time. Returns: False if the frame was dropped."""
        # Repeats stay a little behind, so that a frame that comes now still finds its place.
        due_s = time.monotonic() - REPEAT_S - self._lag_s if frame is None else frame.moment_s
        if self._start_s is None:
            self._start_s = due_s - (self._number + 1) / self._fps
            self._track = None if self._feed is None else PcmTrack(self._feed, due_s)
        if frame is None:
            self._fill(self._place(due_s) + 1)
            return True
        self._lag_s = frame.captured_s - frame.moment_s
        place = self._place(due_s)
        if place < self._number:
            return False
        self._fill(place)
        if not self.connection.has_room:
            return False
        # Two frames that fall on one place are neighbours: camera timestamps jitter.
        self.send(frame.rgb, max(place, self._number + 1))
        return True

    def dim(self) -> None:
        """Repeat the paused slate until the next frame."""
        if self._last is not None and not self._dimmed:
            self._last, self._dimmed = paused_slate(letterbox(self._last, self._size)), True

    def send(self, rgb: RGB, number: int) -> None:
        """Encode one picture and send it; call it only if the connection has room."""
        self._dimmed = self._dimmed and rgb is self._last
        self._last, self._number = rgb, number
        sound = self._sound_beside(number)
        for encoded in self._encoder(letterbox(rgb, self._size), number):
            self.connection.put(encoded, sound)
            sound = []

    def _sound_beside(self, number: int) -> list[StreamSound]:
        """Return the sound that has come, which is ahead of the picture by the picture's age."""
        if self._track is None or self._start_s is None:
            return []
        start_s, needed_s = self._start_s, self._start_s + number / self._fps
        blocks = self._track.read(time.monotonic(), needed_s)
        return [StreamSound(round((one.moment_s - start_s) * RATE), one.samples.tobytes()) for one in blocks]

    def _place(self, captured_s: float) -> int:
        """Return the place of a time. Of a gap, only the last second is filled; the rest is cut out."""
        place = round((captured_s - (self._start_s or 0.0)) * self._fps)
        missing = place - self._number - self._fps
        if missing > 0 and self._start_s is not None:
            self._start_s += missing / self._fps
            if self._track is not None:
                self._track.skip(missing / self._fps)
            place -= missing
        return place

    def _fill(self, until: int) -> None:
        """Repeat the last picture on the empty places before ``until``."""
        while self._last is not None and self._number + 1 < until and self.connection.has_room:
            self.send(self._last, self._number + 1)
