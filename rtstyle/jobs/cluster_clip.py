"""A clip that a cluster works on: what is to be made of it, what is under way, and what becomes of the results."""

from __future__ import annotations

import shutil
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import astuple, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from engines.base import check_size
from engines.errors import ConfigError, SinkError
from rtstyle.jobs.cluster_worker import Made, Task
from rtstyle.jobs.manifest import Segment, hash_file, identify
from rtstyle.jobs.segment_plan import Plan, plan
from rtstyle.jobs.segmented_sink import SegmentedSink, lock_folder, remove_job, segment_number
from rtstyle.jobs.segmented_video import needs_segments, open_segmented
from rtstyle.media.urls import is_url
from rtstyle.sinks.output_path import OutputPath, write_errors
from rtstyle.sources.file import FileSource, Flaws
from rtstyle.stats import StatsSnapshot
from rtstyle.stroke_scale import check_scale
from rtstyle.target_size import bits_for_size
from rtstyle.video import VideoReport, make_report
from rtstyle.video_ends import may_be_cut, open_clip, sink_settings, track_source
from rtstyle.video_job import PIPE, VideoJob


class ClusterClip(ABC):
    """Splits a clip into tasks, and puts together what comes back. All methods are called in one thread.

    Attributes:
        job: what to do.
        sent: the clip in the object store, once a worker has asked for it.
        frames: made so far, with those of an earlier run.
        kept: those of an earlier run.
        total: expected frames; ``None`` if the clip does not say.
    """

    def __init__(self, job: VideoJob, total: int | None, limit: int) -> None:
        self.job, self.total, self.frames, self.kept = job, total, 0, 0
        self.sent: tuple[Any, ...] = ()
        self._start_s = time.monotonic()
        self._identity = None if is_url(job.input) else identify(job.input)
        self._mark, self._limit = f"trial.{uuid.uuid4().hex}", limit

    @abstractmethod
    def take(self) -> Task | None:
        """Return the next task, or ``None`` if there is none now."""

    @abstractmethod
    def put_back(self, task: Task, *, unplanned: bool = False) -> None:
        """Let a task be made again; ``unplanned`` if its frames were others than planned."""

    @abstractmethod
    def add(self, task: Task, made: Made) -> None:
        """Take a result. Raises: SinkError: it is damaged, or cannot be stored."""

    @property
    @abstractmethod
    def is_made(self) -> bool:
        """True if everything is there."""

    @abstractmethod
    def complete(self) -> VideoReport:
        """Write the output. Raises: SinkError: it cannot be written; what was made is kept."""

    @abstractmethod
    def abandon(self) -> None:
        """Close everything, and keep what can be resumed. May be called twice."""

    def _task(self, number: int | None) -> Task:
        return Task(self.job, self._identity, self.job.folder.resolve(), self._mark, self._limit, number)

    def _stored(self, made: Made) -> Path:
        """Return the file of a result in the job folder; one that was sent is written there."""
        path = self.job.folder / made.name
        if made.data is not None:
            path.write_bytes(made.data)
        return path


def check_shared(job: VideoJob) -> None:
    """Check a job for a cluster, before anything is opened or started.

    Raises:
        StylerError: as ``VideoJob.check``.
    """
    if not job.is_video_file or job.input == PIPE or job.input_pictures is not None:
        raise ConfigError("a cluster shares video files", hint="leave out --cluster for pictures and pipes")
    if job.mask is not None:  # it is on one machine only
        raise ConfigError("a cluster cannot read a mask", hint="leave out --cluster or --mask")
    if job.modulate:  # sound is followed from the beginning of a clip
        raise ConfigError("a cluster cannot follow time or sound", hint="leave out --cluster or --modulate")
    job.check()


