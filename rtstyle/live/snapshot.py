"""Pictures and recordings saved during a run, named by date and time, in the current folder."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from threading import Lock

from engines.base import RGB
from engines.errors import SinkError
from engines.os_errors import advice, reason
from rtstyle.media.image_files import write_picture

_NAMING = Lock()
"""Held while a name is chosen, so that two threads never get the same one."""


def free_path(ending: str) -> Path:
    """Reserve a free name with this suffix by creating an empty file.

    Raises:
        OSError: the current folder is gone or not writable.
    """
    stem, number = f"rtstyle-{datetime.now().astimezone():%Y%m%d-%H%M%S}", 1
    path = Path(f"{stem}{ending}").absolute()
    with _NAMING:
        while path.exists():
            number += 1
            path = path.with_name(f"{stem}-{number}{ending}")
        path.open("xb").close()
    return path


def save_picture(rgb: RGB) -> Path:
    """Write a picture as PNG under a free name, and return its path."""
    try:
        path = free_path(".png")
    except OSError as error:
        hint = advice(error, "is the folder still there?")
        raise SinkError(f"cannot save a picture: {reason(error)}", hint=hint) from error
    try:
        write_picture(path, rgb)
    except SinkError:
        path.unlink(missing_ok=True)
        raise
    return path
