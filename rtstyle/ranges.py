"""Values of numeric settings, for what moves them from end to end: controllers and modulation."""

from __future__ import annotations

import math
from typing import NamedTuple

from rtstyle.stroke_scale import SCALE_STEPS, SCALES


class Range(NamedTuple):
    """Values of a numeric setting.

    Attributes:
        octaves: equal ways of a fader multiply the value instead of adding to it.
        steps: the way from ``low`` to ``high`` in this many steps; 0 for a continuous way.
    """

    low: float
    high: float
    octaves: bool = False
    steps: int = 0

    def at(self, share: float) -> float:
        """Return the value at a share of the way from ``low`` to ``high``, 0…1."""
        if self.steps:
            share = round(share * self.steps) / self.steps
        if self.octaves:
            value = float(self.low * (self.high / self.low) ** share)
        else:
            value = self.low + (self.high - self.low) * share
        low, high = sorted((self.low, self.high))
        return min(high, max(low, value))  # rounding may have left the range


RANGES: dict[str, Range] = {
    "strength": Range(0.0, 1.0),
    "scale": Range(*SCALES, octaves=True, steps=round(SCALE_STEPS * math.log2(SCALES[1] / SCALES[0]))),
    "texture": Range(0.0, 1.0, steps=20),  # each step is a style of its own, which takes 5 ms on the CPU
    "colours": Range(0.0, 1.0),
    "faces": Range(0.0, 1.0),
    "inside": Range(0.0, 1.0),
    "outside": Range(0.0, 1.0),
    "feather": Range(0.0, 64.0),
    "mix": Range(0.0, 1.0),
    "glide": Range(0.0, 10.0),
    "every": Range(1.0, 60.0, octaves=True),
}
"""Numeric settings. The ends of ``feather``, pixels, and of ``glide`` and ``every``, seconds, are those of a knob;
other values are possible."""
