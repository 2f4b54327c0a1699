"""Frames from a video file or a stream."""

from __future__ import annotations

import time
from collections.abc import Iterator
from fractions import Fraction
from threading import Event, Lock

import av

from engines.errors import SourceError
from rtstyle.frame import Frame
from rtstyle.media.colour import ColourTags, RgbReader, hdr_name
from rtstyle.media.network import STORED
from rtstyle.media.urls import is_url
from rtstyle.sources.base import SourceInfo
from rtstyle.sources.decoder import Decoder
from rtstyle.sources.orientation import Orientation
from rtstyle.sources.pacing import Pace
from rtstyle.sources.timestamps import Timeline, nominal_fps

_TS_DISCONT = 0x0200
"""FFmpeg's AVFMT_TS_DISCONT: timestamps of this kind of file may jump and begin anywhere."""


_SHORT_S = 1.0
"""A clip that ends this much before the length it states has not come to its end, seconds."""


class FileSource:
    """A clip, frame by frame, upright, as sRGB, with its own timestamps.

    Damaged parts are skipped; ``warnings`` and ``frames_lost`` say after the end what was lost.

    Args:
        name: file or URL.
        height: resize to so many pixels, keeping the proportions; ``None`` keeps the size.
        start, end: seconds from the beginning of the clip; frames in [start, end) are delivered.
        live: deliver at the speed of the clock, as a camera would. A stream has its pace from its sender, so its
            frames are taken as they come, unless it is a clip or comes in pieces (HLS).

    Raises:
        SourceError: no such file, not a video, nothing in it can be decoded, nothing after ``start``.
    """

    def __init__(
        self,
        name: str,
        *,
        height: int | None = None,
        start: float | None = None,
        end: float | None = None,
        live: bool = False,
    ) -> None:
        self.warnings: list[str] = []
        self.frames_lost = 0
        self.end_pts: int | None = None
        self._name = name
        self._closed = Event()
        self._lock = Lock()
        self._reading = False
        self._stream = live and is_url(name)
        self._decoder = Decoder(name, start, end, self._stream, self._closed)
        self._pace: Pace | None = None
        if live and not self._comes_by_itself():
            self._pace = Pace(self._closed, late_s=1.0, early_s=10.0) if self._stream else Pace(self._closed)
        first, stream = self._decoder.first, self._decoder.stream
        self._orientation = Orientation.of(first)
        self._height = height
        self._fps = nominal_fps(stream)
        self._time_base = Fraction(first.time_base or stream.time_base or Fraction(1, 1000))
        self._timeline = Timeline(self._time_base, self._fps)
        self._colour = ColourTags.of(first)
        self._to_rgb = RgbReader()
        upright = scaled(*self._orientation.size(first.height, first.width), height)
        count = None if live else self._expected_frames(start, end)
        self._info = SourceInfo(self._decoder.name, upright[1], upright[0], self._fps, count, live)
        hdr = hdr_name(first)
        if hdr is not None:
            self.warnings.append(f"{hdr} high dynamic range is converted to ordinary BT.709 colours")

    @property
    def info(self) -> SourceInfo:
        """What is delivered."""
        return self._info

    @property
    def colour(self) -> ColourTags:
        """What a file with the same colours has to say of them."""
        return self._colour

    @property
    def time_base(self) -> Fraction:
        """Seconds per unit of every frame's ``pts``."""
        return self._time_base

    @property
    def first_pts(self) -> int:
        """Time of the first frame, in units of ``time_base``."""
        return self._decoder.first.pts or 0

    @property
    def begin_s(self) -> Fraction:
        """Moment at which the clip begins, on the scale of its own timestamps, seconds."""
        return self._decoder.origin_s

    @property
    def origin_s(self) -> Fraction:
        """Moment that a copy should call 0, seconds.

        Broadcast timestamps count from anywhere; those of files from 0, and they are kept as they are.
        """
        counts_from_anywhere = self._decoder.container.format.flags & _TS_DISCONT
        return self.begin_s if counts_from_anywhere else Fraction(0)

    @property
    def pixel_aspect(self) -> Fraction | None:
        """Width : height of one upright pixel; ``None`` when square or unknown."""
        ratio = self._decoder.stream.sample_aspect_ratio
        if not ratio or ratio == 1:
            return None
        return 1 / Fraction(ratio) if self._orientation.transpose else Fraction(ratio)

    def frames(self) -> Iterator[Frame]:
        """Yield frames in order until the end of the clip or of the range. May be called once.

        Raises:
            SourceError: a live stream broke off.
        """
        with self._lock:
            if self._closed.is_set() or self._reading:
                return
            self._reading = True
        try:
            yield from self._frames()
        finally:
            with self._lock:
                self._reading = False
                if self._closed.is_set():
                    self._decoder.container.close()

    def close(self) -> None:
        """End ``frames``, also from another thread, and release the file. Twice is fine.

        A container must not be closed under a thread that reads from it: then the reader closes it.
        """
        with self._lock:
            self._closed.set()
            if not self._reading:
                self._decoder.container.close()

    def _frames(self) -> Iterator[Frame]:
        for index, picture in enumerate(self._decoder.pictures()):
            pts = self._timeline.next(picture.pts)
            self.end_pts = pts + (picture.duration or self._timeline.step)
            if self._pace is not None and not self._pace.wait(float(pts * self._time_base)):
                return
            captured_s = time.monotonic()
            upright = scaled(*self._orientation.size(picture.height, picture.width), self._height)
            rgb = self._to_rgb(picture, *self._orientation.size(*upright))
            yield Frame(self._orientation.apply(rgb), index, pts, self._time_base, captured_s)
        if self._closed.is_set():
            return
        if self._stream and not self._reached_its_end():
            raise SourceError(f"{self._decoder.name} has ended")
        self._report()

    def _comes_by_itself(self) -> bool:
        """True for a stream that somebody sends at its own pace."""
        container = self._decoder.container
        return self._stream and not container.duration and container.format.name.split(",")[0] not in STORED

    def _reached_its_end(self) -> bool:
        """True for a clip that was played to the length it states; a stream without a length should not end at all."""
        length_s = (self._decoder.container.duration or 0) / av.time_base
        return 0 < length_s <= float((self.end_pts or 0) * self._time_base - self.begin_s) + _SHORT_S

    def _report(self) -> None:
        """Say what was lost, now that the end is reached."""
        losses = self._decoder.losses
        self.frames_lost = losses.count()
        if self.frames_lost:
            self.warnings.append(f"frames lost: {self.frames_lost}, for the clip is damaged or cut off")
        if losses.corrupt_pictures:
            self.warnings.append(f"frames damaged: {losses.corrupt_pictures}, shown as well as they decode")
        if self._timeline.repaired:
            self.warnings.append(f"frames without a usable timestamp: {self._timeline.repaired}, they were given one")

    def _expected_frames(self, start: float | None, end: float | None) -> int | None:
        """How many frames are to come, as far as the container knows."""
        count = self._decoder.stream.frames
        if count and start is None and end is None:
            return count
        duration_s = (self._decoder.container.duration or 0) / av.time_base
        if duration_s <= 0 or not self._fps:
            return None
        return max(1, round((min(end or duration_s, duration_s) - (start or 0.0)) * float(self._fps)))


def scaled(height: int, width: int, target_height: int | None) -> tuple[int, int]:
    """(height, width) in pixels, made ``target_height`` high, with the nearest even width; unchanged for ``None``."""
    if target_height is None or target_height == height:
        return height, width
    return target_height, max(2, 2 * round(width * target_height / height / 2))
