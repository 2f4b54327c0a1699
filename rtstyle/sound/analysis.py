"""What is heard: how loud it is, and when something begins to sound.

Source:
    S. Dixon, "Onset Detection Revisited", DAFx 2006 (spectral flux, peak picking);
    J. P. Bello et al., "A Tutorial on Onset Detection in Music Signals", IEEE TSAP 13 (5), 2005 (logarithmic
    magnitudes, adaptive threshold). Both look ahead; this one waits for one hop only, as live pictures do not wait.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from rtstyle.sound.pcm import RATE, Samples

Mono: TypeAlias = npt.NDArray[np.float32]
"""One channel: float32, (samples,), -1 … 1."""

HOP = 480
"""Samples from one look at the sound to the next: 10 ms."""

WINDOW = 1024
"""Samples that are looked at, 21 ms."""

HOP_S = HOP / RATE

SPAN_DB = 18.0
"""A sound so much softer than the loud ones is no level at all, decibels."""

QUIETEST_DB = -50.0
"""The loud ones are at least so loud, decibels of full scale, so that hiss stays at the bottom."""

SILENCE_DB = -70.0
"""Nothing is learned from what is softer: between two songs the range stays."""

RISE_S, FALL_DB_S = 0.5, 0.5
"""What counts as loud follows louder sounds with this time constant, and softer ones so slowly that nothing pumps."""

ATTACK_S, RELEASE_S = 0.01, 0.3
"""Time constants of the level as it rises and falls, seconds."""

_BANDS = 40
_LOW_HZ, _HIGH_HZ = 40.0, 12_000.0


class LevelMeter:
    """The level of sound, 0 … 1: ``SPAN_DB`` decibels up to the loud ones of late."""

    def __init__(self) -> None:
        self._top_db, self._share = QUIETEST_DB, 0.0

    def __call__(self, rms: float) -> float:
        """Return the level after the next hop, whose root mean square is ``rms``; 1 is full scale."""
        level_db = 20 * math.log10(max(rms, 1e-9))
        if level_db > self._top_db:
            self._top_db += (level_db - self._top_db) * _part(RISE_S)
        elif level_db > SILENCE_DB:
            self._top_db = max(QUIETEST_DB, self._top_db - FALL_DB_S * HOP_S)
        share = min(1.0, max(0.0, 1.0 + (level_db - self._top_db) / SPAN_DB))
        self._share += (share - self._share) * _part(ATTACK_S if share > self._share else RELEASE_S)
        return self._share


def _part(time_constant_s: float) -> float:
    """Return which part of the way a follower with this time constant goes in a hop."""
    return 1.0 - math.exp(-HOP_S / time_constant_s)


class OnsetDetector:
    """Finds where something begins to sound, one hop later."""

    QUIETEST = 1e-3
    """Spectra are compared with the loudest of late, or at least with this; 1 is full scale."""

    FORGET = math.exp(-HOP_S / 5.0)
    COMPRESSION = 100.0
    THRESHOLD, OVER_MEAN, OVER_SPREAD = 0.08, 1.5, 2.0
    PAST = 50
    """Hops that the threshold adapts to."""

    REST = 10
    """Hops between two onsets at least: nobody plays faster."""

    def __init__(self) -> None:
        self._edges = _band_edges()
        self._peak = self.QUIETEST
        self._before = np.zeros(len(self._edges), np.float32)
        self._flux: deque[float] = deque([0.0] * self.PAST, maxlen=self.PAST)
        self._rested = 0  # that listening begins is no onset

    def __call__(self, spectrum: Mono) -> bool:
        """Return True if something began to sound in the hop before this one.

        Args:
            spectrum: magnitudes of the window that ends with this hop; 1 is a sine of full scale.
        """
        bands = np.maximum.reduceat(spectrum, self._edges)
        self._peak = max(self.QUIETEST, float(bands.max()), self._peak * self.FORGET)
        now = np.log1p(bands * np.float32(self.COMPRESSION / self._peak))
        rise = now - self._before
        self._before = now
        self._flux.append(float(np.maximum(rise, 0.0).mean()))
        return self._is_peak()

    def _is_peak(self) -> bool:
        """Return True if the flux before the newest one is a peak above the threshold."""
        self._rested += 1
        *past, before, peak, after = self._flux
        if self._rested < self.REST or peak < before or peak <= after:
            return False
        mean = sum(past) / len(past)
        spread = math.sqrt(sum((one - mean) ** 2 for one in past) / len(past))
        if peak < self.THRESHOLD + self.OVER_MEAN * mean + self.OVER_SPREAD * spread:
            return False
        self._rested = 0
        return True


def _band_edges() -> npt.NDArray[np.intp]:
    """Return the first bins of bands that are equally wide in octaves, but for the lowest."""
    wanted = np.geomspace(_LOW_HZ, _HIGH_HZ, _BANDS) * WINDOW / RATE
    return np.unique(np.round(wanted)).astype(np.intp)


@dataclass(frozen=True, slots=True)
class Heard:
    """What a hop of sound was like.

    Attributes:
        moment_s: its end, on the clock of the sound, seconds.
        level: 0 … 1, see ``LevelMeter``.
        onset_s: when something began to sound, if that is known since this hop; a little earlier than ``moment_s``.
    """

    moment_s: float
    level: float
    onset_s: float | None


class Analyser:
    """Listens to sound without holes, block by block."""

    def __init__(self) -> None:
        self._meter, self._detector = LevelMeter(), OnsetDetector()
        self._shape = np.hanning(WINDOW).astype(np.float32)
        self._scale = np.float32(2.0 / self._shape.sum())
        self._kept: Mono = np.zeros(WINDOW - HOP, np.float32)

    def add(self, samples: Samples, begin_s: float) -> list[Heard]:
        """Return what each hop that is complete now was like.

        Args:
            samples: (samples, 2), int16, those that follow.
            begin_s: when they begin, seconds.
        """
        mono = samples.mean(axis=1, dtype=np.float32) * np.float32(1 / 32768)
        end_s = begin_s + len(mono) / RATE
        self._kept = np.concatenate([self._kept, mono])
        heard = []
        while len(self._kept) >= WINDOW:
            window = self._kept[:WINDOW]
            self._kept = self._kept[HOP:]
            moment_s = end_s - (len(self._kept) - (WINDOW - HOP)) / RATE
            heard.append(self._look(window, moment_s))
        return heard

    def _look(self, window: Mono, moment_s: float) -> Heard:
        newest = window[-HOP:]
        level = self._meter(math.sqrt(float(np.dot(newest, newest)) / HOP))
        spectrum = np.abs(np.fft.rfft(window * self._shape)).astype(np.float32) * self._scale
        # The flux is largest when the sound has come to the middle of the window, and it is known a hop later.
        onset_s = moment_s - HOP_S - WINDOW / 2 / RATE if self._detector(spectrum) else None
        return Heard(moment_s, level, onset_s)
