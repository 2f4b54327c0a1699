"""Files that only this user can have written, and the checks that refuse all others.

A file must be a regular file with a single name that belongs to this user and that others cannot write to. A folder
must belong to this user, others must not be able to write to it, and every folder above it must belong to this user or
to root and keep others from renaming its entries. Access control lists are covered, since their widest write permission
shows in the group's bits.
Windows has no such owners and bits: there a file must be a regular file, and protection from others rests on the
folder, which lies in the user's profile unless another one is configured.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from engines.atomic_write import atomic_write
from engines.errors import EngineError
from engines.os_errors import advice, reason

_UNIX = os.name == "posix"
_HINT = "set RTSTYLE_CACHE to a folder of your own"
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_READ = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_BINARY", "O_CLOEXEC", "O_NOFOLLOW", "O_NONBLOCK"))

# Errors when opening anything but a regular file of ours: a link, another user's file, a folder, a socket.
_NOT_A_FILE = frozenset({errno.ELOOP, errno.EMLINK, errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENXIO})


class RefusedError(Exception):
    """A file is not as it was written, and must not be used."""


def check_folder(folder: Path) -> None:
    """Check that nobody else can write to a folder or replace it; its path has no links, as from ``Path.resolve``.

    Raises:
        EngineError: there is no such folder, or it cannot be trusted; the hint says how to fix it.
    """
    try:
        state = folder.lstat()
        above = [(parent, parent.lstat()) for parent in folder.parents]
    except OSError as error:
        raise EngineError(f"cannot use the folder {folder}: {reason(error)}", hint=advice(error)) from error
    if not stat.S_ISDIR(state.st_mode):
        raise EngineError(f"{folder} is not a folder", hint=_HINT)
    if not _UNIX:
        return
    if state.st_uid != os.geteuid():
        raise EngineError(f"{folder} belongs to another user", hint=_HINT)
    if state.st_mode & _OTHERS_WRITE:
        raise EngineError(f"other users may write to {folder}", hint=f"chmod go-w {folder}, or {_HINT}")
    for parent, its in above:
        _check_above(folder, parent, its)


def _check_above(folder: Path, parent: Path, state: os.stat_result) -> None:
    """Check that nobody else can rename entries of ``parent``, and so replace the folder."""
    if state.st_uid not in (0, os.geteuid()):
        raise EngineError(f"another user could replace {folder}, because {parent} belongs to them", hint=_HINT)
    # In a folder with the sticky bit, like /tmp, only the owner of an entry can rename it.
    if state.st_mode & _OTHERS_WRITE and not state.st_mode & stat.S_ISVTX:
        problem = f"other users could replace {folder}, because they may write to {parent}"
        raise EngineError(problem, hint=f"chmod go-w {parent}, or {_HINT}")


def make_folder(folder: Path) -> None:
    """Create a folder and its missing parents, accessible to this user only."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        with suppress(FileExistsError):  # another process created it
            path.mkdir(mode=0o700)


def read_own(path: Path, limit_bytes: int) -> tuple[bytes, os.stat_result]:
    """Return the contents and the state of a file that only this user can have written.

    Raises:
        FileNotFoundError: there is none.
        RefusedError: it is a link, not a regular file, not ours, writable by others, or over ``limit_bytes``.
        OSError: it cannot be read.
    """
    if not _UNIX and path.is_symlink():  # Windows has no O_NOFOLLOW
        raise RefusedError(f"{path} is a link")
    try:
        descriptor = os.open(path, _READ)
    except OSError as error:
        if error.errno in _NOT_A_FILE:
            raise RefusedError(f"{path} is not a file of this user") from error
        raise
    with os.fdopen(descriptor, "rb") as file:
        state = os.fstat(descriptor)
        _check_file(path, state)
        data = file.read(limit_bytes + 1)
    if len(data) > limit_bytes:
        raise RefusedError(f"{path} is over {limit_bytes} bytes")
    return data, state


def _check_file(path: Path, state: os.stat_result) -> None:
    """Raise RefusedError if somebody else may have written the file."""
    if not stat.S_ISREG(state.st_mode):
        raise RefusedError(f"{path} is not a regular file")
    if _UNIX and (state.st_uid != os.geteuid() or state.st_mode & _OTHERS_WRITE or state.st_nlink != 1):
        raise RefusedError(f"others may write to {path}")


def remove_untrusted(path: Path) -> None:
    """Remove a path unless it is a regular file of ours; a lock might have been replaced with a link, for example."""
    with suppress(FileNotFoundError):
        try:
            _check_file(path, path.lstat())
        except RefusedError:
            remove(path)


def write_own(folder: Path, files: Sequence[tuple[str, bytes]]) -> None:
    """Write files for this user alone; each appears complete, in this order.

    All of them are on the disk before the first one appears, so a full disk changes nothing.

    Raises:
        OSError: one cannot be written; none has appeared, unless the disk failed between two renames.
    """
    with ExitStack() as stack:
        for name, data in reversed(files):  # the stack publishes the last one first
            file = stack.enter_context(atomic_write(folder / name, durable=True, private=True))
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        for name, _ in files:
            path = folder / name
            if path.is_dir() and not path.is_symlink():
                path.rmdir()  # no file of ours is a folder; one that is not empty stays and raises


def remove(path: Path) -> int:
    """Remove a file, a link or an empty folder; return its size in bytes, or 0 if there was none."""
    try:
        state = path.lstat()
        if stat.S_ISDIR(state.st_mode):
            path.rmdir()
        else:
            path.unlink()
    except FileNotFoundError:
        return 0
    return state.st_size
