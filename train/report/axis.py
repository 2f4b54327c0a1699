"""Axes of charts: where a value lies, which round values to name, and how to write them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

DECADES = 1.5
"""A curve that spans more than this is drawn on a logarithmic axis."""


@dataclass(frozen=True)
class Axis:
    """Values to places along an axis, 0 … 1, and back.

    Attributes:
        low, high: ends of the axis, low < high, both positive on a logarithmic one.
        log: logarithmic.
    """

    low: float
    high: float
    log: bool = False

    @classmethod
    def around(cls, values: Sequence[float]) -> Axis:
        """An axis for a curve: logarithmic over more than ``DECADES``, from 0 where the curve comes near it."""
        finite = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
        low, high = min(finite), max(finite)
        above = min((value for value in finite if value > 0), default=math.inf)
        if low >= 0 and above < high * 10**-DECADES:
            return cls(above / 1.1, high * 1.1, log=True)
        if 0 <= low <= 0.4 * high:
            low = 0.0
        room = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
        return cls(low if low == 0 else low - room, high + room)

    def place(self, value: float) -> float:
        """Where a value lies, 0 … 1 between the ends; NaN for one that the axis cannot show."""
        if not self.log:
            return (value - self.low) / (self.high - self.low)
        return math.log(value / self.low) / math.log(self.high / self.low) if value > 0 else math.nan

    def value(self, place: float) -> float:
        """What lies at a place."""
        if not self.log:
            return self.low + place * (self.high - self.low)
        return self.low * float((self.high / self.low) ** place)

    def ticks(self, about: int = 5) -> list[float]:
        """Round values between the ends."""
        if not self.log:
            return _round_steps(self.low, self.high, about)
        first, last = math.ceil(math.log10(self.low)), math.floor(math.log10(self.high))
        every = max(1, -(-(last - first + 1) // about))
        leads = (1, 3) if last - first < 2 else (1,)
        ticks = [lead * 10.0**power for power in range(first - 1, last + 1, every) for lead in leads]
        return [tick for tick in ticks if self.low <= tick <= self.high]


def _round_steps(low: float, high: float, about: int) -> list[float]:
    rough = (high - low) / about
    unit = 10.0 ** math.floor(math.log10(rough))
    step = unit * next(lead for lead in (1, 2, 5, 10) if lead * unit >= 0.999 * rough)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def number(value: float) -> str:
    """Three digits, as a person writes them: 0.0034, 12.5, 1,250, 3×10⁻⁷."""
    if not math.isfinite(value):
        return "–"
    if abs(value) < 1000:
        value = float(f"{value:.3g}")
    if 1000 <= abs(value) < 1e7:
        return f"{value:,.0f}"
    if value == 0 or 1e-4 <= abs(value) < 1000:
        return f"{value:.10f}".rstrip("0").rstrip(".")
    lead, power = f"{value:.2e}".split("e")
    lead = lead.rstrip("0").rstrip(".")
    raised = str(int(power)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"10{raised}" if lead == "1" else f"{lead}×10{raised}"
