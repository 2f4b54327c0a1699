"""The interface that every engine implements, and the checks on what goes in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt

from engines.errors import EngineError, ShapeError

if TYPE_CHECKING:
    from engines.style_file import StyleModel

RGB: TypeAlias = npt.NDArray[np.uint8]
"""One image: uint8, (height, width, 3), sRGB, row 0 at the top, C-contiguous."""

StrengthMap: TypeAlias = npt.NDArray[np.float32]
"""A strength for each pixel of a frame: float32, (height, width), 0…1."""

MIN_SIDE = 24
"""Smallest height and width of a frame, in pixels: its map at 1/8 has five, of which local contrast reflects four."""

MAX_SIZE = (2304, 4096)
"""Largest frame as (short side, long side), in pixels."""


@dataclass(frozen=True)
class EngineInfo:
    """Description of an engine, for statistics and reports.

    Attributes:
        name: as in ``engines.load``, e.g. ``cpu``.
        runtime: library and version, e.g. ``OpenVINO 2026.4.1``.
        device: the chip that it runs on.
        precision: arithmetic of the convolutions, e.g. ``fp32``.
        style: name of the loaded style.
        in_flight: frames of a clip that a ``PipelinedEngine`` should be given before the first is fetched.
    """

    name: str
    runtime: str
    device: str
    precision: str
    style: str
    in_flight: int = 3


class Engine(Protocol):
    """Frame in, stylized frame out.

    The output has the size of the input and is never shifted; the same input gives the same output. Any size between
    ``MIN_SIDE`` and ``MAX_SIZE`` works and may change from call to call, although a new size may cost a compilation.
    Only one thread at a time may call an engine.
    """

    @property
    def info(self) -> EngineInfo:
        """Description of this engine."""
        ...

    def __call__(self, rgb: RGB, strength: float | StrengthMap = 1.0, colours: float = 0.0) -> RGB:
        """Stylize one frame.

        Args:
            rgb: (height, width, 3), uint8.
            strength: 0 returns the input, 1 the full style; values between blend the two linearly. A map has one for
                each pixel, see ``engines.strength_map``.
            colours: how much of the input's own colours is kept: 0 takes all colours from the style, 1 only light and
                dark. A change from one frame to the next costs three weights, see ``engines.model.own_colours``.

        Returns:
            a new array of the same shape and dtype.

        Raises:
            ShapeError: not an RGB image or outside the size limits, ``strength`` or ``colours`` is outside 0…1, or a
                map has another size or dtype.
            EngineError: the engine is closed, or its runtime failed.
        """
        ...

    def close(self) -> None:
        """Free the resources of the engine. May be called twice."""
        ...


class PendingFrame(Protocol):
    """A frame that an engine is working on."""

    def result(self) -> RGB:
        """Wait for the stylized frame, without holding the GIL; the array belongs to the caller.

        Raises:
            EngineError: the device failed.
        """
        ...


@runtime_checkable
class PipelinedEngine(Engine, Protocol):
    """An engine that accepts frames while it works on earlier ones, so that they overlap: more in a second, later each.

    Results come in the order of submission, whatever the frame sizes. ``engine(rgb, strength, colours)`` equals
    ``engine.submit(rgb, strength, colours).result()``.
    """

    def submit(self, rgb: RGB, strength: float | StrengthMap = 1.0, colours: float = 0.0) -> PendingFrame:
        """Start on one frame, with the arguments and errors of the call; ``rgb`` may change as soon as this returns.

        A failure of the device may appear in ``PendingFrame.result`` only.
        """
        ...


@runtime_checkable
class SharedGraphEngine(Engine, Protocol):
    """An engine that shares compiled graphs with other styles in the process, so that another style costs little."""

    def prepare(self, height: int, width: int) -> None:
        """Compile and load everything that the first frame of a size, in pixels, needs; errors are those of the call.

        If the size is compiled already, engines in other threads do not have to wait.
        """
        ...


@runtime_checkable
class RestylableEngine(SharedGraphEngine, Protocol):
    """An engine whose style may change between two frames, at the cost of copying its weights."""

    def take_style(self, style: StyleModel) -> None:
        """Stylize the next frames in another style with the same graph. The thread that calls the engine calls this.

        Raises:
            StyleError: its weights have other shapes.
            EngineError: the engine is closed.
        """
        ...


@runtime_checkable
class ForkableEngine(SharedGraphEngine, Protocol):
    """An engine that shares its graphs with others, of which one can change its style for each frame."""

    def fork(self) -> RestylableEngine:
        """Return another engine of the same style on the same graphs, which nobody else calls; the caller closes it.

        Any thread may call this. Errors are those of starting an engine.
        """
        ...


class BaseEngine:
    """The part that all engines have in common. Subclasses set ``info``."""

    info: EngineInfo

    def __init__(self, threads: int | None) -> None:
        if threads is not None and threads < 1:
            raise EngineError(f"cannot run on {threads} threads", hint="give 1 or more")


def check_rgb(rgb: object) -> None:
    """Raise ShapeError unless this is an RGB frame within the size limits."""
    if not isinstance(rgb, np.ndarray):
        hint = "give a NumPy array; cv2.imread returns None for a file that it cannot read"
        raise ShapeError(f"expected uint8 (height, width, 3), got {type(rgb).__name__}", hint=hint)
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
        raise ShapeError(f"expected uint8 (height, width, 3), got {rgb.dtype} {rgb.shape}")
    check_size(rgb.shape[0], rgb.shape[1])


def check_size(height: int, width: int) -> None:
    """Raise ShapeError unless a frame size, in pixels, is from ``MIN_SIDE`` to ``MAX_SIZE``."""
    short, long = sorted((height, width))
    if short < MIN_SIDE:
        raise ShapeError(
            f"a frame of {width}×{height} is too small", hint=f"both sides must be at least {MIN_SIDE} pixels"
        )
    if short > MAX_SIZE[0] or long > MAX_SIZE[1]:
        raise ShapeError(
            f"a frame of {width}×{height} is too large",
            hint=f"at most {MAX_SIZE[1]}×{MAX_SIZE[0]}; --height 1080 (in Python: height=1080) makes a video smaller",
        )


def check_strength(strength: float) -> None:
    """Raise ShapeError unless a strength is from 0 to 1."""
    check_share("strength", strength)


def check_colours(colours: float) -> None:
    """Raise ShapeError unless a share of own colours is from 0 to 1."""
    check_share("colours", colours)


def check_share(name: str, value: float) -> None:
    """Raise ShapeError unless a value is from 0 to 1."""
    if not 0.0 <= value <= 1.0:
        raise ShapeError(f"{name} {value} is out of range", hint="give a value from 0 to 1")
