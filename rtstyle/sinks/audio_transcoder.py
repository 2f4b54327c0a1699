"""Re-encode audio that a container cannot hold as it is."""

from __future__ import annotations

from fractions import Fraction
from typing import cast

import av
from av import AudioFrame, AudioResampler, Packet
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.error import FFmpegError
from av.stream import Stream

_LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "quad", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}
"""Channels → the layout that both encoders support."""

_BITS_PER_CHANNEL = 96_000


class AudioTranscoder:
    """Re-encodes one audio track.

    Args:
        source: track of the input.
        output: receives a new track; its header must not be written yet.
        encoder: ``aac`` or ``libopus``.

    Attributes:
        target: the new track.
        mixed_down: True if surround sound becomes stereo.
        lost: damaged packets, which leave a gap.
    """

    def __init__(self, source: AudioStream, output: OutputContainer, encoder: str) -> None:
        context = source.codec_context
        rates = av.Codec(encoder, "w").audio_rates
        self._rate = context.sample_rate if not rates or context.sample_rate in rates else 48000
        channels = context.layout.nb_channels
        self._layout = _LAYOUTS.get(channels, "stereo")
        self.mixed_down = channels > 2 and self._layout == "stereo"
        self.lost = 0
        self._source = source
        self._format: tuple[str, str, int] | None = None
        self._resampler: AudioResampler | None = None
        self._next_pts = 0
        self.target = cast("AudioStream", output.add_stream(encoder, rate=self._rate))
        self.target.codec_context.layout = self._layout
        self.target.codec_context.bit_rate = _BITS_PER_CHANNEL * self.target.codec_context.layout.nb_channels

    def __call__(self, packet: Packet[Stream] | None) -> list[Packet[Stream]]:
        """Return the packets that are ready after this one; ``None`` flushes both codecs."""
        out: list[Packet[Stream]] = []
        try:
            for frame in self._source.decode(cast("Packet[AudioStream] | None", packet)):
                out += self._encode(frame)
            if packet is None:
                out += self._flush_resampler()
        except (FFmpegError, ValueError):
            self.lost += packet is not None
        if packet is None:
            out += cast("list[Packet[Stream]]", self.target.encode(None))
        return out

    def _encode(self, frame: AudioFrame) -> list[Packet[Stream]]:
        """Encode a frame. Its rate and channels may differ from those before, as after an advertisement."""
        found = (frame.format.name, frame.layout.name, frame.sample_rate)
        out: list[Packet[Stream]] = []
        if self._resampler is None or found != self._format:
            out += self._flush_resampler()
            self._format = found
            self._resampler = AudioResampler(self.target.codec_context.format, self._layout, self._rate)
        for ready in self._resampler.resample(frame):
            out += self._encode_ready(ready)
        return out

    def _flush_resampler(self) -> list[Packet[Stream]]:
        if self._resampler is None:
            return []
        return [p for frame in self._resampler.resample(None) if frame for p in self._encode_ready(frame)]

    def _encode_ready(self, frame: AudioFrame) -> list[Packet[Stream]]:
        if frame.pts is None or frame.time_base is None:
            frame.pts = self._next_pts
        else:
            frame.pts = round(frame.pts * frame.time_base * self._rate)
        frame.time_base = Fraction(1, self._rate)
        self._next_pts = frame.pts + frame.samples
        return cast("list[Packet[Stream]]", self.target.encode(frame))
