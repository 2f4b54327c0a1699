"""Re-encode audio that a container cannot hold as it is."""

from __future__ import annotations

from typing import cast

from av import Packet
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.error import FFmpegError
from av.stream import Stream

_OPUS_RATES = (48000, 24000, 16000, 12000, 8000)
"""Sample rates that Opus supports."""

_BITS_PER_CHANNEL = 96_000


class AudioTranscoder:
    """Re-encodes one audio track, mixed down to at most two channels.

    Args:
        source: track of the input.
        output: receives a new track; its header must not be written yet.
        encoder: ``aac`` or ``libopus``.
    """

    def __init__(self, source: AudioStream, output: OutputContainer, encoder: str) -> None:
        context = source.codec_context
        rate = context.sample_rate or 48000
        if encoder == "libopus" and rate not in _OPUS_RATES:
            rate = 48000
        mono = context.layout.nb_channels == 1
        self._source = source
        self.target = cast("AudioStream", output.add_stream(encoder, rate=rate))
        self.target.codec_context.layout = "mono" if mono else "stereo"
        self.target.codec_context.bit_rate = _BITS_PER_CHANNEL * (1 if mono else 2)

    def __call__(self, packet: Packet[Stream] | None) -> list[Packet[Stream]]:
        """Return the packets that are ready after this one; ``None`` flushes both codecs."""
        out: list[Packet[Stream]] = []
        try:
            # A damaged packet, or audio whose format changes, leaves a gap; the track goes on.
            for frame in self._source.decode(cast("Packet[AudioStream] | None", packet)):
                out += cast("list[Packet[Stream]]", self.target.encode(frame))
        except (FFmpegError, ValueError):
            pass
        if packet is None:
            out += cast("list[Packet[Stream]]", self.target.encode(None))
        return out
