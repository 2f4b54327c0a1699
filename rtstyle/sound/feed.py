"""Sound of a live run on its way from a source to the sinks, which nobody waits for."""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from threading import Lock
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from av.audio.codeccontext import AudioCodecContext
    from av.audio.stream import AudioStream
    from av.stream import Stream

HISTORY_S = 3.0
"""How much sound is kept for a sink that begins now, or reads late, seconds."""

_MOST_PACKETS = 3000
"""Upper limit of packets that are kept, whatever their timestamps say."""


@dataclass(frozen=True, eq=False)
class SoundFormat:
    """How packets of sound are encoded; it outlives the input that it was taken from.

    Attributes:
        codec: FFmpeg's name of the decoder.
        rate: samples per second.
        layout: of the channels, as FFmpeg names it.
        extradata: what the decoder must know besides.
        template: a track with these parameters, which an output can copy.
    """

    codec: str
    rate: int
    layout: str
    extradata: bytes | None
    template: Stream

    @classmethod
    def of(cls, stream: AudioStream) -> SoundFormat:
        """Take the format of a track.

        Raises:
            ValueError, av.FFmpegError: it cannot be copied.
        """
        import av

        # The input will be closed while its sound is still being written: the output that is never written lives on.
        holder = av.open(io.BytesIO(), "w", format="nut")
        context = stream.codec_context
        template = holder.add_stream_from_template(stream, opaque=True)
        return cls(context.name, context.sample_rate, context.layout.name, context.extradata, template)

    @classmethod
    def pcm(cls, rate: int, layout: str) -> SoundFormat:
        """Return the format of samples as they are: 16 bits, interleaved, little-endian."""
        import av

        holder = av.open(io.BytesIO(), "w", format="nut")
        stream = holder.add_stream("pcm_s16le", rate=rate)
        stream.codec_context.layout = layout
        return cls("pcm_s16le", rate, layout, None, stream)

    def same_as(self, other: SoundFormat) -> bool:
        """Return True if a track may hold packets of both formats."""
        mine, others = ((one.codec, one.rate, one.layout, one.extradata) for one in (self, other))
        return mine == others

    def decoder(self) -> AudioCodecContext:
        """Return a new decoder.

        Raises:
            ValueError, av.FFmpegError: there is none for this format.
        """
        import av

        context = cast("Any", av.CodecContext.create(self.codec, "r"))
        context.sample_rate, context.layout, context.extradata = self.rate, self.layout, self.extradata
        return cast("AudioCodecContext", context)


@dataclass(frozen=True, slots=True)
class SoundPacket:
    """A piece of encoded sound.

    Attributes:
        data: the packet.
        moment_s: when it begins, on the clock of ``Frame.moment_s``, seconds.
        length_s: how long it lasts, seconds; 0 if unknown.
        format: how it is encoded.
    """

    data: bytes
    moment_s: float
    length_s: float
    format: SoundFormat


class SoundFeed:
    """The newest seconds of sound. One thread puts packets in, any number of sinks read them, and nobody waits.

    A source with sound has an attribute ``sound``; see ``sound_of``. The feed outlives the connection of a source that
    reconnects.

    Attributes:
        paused: while it returns True, sound is thrown away.
    """

    def __init__(self) -> None:
        self.paused: Callable[[], bool] = lambda: False
        self._lock = Lock()
        self._kept: deque[SoundPacket] = deque(maxlen=_MOST_PACKETS)
        self._count = 0
        self._format: SoundFormat | None = None

    @property
    def format(self) -> SoundFormat | None:
        """How the sound is encoded; ``None`` while there has not been any."""
        return self._format

    def announce(self, sound_format: SoundFormat) -> None:
        """Say what the next packets are like, before the first of them comes."""
        self._format = sound_format

    def put(self, packet: SoundPacket) -> None:
        """Add a packet."""
        if self.paused():
            return
        with self._lock:
            self._kept.append(packet)
            self._count += 1
            while packet.moment_s - self._kept[0].moment_s > HISTORY_S:
                self._kept.popleft()

    def reader(self) -> SoundReader:
        """Return a reader that begins with the oldest packet that is kept."""
        return SoundReader(self)

    def since(self, count: int) -> tuple[list[SoundPacket], int]:
        """Return the packets that are kept of those after the first ``count``, and how many there were in all."""
        with self._lock:
            first = max(0, len(self._kept) - (self._count - count))
            return list(islice(self._kept, first, None)), self._count


class SoundReader:
    """Reads each packet of a feed once; those that it is too late for are lost.

    Args:
        feed: to read from.
    """

    def __init__(self, feed: SoundFeed) -> None:
        self._feed, self._count = feed, 0

    def read(self) -> list[SoundPacket]:
        """Return the packets that came since the last call."""
        packets, self._count = self._feed.since(self._count)
        return packets


def sound_of(source: object) -> SoundFeed | None:
    """Return the sound of a live source; ``None`` if it can have none."""
    feed = getattr(source, "sound", None)
    return feed if isinstance(feed, SoundFeed) else None
