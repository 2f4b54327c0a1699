"""Timestamps that continue where the clock of a broadcast jumps."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from av import Packet
from av.container import InputContainer
from av.stream import Stream
from av.video.stream import VideoStream

TS_DISCONT = 0x0200
"""FFmpeg's AVFMT_TS_DISCONT: timestamps of this format may jump and start anywhere."""

UNTIMED = 0x0080
"""FFmpeg's AVFMT_NOTIMESTAMPS: a bare stream, whose only times are counted frames."""

FORWARD_S, BACK_S = 10.0, 0.1
"""A packet that comes this much later or earlier than expected belongs to another clock; ffmpeg's own limits."""

REPEATED_S, RECENT = 0.5, 64
"""A packet with the very time of one that came this shortly before, among so many packets, is that one again."""

INTERLEAVED_S = 1.0
"""Largest distance in time between neighbouring packets of different streams, seconds."""


@dataclass
class _Track:
    """A stream: the shift of its clock, its last decoding time, and the end of what it has shown, seconds."""

    shift_s: float
    last_s: float
    end_s: float
    recent: deque[int] = field(default_factory=lambda: deque(maxlen=RECENT))

    def repeats(self, time: int, unit_s: float) -> bool:
        """Return True for the time of a packet that has just been there, which is damage and no jump."""
        return time in self.recent and -REPEATED_S <= time * unit_s + self.shift_s - self.last_s <= 0


class ContinuousClock:
    """Shifts the timestamps of packets, so that time goes on after a jump of the clock without a gap.

    A transport stream may hold several recordings, or its sender may have been restarted. All streams of a part are
    shifted by the same time, so that sound and pictures stay together. Two readers of the same file find the same
    shifts if both pass every packet of ``streams``. Formats with one clock for the whole file are left alone.

    Args:
        container: the clip, before anything is read from it.
        video: its video stream.

    Attributes:
        streams: streams whose packets must all be passed; empty for formats whose clock cannot jump.
        jumps: number of jumps so far.
        may_seek: False for a file where seeking would miss key frames, or find a time that occurs twice.
    """

    def __init__(self, container: InputContainer, video: VideoStream) -> None:
        may_jump = bool(container.format.flags & TS_DISCONT)
        self.streams: tuple[Stream, ...] = (video, *container.streams.audio) if may_jump else ()
        self.jumps = 0
        unindexed = container.format.flags & (TS_DISCONT | UNTIMED)
        self.may_seek = not unindexed or not container.name.startswith("file:")
        self._unit_s = {stream.index: float(stream.time_base or 1) for stream in self.streams}
        self._tracks: dict[int, _Track] = {}
        self._shift_s = 0.0

    def fix(self, packet: Packet[Stream]) -> None:
        """Shift the timestamps of the next packet; those of other streams, such as subtitles, follow along."""
        if not self.streams:
            return
        pts, dts, index = packet.pts, packet.dts, packet.stream.index
        time = pts if dts is None else dts
        if time is None:
            return
        unit_s = self._unit_s.get(index)
        if unit_s is None:
            unit_s, shift_s = float(packet.time_base), self._shift_s
        else:
            begin_s = (time if pts is None else pts) * unit_s
            track = self._tracks.get(index)
            if track is not None and track.repeats(time, unit_s):
                shift_s = track.shift_s
            else:
                # Without decoding times, reordered pictures go back a little.
                shift_s = self._shift_of(index, time * unit_s, begin_s, INTERLEAVED_S if dts is None else BACK_S)
                end_s = begin_s + shift_s + (packet.duration or 0) * unit_s
                track = self._tracks.setdefault(index, _Track(shift_s, 0.0, end_s))
                track.shift_s, track.last_s = shift_s, time * unit_s + shift_s
                track.end_s = max(track.end_s, end_s)
                track.recent.append(time)
        shift = round(shift_s / unit_s)
        if shift:
            packet.pts = None if pts is None else pts + shift
            packet.dts = None if dts is None else dts + shift

    def _shift_of(self, index: int, time_s: float, begin_s: float, back_s: float) -> float:
        """Return the shift of a packet by its decoding and presentation time; a new one after a jump."""
        track = self._tracks.get(index)
        if track is None:
            return self._shift_s
        gap_s = time_s + track.shift_s - track.last_s
        if -back_s <= gap_s <= FORWARD_S:
            return track.shift_s
        ends_s = [known.end_s for known in self._tracks.values()]
        # A stream that paused catches up with the others; after a jump, another one may have found the new shift.
        for shift_s in (track.shift_s, self._shift_s):
            if shift_s == track.shift_s and gap_s < 0:
                continue
            if any(abs(time_s + shift_s - end_s) <= INTERLEAVED_S for end_s in ends_s):
                return shift_s
        self.jumps += 1
        # Streams of other programs run on clocks of their own.
        self._shift_s = max(end_s for end_s in ends_s if abs(end_s - track.end_s) <= FORWARD_S) - begin_s
        return self._shift_s
