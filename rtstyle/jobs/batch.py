"""Stylize many clips with one engine: a clip that cannot be stylized does not stop the others."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.base import Engine
from engines.errors import EngineError, SinkError, StyleError, StylerError
from engines.wrapper import EngineWrapper
from rtstyle.video import VideoProgress, VideoReport, stylize_video
from rtstyle.video_job import VideoJob

logger = logging.getLogger(__name__)

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


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
            except (EngineError, StyleError, BrokenPipeError):
                raise
            except Exception as error:
                if is_disk_full(error):
                    raise
                yield VideoFailure(job.input, job.output, as_failure(error, job.input))
    finally:
        shared.close()


def is_disk_full(error: BaseException) -> bool:
    """Return True for the error of a full disk, which every other file would meet, too."""
    cause = error.__cause__ if isinstance(error, SinkError) else error
    return isinstance(cause, OSError) and cause.errno in _NO_ROOM


def as_failure(error: Exception, name: str) -> StylerError:
    """Return the error of one input; one that was not raised on purpose must not end a night's work either."""
    if isinstance(error, StylerError):
        return error
    logger.debug("%s", name, exc_info=error)
    if isinstance(error, MemoryError):
        return StylerError(f"{name} needs more memory than is free", hint="make it smaller first")
    problem = f"{name}: {type(error).__name__}: {error}"
    return StylerError(problem, hint="this is a bug in rtstyle; stylize it alone with RTSTYLE_DEBUG=1 for a traceback")


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
