"""One track on its way from the input to the output: its times, and packets that are lost."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

from av import Packet
from av.stream import Disposition, Stream

from rtstyle.sinks.muxer_trial import PacketCheck
from rtstyle.sinks.packet_order import PacketOrder


@dataclass(frozen=True)
class TrackSource:
    """A clip whose tracks and metadata are copied.

    Attributes:
        name: file or URL.
        origin_s: time of the input that becomes 0 in the output, seconds.
        start_s, end_s: packets before ``start_s`` and from ``end_s`` on are left out; ``None`` for no limit.
        audio: copy the sound.
        video_stream: number of the stylized stream; see ``container.video_stream``.
    """

    name: str
    origin_s: Fraction = Fraction(0)
    start_s: Fraction | None = None
    end_s: Fraction | None = None
    audio: bool = True
    video_stream: int | None = None


class Converter(Protocol):
    """Turns the packets of a track into those of the output; ``None`` flushes."""

    lost: int

    def __call__(self, packet: Packet[Stream] | None) -> list[Packet[Stream]]:
        """Return the packets that are ready after this one."""
        ...


class Copy:
    """Leaves packets as they are.

    Args:
        target: track of the output.
        edited: the input has edit lists, which may cut a packet of sound in two.
        hides_start: the output has them, so that packets before the beginning are stored but not played.
    """

    def __init__(self, target: Stream, *, edited: bool, hides_start: bool) -> None:
        self.lost = 0
        self._target, self._edited, self._hides_start = target, edited, hides_start

    def __call__(self, packet: Packet[Stream] | None) -> list[Packet[Stream]]:
        """Return the packet, unless an edit list of the input cuts it off."""
        if packet is None or self._is_cut_off(packet):
            return []
        packet.stream = self._target
        return [packet]

    def _is_cut_off(self, packet: Packet[Stream]) -> bool:
        begin = packet.pts or 0
        if self._hides_start and begin < 0:
            return False
        # Without an edit list, all tracks would be moved until the one that begins first begins at 0.
        mostly_early = begin < 0 and -begin > (packet.duration or 0) / 2
        return packet.is_discard or (self._edited and self._target.type == "audio" and mostly_early)


class Track:
    """A track that is written.

    Args:
        source, target: track of the input and of the output.
        convert: makes the packets of the output.
        clip: range, and where its times begin.
        equal_times: the container accepts packets with equal times.
        check: tells which packets the muxer accepts; ``None`` for all.
    """

    def __init__(
        self,
        source: Stream,
        target: Stream,
        convert: Converter,
        clip: TrackSource,
        *,
        equal_times: bool,
        check: PacketCheck | None = None,
    ) -> None:
        self.source, self.target = source, target
        self.is_subtitle = source.type == "subtitle"
        self._convert, self._clip, self._check = convert, clip, check
        self._order = PacketOrder(source.type)
        self._step = 0 if equal_times or self.is_subtitle else 1
        self._last_dts: int | None = None
        self._refused = 0

    @property
    def lost(self) -> int:
        """Number of packets that could not be written."""
        return self._refused + self._convert.lost

    def packets(self, packet: Packet[Stream] | None) -> list[Packet[Stream]]:
        """Return the packets to write for one of the input; ``None`` returns the last ones."""
        if packet is not None and not self._prepare(packet):
            self._refused += 1
            return []
        return [ready for ready in self._convert(packet) if self._place(ready)]

    def close(self) -> None:
        """Release the check; may be called twice."""
        if self._check is not None:
            self._check.close()

    def _prepare(self, packet: Packet[Stream]) -> bool:
        """Move a packet onto the clock of the output; return False if it must be left out."""
        if is_cover(self.source):
            packet.pts = packet.dts = 0
            return True
        if not self._order.accept(packet):
            return False
        assert packet.pts is not None
        shift = round(self._clip.origin_s / packet.time_base)
        packet.pts, packet.dts = packet.pts - shift, None if packet.dts is None else packet.dts - shift
        if self.is_subtitle and packet.duration:
            self._cut(packet, packet.pts + packet.duration)
        return True

    def _cut(self, packet: Packet[Stream], end: int) -> None:
        """Keep a subtitle within the range."""
        if self._clip.start_s is not None:
            packet.pts = packet.dts = max(packet.pts or 0, 0)
        if self._clip.end_s is not None:
            end = min(end, round((self._clip.end_s - self._clip.origin_s) / packet.time_base))
        packet.duration = max(end - (packet.pts or 0), 1)

    def _place(self, packet: Packet[Stream]) -> bool:
        """Make the times grow in the units of the output; return False if the muxer refuses the packet."""
        unit_s = self.target.time_base
        assert unit_s is not None
        assert packet.pts is not None, "the order and the transcoders see to it"
        scale = packet.time_base / unit_s
        packet.pts, packet.duration = round(packet.pts * scale), round((packet.duration or 0) * scale)
        packet.time_base = unit_s
        if packet.dts is not None:
            packet.dts = round(packet.dts * scale)
            if self._last_dts is not None:
                packet.dts = max(packet.dts, self._last_dts + self._step)
            packet.pts = max(packet.pts, packet.dts)
        if self._check is not None and not self._check(packet):
            self._refused += 1
            return False
        self._last_dts = packet.dts
        return True


def is_cover(stream: Stream) -> bool:
    """Return True for a picture of the cover, which is one packet without a time."""
    return bool(stream.disposition & Disposition.attached_pic)


def title(stream: Stream) -> str:
    """Describe a track, e.g. ``the subtitle track 3 (dvb_subtitle, deu)``."""
    codec = getattr(stream, "name", None) or "unknown"
    language = stream.metadata.get("language")
    kind = "cover picture" if is_cover(stream) else f"{stream.type} track {stream.index}"
    return f"the {kind} ({codec}{f', {language}' if language else ''})"
