"""Passes the sound of a clip or stream on, beside its pictures and on their clock."""

from __future__ import annotations

import logging
from collections import deque

import av
from av import Packet
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Stream
from av.video.stream import VideoStream

from rtstyle.media.container import encrypted_streams
from rtstyle.sound.feed import SoundFeed, SoundFormat, SoundPacket

logger = logging.getLogger(__name__)

AHEAD = 2000
"""Packets that may wait for the first picture; the oldest is lost."""

LATE_S = 0.3
"""A stream that is this much later than it once was has a new clock, seconds."""

SETTLED_S, STEP_S = 0.3, 0.02
"""The clock of a stream is known once no picture for so long came earlier, by so much, than the clock says, seconds."""

DRIFT = 2e-4
"""How fast the clock follows a delay that grows: clocks of cameras differ by less than this share."""


class SoundTap:
    """Puts the packets of one track into a feed.

    Args:
        feed: takes the sound.
        stream: the track.

    Attributes:
        stream: the track.

    Raises:
        ValueError, av.FFmpegError: sound of this kind cannot be passed on.
    """

    def __init__(self, feed: SoundFeed, stream: AudioStream) -> None:
        self.stream = stream
        self._feed = feed
        self._format = SoundFormat.of(stream)
        self._offset_s: float | None = None
        self._ahead: deque[tuple[bytes, float, float]] = deque(maxlen=AHEAD)
        feed.announce(self._format)

    @classmethod
    def of(cls, container: InputContainer, video: VideoStream, feed: SoundFeed | None) -> SoundTap | None:
        """Return a tap for the sound that belongs to the pictures; ``None`` if there is none to pass on."""
        stream = container.streams.best("audio", related=video) if feed is not None else None
        if feed is None or not isinstance(stream, AudioStream) or stream.index in encrypted_streams(container):
            return None
        if getattr(stream, "codec_context", None) is None:
            return None
        try:
            return cls(feed, stream)
        except (ValueError, av.FFmpegError):
            logger.warning("the sound (%s) cannot be passed on", stream.codec_context.name)
            return None

    def packet(self, packet: Packet[Stream]) -> None:
        """Take the next packet; it is kept back while the time of the pictures is unknown."""
        time = packet.dts if packet.pts is None else packet.pts
        if time is None or not packet.size or packet.is_corrupt:
            return
        begin_s, length_s = float(time * packet.time_base), float((packet.duration or 0) * packet.time_base)
        self._ahead.append((bytes(packet), begin_s, length_s))
        self._pass_on()

    def align(self, offset_s: float | None) -> None:
        """Set what must be added to timestamps of the clip for the clock of ``Frame.moment_s``, seconds.

        While it is ``None``, sound waits.
        """
        self._offset_s = offset_s
        self._pass_on()

    def _pass_on(self) -> None:
        while self._offset_s is not None and self._ahead:
            data, begin_s, length_s = self._ahead.popleft()
            self._feed.put(SoundPacket(data, begin_s + self._offset_s, length_s, self._format))


class ArrivalClock:
    """Finds when the pictures of a stream were taken, without the jitter of the network.

    The picture that was delayed least tells the clock; it slowly follows a delay that grows. What was sent while the
    stream was opened arrives at once, late, and more and more in time.
    """

    def __init__(self) -> None:
        self._offset_s: float | None = None
        self._last_s = self._moved_s = 0.0

    @property
    def settled(self) -> bool:
        """False while pictures arrive that are ever less delayed."""
        return self._last_s - self._moved_s >= SETTLED_S

    def offset_s(self, time_s: float, arrived_s: float) -> float:
        """Return what must be added to timestamps, seconds.

        Args:
            time_s: timestamp of a picture.
            arrived_s: when it arrived, monotonic.
        """
        found_s = arrived_s - time_s
        if self._offset_s is None:
            self._offset_s, self._moved_s = found_s, arrived_s
        else:
            leaked_s = self._offset_s + DRIFT * (arrived_s - self._last_s)
            self._offset_s = max(min(found_s, leaked_s), found_s - LATE_S)
            if abs(self._offset_s - leaked_s) > STEP_S:
                self._moved_s = arrived_s
        self._last_s = arrived_s
        return self._offset_s
