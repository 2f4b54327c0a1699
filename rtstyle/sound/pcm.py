"""Sound as one unbroken row of samples, for encoders that cannot skip time."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, cast

import av
import numpy as np
import numpy.typing as npt
from av import AudioFrame, AudioResampler, Packet

from rtstyle.sound.feed import SoundFeed, SoundFormat, SoundPacket

if TYPE_CHECKING:
    from av.audio.codeccontext import AudioCodecContext

logger = logging.getLogger(__name__)

Samples = npt.NDArray[np.int16]
"""Stereo: int16, (samples, 2)."""

RATE = 48_000
"""Samples per second."""

CHANNELS = 2

JITTER_S = 0.04
"""Timestamps may be off by this much without a gap or an overlap, seconds."""

GLIDE = 0.02
"""Share of such an error by which the next block is moved: only timestamps change, not samples, so nothing clicks."""

MISSING_S = 1.0
"""Sound that is so late is replaced by silence, seconds; what comes after all is left out."""

_SILENCE_S = 0.1
"""Longest block of silence, seconds."""


@dataclass(frozen=True, slots=True)
class PcmBlock:
    """Samples and when they are heard.

    Attributes:
        moment_s: of the first one, on the clock of ``Frame.moment_s``, seconds.
        samples: (samples, 2), int16.
    """

    moment_s: float
    samples: Samples

    def frame(self, time_s: float) -> AudioFrame:
        """Return the samples as a frame for an encoder, beginning at a time in its track, seconds."""
        frame = AudioFrame.from_ndarray(self.samples.reshape(1, -1), format="s16", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = RATE, round(time_s * RATE), Fraction(1, RATE)
        return frame


class PcmDecoder:
    """Decodes packets to samples at one rate, whatever the feed brings, also one kind of sound after another."""

    def __init__(self) -> None:
        self._format: SoundFormat | None = None
        self._decoder: AudioCodecContext | None = None
        self._resampler: AudioResampler | None = None
        self._shape: tuple[str, str, int] | None = None

    def __call__(self, packet: SoundPacket) -> Iterator[PcmBlock]:
        """Yield the samples of a packet; damaged ones yield nothing."""
        if self._format is None or not packet.format.same_as(self._format):
            self._open(packet.format)
        if self._decoder is None:
            return
        one: Any = Packet(packet.data)
        one.time_base, one.pts = Fraction(1, 1_000_000), round(packet.moment_s * 1e6)
        one.dts = one.pts
        try:
            for frame in self._decoder.decode(one):
                yield from self._resample(frame, packet.moment_s)
        except (av.FFmpegError, ValueError):
            self._decoder.flush_buffers()

    def _open(self, sound_format: SoundFormat) -> None:
        self._format, self._decoder = sound_format, None
        try:
            self._decoder = sound_format.decoder()
            self._decoder.open()
        except (av.FFmpegError, ValueError):
            self._decoder = None
            logger.warning("the sound (%s) cannot be decoded", sound_format.codec)

    def _resample(self, frame: AudioFrame, fallback_s: float) -> Iterator[PcmBlock]:
        begin_s = fallback_s if frame.pts is None else float(frame.pts * (frame.time_base or 0))
        shape = (frame.format.name, frame.layout.name, frame.sample_rate)
        if self._resampler is None or shape != self._shape:
            layout = "mono" if frame.layout.nb_channels == 1 else "stereo"
            self._resampler, self._shape = AudioResampler("s16", layout, RATE), shape
        frame.pts = None  # the resampler would round it, and make up for gaps
        for ready in self._resampler.resample(frame):
            samples = cast("Samples", ready.to_ndarray()).reshape(-1, ready.layout.nb_channels)
            # FFmpeg would make one channel softer when it becomes two.
            yield PcmBlock(begin_s, np.repeat(samples, CHANNELS // samples.shape[1], axis=1))


class PcmTrack:
    """The sound of a feed without holes and overlaps, from a moment on.

    Where there is none, there is silence. Small errors of the timestamps only move the blocks, little by little.

    Args:
        feed: where the sound comes from.
        begin_s: where the track begins, on the clock of ``Frame.moment_s``, seconds.
    """

    def __init__(self, feed: SoundFeed, begin_s: float) -> None:
        self._reader = feed.reader()
        self._decode = PcmDecoder()
        self._waiting: list[PcmBlock] = []
        self._next_s = begin_s
        self._in_flow = False  # the last block was sound
        self._missing = False

    def read(self, until_s: float, needed_s: float) -> Iterator[PcmBlock]:
        """Yield what has come, up to a moment.

        Args:
            until_s: sound that begins later is kept for the next call, seconds.
            needed_s: there is silence up to here once no sound has come for ``MISSING_S``, until some comes again.
        """
        for packet in self._reader.read():
            self._waiting += self._decode(packet)
        due = [block for block in self._waiting if block.moment_s <= until_s]
        self._waiting = [block for block in self._waiting if block.moment_s > until_s]
        for block in due:
            yield from self._silence(block.moment_s, self._tolerance_s)
            yield from self._place(block)
        if needed_s - self._next_s > MISSING_S:
            self._missing = True
        if self._missing:
            yield from self._silence(needed_s, 0.0)

    def skip(self, seconds: float) -> None:
        """Leave out the sound of so many seconds, which were cut out of the pictures."""
        self._next_s += seconds

    @property
    def _tolerance_s(self) -> float:
        return JITTER_S if self._in_flow else 0.0

    def _silence(self, until_s: float, tolerance_s: float) -> Iterator[PcmBlock]:
        if until_s - self._next_s <= tolerance_s:
            return
        self._in_flow = False
        while (left_s := until_s - self._next_s) > 0.5 / RATE:
            count = round(min(left_s, _SILENCE_S) * RATE)
            yield PcmBlock(self._next_s, np.zeros((count, CHANNELS), np.int16))
            self._next_s += count / RATE

    def _place(self, block: PcmBlock) -> Iterator[PcmBlock]:
        """Yield a block where it belongs, or as much of it as does not overlap what came before."""
        error_s, samples = block.moment_s - self._next_s, block.samples
        if error_s < -self._tolerance_s:
            samples, error_s = samples[round(-error_s * RATE) :], 0.0
        if not len(samples):
            return
        self._in_flow, self._missing = True, False
        self._next_s += GLIDE * error_s
        yield PcmBlock(self._next_s, samples)
        self._next_s += len(samples) / RATE
