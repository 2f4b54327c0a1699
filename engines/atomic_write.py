"""Files and folders that are either complete or absent."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from io import BufferedRandom
from pathlib import Path

PART = ".part"
"""Suffix of unfinished files; their names are ``.NAME.8 hex digits.part``."""

ABANDONED_S = 600
"""Age in seconds at which an unfinished file has no writer any more: a writer changes it every few seconds."""

OLD = ".old"
"""Suffix of a folder that is being replaced; its name is ``.NAME.8 hex digits.old``."""

ABANDONED_FOLDER_S = 86_400
"""Age in seconds at which such a folder, or an unfinished one, has no writer any more: none takes a day."""

NAME_BYTES = 255
"""Longest name of a file on common systems."""


_ABANDONED = re.compile(rf"\.(.+)\.[0-9a-f]{{8}}({re.escape(PART)}|{re.escape(OLD)})")


def hidden_name(name: str, ending: str) -> str:
    """Return the name of an unfinished file, ``.NAME`` and an ending, with as much of a long name as fits."""
    short = os.fsencode(name)[: NAME_BYTES - len(os.fsencode(ending)) - 1]
    return f".{short.decode(errors='ignore')}{ending}"


def link_target(path: Path) -> Path:
    """Return the file that a symbolic link points to, so that it is replaced and the link stays."""
    target = path.resolve() if path.is_symlink() else path
    return target if target.is_file() or not target.exists() else path


@contextmanager
def atomic_write(path: Path, *, durable: bool = False, private: bool = False) -> Iterator[BufferedRandom]:
    """Write a file beside the target, then rename it: readers see the old file or the new one, never half of one.

    Args:
        path: the target; it stays as it is if the body of the context raises.
        durable: flush the file and its name to the disk, so that this also holds for a power failure.
        private: let only this user read and write the file; a symbolic link in its place is not followed.
    """
    path = path if private else link_target(path)
    _remove_abandoned(path)
    part = path.with_name(hidden_name(path.name, f".{secrets.token_hex(4)}{PART}"))
    mode = 0o600 if private else 0o666
    try:
        with open(part, "x+b", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())
        part.replace(path)
        if durable:
            flush_folder(path.parent)
    finally:
        with suppress(OSError):  # must not hide the cause
            part.unlink(missing_ok=True)


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty, private folder beside the target to fill, then let it replace the target.

    If the body of the context raises, or the folder cannot replace the target, the target stays as it is. What a writer
    that was killed has left is removed a day later, see ``remove_abandoned_folders``.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned_folders(folder.parent, folder.name)
    draft = folder.with_name(hidden_name(folder.name, f".{secrets.token_hex(4)}{PART}"))
    draft.mkdir(mode=0o700)
    try:
        yield draft
        _replace_folder(folder, draft)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _replace_folder(folder: Path, draft: Path) -> None:
    if not folder.exists():
        draft.rename(folder)
        return
    aside = folder.with_name(hidden_name(folder.name, f".{secrets.token_hex(4)}{OLD}"))
    folder.rename(aside)
    try:
        draft.rename(folder)
    except OSError:
        aside.rename(folder)  # if even this fails, the old folder stays aside and is not deleted
        raise
    shutil.rmtree(aside, ignore_errors=True)


def remove_folder(folder: Path) -> None:
    """Delete a folder: it is there or not, even if deleting its files fails halfway. Raises OSError if it stays."""
    aside = folder.with_name(hidden_name(folder.name, f".{secrets.token_hex(4)}{PART}"))
    folder.rename(aside)
    shutil.rmtree(aside, ignore_errors=True)


def remove_abandoned_folders(parent: Path, name: str = "") -> None:
    """Remove what writers of folders that were killed have left in a folder more than a day ago.

    A folder that was to be replaced, and has no successor, gets its name back.

    Args:
        parent: the folder of the folders.
        name: of the only one to look at; by default all.
    """
    for path in parent.glob(escape(f".{name}.") + "????????.*" if name else ".*.????????.*"):
        match = _ABANDONED.fullmatch(path.name)
        with suppress(OSError):  # another process may have removed it just now
            if match is None or not path.is_dir() or time.time() - path.lstat().st_ctime < ABANDONED_FOLDER_S:
                continue
            if match[2] == OLD and not (successor := parent / match[1]).exists():
                path.rename(successor)
            else:
                shutil.rmtree(path)


def _remove_abandoned(path: Path) -> None:
    ending = f".{'?' * 8}{PART}"
    for part in path.parent.glob(escape(hidden_name(path.name, ending).removesuffix(ending)) + ending):
        with suppress(OSError):  # another process may have removed it just now
            if time.time() - part.stat().st_mtime > ABANDONED_S:
                part.unlink()


def flush_file(path: Path) -> None:
    """Flush a finished file to the disk."""
    with path.open("r+b") as file:
        os.fsync(file.fileno())


def flush_folder(folder: Path) -> None:
    """Flush the names in a folder to the disk, where the system can do that."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
