"""A worker of a cluster: keeps its engine loaded, and makes segments and short clips."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import tempfile
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

import engines
from engines import errors
from engines.base import Engine
from engines.errors import ConfigError, SinkError, SourceError, StyleError, StylerError
from engines.os_errors import advice, reason
from engines.wrapper import EngineWrapper
from rtstyle.controls import Controls
from rtstyle.frame import Frame
from rtstyle.jobs.manifest import Segment, hash_file, identify
from rtstyle.jobs.segment_plan import PlannedSegment
from rtstyle.jobs.segment_reader import SegmentReader, SegmentSource, UnplannedError
from rtstyle.jobs.segmented_sink import describe
from rtstyle.media.resize import letterbox
from rtstyle.pipeline import run
from rtstyle.sinks.file import FileSink
from rtstyle.sources.file import FileSource, Flaws
from rtstyle.stats import Stats, StatsSnapshot
from rtstyle.video import VideoReport, stylize_video
from rtstyle.video_ends import open_clip, sink_settings
from rtstyle.video_job import VideoJob

TRIAL = (64, 96)
"""Height and width of the frame with which ``auto`` settles for an engine, pixels."""

PERMANENT = (SourceError, ConfigError, StyleError, errors.ShapeError)
"""Errors of the input or its settings, which would come again."""


@dataclass(frozen=True)
class Task:
    """A segment or a whole clip to make.

    Attributes:
        job: what to do; of the output only the ending counts.
        identity: of the clip, as in ``manifest.identify``; ``None`` for a URL.
        sent: the clip as a reference in Ray's object store, in a list so that Ray leaves it alone; empty if not sent.
        folder: where the driver keeps what is made.
        mark: name of a file in that folder; where a worker sees it, the folder is shared.
        limit: largest result to send through the object store, bytes.
        number: of the segment; ``None`` for the whole clip.
        planned: frames of the segment; ``None`` decodes from the beginning of the clip.
    """

    job: VideoJob
    identity: Mapping[str, Any] | None
    folder: Path
    mark: str
    limit: int
    number: int | None = None
    planned: PlannedSegment | None = None
    sent: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Made:
    """What a worker has made.

    Attributes:
        name: of the file, in the job folder if that is shared.
        data: the file; ``None`` if the folder is shared.
        size, sha256: of the file.
        segment: the segment; ``None`` for a whole clip, and if the clip has no frames there.
        report: of a whole clip.
        next_pts: time of the first frame after the segment; ``None`` at the end of the clip.
        flaws, frames_lost: of the clip as far as it was read from its beginning.
        fitted: frames of another size.
        figures: of the pipeline.
    """

    name: str = ""
    data: bytes | None = None
    size: int = 0
    sha256: str = ""
    segment: Segment | None = None
    report: VideoReport | None = None
    next_pts: int | None = None
    flaws: Flaws = field(default_factory=Flaws)
    frames_lost: int = 0
    fitted: int = 0
    figures: StatsSnapshot | None = None


@dataclass(frozen=True)
class Failure:
    """Why a worker has made nothing. Ray would wrap an exception.

    Attributes:
        kind: class of the error in ``engines.errors``, ``missing`` if the clip cannot be read there, or ``unplanned``.
        problem, hint: of the error.
    """

    kind: str
    problem: str
    hint: str = ""

    def error(self) -> StylerError:
        """Return the error as it was raised."""
        kind = getattr(errors, self.kind, StylerError)
        return StylerError(self.problem, self.hint) if kind is errors.SettingsError else kind(self.problem, self.hint)

    @property
    def is_permanent(self) -> bool:
        """True if trying again would fail again."""
        return isinstance(self.error(), PERMANENT)


class _MissingError(Exception):
    """The clip cannot be read on this machine."""


class Worker:
    """Runs in a process of its own as an actor of Ray.

    Args:
        style: files of the style by name.
        engine: name of the engine.
        threads: of the engine on the CPU; ``None`` for all.
        scratch: folder for temporary files; ``None`` for the system's.
    """

    def __init__(self, style: Mapping[str, bytes], engine: str, threads: int | None, scratch: str | None) -> None:
        logging.getLogger().addHandler(logging.NullHandler())  # Ray would print what nobody reads here
        self._scratch = Path(tempfile.mkdtemp(prefix="rtstyle-worker-", dir=scratch))
        self._style, self._engine_name, self._threads = style, engine, threads
        self._engine: Engine | None = None
        self._reader: tuple[Any, SegmentReader] | None = None
        self._controls = Controls()
        self._closing = False

    def load(self) -> dict[str, Any] | Failure:
        """Load the engine; return what it is, and where."""
        try:
            folder = self._scratch / "style"
            folder.mkdir(exist_ok=True)
            for name, data in self._style.items():
                (folder / name).write_bytes(data)
            self._engine = engines.load(folder, self._engine_name, threads=self._threads)
            if self._engine_name == "auto":  # it may change with its first frame, and no more after that
                self._engine(np.zeros((*TRIAL, 3), np.uint8))
        except StylerError as error:
            return _failure(error)
        except OSError as error:
            return Failure("EngineError", f"cannot write to {self._scratch}: {reason(error)}", advice(error))
        return {**asdict(self._engine.info), "host": socket.gethostname(), "pid": os.getpid()}

    def work(self, task: Task) -> Made | Failure:
        """Make a segment or a clip."""
        try:
            job = self._readable(task)
            return self._clip(task, job) if task.number is None else self._segment(task, job, task.number)
        except _MissingError:
            return Failure("missing", f"{task.job.input} cannot be read on {socket.gethostname()}")
        except UnplannedError as error:
            self._forget()
            return Failure("unplanned", error.problem)
        except StylerError as error:
            self._forget()
            return _failure(error)
        except MemoryError:
            self._forget()
            return Failure("EngineError", f"{socket.gethostname()} is out of memory")

    def close(self) -> None:
        """Stop the task that is under way, and remove temporary files."""
        self._closing = True
        self._controls.request_stop()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _readable(self, task: Task) -> VideoJob:
        """Return the job with a path that has the clip on this machine: the driver's own, or a copy of what it sent."""
        if task.identity is None:
            return task.job
        try:
            if identify(task.job.input) == task.identity:
                return task.job
        except OSError:
            pass
        folder = self._scratch / f"{task.identity['ends_sha256'][:16]}-{task.identity['size']}"
        path = folder / str(task.identity["name"])
        if not path.exists():
            if not task.sent:
                raise _MissingError
            self._forget()
            for older in self._scratch.glob("*-*"):
                shutil.rmtree(older, ignore_errors=True)
            folder.mkdir()
            _receive(task.sent[0], path)
        return replace(task.job, input=str(path))

    def _segment(self, task: Task, job: VideoJob, number: int) -> Made:
        reader = self._reader_of(job, number, task.planned)
        source = SegmentSource(reader, number, task.planned)
        path = self._target(task) / f"segment-{number:06}.{uuid.uuid4().hex[:12]}.mp4"
        settings = sink_settings(job, reader.clip)
        file = FileSink(path, **settings, last_end=lambda: reader.end_pts, overwrite=True)
        sink = _FittingSink(file, (reader.clip.info.width, reader.clip.info.height))
        stats = Stats()
        self._stylize(source, sink, job, stats)
        if not source.times:
            return Made(next_pts=reader.next_pts)
        made = Made(
            segment=replace(describe(path, source.times[0], len(source.times)), name=f"segment-{number:06}.mp4"),
            next_pts=reader.next_pts,
            flaws=reader.clip.flaws if reader.exact else Flaws(transparent=reader.clip.flaws.transparent),
            frames_lost=reader.clip.count_lost() if reader.exact and reader.next_pts is None else 0,
            fitted=sink.fitted,
            figures=stats.snapshot(),
        )
        return self._deliver(task, path, made)

    def _stylize(self, source: SegmentSource, sink: _FittingSink, job: VideoJob, stats: Stats) -> None:
        self._controls = job.controls()
        if self._closing:
            self._controls.request_stop()
        try:
            if not run(source, self._loaded(), sink, self._controls, stats):
                raise SinkError("stopped")
        except SinkError:
            if source.times:
                raise
            # A segment without a frame is not written.

    def _reader_of(self, job: VideoJob, number: int, planned: PlannedSegment | None) -> SegmentReader:
        """Return a reader that is at the beginning of a segment: the last one, if it is there already."""
        if self._reader is not None:
            known, reader = self._reader
            if known == job and reader.continues_at(number) and (planned is not None or reader.exact):
                return reader
        self._forget()
        clip = open_clip(job)
        assert isinstance(clip, FileSource), "others are not cut into segments"
        reader = SegmentReader(clip, job.segment_s, number, planned)
        self._reader = (job, reader)
        return reader

    def _clip(self, task: Task, job: VideoJob) -> Made:
        self._forget()
        path = self._target(task) / f"trial.{uuid.uuid4().hex[:12]}{job.output.suffix}"
        whole = replace(job, output=path, overwrite=True, segment_s=0.0, resume=False, job_dir=None)
        self._controls = job.controls()
        report = stylize_video(whole, lambda: _Lent(self._loaded()), controls=self._controls)
        return self._deliver(task, path, Made(report=report))

    def _target(self, task: Task) -> Path:
        """Return the job folder if this machine shares it, or else a folder of its own."""
        return task.folder if (task.folder / task.mark).is_file() else self._scratch

    def _deliver(self, task: Task, path: Path, made: Made) -> Made:
        made = replace(made, name=path.name, size=path.stat().st_size, sha256=hash_file(path))
        if path.parent == task.folder:
            return made
        if made.size > task.limit:
            problem = f"{made.size >> 20} MB are more than what is sent from {socket.gethostname()}"
            path.unlink()
            hint = "let all machines share the folder of the output, make --segment shorter, or --send-limit larger"
            raise ConfigError(problem, hint=hint)
        data = path.read_bytes()
        path.unlink()
        return replace(made, data=data)

    def _loaded(self) -> Engine:
        assert self._engine is not None, "load comes first"
        return self._engine

    def _forget(self) -> None:
        """Close the clip that is open."""
        if self._reader is not None:
            self._reader[1].close()
            self._reader = None


class _Lent(EngineWrapper):
    """An engine that stays open for the next clip."""

    def close(self) -> None:
        """Do nothing."""


class _FittingSink:
    """Fits frames of another size into a file, as a job in one process does."""

    main_thread = False

    def __init__(self, sink: FileSink, size: tuple[int, int]) -> None:
        self.name, self._sink, self._size = sink.name, sink, size
        self.fitted = 0

    def write(self, frame: Frame) -> bool:
        self.fitted += frame.rgb.shape[:2] != self._size[::-1]
        return self._sink.write(replace(frame, rgb=letterbox(frame.rgb, self._size)))

    def close(self, *, completed: bool) -> None:
        self._sink.close(completed=completed)


def _failure(error: StylerError) -> Failure:
    return Failure(type(error).__name__, error.problem, error.hint)


def _receive(reference: Any, path: Path) -> None:
    """Write what the driver sent; the file appears when it is complete."""
    import ray

    part = path.with_suffix(".part")
    part.write_bytes(ray.get(reference))
    part.rename(path)