def open_cluster_clip(job: VideoJob, made_by: Mapping[str, Any], limit: int) -> ClusterClip:
    """Open a clip.

    Args:
        job: checked first.
        made_by: identifies the style and the engine.
        limit: largest result that a worker sends, bytes.

    Raises:
        StylerError: as ``video.stylize_video``.
    """
    check_shared(job)
    if not is_url(job.input):
        job = replace(job, input=str(Path(job.input).resolve()))  # a worker has another working directory
    clip = open_clip(job)
    try:
        check_size(clip.info.height, clip.info.width)
        check_scale(job.scale, clip.info.height, clip.info.width)
        if not isinstance(clip, FileSource) or not may_be_cut(job, clip) or not needs_segments(job, clip):
            clip.close()
            return WholeClip(job, clip.info.frame_count, limit)
        tracks, settings = track_source(job, clip), sink_settings(job, clip)
        if job.target_bytes is not None:
            settings["bits"] = bits_for_size(job, clip, tracks)
        sink = open_segmented(job, clip, tracks, made_by, settings)
        # What depends on this machine or on the whole clip is decided here, for all workers.
        decided = {"codec": settings["codec"], "encoder": "software", "bits": settings["bits"], "target_bytes": None}
        try:
            return SegmentedClip(replace(job, **decided), clip, sink, limit)
        except BaseException:
            sink.close(completed=False)
            raise
    except BaseException:
        clip.close()
        raise


class SegmentedClip(ClusterClip):
    """A clip in segments. Without a plan, one is made after another, from the beginning of the clip."""

    def __init__(self, job: VideoJob, clip: FileSource, sink: SegmentedSink, limit: int) -> None:
        super().__init__(job, clip.info.frame_count, limit)
        self._clip, self._sink = clip, sink
        self._plan: Plan | None = plan(job, clip)
        self._exact: set[int] = set()
        self._under_way: set[int] = set()
        self._flaws, self._frames_lost = Flaws(), 0
        self._made_frames, self._figures = 0, list[StatsSnapshot]()
        sink.trial(clip.first_frame())
        with write_errors(job.folder):
            (job.folder / self._mark).touch()
        kept = {segment.number for segment in sink.segments}
        if self._plan is None:
            self._waiting = [self._free(0)]
        else:
            self.total = sum(len(one.times) for one in self._plan.segments.values())
            self._waiting = [number for number in self._plan.segments if number not in kept]
            self._check_ends()
        self.frames = self.kept = sink.kept_frames

    def take(self) -> Task | None:
        """Return the next task; see ``ClusterClip``."""
        if not self._waiting:
            return None
        number = self._waiting.pop(0)
        self._under_way.add(number)
        planned = None if self._plan is None or number in self._exact else self._plan.segments[number]
        return replace(self._task(number), planned=planned, sent=self.sent)

    def put_back(self, task: Task, *, unplanned: bool = False) -> None:
        """Let a task be made again."""
        assert task.number is not None
        self._under_way.discard(task.number)
        if unplanned:
            self._exact.add(task.number)
        self._waiting.insert(0, task.number)

    def add(self, task: Task, made: Made) -> None:
        """Take a result."""
        number = task.number
        assert number is not None
        if made.segment is not None:
            known = next((one.frames for one in self._sink.segments if one.number == number), 0)
            with write_errors(self.job.folder):
                self._sink.adopt(self._stored(made), made.segment)
            self.frames += made.segment.frames - known
            self._made_frames += made.segment.frames
        self._under_way.discard(number)
        pairs = zip(astuple(self._flaws), astuple(made.flaws), strict=True)
        self._flaws = Flaws(*(max(pair) for pair in pairs))  # each counts from the beginning of the clip
        self._frames_lost = max(self._frames_lost, made.frames_lost)
        self._sink.fitted += made.fitted
        if made.figures is not None:
            self._figures.append(made.figures)
        if self._plan is None:
            if made.next_pts is not None:
                self._waiting.append(self._free(self._number_of(made.next_pts)))
        elif not self._waiting and not self._under_way:
            self._check_ends()

    @property
    def is_made(self) -> bool:
        """True if everything is there."""
        return not self._waiting and not self._under_way

    def complete(self) -> VideoReport:
        """Write the output."""
        try:
            self._sink.close(completed=True)
        finally:
            self.abandon()
        lost = max(self._frames_lost, self._flaws.undecodable, self._plan.frames_lost if self._plan else 0)
        self._clip.report(self._flaws, lost)
        seconds = time.monotonic() - self._start_s
        figures = _together(self._figures, self._made_frames, seconds)
        return make_report(self.job, self._clip, self._sink, figures, seconds, self._sink.kept_frames)

    def abandon(self) -> None:
        """Close everything."""
        self._clip.close()
        (self.job.folder / self._mark).unlink(missing_ok=True)
        self._sink.close(completed=False)

    def _free(self, number: int) -> int:
        """Return the first number from here on that is not made yet."""
        made = {segment.number for segment in self._sink.segments}
        while number in made:
            number += 1
        return number

    def _number_of(self, pts: int) -> int:
        return segment_number(pts, self._clip.first_pts, self._clip.time_base, self.job.segment_s)

    def _check_ends(self) -> None:
        """Find segments before one that does not begin where it was planned: their last frame has another end."""
        assert self._plan is not None
        segments: Sequence[Segment | None] = (*self._sink.segments, None)
        for segment, following in pairwise(segments):
            assert segment is not None
            planned = self._plan.segments.get(segment.number)
            begins = None if following is None else following.start_pts
            as_planned = planned is not None and planned.next_pts == begins
            waits = planned is not None and self._comes_later(planned.next_pts)
            if not as_planned and not waits and segment.number not in self._exact:
                self._exact.add(segment.number)
                self._waiting.append(segment.number)

    def _comes_later(self, pts: int | None) -> bool:
        return pts is not None and self._number_of(pts) in self._waiting


