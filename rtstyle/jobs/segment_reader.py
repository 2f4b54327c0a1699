"""The frames of one segment of a clip after another."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import cast

from engines.errors import StylerError
from rtstyle.frame import Frame, SourceInfo
from rtstyle.jobs.segment_plan import PlannedSegment
from rtstyle.jobs.segmented_sink import segment_number
from rtstyle.sources.file import FileSource, Flaws


class UnplannedError(StylerError):
    """The frames of a segment are others than planned, so that it must be decoded from the beginning of the clip."""


class SegmentReader:
    """Delivers the segments of an open clip in ascending order, and stays where it is between two of them.

    Args:
        clip: just opened; closed here.
        segment_s: length of a segment, seconds.
        number: of the first segment to deliver.
        planned: that segment, if it may be decoded from its key frame on; ``None`` decodes from the beginning.

    Attributes:
        clip: the open clip.
        exact: False if decoding began at a key frame in the middle.
    """

    def __init__(self, clip: FileSource, segment_s: float, number: int, planned: PlannedSegment | None) -> None:
        self.clip = clip
        key = None if planned is None else planned.key
        self.exact = key is None
        self._segment_s = segment_s
        self._first_seen: int | None = None
        self._key_pts = None if key is None else key.pts
        self._number = number
        clip.skip(self._skips)
        if key is not None:
            clip.seek(key.dts)
        self._frames = cast("Generator[Frame]", clip.frames())
        self._next: Frame | None = None
        self._over = False

    @property
    def next_pts(self) -> int | None:
        """Time of the first frame after what was delivered; ``None`` at the end of the clip."""
        return None if self._next is None else self._next.pts

    @property
    def end_pts(self) -> int | None:
        """When the last delivered frame ends."""
        return self.clip.end_pts if self._next is None else self._next.pts

    def continues_at(self, number: int) -> bool:
        """Return True if this segment is the next."""
        return self._next is not None and self._number_of(self._next.pts) == number

    def segment(self, number: int, planned: PlannedSegment | None) -> Iterator[Frame]:
        """Yield the frames of a segment.

        Args:
            number: of the segment.
            planned: what must come; ``None`` accepts what comes.

        Raises:
            UnplannedError: other frames come than planned, or damaged ones.
        """
        flaws: Flaws | None = None
        seen = 0
        while (frame := self._take()) is not None:
            flaws = flaws or self.clip.flaws
            if self._number_of(frame.pts) > number:
                self._next = frame
                break
            if planned is not None and (seen >= len(planned.times) or frame.pts != planned.times[seen]):
                raise self._unplanned(number)
            seen += 1
            yield frame
        if planned is None:
            return
        sought_late = self._key_pts is not None and (self._first_seen is None or self._first_seen > self._key_pts)
        damaged = flaws is not None and not self.exact and self.clip.flaws != flaws
        if seen != len(planned.times) or self.next_pts != planned.next_pts or sought_late or damaged:
            raise self._unplanned(number)

    def close(self) -> None:
        """Close the clip."""
        self.clip.close()
        self._frames.close()  # it waits between two frames, and would keep the file open

    def _take(self) -> Frame | None:
        frame, self._next = self._next, None
        return next(self._frames, None) if frame is None else frame

    def _number_of(self, pts: int) -> int:
        return segment_number(pts, self.clip.first_pts, self.clip.time_base, self._segment_s)

    def _skips(self, pts: int) -> bool:
        if self._first_seen is None:
            self._first_seen = pts
        return self._number_of(pts) < self._number

    def _unplanned(self, number: int) -> UnplannedError:
        return UnplannedError(f"segment {number} of {self.clip.info.name} has other frames than its file lists")


class SegmentSource:
    """One segment of a reader as a source of its own, which does not close the clip.

    Attributes:
        times: of the frames that were delivered.
    """

    def __init__(self, reader: SegmentReader, number: int, planned: PlannedSegment | None) -> None:
        self._reader, self._number, self._planned = reader, number, planned
        self.times: list[int] = []

    @property
    def info(self) -> SourceInfo:
        """What the clip delivers."""
        return self._reader.clip.info

    def frames(self) -> Iterator[Frame]:
        """Yield the frames of the segment."""
        for frame in self._reader.segment(self._number, self._planned):
            self.times.append(frame.pts)
            yield frame

    def close(self) -> None:
        """Leave the clip open for the next segment."""
