"""Stylize many clips with one engine: a clip that cannot be stylized does not stop the others."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path, PurePath
from typing import Any

from engines.base import Engine
from engines.errors import ConfigError, SourceError, StylerError
from engines.wrapper import EngineWrapper
from rtstyle.jobs.folder_batch import BatchKind, FolderBatch, failure_of
from rtstyle.jobs.manifest import describe_masks, describe_modulation
from rtstyle.jobs.segmented_sink import remove_job
from rtstyle.media.codecs import CONTAINERS, choose
from rtstyle.media.container import CLIPS
from rtstyle.media.picture_sequence import PictureSequence
from rtstyle.sinks.animation import KINDS
from rtstyle.video import VideoProgress, VideoReport, stylize_video
from rtstyle.video_job import PIPE, VideoJob

_NOT_SEEN = ("input", "output", "overwrite", "segment_s", "resume", "job_dir", "hwaccel")
"""Fields of a job that change nothing in its output."""

_DESCRIBED = ("only", "mask", "inside", "outside", "feather", "modulate")
"""Fields that change something only together, or only if they are given."""


@dataclass(frozen=True)
class VideoFailure:
    """A clip that could not be stylized.

    Attributes:
        input: file or URL.
        output: file that was not written.
        error: what is wrong with the clip or its output.
    """

    input: str
    output: Path
    error: StylerError


def stylize_videos(
    jobs: Iterable[VideoJob],
    load_engine: Callable[[], Engine],
    *,
    on_progress: Callable[[VideoJob, VideoProgress], None] | None = None,
    made_by: Mapping[str, Any] | None = None,
) -> Iterator[VideoReport | VideoFailure]:
    """Stylize clips one after another; each is on disk when its report is yielded.

    Args:
        jobs: each is asked for when the one before it is done.
        load_engine: called once, in another thread while the first clip is opened; the engine is closed at the end.
        on_progress: called after every frame, in this thread.
        made_by: identifies the style and the engine, see ``stylize_video``.

    Yields:
        A report for each clip, or its failure; the others are stylized all the same.

    Raises:
        EngineError: the engine cannot be loaded, or failed: the next clip would fail as well.
        StyleError: the style cannot be used.
        SinkError: the disk is full: so it would be for the next clip.
        KeyboardInterrupt: Ctrl-C.
    """
    shared = _SharedEngine(load_engine)
    try:
        for job in jobs:
            try:
                yield stylize_video(job, shared.load, on_progress=_bound(on_progress, job), made_by=made_by)
            except Exception as error:  # noqa: BLE001  # one bad file must not end the others
                yield VideoFailure(job.input, job.output, failure_of(job.input, error))
    finally:
        shared.close()


class VideoBatch(FolderBatch):
    """Clips to stylize into a folder.

    Interrupted ones are resumed where they keep segments. What looks the same counts as the same settings: an output is
    not made again because of another engine, another length of segments or a newer version.

    Args:
        inputs: files, folders, patterns, URLs.
        folder: of the outputs.
        settings: the job of each clip, but for its input and its output.
        container: ``mp4``, ``mkv``, ``mov`` or ``webm``; ``None`` keeps the type of the input, or takes ``mp4``.
        made_by: identifies the style and the engine, see ``stylize_video``.

    Attributes:
        current: the last job that was begun.

    Raises:
        ConfigError: a setting is invalid, the record in the folder cannot be used, or another process is writing there.
        SourceError: an input does not exist, or there is nothing to stylize.
        SinkError: outputs have the same name, would replace an input, or cannot be written.
    """

    def __init__(
        self,
        inputs: Sequence[str],
        folder: Path,
        settings: VideoJob,
        *,
        container: str | None = None,
        made_by: Mapping[str, Any] | None = None,
    ) -> None:
        self._template = replace(settings, resume=bool(settings.segment_s))  # where the output may have segments
        self._made_by = dict(made_by or {})
        self._checked = set[str]()
        self._begun = set[Path]()
        self.current: VideoJob | None = None
        if settings.job_dir is not None:
            hint = "leave --job-dir (in Python: job_dir) out: each has its own beside its output"
            raise ConfigError("a job folder holds one clip", hint=hint)
        _check_names(inputs, folder)
        _check_reading(settings)
        kind = BatchKind("clips", CLIPS, (*CONTAINERS, *KINDS), partial(_output_name, container), tuple(KINDS))
        super().__init__(inputs, folder, kind, self._settings, overwrite=settings.overwrite)
        for output in self.recovered:
            if (job_folder := self._job("", output).folder).is_dir():
                remove_job(job_folder)

    def pending(self) -> Iterator[VideoJob]:
        """Yield the job of each task, and note that it begins."""
        for task in self.tasks:
            with suppress(SourceError):  # it cannot be read any more, which ``stylize_video`` finds as well
                self.begin(task)
            self._begun.add(task.output)
            self.current = self._job(task.input, task.output)
            yield self.current

    def run(
        self,
        load_engine: Callable[[], Engine],
        share: Callable[[Iterable[VideoJob]], Iterator[VideoReport | VideoFailure]] | None = None,
        *,
        on_progress: Callable[[VideoJob, VideoProgress], None] | None = None,
    ) -> Iterator[VideoReport | VideoFailure]:
        """Stylize what is left; see ``stylize_videos``. The known problems come first.

        Args:
            load_engine: for this machine.
            share: stylizes the jobs elsewhere, in any order and several at once; ``None`` stylizes them here.
            on_progress: called after every frame that is stylized here.
        """
        for problem in self.problems:
            yield VideoFailure(problem.input, problem.output, problem.error)
        here = partial(stylize_videos, load_engine=load_engine, on_progress=on_progress, made_by=self._made_by)
        try:
            for result in (share or here)(self.pending()):
                self._begun.discard(result.output)
                if isinstance(result, VideoReport):
                    self.finish(result.output)
                else:
                    self.give_up(result.output)
                yield result
        except BaseException:
            for output in self._begun:
                self.give_up(output)
            raise

    def _job(self, name: str, output: Path) -> VideoJob:
        job = replace(self._template, input=name, output=output)
        return job if job.may_have_segments else replace(job, resume=False)

    def _settings(self, output: Path) -> dict[str, Any]:
        """Return everything that an output's pictures and sound depend on."""
        job = self._job("", output)
        if output.suffix not in self._checked:
            job.check_settings()
            self._checked.add(output.suffix)
        style = {key: value for key, value in self._made_by.items() if key != "engine"}
        codec = choose(output, job.codec)[1].name
        names = {field.name for field in fields(job)}.difference(_NOT_SEEN, _DESCRIBED)
        values = {name: getattr(job, name) for name in sorted(names)}
        moving = {**describe_masks(job.only, job.masks), **describe_modulation(job.modulate)}
        return {**values, "height": job.even_height, "codec": codec, **moving, **style}


