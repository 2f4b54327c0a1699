"""Where a video file is written: under a hidden name until it is complete, or under its own from the start."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def part_path(path: Path) -> Path:
    """Return the hidden name of an unfinished file, in the same folder so that it only has to be renamed.

    It contains the process number: two jobs with one output do not write into one file, and the last one wins.
    """
    return path.with_name(f".{path.stem}.rtstyle-part-{os.getpid()}{path.suffix}")


class OutputPath:
    """A file to write, and what happens to it at the end.

    Args:
        target: final name; an existing file stays until the new one is complete, or has its first byte if visible.
        visible: use the final name from the start, so that a killed process leaves the file in place.

    Attributes:
        path: the file to write.

    Raises:
        OSError: it cannot be created.
    """

    def __init__(self, target: Path, *, visible: bool = False) -> None:
        self._target, self._visible = target, visible
        self.path = target if visible else part_path(target)
        # Fails now if the file cannot be written; "a" keeps an existing one for now.
        self.path.open("ab" if visible else "wb").close()

    def publish(self) -> None:
        """Give the complete file its final name; raises OSError if that is impossible."""
        if not self._visible:
            self.path.replace(self._target)

    def discard(self) -> None:
        """Remove an unfinished file, unless it is visible and not empty. May be called twice."""
        with suppress(OSError):
            if not self._visible or self.path.stat().st_size == 0:
                self.path.unlink(missing_ok=True)
