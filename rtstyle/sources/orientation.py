"""Turns pictures upright: phones record sideways and store the rotation as metadata."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt
from av import VideoFrame
from av.sidedata.sidedata import SideDataContainer, Type


def _unlisted(cls: type[Type], number: int) -> Type:
    """Return a member for side data that FFmpeg knows and PyAV does not list, such as EXIF."""
    member = object.__new__(cls)
    member._name_ = f"UNLISTED_{number}"
    member._value_ = number  # type: ignore[assignment]
    return member


# Without it, one unlisted entry makes all side data of a frame unreadable.
Type._missing_ = classmethod(_unlisted)  # type: ignore[method-assign, assignment]


@dataclass(frozen=True)
class Orientation:
    """Operations that turn a stored picture upright, in this order.

    Attributes:
        transpose: swap rows and columns.
        flip_x: swap left and right.
        flip_y: swap top and bottom.
    """

    transpose: bool = False
    flip_x: bool = False
    flip_y: bool = False

    @classmethod
    def of(cls, frame: VideoFrame) -> Orientation:
        """Read the display matrix, rounded to one of the eight orientations.

        Source:
            FFmpeg's display.h: the 3×3 matrix maps (x, y) to (a·x + c·y, b·x + d·y).
        """
        try:
            data = cast("SideDataContainer", frame.side_data)[Type.DISPLAYMATRIX]
        except KeyError:
            return cls()
        a, b, _, c, d = np.frombuffer(bytes(data), np.int32)[:5].astype(np.int64)
        if abs(b) + abs(c) > abs(a) + abs(d):
            return cls(True, bool(c < 0), bool(b < 0))
        return cls(False, bool(a < 0), bool(d < 0))

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Return the (height, width) of the upright picture. The operation is its own inverse."""
        return (width, height) if self.transpose else (height, width)

    def apply(self, rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Turn a picture upright: (H, W, 3) → (H, W, 3) or (W, H, 3), contiguous. Opacity, (H, W), in the same way."""
        if self == Orientation():
            return rgb
        import cv2  # five times as fast as NumPy; most clips need neither

        if self.transpose:
            rgb = np.asarray(cv2.transpose(rgb), np.uint8)
        if self.flip_x or self.flip_y:
            code = -1 if self.flip_x and self.flip_y else int(self.flip_x)
            rgb = np.asarray(cv2.flip(rgb, code), np.uint8)
        return rgb
