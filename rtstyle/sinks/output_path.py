"""Where a file grows: hidden until it is complete, or under its own name from the start."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Protocol


class Place(Protocol):
    """A name to write to, and what becomes of it at the end."""

    @property
    def path(self) -> Path:
        """Where the bytes go."""
        ...

    def publish(self) -> None:
        """The file is complete: show it under its own name.

        Raises:
            OSError
        """
        ...

    def discard(self) -> None:
        """Remove what is not worth keeping; nothing after ``publish``. Twice is fine."""
        ...


def part_path(path: Path) -> Path:
    """Where a file grows until it is complete: hidden, in the same folder, so that renaming costs nothing.

    Each process has its own, so that two jobs with one output do not write into each other's file: the last one wins.
    """
    return path.with_name(f".{path.stem}.rtstyle-part-{os.getpid()}{path.suffix}")


class Hidden:
    """Nobody sees the file before it is complete, and a file of that name stays until then.

    Args:
        path: the name that it gets.

    Raises:
        OSError: it cannot be created.
    """

    def __init__(self, path: Path) -> None:
        self._target = path
        self.path = part_path(path)
        self.path.open("wb").close()

    def publish(self) -> None:
        """Rename it."""
        self.path.replace(self._target)

    def discard(self) -> None:
        """Remove the part."""
        with suppress(OSError):
            self.path.unlink(missing_ok=True)


class Growing:
    """The file has its name from its first byte on, so that a killed process leaves it where it is looked for.

    Args:
        path: its name; a file of that name stays until the first byte is written.

    Raises:
        OSError: it cannot be created.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.open("ab").close()  # tells now whether it can be written; what is there stays for the moment

    def publish(self) -> None:
        """It has its name already."""

    def discard(self) -> None:
        """Keep what was recorded; an empty file is nobody's recording."""
        with suppress(OSError):
            if self.path.stat().st_size == 0:
                self.path.unlink()
