"""Frames, which travel from a source through an engine to a sink, and what a source says about them."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from engines.base import RGB

Alpha: TypeAlias = npt.NDArray[np.uint8]
"""Opacity of a picture: uint8, (height, width); 255 is opaque."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture with its place in time.

    Attributes:
        rgb: (height, width, 3), uint8, upright (rotation already applied).
        index: 0, 1, 2 … in presentation order, counted by the source.
        pts: presentation time in units of ``time_base``.
        time_base: seconds per unit of ``pts``.
        captured_s: ``time.monotonic()`` when the picture left the camera or the decoder, seconds.
        input: the picture before it was stylized, same shape; ``None`` if it is not kept.
        notice: what is wrong with the source, for display; the picture is then the last one, repeated. Empty while
            pictures arrive.
        alpha: opacity of the input, (height, width), which the output keeps; ``None`` if it is opaque.
        sound_s: when the sound that belongs to the picture was heard, on the clock of ``captured_s`` but without the
            jitter of its arrival, seconds; ``None`` if there is no sound.
    """

    rgb: RGB
    index: int
    pts: int
    time_base: Fraction
    captured_s: float
    input: RGB | None = None
    notice: str = ""
    alpha: Alpha | None = None
    sound_s: float | None = None

    @property
    def moment_s(self) -> float:
        """When the picture was taken, as exactly as it is known, on the clock of ``captured_s``, seconds."""
        return self.captured_s if self.sound_s is None else self.sound_s


@dataclass(frozen=True)
class SourceInfo:
    """What a source delivers, as far as it is known before the first frame.

    Attributes:
        name: display name, e.g. ``clip.mp4`` or ``camera 0``.
        width, height: size of the upright frames, pixels.
        fps: nominal frames per second; 0 when unknown.
        frame_count: expected number of frames; ``None`` when unknown or endless.
        live: True when frames that are not fetched in time are worthless (camera, stream).
        pixel_format: format in which a camera sends its pictures, e.g. ``MJPG``; empty when unknown.
        sound: True if there is sound beside the pictures.
    """

    name: str
    width: int
    height: int
    fps: Fraction
    frame_count: int | None
    live: bool
    pixel_format: str = ""
    sound: bool = False
