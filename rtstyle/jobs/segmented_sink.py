"""Sink that writes a long video in segments, and joins them at the end without encoding again."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from filelock import FileLock, Timeout

from engines.atomic_write import flush_file
from engines.errors import ConfigError, SinkError
from rtstyle.frame import Frame
from rtstyle.jobs.join import reorder_depth
from rtstyle.jobs.manifest import LOCK, MANIFEST, OURS, Manifest, Segment, hash_file
from rtstyle.media.resize import letterbox
from rtstyle.sinks.base import Sink
from rtstyle.sinks.output_path import write_errors

logger = logging.getLogger(__name__)

SEGMENT_S = 20.0
"""Length of a segment, seconds: what an interruption loses at most. Each begins with a keyframe, which costs space."""


class SegmentedSink:
    """Writes frames into segment files, each listed in the job's manifest as soon as it is complete.

    Segment n has the frames from n × ``segment_s`` seconds after the first frame on, so that an interrupted job cuts
    the clip at the same frames as an uninterrupted one.

    Args:
        name: display name.
        folder: of the job; created if it does not exist, resumed otherwise.
        job: input and settings, without segments.
        size: (width, height) of the video, pixels; frames of another size are fitted into it.
        open_segment: opens the file of a segment, given its path and a function that returns the time at which its
            last frame ends, in units of the frames' ``pts``.
        join: makes the output of the finished segments, and returns warnings; with True it only tries to.
        end_pts: returns when the last frame of the clip ends.
        first_pts: time of the first frame of the clip.
        segment_s: length of a segment, seconds.

    Attributes:
        warnings: what could not be kept as it is, one line each.
        kept_frames: frames in segments of an earlier run, which must not be written again.
        fitted: frames of another size than the video's.

    Raises:
        ConfigError: the folder holds another job, or another process works in it.
        SinkError: the folder cannot be created.
    """

    main_thread = False

    def __init__(
        self,
        name: str,
        folder: Path,
        job: Manifest,
        size: tuple[int, int],
        *,
        open_segment: Callable[[Path, Callable[[], int | None]], Sink],
        join: Callable[[Sequence[Segment], bool], list[str]],
        end_pts: Callable[[], int | None],
        first_pts: int,
        segment_s: float = SEGMENT_S,
    ) -> None:
        self.name, self._folder, self._size = name, folder, size
        self.warnings: list[str] = []
        self._open_segment, self._join, self._end_pts = open_segment, join, end_pts
        self._first_pts, self._segment_s = first_pts, segment_s
        with write_errors(folder):
            folder.mkdir(exist_ok=True)
            self._lock = lock_folder(folder)
            try:
                self._manifest = _begin(folder, job)
            except BaseException:
                self._lock.release()
                if not Manifest.exists(folder):
                    remove_job(folder)
                raise
        self._kept = {segment.number: segment for segment in self._manifest.segments}
        self.kept_frames = sum(segment.frames for segment in self._manifest.segments)
        self._number, self._frames, self._start_pts = -1, 0, 0
        self._sink: Sink | None = None
        self._next_pts: int | None = None
        self._tried = self._joined = self._closed = False
        self.fitted = 0

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The finished ones, in order."""
        return self._manifest.segments

    def keeps(self, pts: int, unit_s: Fraction) -> bool:
        """Return True for a time in a segment of an earlier run."""
        return segment_number(pts, self._first_pts, unit_s, self._segment_s) in self._kept

    def segment_of(self, frame: Frame) -> int:
        """Return the number of the segment that a frame belongs to."""
        return segment_number(frame.pts, self._first_pts, frame.time_base, self._segment_s)

    def write(self, frame: Frame) -> bool:
        """Write one frame; the first of a segment closes the segment before it.

        Raises:
            SinkError: the disk is full, or the encoder failed.
        """
        self.fitted += frame.rgb.shape[:2] != self._size[::-1]
        frame = replace(frame, rgb=letterbox(frame.rgb, self._size))
        if not self._tried:
            self.trial(frame)
        number = self.segment_of(frame)
        if self._sink is not None and number > self._number:
            self._next_pts = frame.pts
            self._keep()
        if self._sink is None:
            if number <= self._number or number in self._kept:
                raise SinkError(f"{self.name}: the clip has other frames than when its job began")
            self._number, self._frames, self._start_pts = number, 0, frame.pts
            self._sink = self._open_segment(self._path, self._segment_end)
        self._sink.write(frame)
        self._frames += 1
        return True

    def close(self, *, completed: bool) -> None:
        """Join the segments and remove the job folder; with ``completed=False`` keep what is finished. May be repeated.

        Raises:
            SinkError: there was no frame, or the output cannot be written; the segments are kept then.
        """
        if self._closed:
            return
        self._closed = True
        try:
            if completed:
                self._finish()
            elif self._sink is not None:
                self._sink.close(completed=False)
        finally:
            self._lock.release()
            if self._joined or not self._manifest.segments:
                remove_job(self._folder)

    @property
    def _path(self) -> Path:
        return self._folder / f"segment-{self._number:06}.mp4"

    def _finish(self) -> None:
        if self._sink is not None:
            self._next_pts = None
            self._keep()
        if not self._manifest.segments:
            raise SinkError(f"{self.name} was not written: there was no frame")
        self.warnings += self._join(self._manifest.segments, False)
        if self.fitted:
            size = "×".join(map(str, self._size))
            self.warnings.append(f"frames of another size: {self.fitted}; fitted into {size} with black bars")
        self._joined = True

    def trial(self, frame: Frame) -> None:
        """Write one frame as the output would be written: what its container refuses must not show after hours.

        Raises:
            SinkError: it cannot be written.
        """
        self._tried = True
        path = self._folder / "trial.mp4"
        sink = self._open_segment(path, lambda: None)
        try:
            sink.write(frame)
            sink.close(completed=True)
            self._join([describe(path, frame.pts, 1)], True)
        finally:
            sink.close(completed=False)
            path.unlink(missing_ok=True)

    def _segment_end(self) -> int | None:
        later = [segment.start_pts for number, segment in self._kept.items() if number > self._number]
        if self._next_pts is not None:
            later.append(self._next_pts)
        return min(later) if later else self._end_pts()

    def _keep(self) -> None:
        """Finish the open segment and add it to the manifest."""
        assert self._sink is not None
        sink, self._sink = self._sink, None
        sink.close(completed=True)
        path = self._path
        with write_errors(path):
            self._add(describe(path, self._start_pts, self._frames))

    def adopt(self, part: Path, segment: Segment) -> None:
        """Add a segment that another process has made, or replace one.

        Args:
            part: its file, in the job folder under another name.
            segment: what that process says about it.

        Raises:
            SinkError: it is damaged, or cannot be stored.
        """
        with write_errors(self._folder):
            if part.stat().st_size != segment.size or hash_file(part) != segment.sha256:
                raise SinkError(f"{part} was damaged on its way")
            part.replace(self._folder / segment.name)
            self._add(segment)

    def _add(self, segment: Segment) -> None:
        flush_file(self._folder / segment.name)
        others = (one for one in self._manifest.segments if one.number != segment.number)
        segments = sorted([*others, segment], key=lambda one: one.number)
        self._manifest = replace(self._manifest, segments=tuple(segments))
        self._manifest.save(self._folder)


