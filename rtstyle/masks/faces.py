"""Where the faces in a frame are: ovals with soft borders, which follow the faces without jumping."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np

from engines.base import RGB, StrengthMap
from engines.vision.face_network import SIDE, Face, FaceNetwork

WIDTH, HEIGHT = 0.42, 0.55
"""Half axes of the oval in which all is face, as shares of the side of the detected box."""

RAISED = 0.02
"""The oval's centre lies above that of the box: the forehead belongs to the face."""

SOFT = 0.4
"""How much larger the half axes are where the border ends."""

STEADY, MOVING = 0.01, 0.08
"""Change of place or size from frame to frame, as a share of the face's side, up to which it is a tremble of the
detection, and from which on the face has moved."""

CALM = 0.25
"""Share of the newest place in that of a face that trembles."""

RISE, FALL = 0.2, 0.1
"""How fast a face appears and vanishes, per frame."""

HOLD = 5
"""Frames for which a face stays that is not found any more: a hand passes, or somebody turns."""

NEAR = 0.6
"""Distance of a face from where it was, as a share of its side, up to which it is the same."""


@dataclass(frozen=True)
class _Track:
    """A face that is followed.

    Attributes:
        face: its steadied place.
        presence: 0 … 1.
        missed: frames since it was found.
    """

    face: Face
    presence: float
    missed: int = 0


class FaceMask:
    """Follows the faces in successive frames of a clip or camera."""

    def __init__(self, network: FaceNetwork | None = None) -> None:
        self._network = network or FaceNetwork()
        self._tracks: list[_Track] = []
        self._first = True

    def __call__(self, rgb: RGB) -> StrengthMap:
        """Return 1 for pixels of faces and 0 elsewhere, (height, width), with soft borders.

        Raises:
            EngineError: the network failed.
        """
        self._follow(self._network(squared(rgb)))
        height, width = rgb.shape[:2]
        mask = np.zeros((height, width), np.float32)
        for track in self._tracks:
            _add_oval(mask, track.face, track.presence)
        return mask

    def prepare(self, height: int, width: int) -> None:  # noqa: ARG002  # all frames go into the same square
        """Compile what the first frame of any size needs."""
        self._network.prepare()

    def forget(self) -> None:
        """Let the next frame be the first of others: its faces are there at once."""
        self._tracks, self._first = [], True

    def _follow(self, found: list[Face]) -> None:
        left = list(found)
        tracks = []
        for track in self._tracks:
            same = min(left, key=lambda face: _distance(track.face, face), default=None)
            if same is not None and _distance(track.face, same) < NEAR:
                left.remove(same)
                tracks.append(_Track(_steadied(track.face, same), min(1.0, track.presence + RISE)))
            elif track.missed < HOLD:
                tracks.append(replace(track, missed=track.missed + 1))
            elif track.presence > FALL:
                tracks.append(replace(track, presence=track.presence - FALL))
        tracks += [_Track(face, 1.0 if self._first else RISE) for face in left]
        self._tracks, self._first = tracks, False


def squared(rgb: RGB) -> RGB:
    """Fit a frame into the network's square, with black bars."""
    height, width = rgb.shape[:2]
    scale = SIDE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    square = np.zeros((SIDE, SIDE, 3), np.uint8)
    top, left = (SIDE - size[1]) // 2, (SIDE - size[0]) // 2
    square[top : top + size[1], left : left + size[0]] = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    return square


def _side(face: Face) -> float:
    return max(face.width, face.height)


def _distance(before: Face, now: Face) -> float:
    """Distance of two faces, as a share of their side; a change of size counts like one of place."""
    apart = math.hypot(now.x - before.x, now.y - before.y) + abs(_side(now) - _side(before))
    return apart / max(_side(before), _side(now))


def _steadied(before: Face, now: Face) -> Face:
    """Return the newest place if the face moves, and an average if only the detection trembles."""
    share = min(1.0, max(CALM, (_distance(before, now) - STEADY) / (MOVING - STEADY)))
    turn = math.remainder(now.roll - before.roll, math.tau)
    values = {name: (1 - share) * getattr(before, name) + share * getattr(now, name) for name in _PLACE}
    return replace(now, **values, roll=before.roll + share * turn)


_PLACE = ("x", "y", "width", "height")


def _add_oval(mask: StrengthMap, face: Face, presence: float) -> None:
    """Raise a mask to the presence of a face within its oval; the border falls smoothly to 0."""
    height, width = mask.shape
    unit = max(height, width)
    side = _side(face) * unit
    # From the square that the network saw to the frame.
    x = face.x * unit - (unit - width) / 2 + RAISED * side * math.sin(face.roll)
    y = face.y * unit - (unit - height) / 2 - RAISED * side * math.cos(face.roll)
    reach = side * max(WIDTH, HEIGHT) * (1 + SOFT) + 1
    left, right = max(0, math.floor(x - reach)), min(width, math.ceil(x + reach))
    top, bottom = max(0, math.floor(y - reach)), min(height, math.ceil(y + reach))
    if left >= right or top >= bottom:
        return
    across = np.arange(left, right, dtype=np.float32)[None] - np.float32(x)
    down = np.arange(top, bottom, dtype=np.float32)[:, None] - np.float32(y)
    cos, sin = math.cos(face.roll), math.sin(face.roll)
    radius = np.hypot((across * cos + down * sin) / (WIDTH * side), (down * cos - across * sin) / (HEIGHT * side))
    inner = np.clip((1 + SOFT - radius) / SOFT, 0.0, 1.0)
    oval = inner * inner * (3 - 2 * inner) * np.float32(presence)
    part = mask[top:bottom, left:right]
    np.maximum(part, oval, out=part)
