"""What a command says while it stylizes many files into a folder, and at the end."""

from __future__ import annotations

import logging
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from rtstyle.commands.options import print_json
from rtstyle.media.urls import redact
from rtstyle.sinks.output_path import OVERWRITE

if TYPE_CHECKING:
    from engines.errors import StylerError
    from rtstyle.jobs.folder_batch import FolderBatch

logger = logging.getLogger(__name__)

REDRAW_S = 0.1
"""Seconds between two drawings of the progress line."""

GUESS_AFTER_S = 2.0
"""Seconds of work before the time left is guessed."""

WIDTH = 80
"""Longest progress line, in columns."""


class BatchDisplay:
    """Shows the progress of a batch as one line on a terminal, or a line for each file elsewhere; then the result.

    Args:
        batch: its results are told in its order.
        noun: plural of what it is made of.
        quiet: show warnings and errors only.
        as_json: print an object for each file on standard output.
    """

    def __init__(self, batch: FolderBatch, noun: str, *, quiet: bool, as_json: bool) -> None:
        self._batch, self._noun, self._as_json = batch, noun, as_json
        self._drawing = sys.stderr.isatty() and not quiet
        self._quiet = quiet
        self._sizes = [max(1, task.size) for task in batch.tasks]
        self._failures: list[str] = []
        self._only_error: StylerError | None = None
        self._in_the_way = 0  # failures because another file stands there
        self._told = self._done = 0
        self._measured, self._resumed = -1, 0.0
        self._start_s = time.monotonic()
        self._next_s = 0.0
        if batch.finished:
            logger.info("%d of %d %s are finished already", len(batch.finished), len(batch), noun)
        self._show(0.0)
        if as_json:
            for task in batch.finished:
                print_json({"input": task.input, "output": task.output, "status": "skipped"})

    @property
    def current(self) -> int:
        """Number of the task that is being worked on, from 0."""
        return max(0, self._told - len(self._batch.problems))

    def update(self, fraction: float) -> None:
        """Show how much of the current file is done, 0 … 1."""
        if self._measured < self.current < len(self._sizes):  # its first frame: what is there already cost no time
            self._measured = self.current
            self._resumed += fraction * self._sizes[self.current]
        self._show(fraction)

    def _show(self, fraction: float) -> None:
        now_s = time.monotonic()
        if not self._drawing or now_s < self._next_s or self.current >= len(self._sizes):
            return
        self._next_s = now_s + REDRAW_S
        percent = f"{min(fraction, 1.0):.0%}".replace("%", " %")
        left = self._left(fraction, now_s - self._start_s)
        self._draw(self._line(self._batch.tasks[self.current].output, percent, *left))

    def done(self, output: Path, text: str, report: Mapping[str, Any]) -> None:
        """Tell that a file is complete."""
        if not self._drawing:
            logger.info("%s", self._line(output, text, width=None))
        if self._as_json:
            print_json({"status": "done", **report})
        self._told += 1
        self._done += 1
        self._show(0.0)

    def failed(self, name: str, output: Path, error: StylerError) -> None:
        """Tell that a file could not be stylized."""
        line = _plain(str(error))
        if not self._quiet:
            logger.info("%s", self._line(output, f"failed: {line}", width=None))
        if self._as_json:
            told = {"problem": error.problem, "hint": error.hint}
            print_json({"status": "failed", "input": name, "output": output, **told})
        self._told += 1
        self._show(0.0)
        shown = _plain(redact(name))
        self._failures.append(line if Path(shown).name in line else f"{shown}: {line}")
        self._only_error = error
        self._in_the_way += OVERWRITE in error.hint

    @contextmanager
    def explaining_stop(self, kept: Callable[[], str] = str) -> Iterator[None]:
        """When the run ends before all files are done, say what is kept, and how it goes on.

        Args:
            kept: returns what is kept of an unfinished file; empty if nothing is.
        """
        from engines.errors import StylerError

        try:
            yield
        except (KeyboardInterrupt, StylerError) as error:
            self._erase()
            done = f"{self._done + len(self._batch.finished)} of {len(self._batch)} {self._noun} are done"
            rest = kept()
            if self._told or rest or isinstance(error, KeyboardInterrupt):  # not if the engine has a wrong name
                logger.warning("stopped: %s; the same command goes on", ", ".join(filter(None, (done, rest))))
            raise

    def finish(self) -> None:
        """Print the summary.

        Raises:
            SourceError: files could not be stylized; the only file's own error if there is just one.
        """
        from engines.errors import SourceError

        self._erase()
        if self._only_error is not None and len(self._batch) == 1:
            raise self._only_error
        if not self._quiet:
            rows = ("done", self._done), ("skipped", len(self._batch.finished)), ("failed", len(self._failures))
            width = len(str(len(self._batch)))
            typer.echo("\n".join(f"{label:<8}{count:>{width}}" for label, count in rows), err=True)
        for failure in self._failures:
            logger.error("%s", failure)
        if self._failures:
            problem = f"{len(self._failures)} of {len(self._batch)} {self._noun} could not be stylized"
            raise SourceError(problem, hint=self._how_to_go_on())

    def _how_to_go_on(self) -> str:
        again = "the same command tries them again, and skips what is done"
        if not self._in_the_way:
            return again
        replace = f"{OVERWRITE} to replace files that were made otherwise"
        return replace if self._in_the_way == len(self._failures) else f"{again}; {replace}"

    def _line(self, output: Path, *parts: str, width: int | None = WIDTH) -> str:
        number = len(self._batch.finished) + self._told + 1
        name = _plain(str(output.relative_to(self._batch.folder)) if output != self._batch.folder else str(output))
        first, rest = f"{number} of {len(self._batch)} · ", "".join(f" · {part}" for part in parts)
        return first + (name if width is None else _fitted(name, width - len(first) - len(rest) - 1)) + rest

    def _left(self, fraction: float, seconds: float) -> list[str]:
        current = self.current
        done = sum(self._sizes[:current]) + fraction * self._sizes[current]
        if seconds < GUESS_AFTER_S or done <= self._resumed:
            return []
        return [f"{about((sum(self._sizes) - done) * seconds / (done - self._resumed))} left in all"]

    def _draw(self, line: str) -> None:
        with suppress(OSError):  # the terminal may be gone
            sys.stderr.write(f"\r\x1b[2K{line}")
            sys.stderr.flush()

    def _erase(self) -> None:
        if self._drawing:
            self._draw("")


def about(seconds: float) -> str:
    """Return a duration as people say it: 40 s, 2 min, 3 h 10 min."""
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def _fitted(name: str, width: int) -> str:
    """Shorten a name to so many columns, of which wide characters take two."""
    from rich.cells import cell_len, set_cell_size

    columns = shutil.get_terminal_size((WIDTH, 24)).columns
    width = max(8, width - max(0, WIDTH - columns))
    return name if cell_len(name) <= width else set_cell_size(name, width - 1) + "…"


def _plain(text: str) -> str:
    """Return one line without control characters, which names of files may have."""
    return "".join(letter if letter.isprintable() else "?" for letter in " ".join(text.split()))
