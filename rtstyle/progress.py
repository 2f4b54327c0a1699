"""Progress on standard error: a bar on a terminal, plain lines elsewhere, nothing if quiet."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from threading import Event, Thread
from typing import Any, Self, TextIO

from rtstyle.stats import StatsSnapshot

LINE_EVERY_S = 5.0
"""Seconds between two progress lines without a terminal."""

STATUS_EVERY_S = 1.0
"""Seconds between two status lines of a live run."""

JOIN_S = 1.0
"""How long to wait at the end for a reader that has stalled, seconds."""


class ProgressDisplay:
    """Shows the progress of a job of ``total`` frames, its frame rate and the time left."""

    def __init__(
        self, label: str, total: int | None = None, *, quiet: bool = False, stream: TextIO | None = None
    ) -> None:
        self._label, self._total, self._quiet = label, total, quiet
        self._stream = stream or sys.stderr
        self._bar: Any = None
        self._last_line_s = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, done: int, fps: float, total: int | None = None) -> None:
        """Show that ``done`` frames are done, at ``fps`` frames per second."""
        if total := total or self._total:
            self._total = max(total, done)  # a guessed total may be too small
        if self._quiet:
            return
        if self._stream.isatty():
            self._draw(done, fps)
            return
        now_s = time.monotonic()
        if now_s - self._last_line_s >= LINE_EVERY_S:
            self._last_line_s = now_s
            print(self.line(done, fps), file=self._stream, flush=True)

    def line(self, done: int, fps: float) -> str:
        """Return the progress as one plain line."""
        if not self._total:
            return f"{self._label}: {done} frames, {fps:.1f} fps"
        left = f", {clock((self._total - done) / fps)} left" if fps > 0 else ""
        return f"{self._label}: {done}/{self._total} frames, {fps:.1f} fps{left}"

    def _draw(self, done: int, fps: float) -> None:
        if self._bar is None:
            self._bar = _rich_bar(self._stream)
            self._task = self._bar.add_task(self._label, total=self._total, fps=0.0)
            self._bar.start()
        self._bar.update(self._task, completed=done, total=self._total, fps=fps)


class StatusLine:
    """Shows statistics of a live run once a second: one line rewritten on a terminal, new lines elsewhere."""

    def __init__(self, *, quiet: bool = False, stream: TextIO | None = None) -> None:
        self._quiet = quiet
        self._stream = stream or sys.stderr
        self._next_s = time.monotonic() + STATUS_EVERY_S
        self._open = False

    def due(self) -> bool:
        """Return True once a second, when it is time to call ``show``."""
        now_s = time.monotonic()
        if self._quiet or now_s < self._next_s:
            return False
        # Do not catch up after a stall.
        self._next_s = max(self._next_s + STATUS_EVERY_S, now_s)
        return True

    def show(self, label: str, figures: StatsSnapshot) -> None:
        """Write the status line, after a label."""
        text = f"{label} · {status(figures)}"
        if self._stream.isatty():
            self._stream.write(f"\r\x1b[2K{text}")
            self._open = True
        else:
            self._stream.write(text + "\n")
        self._stream.flush()

    def finish(self) -> None:
        """End the rewritten line."""
        if self._open:
            self._stream.write("\n")
            self._stream.flush()
            self._open = False


class Heartbeat:
    """Calls ``beat`` once a second in its own thread, whether or not frames arrive.

    When it raises OSError, because nobody reads its output any more, ``broken`` is called and nothing after it.
    """

    def __init__(self, beat: Callable[[], None], broken: Callable[[], None]) -> None:
        self._beat, self._broken = beat, broken
        self._over = Event()
        self._thread = Thread(target=self._work, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Begin; the first call comes after a second. Does nothing after ``close``."""
        if not self._over.is_set():
            self._thread.start()

    def close(self) -> None:
        """Stop calling. May be called twice, and without ``start``."""
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join(JOIN_S)  # a stalled reader must not delay the end

    def _work(self) -> None:
        due_s = time.monotonic() + STATUS_EVERY_S
        while not self._over.wait(max(0.0, due_s - time.monotonic())):
            try:
                self._beat()
            except OSError:
                self._broken()
                return
            due_s = max(due_s + STATUS_EVERY_S, time.monotonic())


def status(figures: StatsSnapshot) -> str:
    """Return live statistics as one short line."""
    smaller = (figures.work_width, figures.work_height) != (figures.width, figures.height)
    work = f" at {figures.work_width}×{figures.work_height}" if smaller else ""
    return (
        f"{figures.width}×{figures.height}{work} · {figures.fps_out:.1f} fps · "
        f"age p50 {figures.age_p50_ms:.0f} ms p95 {figures.age_p95_ms:.0f} ms · {figures.dropped} dropped"
    )


def clock(seconds: float) -> str:
    """Format seconds as m:ss or h:mm:ss."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _rich_bar(stream: TextIO) -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    return Bar(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[fps]:.1f} fps"),
        TimeRemainingColumn(),
        console=Console(file=stream),
        transient=False,
    )
