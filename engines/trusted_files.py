"""Files that nobody else may touch: written whole or not at all, refused where somebody else could have written them.

What is checked: a file is a plain one, no link, has one name, is ours, and others may not write to it. A folder is ours
and others may not write to it; every folder above it is ours or root's, and others may not rename what is in it. Access
lists are covered, for their widest write permission shows in the bits of the group.
Windows has neither owners nor bits like these: there a file has to be a plain one and no link, and that others cannot
write to it rests on the folder, which lies in the user's own profile unless somebody names another one.
"""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from engines.errors import EngineError

PART = ".part"
"""How the names of files end that are being written."""

_UNIX = os.name == "posix"
_ANOTHER = "set RTSTYLE_CACHE to a folder of your own"
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_READ = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_BINARY", "O_CLOEXEC", "O_NOFOLLOW", "O_NONBLOCK"))

# What opening something else than a plain file of ours gives: a link, a file of somebody else, a folder, a socket.
_NOT_A_FILE = frozenset({errno.ELOOP, errno.EMLINK, errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENXIO})


class RefusedError(Exception):
    """A file is not what we left there, and must not be used."""


def check_folder(folder: Path) -> None:
    """Refuse a folder into which, or above which, somebody else may write.

    Args:
        folder: an absolute path without links, as ``Path.resolve`` gives it.

    Raises:
        EngineError: there is no such folder, or it cannot be trusted; the hint says what mends it.
    """
    try:
        state = folder.lstat()
        above = [(parent, parent.lstat()) for parent in folder.parents]
    except OSError as error:
        raise EngineError(f"there is no folder {folder}: {error.strerror}") from error
    if not stat.S_ISDIR(state.st_mode):
        raise EngineError(f"{folder} is no folder", hint=_ANOTHER)
    if not _UNIX:
        return
    if state.st_uid != os.geteuid():
        raise EngineError(f"{folder} belongs to another user", hint=_ANOTHER)
    if state.st_mode & _OTHERS_WRITE:
        raise EngineError(f"others may write into {folder}", hint=f"chmod go-w {folder}, or {_ANOTHER}")
    for parent, its in above:
        _check_above(folder, parent, its)


def _check_above(folder: Path, parent: Path, state: os.stat_result) -> None:
    """Who may rename entries of ``parent`` could put another folder in the place of ours."""
    if state.st_uid not in (0, os.geteuid()):
        raise EngineError(f"another user could exchange {folder}, for {parent} is theirs", hint=_ANOTHER)
    # In a folder with the sticky bit, like /tmp, only its owner renames an entry.
    if state.st_mode & _OTHERS_WRITE and not state.st_mode & stat.S_ISVTX:
        problem = f"others could exchange {folder}, for they may write into {parent}"
        raise EngineError(problem, hint=f"chmod go-w {parent}, or {_ANOTHER}")


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it that are missing, for the user alone.

    Raises:
        OSError: it cannot be made.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        with suppress(FileExistsError):  # another process was faster
            path.mkdir(mode=0o700)


def read_own(path: Path, limit_bytes: int) -> tuple[bytes, os.stat_result]:
    """What is in a file that only we can have written, and its state.

    Raises:
        FileNotFoundError: there is none.
        RefusedError: it is a link, not plain, not ours, writable by others, or larger than ``limit_bytes``.
        OSError: it cannot be read now.
    """
    if not _UNIX and path.is_symlink():  # there is no O_NOFOLLOW
        raise RefusedError(f"{path} is a link")
    try:
        descriptor = os.open(path, _READ)
    except OSError as error:
        if error.errno in _NOT_A_FILE:
            raise RefusedError(f"{path} is no file of ours") from error
        raise
    with os.fdopen(descriptor, "rb") as file:
        state = os.fstat(descriptor)
        _check_file(path, state)
        data = file.read(limit_bytes + 1)
    if len(data) > limit_bytes:
        raise RefusedError(f"{path} is over {limit_bytes} bytes")
    return data, state


def _check_file(path: Path, state: os.stat_result) -> None:
    """Raises: RefusedError: somebody else may have written it."""
    if not stat.S_ISREG(state.st_mode):
        raise RefusedError(f"{path} is no plain file")
    if _UNIX and (state.st_uid != os.geteuid() or state.st_mode & _OTHERS_WRITE or state.st_nlink != 1):
        raise RefusedError(f"{path} could be written by others")


def remove_strange(path: Path) -> None:
    """Remove what is not a plain file of ours, like a link in the place of a lock.

    Raises:
        OSError: it cannot be removed.
    """
    with suppress(FileNotFoundError):
        try:
            _check_file(path, path.lstat())
        except RefusedError:
            remove(path)


def write_own(folder: Path, files: Sequence[tuple[str, bytes]]) -> None:
    """Write files that appear under their names whole, and in this order.

    All of them are on the disk before the first one appears, so that a disk that is full changes nothing.

    Raises:
        OSError: one cannot be written; none has appeared, unless the disk failed between two renames.
    """
    parts: list[tuple[str, Path]] = []
    try:
        for name, data in files:
            descriptor, part = tempfile.mkstemp(prefix=f"{name}.", suffix=PART, dir=folder)  # 0600, and never a link
            parts.append((part, folder / name))
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        for part, path in parts:
            if path.is_dir() and not path.is_symlink():
                path.rmdir()  # nothing of ours is a folder; one that holds something stays, and is told
            os.replace(part, path)
        _flush_folder(folder)
    finally:
        for part, _ in parts:
            with suppress(OSError):
                Path(part).unlink()


def _flush_folder(folder: Path) -> None:
    """The names, too, shall outlast a loss of power."""
    if not _UNIX:
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(path: Path) -> int:
    """Remove a file, a link or an empty folder. Returns: the bytes that it had; 0 where there was nothing.

    Raises:
        OSError: it cannot be removed.
    """
    try:
        state = path.lstat()
        if stat.S_ISDIR(state.st_mode):
            path.rmdir()
        else:
            path.unlink()
    except FileNotFoundError:
        return 0
    return state.st_size
