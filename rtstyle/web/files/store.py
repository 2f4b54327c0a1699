"""The folder of ``--files``: uploads, results and their records, within a limit, and intact after a kill."""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import secrets
import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, BinaryIO

from filelock import FileLock, Timeout

from engines.atomic_write import atomic_write, flush_folder
from engines.errors import ConfigError, SinkError
from engines.os_errors import advice, reason
from rtstyle.controls import Controls
from rtstyle.jobs.manifest import JOB_SUFFIX
from rtstyle.web.files import worker
from rtstyle.web.files.names import is_picture, result_name, result_suffix, shown_name, stored_suffix

RECORD = "file.json"
"""What is known about a file, in its folder."""

LOCK = ".rtstyle-files.lock"
"""File in the folder that is locked while a server uses it."""

MOST_FILES = 200
"""Files in the folder at a time; each is a line on the page."""

SPARE_BYTES = 200 << 20
"""Space on the disk that is left to others."""

WAITING, RUNNING, DONE, FAILED, STOPPED = "waiting", "running", "done", "failed", "stopped"
"""States of a file."""

VERSION = 1
"""Of the records."""

_ID = re.compile(r"[0-9a-f]{16}")
_DRAFT = re.compile(r"\.[0-9a-f]{16}\.part")
"""Folder of an upload until it is complete, or of a file that is being removed."""

logger = logging.getLogger(__name__)


@dataclass
class StoredFile:
    """An upload and what became of it.

    Attributes:
        id: name of its folder.
        name: as shown; never a path.
        style, strength, scale, colours, only, faces: how to stylize it.
        order: place in the queue; the lowest is next.
        state: ``WAITING``, ``RUNNING``, ``DONE``, ``FAILED`` or ``STOPPED``.
        problem: why it failed, in words.
        notes: about the result, one line each.
        width, height: of the result, pixels; 0 before. frames, total, fps: progress; ``total`` is 0 while unknown.
        size: of everything in its folder, bytes.
    """

    id: str
    name: str
    style: str
    strength: float = 1.0
    scale: float = 1.0
    colours: float = 0.0
    only: str = "all"
    faces: float = 0.0
    order: int = 0
    state: str = WAITING
    problem: str = ""
    notes: tuple[str, ...] = ()
    width: int = 0
    height: int = 0
    frames: int = 0
    total: int = 0
    fps: float = 0.0
    size: int = 0

    @property
    def upload_name(self) -> str:
        """Name of the upload in its folder."""
        return f"input{stored_suffix(self.name)}"

    @property
    def output_name(self) -> str:
        """Name of the result in its folder."""
        return f"output{result_suffix(self.name)}"

    @property
    def download_name(self) -> str:
        """Name that the result has for whoever downloads it."""
        return result_name(self.name, self.style)

    @property
    def is_picture(self) -> bool:
        """True for a picture, False for a video."""
        return is_picture(self.name)

    @property
    def is_readable(self) -> bool:
        """False if its record is damaged, so that it can only be removed."""
        return bool(self.style)

    def forget_progress(self) -> None:
        """Begin the progress again."""
        self.frames, self.total, self.fps = 0, 0, 0.0