def _check_names(inputs: Sequence[str], folder: Path) -> None:
    """Raise ConfigError for names that stand for something else than clips and a folder."""
    for name in inputs:
        if name in (PIPE, "pattern") and not os.path.lexists(name):
            raise ConfigError(f"{name} is not a clip for a folder", hint="stylize it alone, into one file")
        if PictureSequence.parse(name) is not None:
            raise ConfigError(f"{name} are pictures, not a clip", hint="stylize them alone, into one file")
    if str(folder) == PIPE:
        raise ConfigError("standard output takes one clip", hint="give a folder for several clips")
    if PictureSequence.parse(str(folder)) is not None:
        raise ConfigError(f"{folder} takes the pictures of one clip", hint="give a folder for several clips")


def _check_reading(settings: VideoJob) -> None:
    """Raise ConfigError for settings of pictures and pipes, with which every clip would fail."""
    alone = {"fps": settings.fps, "size": settings.size, "pipe-format": settings.pipe_format}
    if given := [f"--{name}" for name, value in alone.items() if value is not None]:
        problem = f"{' and '.join(given)} cannot be given for a folder of clips"
        raise ConfigError(problem, hint="leave it out" if len(given) == 1 else "leave them out")


def _output_name(container: str | None, name: PurePath) -> PurePath:
    suffix = name.suffix.lower()
    if container is None and suffix in CONTAINERS:
        return name
    stem = name.stem if suffix in (*CLIPS, *CONTAINERS) else name.name  # like "talk.2024"
    return PurePath(f"{stem}.{container or 'mp4'}")


class _SharedEngine:
    """Loads an engine once, and lends it to one job after another."""

    def __init__(self, load_engine: Callable[[], Engine]) -> None:
        self._load = load_engine
        self._engine: Engine | None = None

    def load(self) -> Engine:
        """Return the engine, in a wrapper that does not close it."""
        if self._engine is None:
            self._engine = self._load()
        return _Lent(self._engine)

    def close(self) -> None:
        if self._engine is not None:
            self._engine.close()


class _Lent(EngineWrapper):
    """An engine that stays open for the next job."""

    def close(self) -> None:
        """Do nothing."""


def _bound(
    on_progress: Callable[[VideoJob, VideoProgress], None] | None, job: VideoJob
) -> Callable[[VideoProgress], None] | None:
    return None if on_progress is None else lambda progress: on_progress(job, progress)
