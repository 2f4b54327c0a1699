"""Recordings that start and stop during a run without delaying it."""

from __future__ import annotations

import logging
from fractions import Fraction
from pathlib import Path
from threading import Lock, Thread

from engines.errors import SinkError, StylerError
from engines.os_errors import advice, reason
from rtstyle.frame import Frame
from rtstyle.live.snapshot import free_path
from rtstyle.sinks.tee import SinkWorker
from rtstyle.sound.feed import SoundFeed

logger = logging.getLogger(__name__)

ENDING = ".mp4"
"""Container of recordings."""

ENDINGS_AT_ONCE = 3
"""Recordings that may be finishing at the same time."""


class Recorder:
    """Writes frames to a file while it is switched on. Any thread may call any method.

    Frames pass through a queue to a thread; a slow disk or encoder drops frames there and nowhere else.

    Args:
        fps: nominal frames per second; 0 if unknown.
        sound: recorded beside the pictures.
    """

    def __init__(self, fps: Fraction = Fraction(0), sound: SoundFeed | None = None) -> None:
        self._fps, self._sound = fps, sound
        self._lock = Lock()
        self._worker: SinkWorker | None = None
        self._path: Path | None = None
        self._ending: list[Thread] = []
        self._any = False  # whether the file has a frame
        self._dropped = 0
        self._fault = ""
        self._closed = False

    @property
    def path(self) -> Path | None:
        """The file being recorded; ``None`` if there is none, also after a failure."""
        with self._lock:
            self._look_at()
            return self._path

    @property
    def dropped(self) -> int:
        """Frames dropped because recording was too slow."""
        with self._lock:
            return self._dropped + (self._worker.dropped if self._worker else 0)

    @property
    def fault(self) -> str:
        """Why the last recording ended by itself; empty if it did not."""
        with self._lock:
            self._look_at()
            return self._fault

    def put(self, frame: Frame) -> None:
        """Record one frame; never waits."""
        worker = self._worker
        if worker is not None:
            self._any = True
            worker.put(frame)

    def start(self) -> Path:
        """Start a recording, unless one is running, and return its path; raise SinkError if that is impossible."""
        with self._lock:
            self._look_at()
            if self._path is None:
                self._begin()
            assert self._path is not None
            return self._path

    def stop(self) -> Path | None:
        """Stop the recording, which another thread finishes, and return its path; ``None`` if it got no frame."""
        with self._lock:
            self._look_at()
            path = self._path if self._any else None
            self._end()
            return path

    def close(self) -> None:
        """Stop, and wait until all recordings are finished; may be called twice."""
        with self._lock:
            self._closed = True
            self._end()
            ending = list(self._ending)
        for thread in ending:
            thread.join()

    def _begin(self) -> None:
        from rtstyle.sinks.file import FileSink

        self._ending = [thread for thread in self._ending if thread.is_alive()]
        if len(self._ending) >= ENDINGS_AT_ONCE:
            raise SinkError("earlier recordings are still being finished", hint="try again in a moment")
        if self._closed:
            raise SinkError("the run has ended")
        try:
            path = free_path(ENDING)
        except OSError as error:
            hint = advice(error, "is the folder still there?")
            raise SinkError(f"cannot record: {reason(error)}", hint=hint) from error
        self._fault, self._any = "", False
        self._worker = SinkWorker(FileSink(path, fps=self._fps, overwrite=True, live=True, sound=self._sound))
        self._path = path

    def _look_at(self) -> None:
        """Forget a recording that has failed."""
        if self._worker is not None and self._worker.failure is not None:
            self._end()

    def _end(self) -> None:
        worker, self._worker, self._path = self._worker, None, None
        if worker is None:
            return
        self._dropped += worker.dropped
        if (known := worker.failure) is not None:
            self._fault = str(known)
        thread = Thread(target=self._finish, args=(worker, known), name="end of recording", daemon=True)
        self._ending.append(thread)
        thread.start()

    def _finish(self, worker: SinkWorker, known: StylerError | None) -> None:
        try:
            worker.close(completed=True)
            failure = worker.failure
        except StylerError as error:
            logger.warning("%s", error)
            failure = error
        if failure is not known:  # a known one is old: a new recording may have begun since
            self._fault = str(failure)