class FileStore:
    """The files in a folder. Call it from one thread, but for ``measure`` and ``tidy``.

    Args:
        folder: created if it does not exist. Whatever else is in it is left alone.
        limit: of all uploads and results, bytes.

    Attributes:
        files: id → file.

    Raises:
        ConfigError: the folder cannot be created or written, or another server uses it.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        # Absolute, because it is handed to other processes.
        self.folder, self.limit = folder.expanduser().absolute(), limit
        self._reserved = 0
        self._lock = _lock(self.folder)
        try:
            self.files = self._load()
        except OSError as error:
            self._lock.release()
            raise _unusable(self.folder, error) from error

    def close(self) -> None:
        """Let another server use the folder; may be called twice."""
        self._lock.release()

    @property
    def used(self) -> int:
        """Bytes of all uploads and results, with those that are being uploaded."""
        return self._reserved + sum(file.size for file in self.files.values())

    @property
    def room(self) -> int:
        """Bytes that may still be uploaded."""
        return max(0, min(self.limit - self.used, self._free()))

    def home(self, file: StoredFile) -> Path:
        """Return the folder of a file."""
        return self.folder / file.id

    def next_waiting(self) -> StoredFile | None:
        """Return the file to stylize next."""
        waiting = [file for file in self.files.values() if file.state == WAITING]
        return min(waiting, key=lambda file: file.order, default=None)

    def begin(self, name: str, size: int, how: Controls) -> Upload:
        """Reserve room for an upload, before any of it is read.

        Args:
            name: what the browser calls it.
            size: bytes.
            how: style and settings.

        Raises:
            SinkError: it would exceed the limit, or what the disk has free; or there are too many files.
        """
        if len(self.files) >= MOST_FILES:
            raise SinkError(f"there are {MOST_FILES} files already", hint="remove some first")
        if size > self.limit - self.used:
            allowed = shown_size(max(0, self.limit - self.used))
            raise SinkError(
                f"{shown_size(size)} do not fit: {allowed} of {shown_size(self.limit)} are left",
                hint="remove files, or start the server with a higher --files-limit",
            )
        if size > self._free():
            raise SinkError(f"the server's disk has no room for {shown_size(size)}", hint="remove files")
        look = {name: getattr(how, name) for name in worker.LOOK}
        file = StoredFile(secrets.token_hex(8), shown_name(name), **look, order=self._last_place())
        return Upload(self, file, size)

    def enqueue(self, file: StoredFile) -> None:
        """Put a file at the end of the queue; a result that is there already counts."""
        file.order = self._last_place()
        file.forget_progress()
        self.set_state(file, DONE if (self.home(file) / file.output_name).is_file() else WAITING)

    def set_state(self, file: StoredFile, state: str, problem: str = "") -> None:
        """Change the state of a file, and record it unless it is only running."""
        file.state, file.problem = state, problem
        if state == RUNNING:
            return
        try:
            record(self.home(file), file)
        except OSError as error:  # it is known until the server ends
            logger.warning("cannot record the state of %s: %s", file.name, reason(error))

    def tidy(self, file: StoredFile) -> None:
        """Remove what stylizing left behind, and the upload of a file that is done; any thread may call it."""
        unfinished = {file.upload_name, f"{file.output_name}{JOB_SUFFIX}", worker.LOCK}
        keep = {RECORD, file.output_name} | (set() if file.state == DONE else unfinished)
        with suppress(OSError):
            for path in self.home(file).iterdir():
                if path.name not in keep:
                    _remove(path)
        self.measure(file)

    def measure(self, file: StoredFile) -> None:
        """Note how many bytes a file takes now; any thread may call it."""
        file.size = _size(self.home(file))

    def remove(self, file: StoredFile) -> Path:
        """Remove a file, and return the folder of what belonged to it, which is still to be deleted.

        Raises:
            SinkError: the system does not let it go.
        """
        draft = self.folder / f".{file.id}.part"
        try:
            self.home(file).rename(draft)  # from now on it is gone, whatever happens
        except FileNotFoundError:
            pass
        except OSError as error:
            hint = advice(error, "is it being downloaded?")
            raise SinkError(f"cannot remove {file.name}: {reason(error)}", hint=hint) from error
        self.files.pop(file.id, None)
        return draft

    def reserve(self, size: int) -> None:
        """Count bytes as used; a negative number takes them back."""
        self._reserved += size

    def _last_place(self) -> int:
        return 1 + max((file.order for file in self.files.values()), default=0)

    def _free(self) -> int:
        try:
            return shutil.disk_usage(self.folder).free - SPARE_BYTES
        except OSError:
            return 0

    def _load(self) -> dict[str, StoredFile]:
        """Read all records, and remove what an earlier server was uploading or removing when it ended."""
        files = {}
        for path in sorted(self.folder.iterdir()):
            if path.is_symlink() or not path.is_dir():
                continue
            if _DRAFT.fullmatch(path.name):
                shutil.rmtree(path, ignore_errors=True)
            elif _ID.fullmatch(path.name):
                files[path.name] = file = _read(path)
                if file.state == WAITING and (path / file.output_name).is_file():
                    file.state = DONE  # the server ended before it could record that
                if file.is_readable:
                    self.tidy(file)
                self.measure(file)
        return files


class Upload:
    """A file while it comes in, hidden until it is complete. Close it in any case.

    Attributes:
        file: what is known about it.
        folder: where it is written.

    Raises:
        SinkError: it cannot be created.
    """

    def __init__(self, store: FileStore, file: StoredFile, size: int) -> None:
        self.file, self.folder = file, store.folder / f".{file.id}.part"
        self._store, self._size = store, size
        self._data: BinaryIO | None = None
        self._complete = False
        try:
            self.folder.mkdir(mode=0o700)
            self._data = (self.folder / file.upload_name).open("xb")
        except OSError as error:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise _full(error) from error
        store.reserve(size)

    def write(self, data: bytes) -> None:
        """Add bytes; raises SinkError if the disk is full."""
        assert self._data is not None
        try:
            self._data.write(data)
        except OSError as error:
            raise _full(error) from error

    def finish(self) -> None:
        """Give the complete file its place in the folder, all at once; raises SinkError if the disk is full."""
        assert self._data is not None
        try:
            self._data.flush()
            os.fsync(self._data.fileno())
            self._data.close()
            record(self.folder, self.file, durable=True)
            self.folder.rename(self._store.home(self.file))
            flush_folder(self._store.folder)
        except OSError as error:
            raise _full(error) from error
        self._store.measure(self.file)
        self._complete = True

    def close(self) -> None:
        """List the file if it is complete, and remove it otherwise. May be called twice."""
        if self._data is None:
            return
        with suppress(OSError):  # what is still buffered finds no room
            self._data.close()
        self._data = None
        self._store.reserve(-self._size)
        if self._complete:
            self._store.files[self.file.id] = self.file
        else:
            shutil.rmtree(self.folder, ignore_errors=True)


def shown_size(size: int) -> str:
    """Return a number of bytes in the units of ``--files-limit``: ``1.2 GB``."""
    for unit, step in (("GB", 1e9), ("MB", 1e6)):
        if size >= step:
            return f"{size / step:.1f} {unit}"
    return f"{size / 1e3:.0f} KB"


def record(folder: Path, file: StoredFile, *, durable: bool = False) -> None:
    """Write what is known about a file into its folder; raises OSError if that is impossible."""
    state = WAITING if file.state == RUNNING else file.state
    text = json.dumps({"version": VERSION, **asdict(file), "state": state}, indent=1, ensure_ascii=False)
    with atomic_write(folder / RECORD, durable=durable) as target:
        target.write(text.encode())


def _lock(folder: Path) -> FileLock:
    """Create the folder, and lock it; the kernel releases the lock of a server that dies."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK, fallback_to_soft=False)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise ConfigError(f"another server uses the folder {folder}", hint="give another one to --files") from error
    except OSError as error:
        raise _unusable(folder, error) from error
    return lock


