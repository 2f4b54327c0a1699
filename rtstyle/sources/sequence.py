"""Picture sequence source: numbered picture files as the frames of a film."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from threading import Event

import numpy as np
from PIL import Image

from engines.base import RGB
from engines.errors import SourceError
from engines.os_errors import advice, reason
from rtstyle.frame import Alpha, Frame, SourceInfo
from rtstyle.media.picture_decoder import decode
from rtstyle.media.picture_sequence import PictureSequence
from rtstyle.media.resize import letterbox, resized, size_for_height
from rtstyle.media.transparency import continue_colours, on_black
from rtstyle.sources.timestamps import FALLBACK_FPS, exact_seconds

_FARTHEST = 100_000
"""Largest distance of two numbers that follow each other, an hour of film: a larger one is a date or the like."""

_NAMED = 3
"""How many files a warning names."""


class SequenceSource:
    """Reads numbered pictures, upright, as sRGB with 8 bits; the number of each is its place in time.

    A number that is missing, or whose file cannot be read, leaves a gap: the picture before it stays longer, and all
    others keep their times. Pictures of another size than the first are fitted into its size, with bars.

    Args:
        pictures: which files.
        fps: pictures per second; ``None`` for 25.
        height: resize to this height, pixels, keeping the proportions; ``None`` keeps the size.
        start, end: seconds after the first picture; those in [start, end) are delivered.
        keep_alpha: deliver transparency in ``Frame.alpha``; otherwise it is shown on black.

    Attributes:
        frames_lost: pictures that could not be read.
        warnings: one line each, complete after the end.
        transparent: whether frames have ``alpha``; as the first picture that can be read.
        numbers: of the files to deliver, in order.
        first_number: of the file whose time is 0.

    Raises:
        SourceError: there are no such files, or none of them can be read.
    """

    def __init__(
        self,
        pictures: PictureSequence,
        *,
        fps: Fraction | None = None,
        height: int | None = None,
        start: float | None = None,
        end: float | None = None,
        keep_alpha: bool = False,
    ) -> None:
        self.warnings: list[str] = []
        self._pictures = pictures
        self.transparent = self._on_black = False
        self._broken: list[str] = []
        self._fitted = self._skipped = 0
        self._closed = Event()
        fps = fps or FALLBACK_FPS
        self._time_base = 1 / fps
        numbers = _existing(pictures)
        self.first_number = numbers[0]
        self.numbers = self._within(numbers, exact_seconds(start), exact_seconds(end))
        self.warnings += _gaps(pictures, self.numbers)
        path, rgb = self._first_picture()
        with Image.open(path) as first:
            self.transparent = keep_alpha and first.has_transparency_data
        self._on_black = False
        height, width = size_for_height(rgb.shape[0], rgb.shape[1], height)
        self._size = (width, height)
        name = pictures.path(self.numbers[0]).name
        self._info = SourceInfo(f"{name} …", width, height, fps, len(self.numbers), live=False)

    @property
    def info(self) -> SourceInfo:
        """What the source delivers."""
        return self._info

    @property
    def frames_lost(self) -> int:
        """Number of pictures that could not be read so far."""
        return len(self._broken)

    @property
    def end_pts(self) -> int:
        """Time at which the last picture ends, in units of every frame's ``time_base``."""
        return self.numbers[-1] - self.first_number + 1

    def skip_first(self, count: int) -> None:
        """Leave out the first ``count`` of ``numbers``; call it before ``frames``."""
        self._skipped = count

    def frames(self) -> Iterator[Frame]:
        """Yield the pictures that can be read, in order."""
        self._broken.clear()
        for index, number in enumerate(self.numbers[self._skipped :], start=self._skipped):
            if self._closed.is_set():
                return
            captured_s = time.monotonic()
            try:
                rgb, alpha = self._read(self._pictures.path(number))
            except SourceError:
                self._broken.append(self._pictures.path(number).name)
                continue
            rgb, alpha = self._sized(rgb, alpha)
            yield Frame(rgb, index, number - self.first_number, self._time_base, captured_s, alpha=alpha)
        self._report()

    def close(self) -> None:
        """End ``frames``. May be called from any thread, and twice."""
        self._closed.set()

    def _within(self, numbers: Sequence[int], start: Fraction | None, end: Fraction | None) -> list[int]:
        def seconds(number: int) -> Fraction:
            return (number - self.first_number) * self._time_base

        found = [n for n in numbers if (start or 0) <= seconds(n) and (end is None or seconds(n) < end)]
        if not found:
            problem = f"the last picture is at {float(seconds(numbers[-1])):g} s"
            raise SourceError(problem, hint="choose an earlier start, or a lower --fps (in Python: fps)")
        return found

    def _first_picture(self) -> tuple[Path, RGB]:
        """Return the first picture that can be read: it fixes the size, and whether there is transparency."""
        cause: SourceError | None = None
        for number in self.numbers:
            path = self._pictures.path(number)
            try:
                return path, self._read(path)[0]
            except SourceError as error:
                cause = cause or error
        assert cause is not None, "there is at least one number"
        raise cause

    def _read(self, path: Path) -> tuple[RGB, Alpha | None]:
        if not path.is_file():  # a pipe would be waited for
            raise SourceError(f"{path} is not a file")
        try:
            data = path.read_bytes()
        except OSError as error:
            raise SourceError(f"cannot read {path}: {reason(error)}", hint=advice(error)) from error
        rgb, alpha = decode(path, data)
        if self.transparent:
            alpha = np.full(rgb.shape[:2], 255, np.uint8) if alpha is None else alpha
            return continue_colours(rgb, alpha), alpha
        if alpha is None:
            return rgb, None
        self._on_black = True
        return on_black(rgb, alpha), None

    def _sized(self, rgb: RGB, alpha: Alpha | None) -> tuple[RGB, Alpha | None]:
        width, height = self._size
        other_shape = abs(rgb.shape[1] * height / rgb.shape[0] - width) > 1.0
        self._fitted += other_shape
        sized = letterbox if other_shape else resized
        return sized(rgb, self._size), None if alpha is None else sized(alpha, self._size)

    def _report(self) -> None:
        if self._broken:
            self.warnings.append(f"pictures that cannot be read: {_some(self._broken)}; the one before stays longer")
        if self._fitted:
            width, height = self._size
            fitted = f"fitted into {width}×{height} with bars"
            self.warnings.append(f"pictures of another shape: {self._fitted}; {fitted}")
        if self._on_black:
            self.warnings.append("transparent parts are shown on black")


def _existing(pictures: PictureSequence) -> list[int]:
    if pictures.suffix == ".exr":
        raise SourceError("OpenEXR pictures cannot be read", hint="convert them to PNG or TIFF first")
    numbers = pictures.numbers()
    if not numbers:
        example = pictures.path(1)
        raise SourceError(f"no picture is named like {example}", hint="check the folder, and the digits in %06d")
    return numbers


def _gaps(pictures: PictureSequence, numbers: Sequence[int]) -> list[str]:
    """Return a warning if numbers are missing; raises SourceError if they cannot be of one film."""
    for before, after in pairwise(numbers):
        if after - before > _FARTHEST:
            problem = f"the pictures jump from {pictures.path(before).name} to {pictures.path(after).name}"
            raise SourceError(
                problem, hint="move what does not belong to them elsewhere, or give --end (in Python: end)"
            )
    missing = numbers[-1] - numbers[0] + 1 - len(numbers)
    if not missing:
        return []
    first = next(a for a, b in pairwise(numbers) if b > a + 1) + 1
    return [f"pictures missing: {missing}, first {pictures.path(first).name}; the one before a gap stays longer"]


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{len(names)} ({', '.join(names[:_NAMED])}{more})"
