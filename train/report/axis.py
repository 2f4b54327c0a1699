"""Chart axes: linear or logarithmic scales, tick values and number formatting."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

DECADES = 1.5
"""A curve that spans more decades than this gets a logarithmic axis."""


@dataclass(frozen=True)
class Axis:
    """Map values to positions on an axis, 0 … 1, and back.

    Attributes:
        low: lower end; positive on a logarithmic axis.
        high: upper end, above ``low``.
        log: True for a logarithmic axis.
    """

    low: float
    high: float
    log: bool = False

    @classmethod
    def around(cls, values: Sequence[float]) -> Axis:
        """Return an axis that fits a curve: logarithmic above ``DECADES``, and from 0 if the curve comes near it."""
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
        """Return the position of a value, 0 … 1 within the axis; NaN if a logarithmic axis cannot show it."""
        if not self.log:
            return (value - self.low) / (self.high - self.low)
        return math.log(value / self.low) / math.log(self.high / self.low) if value > 0 else math.nan

    def value(self, place: float) -> float:
        """Return the value at a position."""
        if not self.log:
            return self.low + place * (self.high - self.low)
        return self.low * float((self.high / self.low) ** place)

    def ticks(self, about: int = 5) -> list[float]:
        """Return about ``about`` round values within the axis."""
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
    """Format a number with three significant digits: 0.0034, 12.5, 1,250, 3×10⁻⁷."""
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
