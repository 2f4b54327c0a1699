"""The contract between everything that makes frames and everything that stylizes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt

from engines.errors import ShapeError

RGB: TypeAlias = npt.NDArray[np.uint8]
"""One picture: uint8, (height, width, 3), sRGB, row 0 at the top, C-contiguous."""

MIN_SIDE = 16
"""Smallest height and width of a frame, in pixels; the padding of the network reflects up to 15 of them."""

MAX_SIZE = (2304, 4096)
"""Largest frame as (short side, long side), in pixels."""


@dataclass(frozen=True)
class EngineInfo:
    """What stylizes the frames, for figures and reports.

    Attributes:
        name: how it is chosen, e.g. ``cpu``.
        runtime: library and version, e.g. ``OpenVINO 2026.4.1``.
        device: the chip that runs it.
        precision: arithmetic of the convolutions, e.g. ``fp32``.
        style: name of the style that is loaded.
    """

    name: str
    runtime: str
    device: str
    precision: str
    style: str


class Engine(Protocol):
    """Frame in, frame out.

    Promises: the output has the shape of the input and is never shifted or resized; the same input gives
    the same output; any size between ``MIN_SIDE`` and ``MAX_SIZE`` works and may change from call to call
    (a new size may cost a compilation). One thread at a time calls an engine.
    """

    @property
    def info(self) -> EngineInfo:
        """What this engine is."""
        ...

    def __call__(self, rgb: RGB, strength: float = 1.0) -> RGB:
        """Stylize one frame.

        Args:
            rgb: (height, width, 3), uint8.
            strength: 0 gives the input back, 1 the full style; between, a linear blend.

        Returns:
            same shape and dtype, a new array.

        Raises:
            ShapeError: not an RGB picture, or outside the size limits.
        """
        ...

    def close(self) -> None:
        """Free what the engine holds. Calling it twice is fine."""
        ...


class Pending(Protocol):
    """A frame that is being painted."""

    def result(self) -> RGB:
        """Wait, without the GIL, until it is painted.

        Returns:
            an array of its own, the same one each time.

        Raises:
            EngineError: the device failed.
        """
        ...


@runtime_checkable
class OverlappedEngine(Engine, Protocol):
    """An engine that takes the next frame while it is at others: their ways to the device and back overlap.

    Frames come out in the order in which they were given, whatever their sizes. ``engine(rgb, strength)`` is
    ``engine.submit(rgb, strength).result()``.
    """

    def submit(self, rgb: RGB, strength: float = 1.0) -> Pending:
        """Begin with one frame; ``rgb`` may be changed as soon as this returns.

        Raises:
            what the call of the engine raises; faults of the device may come with ``Pending.result`` only.
        """
        ...


@runtime_checkable
class SharingEngine(Engine, Protocol):
    """An engine that shares what is compiled with those of other styles of its process: one more costs little."""

    def prepare(self, height: int, width: int) -> None:
        """Have all that the first frame of this size, in pixels, needs, so that it takes no longer than others.

        For a size that is compiled already, no frame of another engine that paints meanwhile has to wait.

        Raises:
            what the call of the engine raises.
        """
        ...


def check_rgb(rgb: RGB) -> None:
    """Refuse what is not an RGB frame within the size limits.

    Raises:
        ShapeError: the message holds the actual shape and the expected one.
    """
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
        raise ShapeError(f"expected uint8 (height, width, 3), got {rgb.dtype} {rgb.shape}")
    check_size(rgb.shape[0], rgb.shape[1])


def check_size(height: int, width: int) -> None:
    """Refuse a frame size, in pixels, that no engine takes.

    Raises:
        ShapeError: a side is under ``MIN_SIDE`` or the picture is over ``MAX_SIZE``.
    """
    short, long = sorted((height, width))
    if short < MIN_SIDE:
        raise ShapeError(
            f"a frame of {width}×{height} is too small",
            hint=f"both sides must be at least {MIN_SIDE} pixels",
        )
    if short > MAX_SIZE[0] or long > MAX_SIZE[1]:
        raise ShapeError(
            f"a frame of {width}×{height} is too large",
            hint=f"at most {MAX_SIZE[1]}×{MAX_SIZE[0]}; for a video, --height 1080 makes it smaller",
        )


def check_strength(strength: float) -> None:
    """Refuse a strength outside 0…1.

    Raises:
        ShapeError: out of range, or not a number.
    """
    if not 0.0 <= strength <= 1.0:
        raise ShapeError(f"strength {strength} is out of range", hint="give a value from 0 to 1")
