"""The strength of each frame: a number, or a map where a mask restricts the style."""

from __future__ import annotations

import logging
from fractions import Fraction
from threading import Thread
from typing import TYPE_CHECKING

import cv2
import numpy as np

from engines.base import RGB, StrengthMap
from engines.errors import StylerError
from rtstyle.controls import Controls
from rtstyle.frame import Frame

if TYPE_CHECKING:
    from rtstyle.masks.person import PersonMask
    from rtstyle.sources.base import Source

logger = logging.getLogger(__name__)


class StrengthMaps:
    """Returns the strength of one frame after another, as the settings are at that moment.

    What masks need is loaded at once. If somebody chooses a part of the frame while live frames flow, it is loaded in
    another thread, and the frames stay as they were meanwhile.

    Args:
        controls: strength, part of the frame, and mask.
        source: of the frames; ``None`` for single pictures.

    Raises:
        StylerError: the mask cannot be read, or the network that finds people cannot be loaded.
    """

    def __init__(self, controls: Controls, source: Source | None = None) -> None:
        self._controls = controls
        self._live = source is not None and source.info.live
        # A live source has no beginning: the first frame that arrives is the first of the mask.
        self._begin_s = None if self._live else Fraction(getattr(source, "begin_s", 0))
        self._people = _load_people(source) if controls.only != "all" else None
        self._loader: Thread | None = None
        self._file = None
        if controls.masks.file is not None:
            from rtstyle.masks.mask_file import MaskFile

            self._file = MaskFile(controls.masks.file, loops=self._live)

    def __call__(self, frame: Frame) -> float | StrengthMap:
        """Return the strength of a frame; the map is as large as the frame, float32.

        Raises:
            StylerError: the mask cannot be read any more.
        """
        time_s = frame.pts * frame.time_base
        if self._begin_s is None:
            self._begin_s = time_s
        return self._of(frame.rgb, float(time_s - self._begin_s))

    def of_picture(self, rgb: RGB, time_s: float = 0.0) -> float | StrengthMap:
        """Return the strength of a picture that has nothing to do with the one before, at a time of the mask."""
        if self._people is not None:
            self._people.forget()
        return self._of(rgb, time_s)

    def close(self) -> None:
        """Close the mask."""
        if self._file is not None:
            self._file.close()

    def _of(self, rgb: RGB, time_s: float) -> float | StrengthMap:
        strength, masks = self._controls.strength, self._controls.masks
        share = self._share(rgb, time_s)
        if share is None or strength == 0.0:
            return strength
        if masks.feather:
            share = feathered(share, masks.feather)
        inside, outside = strength * masks.inside, strength * masks.outside
        strengths = share * np.float32(inside - outside) + np.float32(outside)
        return np.clip(strengths, 0.0, 1.0, out=strengths)  # rounding may leave the range by a hair

    def _share(self, rgb: RGB, time_s: float) -> StrengthMap | None:
        """Return 1 inside of all masks and 0 outside of one; ``None`` if there is none."""
        only = self._controls.only
        share = None if self._file is None else self._file.at(time_s, rgb.shape[0], rgb.shape[1])
        people = self._people_for(only, rgb)
        if people is None:
            return share
        found = people(rgb)
        if only == "background":
            found = np.float32(1.0) - found
        return found if share is None else found * share

    def _people_for(self, only: str, rgb: RGB) -> PersonMask | None:
        """Return what finds people if that is asked for and ready."""
        if only == "all":
            if self._people is not None:
                self._people.forget()
            return None
        if self._people is None and self._loader is None:
            if not self._live:
                self._people = _load_people()
            else:
                size = rgb.shape[:2]
                self._loader = Thread(target=self._load, args=size, name="people", daemon=True)
                self._loader.start()
        return self._people

    def _load(self, height: int, width: int) -> None:
        """Load what finds people, in a thread; a failure must not end the run."""
        try:
            people = _load_people()
            people.prepare(height, width)
        except StylerError as error:
            logger.warning("%s", error)
            self._controls.only = "all"
        else:
            self._people = people
        self._loader = None


def feathered(share: StrengthMap, pixels: float) -> StrengthMap:
    """Return a mask whose border is ``pixels`` soft on both sides: two box filters, whatever the width."""
    side = 2 * max(1, round(pixels / 2)) + 1
    once = cv2.blur(share, (side, side), borderType=cv2.BORDER_REPLICATE)
    return np.asarray(cv2.blur(once, (side, side), borderType=cv2.BORDER_REPLICATE), np.float32)


def _load_people(source: Source | None = None) -> PersonMask:
    """Return what finds people, prepared for the frames of a source if their size is known."""
    from rtstyle.masks.person import PersonMask

    people = PersonMask()
    if source is not None and source.info.height and source.info.width:
        people.prepare(source.info.height, source.info.width)
    return people
