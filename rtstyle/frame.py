"""Frame: the one thing that travels from a source through an engine to a sink."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from engines.base import RGB


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture with its place in time.

    Attributes:
        rgb: (height, width, 3), uint8, upright (rotation already applied).
        index: 0, 1, 2 … in the order of presentation, counted by the source.
        pts: presentation time in units of ``time_base``.
        time_base: seconds per unit of ``pts``.
        captured_s: ``time.monotonic()`` when the picture left the camera or the decoder, in seconds.
        unpainted: what a painting was made from, same shape; ``None`` for a frame that is no painting.
        notice: what is wrong with the source, for people; then the picture is its last one, repeated. Empty as long
            as pictures come. A sink that people look at shows it.
    """

    rgb: RGB
    index: int
    pts: int
    time_base: Fraction
    captured_s: float
    unpainted: RGB | None = None
    notice: str = ""
