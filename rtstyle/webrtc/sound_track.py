"""Sound for WebRTC, delayed as much as the pictures are."""

from __future__ import annotations

import asyncio
import time
from fractions import Fraction

import numpy as np
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame

from rtstyle.sound.feed import SoundFeed
from rtstyle.sound.pcm import CHANNELS, RATE, PcmTrack, Samples

BLOCK = 960
"""Samples in a packet: 20 ms."""

MOST_STRETCH = 0.01
"""Sound is played by so much faster or slower at most while the age of the pictures changes: nobody hears it."""

JUMP_S = 0.2
"""If the age changes by more at once, sound jumps, seconds."""

LATE_S = 0.5
"""Sound that arrives later than this after it was captured has broken off, seconds."""

MARGIN_S, SLACK_S = 0.005, 0.02
"""Sound that comes late is delayed by so much more; so much more than that is taken back, seconds."""

FORGET = 0.01
"""How fast it is taken back, share of time."""

SMOOTH = 0.02
"""Share of a new age in the smoothed one, for each picture."""


class SoundTrack(MediaStreamTrack):
    """The sound that belongs to the pictures that are sent now.

    WebRTC tells receivers when something was sent, not when it was captured, so sound has to be as old as the picture
    beside it. Sound that itself arrives later than that is sent as soon as it is there.

    Args:
        feed: where the sound comes from.
    """

    kind = "audio"

    def __init__(self, feed: SoundFeed) -> None:
        super().__init__()
        self._feed = feed
        self._age_s: float | None = None
        self._start_s, self._count = 0.0, 0
        self._track: PcmTrack | None = None
        self._samples: Samples = np.zeros((0, CHANNELS), np.int16)
        self._samples_s = 0.0  # moment of the first of them
        self._next_s = 0.0  # moment of the next sample to send
        self._late_s = 0.0  # how long after its capture sound arrives at most

    def shown(self, moment_s: float) -> None:
        """Learn that a picture of this moment is sent now. Any thread may call it."""
        age_s = time.monotonic() - moment_s
        known_s = self._age_s
        far = known_s is None or abs(age_s - known_s) > JUMP_S
        self._age_s = age_s if known_s is None or far else known_s + SMOOTH * (age_s - known_s)

    async def recv(self) -> AudioFrame:
        """Return the next 20 ms; raise MediaStreamError, as aiortc expects, when the track was stopped."""
        if self.readyState != "live":
            raise MediaStreamError
        if not self._count:
            self._start_s = time.monotonic()
        due_s = self._start_s + self._count * BLOCK / RATE
        await asyncio.sleep(max(0.0, due_s - time.monotonic()))
        frame = AudioFrame.from_ndarray(self.block(due_s).reshape(1, -1), format="s16", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = RATE, self._count * BLOCK, Fraction(1, RATE)
        self._count += 1
        return frame

    def block(self, due_s: float) -> Samples:
        """Return the samples to send at a time, seconds; silence before the first picture."""
        if self._age_s is None:
            return np.zeros((BLOCK, CHANNELS), np.int16)
        wanted_s = due_s - max(self._age_s, self._late_s)
        if self._track is None:
            self._track = PcmTrack(self._feed, wanted_s)
            self._next_s = self._samples_s = wanted_s
        for ready in self._track.read(due_s, wanted_s):
            self._samples = np.concatenate([self._samples, ready.samples])
            self._samples_s = ready.moment_s + (len(ready.samples) - len(self._samples)) / RATE
        if abs(wanted_s - self._next_s) > JUMP_S or self._runs_dry(due_s):
            self._next_s = due_s - max(self._age_s, self._late_s)
        stretch = np.clip((wanted_s - self._next_s) * RATE / BLOCK, -MOST_STRETCH, MOST_STRETCH)
        return self._cut(1 + float(stretch))

    def _runs_dry(self, due_s: float) -> bool:
        """Note how late sound arrives; return True if it is not there for the next block, but has not broken off."""
        end_s, length_s = self._samples_s + len(self._samples) / RATE, BLOCK / RATE
        late_s = due_s + length_s - end_s + MARGIN_S
        if late_s > LATE_S:
            return False
        if late_s + SLACK_S < self._late_s:
            self._late_s -= FORGET * length_s
        if self._next_s + length_s <= end_s - 1 / RATE:
            return False
        self._late_s = max(self._late_s, late_s)
        return True

    def _cut(self, speed: float) -> Samples:
        """Return the next block, and forget what was sent."""
        at = (self._next_s - self._samples_s) * RATE + speed * np.arange(BLOCK)
        self._next_s += speed * BLOCK / RATE
        if not len(self._samples):
            return np.zeros((BLOCK, CHANNELS), np.int16)
        known = np.arange(len(self._samples))
        sides = [np.interp(at, known, side, left=0, right=0) for side in self._samples.T]
        gone = int(np.clip((self._next_s - self._samples_s) * RATE - 1, 0, len(self._samples)))
        self._samples, self._samples_s = self._samples[gone:], self._samples_s + gone / RATE
        return np.stack(sides, axis=1).astype(np.int16)
