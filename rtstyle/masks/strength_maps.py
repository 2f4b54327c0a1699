"""The strength of each frame: a number, or a map where a mask restricts the style or faces get less of it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from fractions import Fraction
from threading import Thread
from typing import TYPE_CHECKING, Protocol

import cv2
import numpy as np

from engines.base import RGB, StrengthMap
from engines.errors import StylerError
from rtstyle.controls import Controls
from rtstyle.frame import Frame

if TYPE_CHECKING:
    from rtstyle.sources.base import Source

logger = logging.getLogger(__name__)


UNFOUND = {
    "faces": "no face was found to stylize",
    "person": "nobody was found to stylize",
    "background": "nobody was found, so all is background",
}
"""What to say of a clip or picture in which there is nothing of a part."""

NO_FACE_KEPT = "no face was found to take style from"


class Finder(Protocol):
    """Finds something in successive frames."""

    def __call__(self, rgb: RGB) -> StrengthMap:
        """Return 1 where it is and 0 elsewhere, (height, width).

        Raises:
            EngineError: the network failed.
        """
        ...

    def prepare(self, height: int, width: int) -> None:
        """Compile what the first frame of a size, in pixels, needs."""
        ...

    def forget(self) -> None:
        """Let the next frame be the first of others."""
        ...


class StrengthMaps:
    """Returns the strength of one frame after another, as the settings are at that moment.

    What masks need is loaded at once. If somebody chooses a part of the frame while live frames flow, it is loaded in
    another thread, and the frames stay as they were meanwhile.

    Args:
        controls: strength, part of the frame, mask, and share of the style that is taken from faces.
        source: of the frames; ``None`` for single pictures.
        part_of: returns the number of the part of the clip that a frame belongs to. People and faces are followed anew
            in each, so that a part is the same whatever was stylized before it; ``None`` for one part.

    Raises:
        StylerError: the mask cannot be read, or a network cannot be loaded.
    """

    def __init__(
        self, controls: Controls, source: Source | None = None, part_of: Callable[[Frame], int] | None = None
    ) -> None:
        self._controls, self._part_of, self._part = controls, part_of, 0
        live = source is not None and source.info.live
        # A live source has no beginning: the first frame that arrives is the first of the mask.
        self._begin_s = None if live else Fraction(getattr(source, "begin_s", 0))
        self._people = _OnDemand(_load_people, self._only_all, in_background=live)
        self._faces = _OnDemand(_load_faces, self._forget_faces, in_background=live)
        size = (0, 0) if source is None else (source.info.height, source.info.width)
        if controls.only in ("person", "background"):
            self._people.load(*size)
        if controls.only == "faces" or controls.faces:
            self._faces.load(*size)
        self._file = None
        if controls.masks.file is not None:
            from rtstyle.masks.mask_file import MaskFile

            fps = Fraction(0) if source is None else source.info.fps
            self._file = MaskFile(controls.masks.file, loops=live, fps=fps)

    def __call__(self, frame: Frame) -> float | StrengthMap:
        """Return the strength of a frame; the map is as large as the frame, float32.

        Raises:
            StylerError: the mask cannot be read any more.
        """
        time_s = frame.pts * frame.time_base
        if self._begin_s is None:
            self._begin_s = time_s
        if self._part_of is not None and (part := self._part_of(frame)) != self._part:
            self._part = part
            self._forget()
        return self._of(frame.rgb, float(time_s - self._begin_s))

    def of_picture(self, rgb: RGB, time_s: float = 0.0) -> float | StrengthMap:
        """Return the strength of a picture that has nothing to do with the one before, at a time of the mask."""
        self._forget()
        self._people.sought = self._people.found = self._faces.sought = self._faces.found = False
        return self._of(rgb, time_s)

    def unfound(self) -> tuple[str, ...]:
        """Return a line for what was looked for in vain, in all frames or in the picture; nothing for live frames.

        The settings are taken as they are now.
        """
        only, lines = self._controls.only, list[str]()
        if self._people.missing:
            lines += [UNFOUND[only]] if only in UNFOUND else []
        if self._faces.missing:
            lines += [UNFOUND["faces"]] if only == "faces" else []
            lines += [NO_FACE_KEPT] if self._controls.faces and only != "faces" else []
        return tuple(lines)

    def close(self) -> None:
        """Close the mask."""
        if self._file is not None:
            self._file.close()

    def _of(self, rgb: RGB, time_s: float) -> float | StrengthMap:
        strength, kept, masks = self._controls.strength, self._controls.faces, self._controls.masks
        only = self._controls.only
        if strength == 0.0:
            self._forget()  # when the style comes back, the scene may be another
            return strength
        people = self._people(rgb, wanted=only in ("person", "background"))
        faces = self._faces(rgb, wanted=only == "faces" or kept > 0)
        share = self._share(faces if only == "faces" else people, rgb, time_s)
        strengths = None
        if share is not None:
            if masks.feather:
                share = feathered(share, masks.feather)
            inside, outside = strength * masks.inside, strength * masks.outside
            strengths = share * np.float32(inside - outside) + np.float32(outside)
        if kept and faces is not None:
            less = np.float32(1.0) - np.float32(kept) * faces
            strengths = less * (np.float32(strength) if strengths is None else strengths)
        if strengths is None:
            return strength
        return np.clip(strengths, 0.0, 1.0, out=strengths)  # rounding may leave the range by a hair

    def _share(self, found: StrengthMap | None, rgb: RGB, time_s: float) -> StrengthMap | None:
        """Return 1 inside of all masks and 0 outside of one; ``None`` if there is none."""
        share = None if self._file is None else self._file.at(time_s, rgb.shape[0], rgb.shape[1])
        if found is None:
            return share
        if self._controls.only == "background":
            found = np.float32(1.0) - found
        return found if share is None else found * share

    def _forget(self) -> None:
        self._people.forget()
        self._faces.forget()

    def _only_all(self) -> None:
        self._controls.only = "all"

    def _forget_faces(self) -> None:
        self._controls.faces = 0.0
        if self._controls.only == "faces":
            self._only_all()


class _OnDemand:
    """A finder that is loaded when it is wanted, in a thread if frames must not wait for it.

    Args:
        load: returns the finder.
        give_up: takes the wish back when loading has failed in the background.
        in_background: load in a thread.

    Attributes:
        sought: True if it was looked for; not noted in the background.
        found: True if it was found in any frame since.
    """

    def __init__(self, load: Callable[[], Finder], give_up: Callable[[], None], *, in_background: bool) -> None:
        self._load, self._give_up, self._in_background = load, give_up, in_background
        self._finder: Finder | None = None
        self._loader: Thread | None = None
        self.sought = self.found = False

    @property
    def missing(self) -> bool:
        """True if it was looked for, and never found."""
        return self.sought and not self.found

    def __call__(self, rgb: RGB, *, wanted: bool) -> StrengthMap | None:
        """Return what is found in a frame; ``None`` if it is not wanted or not loaded yet."""
        if not wanted:
            self.forget()
            return None
        if self._finder is None and self._loader is None:
            size = rgb.shape[:2]
            if self._in_background:
                self._loader = Thread(target=self._load_later, args=size, name="finder", daemon=True)
                self._loader.start()
            else:
                self.load(*size)
        if self._finder is None:
            return None
        found = self._finder(rgb)
        if not self._in_background and not self.found:
            self.sought, self.found = True, bool(cv2.countNonZero(found))
        return found

    def load(self, height: int, width: int) -> None:
        """Load the finder, and prepare it for a size, in pixels; 0 if it is unknown."""
        finder = self._load()
        if height and width:
            finder.prepare(height, width)
        self._finder = finder

    def forget(self) -> None:
        """Let the next frame be the first of others."""
        if self._finder is not None:
            self._finder.forget()

    def _load_later(self, height: int, width: int) -> None:
        """Load in a thread; a failure must not end the run."""
        try:
            self.load(height, width)
        except StylerError as error:
            logger.warning("%s", error)
            self._give_up()
        self._loader = None


def feathered(share: StrengthMap, pixels: float) -> StrengthMap:
    """Return a mask whose border is ``pixels`` soft on both sides: two box filters, whatever the width."""
    side = 2 * max(1, round(pixels / 2)) + 1
    once = cv2.blur(share, (side, side), borderType=cv2.BORDER_REPLICATE)
    return np.asarray(cv2.blur(once, (side, side), borderType=cv2.BORDER_REPLICATE), np.float32)


def _load_people() -> Finder:
    from rtstyle.masks.person import PersonMask

    return PersonMask()


def _load_faces() -> Finder:
    from rtstyle.masks.faces import FaceMask

    return FaceMask()
