"""Counts the pictures of a damaged clip that could not be delivered.

An intact clip may have fewer pictures than packets (hidden reference frames, trimmed beginnings), so a difference alone
is not a loss: only a clip with errors, corrupt packets or a missing end reports one.
"""

from __future__ import annotations

import av
from av import Packet, VideoFrame
from av.container import InputContainer
from av.stream import Stream
from av.video.stream import VideoStream

from rtstyle.media.clock import TS_DISCONT, UNTIMED
from rtstyle.media.container import stated_length_s
from rtstyle.media.urls import SEGMENTED

SHORT_S = 0.5
"""A clip that ends this much before its stated length was cut off, seconds."""


class FrameLoss:
    """Counts packets and pictures while a clip is read.

    Args:
        container, stream: the clip, before anything is read from it.
        whole: False when only a part is read; its stated length is then ignored.
    """

    def __init__(self, container: InputContainer, stream: VideoStream, *, whole: bool) -> None:
        self._stream = stream
        self._whole = whole
        self._indexed = 0 < stream.frames <= len(stream.index_entries)
        self._stated_s = _stated_s(container, stream)
        self._container_s = _container_s(container)
        self.packets = 0
        self._discarded = 0
        self.undecodable_packets = 0
        self._corrupt_packets = 0
        self.pictures = 0
        self._last_s = 0.0
        self.corrupt_pictures = 0

    def streams_to_watch(self, container: InputContainer) -> tuple[Stream, ...]:
        """Return the video stream, and the audio if only the container states a length: it may outlast the video."""
        if self._stated_s is not None or self._container_s <= 0:
            return (self._stream,)
        return (self._stream, *container.streams.audio)

    def packet(self, packet: Packet[Stream]) -> None:
        """Count a packet of a watched stream."""
        time = packet.dts if packet.pts is None else packet.pts
        if time is not None:
            self._last_s = max(self._last_s, float((time + (packet.duration or 0)) * packet.time_base))
        if (packet.size or time is not None) and packet.stream.index == self._stream.index:
            self.packets += 1
            self._discarded += packet.is_discard or not packet.size  # without data, a picture is shown on
            self._corrupt_packets += packet.is_corrupt

    def undecodable(self) -> None:
        """Count a packet that could not be read or decoded."""
        self.undecodable_packets += 1

    def picture(self, picture: VideoFrame) -> None:
        """Count a decoded picture."""
        self.pictures += 1
        self.corrupt_pictures += picture.is_corrupt

    def missing_s(self) -> float | None:
        """Return how long before its stated length the clip ended, seconds; None if it states none."""
        stated_s = self._container_s if self._stated_s is None else self._stated_s
        return stated_s - self._last_s if stated_s > 0 else None

    def count(self) -> int:
        """Return the number of missing pictures; 0 if nothing went wrong.

        Without an index, missing seconds are assumed to hold pictures at the rate of those that were read.
        """
        if not self._whole:
            return self.undecodable_packets
        if self._indexed:
            expected = len(self._stream.index_entries)
            if self.packets >= expected and not self.undecodable_packets and not self._corrupt_packets:
                return 0
            return max(self.undecodable_packets, expected - self._discarded - self.pictures)
        missing_s = self.missing_s() or 0.0
        if missing_s <= SHORT_S or self._last_s <= 0:
            return self.undecodable_packets
        return max(self.undecodable_packets, round(missing_s * self.pictures / self._last_s))


def _container_s(container: InputContainer) -> float:
    """Return when the longest stream should end, seconds; 0 if the container does not say."""
    length_s = (container.duration or 0) / av.time_base
    if container.format.name in SEGMENTED:  # the list of segments states their lengths
        return length_s + (container.start_time or 0) / av.time_base if length_s else 0.0
    # FFmpeg takes the length of a broadcast from the last timestamp, that of a bare stream from its bit rate.
    return 0.0 if container.format.flags & (TS_DISCONT | UNTIMED) else length_s


def _stated_s(container: InputContainer, stream: VideoStream) -> float | None:
    """Return when the pictures should end, seconds; None if only the container as a whole states a length."""
    if "mov" in container.format.name.split(",") and stream.duration is not None:
        return float(((stream.start_time or 0) + stream.duration) * (stream.time_base or 1))
    return stated_length_s(stream)
