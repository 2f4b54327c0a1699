"""A clip over and over, at the pace of the clock."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from threading import Event, Lock

from rtstyle.frame import Frame
from rtstyle.sources.base import SourceInfo
from rtstyle.sources.file import FileSource
from rtstyle.sources.pacing import Pace


class LoopSource:
    """A clip as a camera that never ends: after its last picture comes its first, one picture later.

    The first picture of a round is decoded while the last one of the round before is shown, so that there is no gap.
    The file is opened anew each time, because not every kind of file can be searched.

    Args:
        name: file.
        height: resize to so many pixels, keeping the proportions; ``None`` keeps the size.

    Raises:
        SourceError: no such file, not a video, or nothing in it can be decoded.
    """

    def __init__(self, name: str, *, height: int | None = None) -> None:
        self._name, self._height = name, height
        self._closed = Event()
        self._lock = Lock()
        self._clip = FileSource(name, height=height)

    @property
    def info(self) -> SourceInfo:
        """Live, and without an end."""
        return replace(self._clip.info, live=True, frame_count=None)

    def frames(self) -> Iterator[Frame]:
        """Yield frames until closed; their times go on from round to round. May be called once.

        Raises:
            SourceError: the file was taken away or damaged meanwhile.
        """
        pace, time_base = Pace(self._closed, late_s=1.0), self._clip.time_base
        index, begin_s = 0, Fraction(0)
        while True:
            clip, count = self._clip, 0
            for frame in clip.frames():
                at_s = begin_s + (frame.pts - clip.first_pts) * clip.time_base
                if not pace.wait(float(at_s)):
                    return
                pts = round(at_s / time_base)
                yield replace(frame, index=index, pts=pts, time_base=time_base, captured_s=time.monotonic())
                index, count = index + 1, count + 1
            if not count or not self._begin_again():
                return
            begin_s += ((clip.end_pts or clip.first_pts) - clip.first_pts) * clip.time_base

    def close(self) -> None:
        """End ``frames``, also from another thread, and release the file. Twice is fine."""
        with self._lock:
            self._closed.set()
            self._clip.close()

    def _begin_again(self) -> bool:
        """Open the clip for the next round. Returns: False when closed."""
        if self._closed.is_set():
            return False
        clip = FileSource(self._name, height=self._height)
        with self._lock:
            if self._closed.is_set():
                clip.close()
                return False
            self._clip.close()
            self._clip = clip
        return True
