"""Recording that is begun and ended while a run goes on, and holds up nothing."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from threading import Lock, Thread

from engines.errors import SinkError, StylerError
from rtstyle.frame import Frame
from rtstyle.live.snapshot import free_path
from rtstyle.sinks.tee import Fed

ENDING = ".mp4"
"""Kind of file that is recorded."""

ENDINGS_AT_ONCE = 3
"""Recordings that may be written to their end at a time; whoever presses a key faster must wait for the disk."""


class Recorder:
    """Takes frames, and writes them to a file while it is switched on. Any thread may call any method.

    The frames go through a queue of their own to a thread of their own; when the disk or the encoder is too slow,
    frames are lost there and nowhere else.

    Args:
        fps: nominal frames per second; 0 when unknown.
        on_failure: told why a recording ended by itself, in the thread of that recording.
    """

    def __init__(self, fps: Fraction = Fraction(0), on_failure: Callable[[str], None] = lambda _: None) -> None:
        self._fps, self._report = fps, on_failure
        self._lock = Lock()
        self._fed: Fed | None = None
        self._path: Path | None = None
        self._ending: list[Thread] = []
        self._any = False  # whether the file has got a frame
        self._dropped = 0
        self._fault = ""
        self._closed = False

    @property
    def path(self) -> Path | None:
        """The file that grows; ``None`` while there is none, also after a failure."""
        with self._lock:
            self._look_at()
            return self._path

    @property
    def dropped(self) -> int:
        """Frames that the recordings lost because they were too slow."""
        with self._lock:
            return self._dropped + (self._fed.dropped if self._fed else 0)

    @property
    def fault(self) -> str:
        """Why the last recording ended by itself; empty when it did not."""
        return self._fault

    def put(self, frame: Frame) -> None:
        """One painted frame; never waits."""
        fed = self._fed
        if fed is not None:
            self._any = True
            fed.put(frame)

    def start(self) -> Path:
        """Begin a file, unless one is being written.

        Returns:
            its path.

        Raises:
            SinkError: it cannot be written, or the ones before are not finished yet.
        """
        with self._lock:
            self._look_at()
            if self._path is None:
                self._begin()
            assert self._path is not None
            return self._path

    def stop(self) -> Path | None:
        """End the file; it is finished in another thread.

        Returns:
            its path; ``None`` when there was none, or no frame came for it.
        """
        with self._lock:
            self._look_at()
            path = self._path if self._any else None
            self._end()
            return path

    def close(self) -> None:
        """End the file and wait until all are finished. Twice is fine."""
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
            raise SinkError("the recordings before are still being written", hint="try again in a moment")
        if self._closed:
            raise SinkError("there is nothing to record any more")
        try:
            path = free_path(ENDING)
        except OSError as error:
            raise SinkError(f"cannot record: {error.strerror}", hint="is the folder still there?") from error
        self._fault = ""
        self._any = False
        self._fed = Fed(FileSink(path, fps=self._fps, overwrite=True, live=True), self._on_failure)
        self._path = path

    def _on_failure(self, fault: str) -> None:
        self._fault = fault
        self._report(fault)

    def _look_at(self) -> None:
        """A recording that has failed is over."""
        if self._fed is not None and self._fed.failure is not None:
            self._end()

    def _end(self) -> None:
        fed, self._fed, self._path = self._fed, None, None
        if fed is None:
            return
        self._dropped += fed.dropped
        thread = Thread(target=self._finish, args=(fed,), name="end of recording", daemon=True)
        self._ending.append(thread)
        thread.start()

    def _finish(self, fed: Fed) -> None:
        try:
            fed.close(completed=True)
        except StylerError as error:
            self._on_failure(str(error))