def segment_number(pts: int, first_pts: int, unit_s: Fraction, segment_s: float) -> int:
    """Return the number of the segment that a frame belongs to.

    Args:
        pts: time of the frame.
        first_pts: time of the first frame of the clip.
        unit_s: seconds per unit of both.
        segment_s: length of a segment, seconds.
    """
    return int((pts - first_pts) * unit_s / segment_s)


def describe(path: Path, start_pts: int, count: int) -> Segment:
    """Describe a finished file. Raises: SinkError: it has not so many frames."""
    frames, reorder = reorder_depth(path)
    if frames != count:
        raise SinkError(f"{path} has {frames} frames instead of {count}")
    return Segment(path.name, frames, start_pts, reorder, path.stat().st_size, hash_file(path))


def lock_folder(folder: Path) -> FileLock:
    """Lock the folder; the kernel releases the lock of a process that dies."""
    lock = FileLock(folder / LOCK, fallback_to_soft=False)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise ConfigError(f"another process is working in {folder}", hint="wait for it, or stop it") from error
    return lock


def remove_job(folder: Path) -> None:
    """Remove a job folder, but for files that are not ours."""
    _remove(folder)
    with suppress(OSError):  # it has files that are not ours
        folder.rmdir()


def _remove(folder: Path, keep: Collection[str] = ()) -> None:
    """Remove the files of a job, finished or not, but for some; those of others stay.

    The manifest goes first: a job that is killed here after it was finished must not begin again for lack of segments.
    """
    for path in sorted(folder.iterdir(), key=lambda path: path.name != MANIFEST):
        if path.name not in keep and OURS.match(path.name):
            with suppress(OSError):
                path.unlink()


def _begin(folder: Path, job: Manifest) -> Manifest:
    """Return the job with the intact segments of an earlier run, or begin it."""
    if not Manifest.exists(folder):
        job.save(folder)
        return job
    found = Manifest.load(folder)
    differences = found.differences(job)
    if differences:
        hint = f"give the settings of that job, or remove {folder} to start again"
        raise ConfigError(f"cannot resume the job in {folder}: {'; '.join(differences)}", hint=hint)
    intact = []
    for segment in found.segments:
        if not segment.is_intact(folder):
            logger.warning("%s is damaged; it is made again", folder / segment.name)
            continue
        intact.append(segment)
    _remove(folder, keep={MANIFEST, LOCK, *(segment.name for segment in intact)})
    kept = replace(found, segments=tuple(intact))
    kept.save(folder)
    return kept
