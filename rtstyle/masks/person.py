"""Where the people in a frame are: a small network, steadied over time and brought to the edges of the frame.

The network is sure of most pixels. Where it is not, it wavers from frame to frame, above all on still things: there
the mask is averaged over time. Where the picture itself changes, the newest mask counts, so that it does not lag behind
a hand. Both are decided pixel by pixel: nothing depends on the frame as a whole, so nothing pumps.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from engines.base import RGB, StrengthMap
from engines.vision.person_network import PersonNetwork, Probability, size_for
from rtstyle.stroke_scale import guided_resize

SURE = (0.35, 0.75)
"""Probabilities that count as no person and as a person; between them the mask is partly transparent."""

STILL, MOVING = 2.0, 8.0
"""Change of luminance from frame to frame, of 255, averaged over ``NEIGHBOURHOOD``, up to which a place counts as still
and from which on it counts as moving. The noise of a webcam stays below."""

CALM = 0.12
"""Share of the newest mask in still places."""

NEWS, HASTE = 0.15, 0.2
"""Change of probability that raises this share, and to how much: somebody may leave unseen, before a wall of the same
brightness."""

NEIGHBOURHOOD = (5, 5)
"""Size of the square over which changes are averaged, pixels of the network."""

_SHARES = np.clip((np.arange(256, dtype=np.float32) / 255.0 - SURE[0]) / (SURE[1] - SURE[0]), 0.0, 1.0)
"""Mask of each probability, of 255."""


class PersonMask:
    """Follows the people in successive frames of a clip or camera."""

    def __init__(self, network: PersonNetwork | None = None) -> None:
        self._network = network or PersonNetwork()
        self._last: Probability | None = None
        self._grey: npt.NDArray[np.uint8] | None = None

    def __call__(self, rgb: RGB) -> StrengthMap:
        """Return 1 for pixels of people and 0 elsewhere, (height, width), with soft borders.

        Raises:
            EngineError: the network failed.
        """
        size = size_for(rgb.shape[0], rgb.shape[1])
        resized = _reduced(rgb, size)
        steady = self._steadied(self._network(resized), resized)
        eight_bits = np.asarray(cv2.convertScaleAbs(steady, alpha=255.0), np.uint8)
        full = guided_resize(eight_bits, resized, rgb)
        return np.asarray(cv2.LUT(full, _SHARES), np.float32)

    def prepare(self, height: int, width: int) -> None:
        """Compile what the first frame of a size, in pixels, needs."""
        self._network.prepare(height, width)

    def forget(self) -> None:
        """Let the next frame be the first of others."""
        self._last = self._grey = None

    def _steadied(self, found: Probability, resized: RGB) -> Probability:
        grey = np.asarray(cv2.cvtColor(resized, cv2.COLOR_RGB2GRAY), np.uint8)
        last, before = self._last, self._grey
        if last is not None and before is not None and last.shape == found.shape:
            motion = cv2.boxFilter(cv2.absdiff(grey, before), cv2.CV_32F, NEIGHBOURHOOD)
            news = cv2.blur(cv2.absdiff(found, last), NEIGHBOURHOOD)
            share = np.maximum((motion - STILL) / (MOVING - STILL), np.minimum(news / NEWS, 1.0) * HASTE)
            found = last + (found - last) * np.clip(share, CALM, 1.0).astype(np.float32)
        self._last, self._grey = found, grey
        return found


def _reduced(rgb: RGB, size: tuple[int, int]) -> RGB:
    """Resize a frame to (height, width), averaging blocks of pixels first: three times as fast as in one step."""
    height, width = rgb.shape[:2]
    block = 1
    while 2 * block * size[0] <= height and 2 * block * size[1] <= width:
        block *= 2
    if block > 1:
        rgb = np.asarray(cv2.resize(rgb, (width // block, height // block), interpolation=cv2.INTER_AREA), np.uint8)
    return np.asarray(cv2.resize(rgb, size[::-1], interpolation=cv2.INTER_LINEAR), np.uint8)
