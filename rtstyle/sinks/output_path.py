"""Where a video file is written: under a hidden name until it is complete, or under its own from the start."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from engines.atomic_write import flush_file, flush_folder, hidden_name, link_target
from engines.errors import SinkError
from engines.os_errors import advice, reason

OVERWRITE = "add --overwrite (in Python: overwrite=True)"
"""Hint about what would have to be replaced."""


def part_path(path: Path) -> Path:
    """Return the hidden name of an unfinished file, in the same folder so that it only has to be renamed.

    It contains the process number: two jobs with one output do not write into one file, and the last one wins.
    """
    return path.with_name(hidden_name(path.stem, f".rtstyle-part-{os.getpid()}{path.suffix}"))


class OutputPath:
    """A file to write, and what happens to it at the end.

    Args:
        target: final name, or a symbolic link to it; an existing file stays until the new one is complete, or has its
            first byte if visible.
        visible: use the final name from the start, so that a killed process leaves the file in place.
        part: name of the unfinished file, for one that a later process replaces; ``None`` for one of this process.

    Attributes:
        path: the file to write.

    Raises:
        OSError: it cannot be created.
    """

    def __init__(self, target: Path, *, visible: bool = False, part: Path | None = None) -> None:
        target = link_target(target)
        self._target, self._visible = target, visible
        self.path = target if visible else part or part_path(target)
        # Fails now if the file cannot be written; "a" keeps an existing one for now.
        self.path.open("ab" if visible else "wb").close()

    def publish(self, *, durable: bool = False) -> None:
        """Give the complete file its final name; raises OSError if that is impossible.

        Args:
            durable: wait until the disk has it, so that what it was made of may be removed.
        """
        if durable:
            flush_file(self.path)
        if not self._visible:
            self.path.replace(self._target)
        if durable:
            flush_folder(self._target.parent)

    def discard(self) -> None:
        """Remove an unfinished file, unless it is visible and not empty. May be called twice."""
        with suppress(OSError):
            if not self._visible or self.path.stat().st_size == 0:
                self.path.unlink(missing_ok=True)


@contextmanager
def write_errors(path: Path) -> Iterator[None]:
    """Turn errors of FFmpeg and of the system into SinkError."""
    import av

    try:
        yield
    except (av.FFmpegError, OSError) as error:
        raise SinkError(f"cannot write {path}: {reason(error)}", hint=advice(error)) from error
