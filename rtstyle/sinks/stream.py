"""Stream sink: paintings to a server or a player over the network, for as long as it takes."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from fractions import Fraction
from threading import Condition, Thread
from urllib.parse import urlsplit

from engines.base import RGB
from engines.errors import SinkError
from rtstyle.backoff import Backoff
from rtstyle.frame import Frame
from rtstyle.media.stream_addresses import FORMATS, OPTIONS, check_stream, sent_to
from rtstyle.media.urls import shown
from rtstyle.sinks import paused_slate
from rtstyle.sinks.connection_state import State
from rtstyle.sinks.live_encoder import LiveEncoder, bit_rate
from rtstyle.sinks.stream_process import Connection, Target
from rtstyle.sinks.virtual_camera import fitted

WAITING = 2
"""Frames that may wait; then the oldest is dropped."""

MAX_FPS = 60
"""Frames per second that are sent at most."""

DEFAULT_FPS = 30
"""Rate where the source does not know its own."""

CONNECT_S = 10.0
"""How long a server may take to answer, seconds."""

STALL_S = 4.0
"""For how long a server may take nothing before the connection is given up, seconds."""

IDLE_S = 0.2
"""After so many seconds without a new frame the last one is sent again: receivers expect a constant rate."""

RETRY_S = (0.5, 30.0)
"""The first and the longest pause before the next attempt, seconds; see ``Backoff``."""

STEADY_S = 5.0
"""A connection that held for so long was a good one: the pauses begin anew."""


class StreamSink:
    """Sends what it is given as H.264; neither the start nor the loss of the server blocks anybody.

    The rate is constant: a frame has the place of its capture time, gaps are filled with the frame before. A server
    that is absent, goes away or stops taking anything is tried again and again.

    Args:
        address: ``rtmp://``, ``rtmps://``, ``udp://`` or ``srt://``.
        fps: frames per second; 0 when unknown.
        bits: per second; ``None`` goes by the size, see ``live_video.bit_rate``.
        paused: whether receivers are to see the card.
        on_state: told each change of the state in one line, in another thread.

    Raises:
        SinkError: an address that nothing can be sent to.
    """

    main_thread = False

    def __init__(
        self,
        address: str,
        fps: Fraction = Fraction(0),
        *,
        bits: int | None = None,
        paused: Callable[[], bool] = lambda: False,
        on_state: Callable[[str], None] = lambda _: None,
    ) -> None:
        check_stream(address)
        self._address = address
        self._fps = min(MAX_FPS, max(1, round(fps or DEFAULT_FPS)))
        self._bits, self._paused = bits, paused
        self._waiting: deque[Frame] = deque()
        self._dropped = 0
        self._state = State(self.name, "waits for the first picture", on_state)
        self._failure = self._hint = ""
        self._closing = False
        self._change = Condition()
        self._thread = Thread(target=self._work, name=f"stream {self.name}", daemon=True)
        self._thread.start()

    @property
    def name(self) -> str:
        """The address without its secrets."""
        return shown(self._address)

    @property
    def state(self) -> str:
        """``connected``, or what else it is doing."""
        return self._state.now

    @property
    def dropped(self) -> int:
        """Frames that could not be sent: no server, or a network that is too slow."""
        return self._dropped

    def write(self, frame: Frame) -> bool:
        """Take one frame; never waits.

        Raises:
            SinkError: it can never work.
        """
        if self._failure:
            raise SinkError(f"cannot send to {self.name}: {self._failure}", hint=self._hint)
        with self._change:
            if len(self._waiting) >= WAITING:
                self._waiting.popleft()
                self._dropped += 1
            self._waiting.append(frame)
            self._change.notify()
        return True

    def close(self, *, completed: bool) -> None:  # noqa: ARG002, what was sent is sent
        """End the stream. Twice is fine."""
        with self._change:
            self._closing = True
            self._change.notify()
        self._thread.join()

    def _work(self) -> None:
        """Thread: one connection after the other."""
        backoff = Backoff(*RETRY_S)
        while (first := self._next(None)) is not None:
            self._state.enter("connecting", quietly=True)
            start_s = time.monotonic()
            try:
                self._serve(first)
            except _LostError as lost:
                if self._failure:
                    return
                if time.monotonic() - start_s > STEADY_S:
                    backoff.reset()
                self._state.enter(f"not connected ({lost}), trying again")
            except Exception as error:  # noqa: BLE001  # this thread must not end in silence: ``write`` tells it
                self._failure = str(error) or type(error).__name__
                return
            self._pause(backoff.wait_s())

    def _serve(self, first: Frame) -> None:
        """One connection, from the first picture to its loss; returns when the sink is closed."""
        height, width = (side + side % 2 for side in first.rgb.shape[:2])
        scheme = urlsplit(self._address).scheme
        kind = FORMATS[scheme]
        target = Target(sent_to(self._address), kind, width, height, self._fps, OPTIONS[kind])
        bits = self._bits or bit_rate(width, height, self._fps)
        connection = Connection(target)
        try:
            sending = _Sending(connection, lambda: LiveEncoder(width, height, self._fps, bits), target)
            sending.start(first.rgb, dimmed=self._paused())
            self._await(connection)
            if not connection.connected:
                return  # the sink was closed meanwhile
            self._state.enter("sending" if scheme == "udp" else "connected")  # nobody answers a datagram
            sending.begin()
            self._stream(sending)
        finally:
            connection.close()

    def _await(self, connection: Connection) -> None:
        """Let the frames go by until the server has answered."""
        until_s = time.monotonic() + CONNECT_S
        while not connection.connected and not self._closing:
            if connection.fault:
                if "Protocol not found" in connection.fault:
                    self._failure = f"this build of PyAV has no {urlsplit(self._address).scheme}"
                    self._hint = "use rtmp:// or udp:// instead"
                raise _LostError(connection.fault)
            if time.monotonic() > until_s:
                raise _LostError("no answer")
            if self._next(0.05) is not None:
                self._dropped += 1

    def _stream(self, sending: _Sending) -> None:
        fresh_s = time.monotonic()
        while not self._closing:
            frame = self._next(IDLE_S)
            if self._paused() or (frame is not None and frame.notice):
                frame = None  # a source that is lost repeats its last picture, and says so
            if frame is not None:
                fresh_s = time.monotonic()
            elif self._paused() or time.monotonic() - fresh_s > paused_slate.IDLE_S:
                sending.dim()
            if sending.connection.fault:
                raise _LostError(sending.connection.fault)
            if sending.connection.stalled_s > STALL_S:
                raise _LostError("the server takes nothing any more")
            if not sending.frame(frame):
                self._dropped += 1

    def _next(self, timeout_s: float | None) -> Frame | None:
        """The next frame; ``None`` when none came in time, or the sink is closed."""
        with self._change:
            self._change.wait_for(lambda: self._waiting or self._closing, timeout_s)
            return self._waiting.popleft() if self._waiting and not self._closing else None

    def _pause(self, seconds: float) -> None:
        """Wait, unless the sink is closed; frames go by."""
        until_s = time.monotonic() + seconds
        while not self._closing and (left_s := until_s - time.monotonic()) > 0:
            if self._next(left_s) is not None:
                self._dropped += 1


class _LostError(Exception):
    """The connection has ended, and why."""


class _Sending:
    """Gives each frame its place at the constant rate."""

    def __init__(self, connection: Connection, encoder: Callable[[], LiveEncoder], target: Target) -> None:
        self.connection, self._make, self._encoder = connection, encoder, encoder()
        self._size, self._fps = (target.width, target.height), target.fps
        self._last: RGB | None = None
        self._dimmed = False
        self._number = 0
        self._start_s: float | None = None

    def start(self, rgb: RGB, *, dimmed: bool) -> None:
        """The first picture, from which the server learns what comes; dimmed to a card where nobody is to see it."""
        self.send(paused_slate.card(rgb) if dimmed else rgb, 0)
        self._dimmed = dimmed

    def begin(self) -> None:
        """The server listens now: go on with a keyframe, and as if nothing had been lost while it did not."""
        self._encoder = self._make()
        self._start_s = None

    def frame(self, frame: Frame | None) -> bool:
        """Send a frame, or without one the last again if it is time. Returns: False when it had to be dropped."""
        # Without a frame a little behind, so that one that comes now still finds its place.
        due_s = time.monotonic() - IDLE_S if frame is None else frame.captured_s
        if self._start_s is None:
            self._start_s = due_s - (self._number + 1) / self._fps
        if frame is None:
            self._fill(self._place(due_s) + 1)
            return True
        place = self._place(frame.captured_s)
        if place < self._number:
            return False
        self._fill(place)
        if not self.connection.room:
            return False
        # Two frames that fall on one place are neighbours: the times of a camera tremble.
        self.send(frame.rgb, max(place, self._number + 1))
        return True

    def dim(self) -> None:
        """What is repeated is a card from now on, until the next frame."""
        if self._last is not None and not self._dimmed:
            self._last, self._dimmed = paused_slate.card(fitted(self._last, self._size)), True

    def send(self, rgb: RGB, number: int) -> None:
        """Compress one picture and hand it over; only while there is room."""
        self._dimmed = self._dimmed and rgb is self._last
        self._last, self._number = rgb, number
        for unit in self._encoder(fitted(rgb, self._size), number):
            self.connection.put(unit)

    def _place(self, captured_s: float) -> int:
        """The number that belongs to a time. Where more than a second is missing, nobody wants it any more."""
        place = round((captured_s - (self._start_s or 0.0)) * self._fps)
        missing = place - self._number - self._fps
        if missing > 0 and self._start_s is not None:
            self._start_s += missing / self._fps
            place -= missing
        return place

    def _fill(self, until: int) -> None:
        """Repeat the last picture on the places before ``until`` that nothing came for."""
        while self._last is not None and self._number + 1 < until and self.connection.room:
            self.send(self._last, self._number + 1)