class WholeClip(ClusterClip):
    """A clip that is made in one piece: a short one, a URL, or one whose layout segments would lose."""

    def __init__(self, job: VideoJob, total: int | None, limit: int) -> None:
        super().__init__(job, total, limit)
        self._waits, self._made, self._closed = True, None, False
        self._report: VideoReport | None = None
        with write_errors(job.folder):
            job.folder.mkdir(exist_ok=True)
            self._lock = lock_folder(job.folder)
            (job.folder / self._mark).touch()

    def take(self) -> Task | None:
        """Return the next task; see ``ClusterClip``."""
        waits, self._waits = self._waits, False
        return replace(self._task(None), sent=self.sent) if waits else None

    def put_back(self, task: Task, *, unplanned: bool = False) -> None:  # noqa: ARG002  # there is one task only
        """Let a task be made again."""
        self._waits = True

    def add(self, task: Task, made: Made) -> None:  # noqa: ARG002  # there is one task only
        """Take a result."""
        assert made.report is not None
        with write_errors(self.job.output):
            path = self._stored(made)
            if path.stat().st_size != made.size or hash_file(path) != made.sha256:
                raise SinkError(f"{path} was damaged on its way")
            output = OutputPath(self.job.output)
            try:
                shutil.move(path, output.path)  # the job folder may be on another disk
                output.publish(durable=True)
            finally:
                output.discard()
        seconds = time.monotonic() - self._start_s
        fps = made.report.frames_out / seconds
        self._report = replace(made.report, input=self.job.input, output=self.job.output, seconds=seconds, fps=fps)
        self.frames = made.report.frames_out

    @property
    def is_made(self) -> bool:
        """True if everything is there."""
        return self._report is not None

    def complete(self) -> VideoReport:
        """Write the output."""
        assert self._report is not None
        self.abandon()
        return self._report

    def abandon(self) -> None:
        """Close everything."""
        if not self._closed:
            self._closed = True
            self._lock.release()
            remove_job(self.job.folder)


def _together(figures: Sequence[StatsSnapshot], frames: int, seconds: float) -> StatsSnapshot:
    """Return the figures of all segments: sums of counts and work, the worst of the ages."""
    if not figures:
        return StatsSnapshot(0, 0, 0, 0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0, 0, seconds, 0.0, 0.0, 0.0)
    fps = frames / seconds
    return replace(
        figures[-1],
        frames_in=frames,
        frames_out=frames,
        fps_in=fps,
        fps_out=fps,
        age_p50_ms=max(one.age_p50_ms for one in figures),
        age_p95_ms=max(one.age_p95_ms for one in figures),
        age_max_ms=max(one.age_max_ms for one in figures),
        engine_p50_ms=max(one.engine_p50_ms for one in figures),
        seconds=seconds,
        source_s=sum(one.source_s for one in figures),
        engine_s=sum(one.engine_s for one in figures),
        sink_s=sum(one.sink_s for one in figures),
    )
