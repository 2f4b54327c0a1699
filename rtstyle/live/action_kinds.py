"""What the actions of a live run take, for controllers that send positions and presses instead of values."""

from __future__ import annotations

from typing import NamedTuple

from rtstyle.stroke_scale import SCALES


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
            return float(self.low * (self.high / self.low) ** share)
        return self.low + (self.high - self.low) * share


RANGES: dict[str, Range] = {
    "strength": Range(0.0, 1.0),
    "scale": Range(*SCALES, octaves=True, steps=8),  # as the keys [ and ]: each size costs a compilation
    "colours": Range(0.0, 1.0),
    "faces": Range(0.0, 1.0),
}
"""Numeric settings, each also an attribute of ``Controls``."""

SWITCHES = ("mirror", "pause", "record", "modulate")
"""Actions that take on or off; without a value they toggle."""

TRIGGERS = ("snapshot", "stop")
"""Actions without a value."""
