"""Mix the sound of a source with that of a microphone."""

from __future__ import annotations

import time
from threading import Event, Thread

import numpy as np

from rtstyle.sound.feed import SoundFeed, SoundFormat, SoundPacket
from rtstyle.sound.pcm import CHANNELS, RATE, PcmTrack, Samples

LATE_S = 0.1
"""How long the mixer waits for sound that is late, seconds; what comes later is left out."""

BLOCK = 960
"""Samples that are mixed at once."""


class Mixer:
    """Adds feeds up, as samples, in a thread.

    Args:
        feeds: what is mixed. One that is silent or breaks off does not hold up the others.
        begin_s: where the mix begins, monotonic, seconds.

    Attributes:
        sound: the mix.
    """

    def __init__(self, *feeds: SoundFeed, begin_s: float) -> None:
        self.sound = SoundFeed()
        self._format = SoundFormat.pcm(RATE, "stereo")
        self.sound.announce(self._format)
        self._lanes = [_Lane(feed, begin_s) for feed in feeds]
        self._begin_s, self._mixed = begin_s, 0
        self._closed = Event()
        self._thread = Thread(target=self._work, name="mixer", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread; may be called twice."""
        self._closed.set()
        self._thread.join()

    def _work(self) -> None:
        while True:
            due_s = self._begin_s + (self._mixed + BLOCK) / RATE + LATE_S
            if self._closed.wait(max(0.0, due_s - time.monotonic())):
                return
            self._mix(due_s - LATE_S)

    def _mix(self, until_s: float) -> None:
        """Mix the next block, which ends at a moment."""
        added = np.zeros((BLOCK, CHANNELS), np.int32)
        for lane in self._lanes:
            added += lane.take(until_s)
        samples = added.clip(-32768, 32767).astype("<i2")
        begin_s = self._begin_s + self._mixed / RATE
        self._mixed += BLOCK
        self.sound.put(SoundPacket(samples.tobytes(), begin_s, BLOCK / RATE, self._format))


class _Lane:
    """One of the feeds, cut into blocks on the grid of the mix."""

    def __init__(self, feed: SoundFeed, begin_s: float) -> None:
        self._track, self._begin_s = PcmTrack(feed, begin_s), begin_s
        self._samples: Samples = np.zeros((0, CHANNELS), np.int16)
        self._taken = 0

    def take(self, until_s: float) -> Samples:
        """Return the next block, with silence for what has not come."""
        for block in self._track.read(until_s, until_s):
            at = round((block.moment_s - self._begin_s) * RATE) - self._taken
            new = block.samples[max(0, -at) :]
            # Clocks differ: now and then a sample is left out, or repeated.
            hole = np.repeat(new[:1], max(0, at - len(self._samples)), axis=0)
            self._samples = np.concatenate([self._samples[: max(0, at)], hole, new])
        taken, self._samples = self._samples[:BLOCK], self._samples[BLOCK:]
        self._taken += BLOCK
        return np.concatenate([taken, np.zeros((BLOCK - len(taken), CHANNELS), np.int16)])
