"""Files that are whole or not there, and the parts that killed writers left."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from io import BufferedRandom
from pathlib import Path

ABANDONED_S = 600
"""Age at which nobody is writing to a part any more: whoever writes changes it every few seconds."""


@contextmanager
def atomic_write(path: Path, *, durable: bool = False) -> Iterator[BufferedRandom]:
    """Write beside the target and rename: whoever reads meanwhile sees the old file or the new one, never half of one.

    Args:
        path: the target; stays as it is when anything is raised inside the context.
        durable: flush to the disk before the rename, so that this holds for a power failure, too.

    Yields:
        the new file, open for writing and reading.

    Raises:
        OSError: it cannot be written.
    """
    _remove_abandoned(path)
    part = path.with_name(f".{path.name}.part-{secrets.token_hex(4)}")
    try:
        with part.open("x+b") as file:
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())
        part.replace(path)
    finally:
        with suppress(OSError):  # it must not hide what went wrong
            part.unlink(missing_ok=True)


def _remove_abandoned(path: Path) -> None:
    for part in path.parent.glob(f".{escape(path.name)}.part-*"):
        with suppress(OSError):  # another process may have removed it just now
            if time.time() - part.stat().st_mtime > ABANDONED_S:
                part.unlink()
