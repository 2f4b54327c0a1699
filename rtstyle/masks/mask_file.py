"""A mask from files: a picture, a clip that runs along with the frames, or numbered pictures, one for each frame."""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np

from engines.base import RGB, StrengthMap
from engines.errors import SourceError
from rtstyle.frame import Frame
from rtstyle.media.container import check_file
from rtstyle.media.image_files import FORMATS, is_moving, read_picture
from rtstyle.media.picture_sequence import PictureSequence
from rtstyle.sources.file import FileSource
from rtstyle.sources.sequence import SequenceSource

UNKNOWN_RATE = Fraction(0)

ASPECT_TOLERANCE = 0.02
"""Relative difference of aspect ratios from which on a mask counts as stretched."""

logger = logging.getLogger(__name__)


class MaskFile:
    """Returns the mask of any time, in the size of the frames. Transparent parts of a picture count as black.

    Args:
        path: a picture or a clip, or pictures, as in ``masks/%06d.png``.
        loops: start a clip again at its end, instead of holding its last picture.
        fps: frames per second, which are those of numbered pictures too; 0 for 25.

    Raises:
        SourceError: there is no such file, or it cannot be read.
    """

    def __init__(self, path: Path, *, loops: bool = False, fps: Fraction = UNKNOWN_RATE) -> None:
        self._path, pictures = path, PictureSequence.parse(str(path))
        if pictures is None:
            check_file(path)
        still = pictures is None and path.suffix.lower() in FORMATS and not is_moving(path)
        self._clip = None if still else _Clip(path, pictures, fps or None, loops=loops)
        self._grey = _read_still(path) if still else None
        self._fitted: StrengthMap | None = None
        self._rate = fps if pictures is not None else UNKNOWN_RATE
        self._told = False

    def at(self, time_s: float, height: int, width: int) -> StrengthMap:
        """Return the mask of a time, (height, width), 1 where it is white. It must not be changed.

        Args:
            time_s: seconds from the beginning of the frames; going back costs decoding from the beginning.
            height: of the frame, pixels.
            width: likewise.

        Raises:
            SourceError: the clip cannot be read any more.
        """
        grey = self._grey
        if self._clip is not None:
            self._tell_rate(time_s)
            grey = self._clip.at(time_s)
        assert grey is not None
        if grey is not self._grey or self._fitted is None or self._fitted.shape != (height, width):
            self._tell_aspect(grey, height, width)
            self._grey, self._fitted = grey, _fitted(grey, height, width)
        return self._fitted

    def close(self) -> None:
        """Close the clip."""
        if self._clip is not None:
            self._clip.close()

    def _tell_rate(self, time_s: float) -> None:
        place = time_s * float(self._rate)
        if abs(place - round(place)) > _OFF_BEAT:
            self._rate = UNKNOWN_RATE
            text = "frames come at a varying rate, which the pictures %s do not follow; a clip as the mask would"
            logger.warning(text, self._path)

    def _tell_aspect(self, grey: Any, height: int, width: int) -> None:
        mask_height, mask_width = grey.shape
        stretch = (mask_width * height) / (mask_height * width)
        if not self._told and abs(stretch - 1.0) > ASPECT_TOLERANCE:
            self._told = True
            sizes = f"{mask_width}×{mask_height}", f"{width}×{height}"
            logger.warning("the mask %s is %s and is stretched to %s", self._path, *sizes)


class _Clip:
    """A clip of masks, read forwards; it is opened again to go back."""

    def __init__(self, path: Path, pictures: PictureSequence | None, fps: Fraction | None, *, loops: bool) -> None:
        self._path, self._pictures, self._fps, self._loops = path, pictures, fps, loops
        self._length_s: float | None = None
        self._next: Frame | None
        self._source, self._frames, self._next = self._open()
        self._now_s, self._grey = 0.0, _luminance(self._next.rgb)

    def at(self, time_s: float) -> Any:
        """Return the picture of a time as luminance, (h, w), uint8."""
        at_s = time_s % self._length_s if self._loops and self._length_s else time_s
        if at_s < self._now_s and self._now_s > 0.0:
            self.close()
            self._source, self._frames, self._next = self._open()
            self._now_s, self._grey = 0.0, _luminance(self._next.rgb)
        while self._next is not None and self._time_s(self._next) <= at_s + _EARLY_S:
            self._now_s, self._grey = self._time_s(self._next), _luminance(self._next.rgb)
            self._next = next(self._frames, None)
            if self._next is None and self._length_s is None:
                self._length_s = self._end_s()
                if self._loops and at_s >= self._length_s > 0.0:
                    return self.at(time_s)
        return self._grey

    def close(self) -> None:
        self._source.close()
        self._frames.close()

    def _open(self) -> tuple[FileSource | SequenceSource, Generator[Frame], Frame]:
        """Open the clip; return also its frames, and the first of them."""
        source: FileSource | SequenceSource
        if self._pictures is None:
            source = FileSource(str(self._path))
        else:
            source = SequenceSource(self._pictures, fps=self._fps)
        frames = cast("Generator[Frame]", source.frames())
        first = next(frames, None)
        if first is None:
            source.close()
            raise SourceError(f"no picture in {self._path} can be decoded", hint="give another mask")
        return source, frames, first

    def _time_s(self, frame: Frame) -> float:
        first_pts = self._source.first_pts if isinstance(self._source, FileSource) else 0
        return float((frame.pts - first_pts) * frame.time_base)

    def _end_s(self) -> float:
        if isinstance(self._source, SequenceSource):
            return float(self._source.end_pts / self._source.info.fps)
        end = self._source.end_pts or self._source.first_pts
        return float((end - self._source.first_pts) * self._source.time_base)


_OFF_BEAT = 0.25
"""Distance of a frame from its place at a constant rate, as a share of a frame, that containers do not round to."""

_EARLY_S = 0.002
"""How much earlier than its time a picture of a clip may be shown, seconds: containers round times to 1 ms."""


def check_mask(path: Path) -> None:
    """Raise SourceError unless a file can be read as a mask."""
    with closing(MaskFile(path)):
        pass


def _read_still(path: Path) -> Any:
    rgb, alpha = read_picture(path)
    grey = _luminance(rgb)
    # The picture lies on white, which would count as the mask.
    return grey if alpha is None else cv2.min(grey, alpha)


def _luminance(rgb: RGB) -> Any:
    return cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)


def _fitted(grey: Any, height: int, width: int) -> StrengthMap:
    fewer = height * width < grey.shape[0] * grey.shape[1]
    resized = cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA if fewer else cv2.INTER_LINEAR)
    return np.asarray(resized * np.float32(1 / 255), np.float32)