def _unusable(folder: Path, error: OSError) -> ConfigError:
    why = "it is a file" if error.errno == errno.EEXIST else reason(error)
    return ConfigError(f"cannot use the folder {folder}: {why}", hint="give --files a folder that you can write")


def _full(error: OSError) -> SinkError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return SinkError("the server's disk is full", hint="remove files")
    return SinkError(f"the server cannot store the file: {reason(error)}", hint=advice(error, "try again"))


def _read(folder: Path) -> StoredFile:
    """Return the file of a folder; a record that cannot be read becomes a failed one, which can be removed."""
    try:
        found: dict[str, Any] = json.loads((folder / RECORD).read_text("utf-8"))
        if int(found["version"]) > VERSION:
            raise ValueError("a newer rtstyle wrote it")
        known = {field.name for field in fields(StoredFile)}
        file = StoredFile(**{name: value for name, value in found.items() if name in known})
        if file.id != folder.name or file.name != shown_name(file.name):
            raise ValueError("it belongs to another file")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        problem = f"its record cannot be read: {error}"
        return StoredFile(folder.name, folder.name, "", state=FAILED, problem=problem)
    return file


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _size(folder: Path) -> int:
    total = 0
    with suppress(OSError):
        for entry in os.scandir(folder):
            with suppress(OSError):  # it has just gone
                is_folder = entry.is_dir(follow_symlinks=False)
                total += _size(Path(entry.path)) if is_folder else entry.stat(follow_symlinks=False).st_size
    return total
