"""Loop source: a clip over and over, in real time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from threading import Event, Lock
from typing import TYPE_CHECKING

from rtstyle.frame import Frame, SourceInfo
from rtstyle.sources.file import FileSource
from rtstyle.sources.pacing import Pace

if TYPE_CHECKING:
    from rtstyle.sound.feed import SoundFeed


class LoopSource:
    """Plays a clip in an endless loop, like a camera that never ends.

    The first picture of a round is decoded while the last one of the previous round is shown, so there is no gap.
    The file is reopened for each round, because not every format can seek.

    Args:
        name: file.
        height: resize to this height, pixels, keeping the proportions; ``None`` keeps the size.
        sound: takes the sound.

    Raises:
        SourceError: no such file, not a video, or nothing in it can be decoded.
    """

    def __init__(self, name: str, *, height: int | None = None, sound: SoundFeed | None = None) -> None:
        self._name, self._height, self.sound = name, height, sound
        self._closed = Event()
        self._lock = Lock()
        self._clip = FileSource(name, height=height, sound=sound)

    @property
    def info(self) -> SourceInfo:
        """Description of the clip, as a live source without an end."""
        return replace(self._clip.info, live=True, frame_count=None)

    def frames(self) -> Iterator[Frame]:
        """Yield frames until closed, with timestamps that continue across rounds. May be called once.

        Raises:
            SourceError: the file was removed or damaged meanwhile.
        """
        pace, time_base = Pace(self._closed, late_s=1.0), self._clip.time_base
        index, begin_s = 0, Fraction(0)
        while True:
            clip, count = self._clip, 0
            for frame in clip.frames():
                at_s = begin_s + (frame.pts - clip.first_pts) * clip.time_base
                if not pace.wait(float(at_s)):
                    return
                pts, captured_s, sound_s = round(at_s / time_base), time.monotonic(), None
                if clip.tap is not None:
                    sound_s = pace.start_s + float(at_s)
                    clip.tap.align(sound_s - float(frame.pts * clip.time_base))
                yield replace(frame, index=index, pts=pts, time_base=time_base, captured_s=captured_s, sound_s=sound_s)
                index, count = index + 1, count + 1
            if not count or not self._rewind():
                return
            begin_s += ((clip.end_pts or clip.first_pts) - clip.first_pts) * clip.time_base

    def close(self) -> None:
        """End ``frames`` and release the file. May be called from any thread, and twice."""
        with self._lock:
            self._closed.set()
            self._clip.close()

    def _rewind(self) -> bool:
        """Reopen the clip for the next round. Return False when closed."""
        if self._closed.is_set():
            return False
        clip = FileSource(self._name, height=self._height, sound=self.sound)
        with self._lock:
            if self._closed.is_set():
                clip.close()
                return False
            self._clip.close()
            self._clip = clip
        return True
