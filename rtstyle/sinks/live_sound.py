"""The sound of a live source in a recording: copied where the container holds it, otherwise encoded."""

from __future__ import annotations

import logging
from collections import deque
from fractions import Fraction
from typing import Any, Protocol, cast

from av import Packet
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.stream import Stream

from rtstyle.frame import Frame
from rtstyle.media.codecs import Container
from rtstyle.sinks.muxer_trial import add_copy, can_hold
from rtstyle.sound.feed import SoundFeed, SoundFormat, SoundPacket
from rtstyle.sound.pcm import JITTER_S, RATE, PcmTrack

logger = logging.getLogger(__name__)

MUXER_OPTIONS = {"max_interleave_delta": "1000000"}
"""A picture waits at most this long in the muxer for the sound that belongs before it, microseconds."""

BITS = 160_000
"""Bits per second of sound that is encoded."""

_WAITING = 2000
"""Packets that may wait for their picture; the oldest is lost."""

_JUMP_S = 0.5
"""Pictures whose times are moved against the sound by more than this have a new clock, seconds."""

_ALWAYS_ENCODED = ("pcm_",)
"""Prefixes of codecs that are encoded even where the container holds them: a minute would take 11 MB."""


class _Writer(Protocol):
    """Makes the packets of the track from a feed."""

    def until(self, moment_s: float) -> list[Packet[Stream]]:
        """Return the packets that begin up to a moment."""
        ...

    def rest(self) -> list[Packet[Stream]]:
        """Return what is left in an encoder."""
        ...


class LiveSoundTrack:
    """Writes the sound of a feed in step with the pictures of a recording, which never wait for it.

    Sound and pictures have one clock, ``Frame.moment_s``, so that they are together whatever was dropped. Sound that
    breaks off leaves a gap, and goes on in its place.

    Args:
        feed: whose ``format`` is known.
        output: gets a new track; its header must not be written yet.
        kind: container of the output.
        first: the first picture, which is at 0 in the output.

    Attributes:
        begin_s: the moment of the first picture, seconds.
    """

    def __init__(self, feed: SoundFeed, output: OutputContainer, kind: Container, first: Frame) -> None:
        self._output = output
        self.begin_s = first.moment_s
        self._shift_s = -first.moment_s  # from moments to times of the output
        sound_format = feed.format
        assert sound_format is not None, "the caller looks"
        wanted = not sound_format.codec.startswith((*_ALWAYS_ENCODED, *kind.avoided))
        self._writer: _Writer
        if wanted and can_hold(kind, sound_format.template, None):
            self._writer = _Copied(feed, sound_format, output, self)
        else:
            self._writer = _Encoded(feed, output, kind, self)

    def time_s(self, moment_s: float) -> float:
        """Return the time of a moment in the output, seconds."""
        return moment_s + self._shift_s

    def write_until(self, frame: Frame, time_s: float) -> None:
        """Write the sound that belongs before the end of a picture.

        Args:
            frame: the picture.
            time_s: its time in the output, seconds.

        Raises:
            OSError: the disk is full.
        """
        if abs(time_s - frame.moment_s - self._shift_s) > _JUMP_S:
            self._shift_s = time_s - frame.moment_s
        self._mux(self._writer.until(frame.moment_s))

    def finish(self, end_s: float) -> None:
        """Write the rest, up to the end of the pictures in the output, seconds.

        Raises:
            OSError: the disk is full.
        """
        self._mux(self._writer.until(end_s - self._shift_s))
        self._mux(self._writer.rest())

    def _mux(self, packets: list[Packet[Stream]]) -> None:
        for packet in packets:
            try:
                self._output.mux(packet)
            except ValueError:  # the muxer's own check: a packet that it cannot use; a full disk is an OSError
                logger.debug("the muxer refused a packet of sound")


class _Copied:
    """Leaves the packets as they are."""

    def __init__(
        self, feed: SoundFeed, sound_format: SoundFormat, output: OutputContainer, track: LiveSoundTrack
    ) -> None:
        self._reader, self._format, self._track = feed.reader(), sound_format, track
        self._target = add_copy(output, sound_format.template)
        self._waiting: deque[SoundPacket] = deque(maxlen=_WAITING)
        self._next_s, self._last = 0.0, -1
        self._known_length = self._other = False

    def until(self, moment_s: float) -> list[Packet[Stream]]:
        """Return the packets that begin up to a moment."""
        self._waiting.extend(packet for packet in self._reader.read() if self._fits(packet))
        due = [packet for packet in self._waiting if packet.moment_s <= moment_s]
        late = [packet for packet in self._waiting if packet.moment_s > moment_s]
        self._waiting = deque(late, maxlen=_WAITING)
        return [ready for packet in due if (ready := self._placed(packet)) is not None]

    def rest(self) -> list[Packet[Stream]]:
        """Return nothing."""
        return []

    def _fits(self, packet: SoundPacket) -> bool:
        if packet.format.same_as(self._format):
            return True
        if not self._other:
            self._other = True
            codec = packet.format.codec
            logger.warning("the source came back with other sound (%s), which this recording cannot take", codec)
        return False

    def _placed(self, packet: SoundPacket) -> Packet[Stream] | None:
        """Return a packet for the output; ``None`` if it overlaps what is already there."""
        time_s = self._track.time_s(packet.moment_s)
        error_s = time_s - self._next_s
        if time_s < 0 or error_s < -JITTER_S:
            return None
        if self._known_length and abs(error_s) <= JITTER_S:
            time_s = self._next_s + error_s / 50  # rounded timestamps must not make uneven packets
        self._next_s, self._known_length = time_s + packet.length_s, packet.length_s > 0
        copy: Packet[Stream] = Packet(packet.data)
        unit_s = self._target.time_base or Fraction(1, RATE)
        copy.time_base, copy.stream, copy.is_keyframe = unit_s, self._target, True
        self._last = copy.pts = copy.dts = max(self._last + 1, round(time_s / unit_s))
        copy.duration = round(packet.length_s / unit_s)
        return copy


class _Encoded:
    """Decodes the packets, fills gaps with silence, and encodes them for the container."""

    def __init__(self, feed: SoundFeed, output: OutputContainer, kind: Container, track: LiveSoundTrack) -> None:
        self._track = track
        self._pcm = PcmTrack(feed, track.begin_s)
        self._target = cast("AudioStream", output.add_stream(kind.audio_encoder, rate=RATE))
        context: Any = self._target.codec_context
        context.layout, context.bit_rate = "stereo", BITS

    def until(self, moment_s: float) -> list[Packet[Stream]]:
        """Return the packets that begin up to a moment, and silence where there has been nothing for long."""
        packets: list[Packet[Stream]] = []
        for block in self._pcm.read(moment_s, moment_s):
            frame = block.frame(self._track.time_s(block.moment_s))
            packets += cast("list[Packet[Stream]]", self._target.encode(frame))
        return packets

    def rest(self) -> list[Packet[Stream]]:
        """Return what is left in the encoder."""
        return cast("list[Packet[Stream]]", self._target.encode(None))
