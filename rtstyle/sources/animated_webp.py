"""Animated WebP source: FFmpeg cannot decode such files, Pillow can."""

from __future__ import annotations

import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from threading import Event
from typing import Any, cast

import numpy as np
from PIL import Image

from engines.errors import SourceError
from rtstyle.frame import Frame, SourceInfo
from rtstyle.media.resize import resized, size_for_height
from rtstyle.media.transparency import continue_colours, on_black
from rtstyle.sources.timestamps import exact_seconds

_UNIT_S = Fraction(1, 1000)
"""WebP counts milliseconds."""

_SHORTEST_MS, _STANDARD_MS = 11, 100
"""What is shown for less than 11 ms is shown for 100 ms, as in browsers."""


class AnimatedWebpSource:
    """Reads the composed pictures of an animated WebP with their own times.

    Args:
        path: file.
        height: resize to this height, pixels, keeping the proportions; ``None`` keeps the size.
        start, end: seconds; pictures in [start, end) are delivered.
        keep_alpha: deliver transparency in ``Frame.alpha``; otherwise it is shown on black.

    Attributes:
        transparent: whether frames have ``alpha``.
        frames_lost: pictures that could not be decoded.
        warnings: one line each, complete after the end.
        end_pts: when the last picture so far ends, in units of every frame's ``time_base``.

    Raises:
        SourceError: it is damaged.
    """

    def __init__(
        self,
        path: Path,
        *,
        height: int | None = None,
        start: float | None = None,
        end: float | None = None,
        keep_alpha: bool = False,
    ) -> None:
        self.warnings: list[str] = []
        self.frames_lost, self.end_pts = 0, 0
        self._start, self._end = exact_seconds(start) or Fraction(0), exact_seconds(end)
        self._closed = Event()
        self._on_black = False
        try:
            self._animation: Any = cast("Any", Image.open(path, formats=("WEBP",)))
            self._animation.load()
        except (OSError, SyntaxError, ValueError) as error:
            raise SourceError(f"{path} is damaged or incomplete", hint="copy it again") from error
        self._count = int(self._animation.n_frames)
        self._has_alpha = self._animation.mode == "RGBA"
        self.transparent = keep_alpha and self._has_alpha
        size = size_for_height(self._animation.height, self._animation.width, height)
        self._size = (size[1], size[0])
        fps = Fraction(1000, self._duration()).limit_denominator(1001)
        self._info = SourceInfo(path.name, *self._size, fps, self._count, live=False)

    @property
    def info(self) -> SourceInfo:
        """What the source delivers."""
        return self._info

    def frames(self) -> Iterator[Frame]:
        """Yield the pictures in order until the end, or until one is damaged."""
        pts, index = 0, 0
        for number in range(self._count):
            if self._closed.is_set() or (self._end is not None and pts * _UNIT_S >= self._end):
                break
            captured_s = time.monotonic()
            try:
                self._animation.seek(number)
                picture = np.array(self._animation.convert("RGBA" if self._has_alpha else "RGB"))
            except (OSError, EOFError, SyntaxError, ValueError):
                self.frames_lost = self._count - number
                self.warnings.append(f"frames lost: {self.frames_lost}; the animation is damaged or cut off")
                break
            self.end_pts = pts + self._duration()
            if pts * _UNIT_S >= self._start:
                yield self._frame(picture, index, pts, captured_s)
                index += 1
            pts = self.end_pts
        if self._on_black:
            self.warnings.append("transparent parts are shown on black")

    def close(self) -> None:
        """End ``frames``. May be called from any thread, and twice."""
        self._closed.set()

    def _frame(self, picture: Any, index: int, pts: int, captured_s: float) -> Frame:
        rgb, alpha = np.ascontiguousarray(picture[..., :3]), None
        if self.transparent:
            alpha = np.ascontiguousarray(picture[..., 3])
            rgb, alpha = continue_colours(rgb, alpha), resized(alpha, self._size)
        elif self._has_alpha and picture[..., 3].min() < 255:
            self._on_black = True
            rgb = on_black(rgb, picture[..., 3])
        return Frame(resized(rgb, self._size), index, pts, _UNIT_S, captured_s, alpha=alpha)

    def _duration(self) -> int:
        """Return how long the current picture is shown, in units of ``time_base``."""
        duration = round(self._animation.info.get("duration", 0))
        return duration if duration >= _SHORTEST_MS else _STANDARD_MS


def is_animated_webp(path: Path) -> bool:
    """Return True for an animated WebP, False for everything else, and for what cannot be read."""
    try:
        with path.open("rb") as file:
            begin = file.read(21)
    except OSError:
        return False
    # The extended header has a flag for animations.
    return len(begin) == 21 and begin[:4] == b"RIFF" and begin[8:16] == b"WEBPVP8X" and bool(begin[20] & 0x02)
