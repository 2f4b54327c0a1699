"""Find out what a muxer accepts by writing to nowhere: some refuse a track only with its packets, or at the end."""

from __future__ import annotations

import io
from contextlib import suppress
from fractions import Fraction

import av
from av import Packet
from av.bitstream import BitStreamFilterContext
from av.container import OutputContainer
from av.stream import Stream

from rtstyle.media.codecs import Container

_REFUSALS = (av.FFmpegError, ValueError)


def add_copy(output: OutputContainer, stream: Stream) -> Stream:
    """Add a track with the codec parameters of ``stream``.

    Raises:
        ValueError, av.FFmpegError: the container cannot hold it.
    """
    if stream.type == "data" or getattr(stream, "codec_context", None) is not None:
        return output.add_stream_from_template(stream, opaque=True)
    # PyAV needs a decoder for a template; a filter that does nothing copies the parameters as well.
    target = output.add_mux_stream(output.default_audio_codec)
    BitStreamFilterContext("null", stream, target)
    target.time_base = stream.time_base or Fraction(1, 1000)
    return target


def can_hold(kind: Container, stream: Stream, packet: Packet[Stream] | None) -> bool:
    """Try to write a complete file in memory with one track.

    Args:
        kind: container.
        stream: the track to copy.
        packet: its first packet, which is not changed; ``None`` if there is none yet.
    """
    try:
        with av.open(io.BytesIO(), "w", format=kind.format) as trial:
            target = add_copy(trial, stream)
            trial.start_encoding()
            if packet is not None:
                trial.mux(_duplicate(packet, target, start=0))
    except _REFUSALS:
        return False
    return True


class PacketCheck:
    """Tells which packets of a copied track the muxer accepts.

    The output itself would report a bad packet while it writes another one, since it sorts packets by time.
    """

    def __init__(self, kind: Container, stream: Stream) -> None:
        self._output = av.open(Nowhere(), "w", format=kind.format)
        self._target = add_copy(self._output, stream)
        self._output.start_encoding()

    def __call__(self, packet: Packet[Stream]) -> bool:
        """Return True if the muxer accepts the packet, which is not changed."""
        try:
            self._output.mux(_duplicate(packet, self._target))
        except _REFUSALS:
            return False
        return True

    def close(self) -> None:
        """Release the muxer; may be called twice."""
        with suppress(*_REFUSALS):  # nobody reads this file
            self._output.close()


class Nowhere:
    """A file that forgets what is written, and only knows its size, bytes."""

    def __init__(self) -> None:
        self._position = self.size = 0

    def write(self, data: bytes) -> int:
        """Count the data."""
        self._position += len(data)
        self.size = max(self.size, self._position)
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move, as in a real file."""
        self._position = offset + (0, self._position, self.size)[whence]
        return self._position

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def seekable(self) -> bool:
        """Return True: MP4 goes back to fill in sizes."""
        return True


def _duplicate(packet: Packet[Stream], target: Stream, start: int | None = None) -> Packet[Stream]:
    """Copy a packet for another track; ``start`` replaces its times."""
    copy: Packet[Stream] = Packet(bytes(packet))
    copy.time_base = packet.time_base
    copy.pts, copy.dts = (packet.pts, packet.dts) if start is None else (start, start)
    copy.duration = packet.duration
    copy.is_keyframe = packet.is_keyframe
    copy.stream = target
    return copy
