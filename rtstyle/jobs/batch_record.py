"""What a batch has finished, kept in its output folder, so that the same command goes on where it was."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from engines.atomic_write import atomic_write, link_target
from engines.errors import ConfigError, SinkError, SourceError
from engines.os_errors import advice, reason
from rtstyle.jobs.manifest import Manifest, identify
from rtstyle.media.urls import is_url, redact
from rtstyle.sinks.output_path import OVERWRITE, write_errors

logger = logging.getLogger(__name__)

RECORD = ".rtstyle-batch.jsonl"
"""Name of the record: a line for each output when it is begun, and another one when it is finished."""

LOCK = ".rtstyle-batch.lock"

VERSION = 1
"""Of the record; a newer one is refused."""

_HEADER = "rtstyle-batch"

_PART = re.compile(r"\.(rtstyle-part-\d+\.\w+|[0-9a-f]{8}\.part)$")
"""Ending of the hidden file in which a killed process has left an unfinished output."""


class BatchRecord:
    """The outputs of a folder, each with the input and the settings that it was made of.

    A line is appended before an output is begun and after it is finished, so that a kill at any moment leaves a record
    that tells a finished output, which appears as a whole, from a file that was there before.

    Args:
        folder: of the outputs; created if it does not exist. It is locked until ``close``.

    Attributes:
        recovered: outputs, relative to the folder, that a process had finished when it was killed, but not noted.
        died: outputs that a process was making when it was killed, or crashed.

    Raises:
        ConfigError: the record is that of a newer version, or another process is writing into the folder.
        SinkError: the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._finished: dict[str, dict[str, Any]] = {}
        self._before: dict[str, tuple[int, int, int] | None] = {}
        self.recovered: list[str] = []
        self.died: list[str] = []
        with write_errors(folder):
            folder.mkdir(exist_ok=True)
            self._lock = _lock(folder)
            try:
                self._settle(self._read())
                self._compact()
                self._file = (folder / RECORD).open("ab")
            except BaseException:
                self._lock.release()
                raise

    def close(self) -> None:
        """Unlock the folder. May be called twice."""
        with suppress(OSError):  # what could not be written was reported when it was
            self._file.close()
        self._lock.release()

    def is_finished(self, name: str, output: Path, settings: Mapping[str, Any], *, overwrite: bool) -> bool:
        """Return True if an output was made of this input with these settings, and is as it was written.

        Args:
            name: the input, file or URL.
            output: below the folder.
            settings: everything else that decides what the output looks like.
            overwrite: return False where another file would have to be replaced.

        Raises:
            SinkError: another file stands in the place of the output.
        """
        now = _stamp(output)
        if now is None:
            return False
        found = self._finished.get(self._key(output))
        problem = _difference(found, name, settings, now[0])
        if not problem:
            return True
        if overwrite:
            return False
        raise SinkError(f"{output} {problem}", hint=f"{OVERWRITE} to replace it")

    def begin(self, name: str, output: Path, settings: Mapping[str, Any]) -> None:
        """Note that an output is about to be made.

        Raises:
            SourceError: the input cannot be read.
            SinkError: the disk is full.
        """
        key, before = self._key(output), _stamp(output)
        self._append({"output": key, "input": _identify(name), "settings": dict(settings), "before": before})
        self._before[key] = before

    def finish(self, output: Path) -> None:
        """Note that an output is complete.

        Raises:
            SinkError: the disk is full.
        """
        stamp = _stamp(output)
        self._append({"output": self._key(output), "size": stamp[0] if stamp else 0})

    def give_up(self, output: Path) -> None:
        """Note that an output that was begun is not made now, unless it was just completed."""
        key, now = self._key(output), _stamp(output)
        with suppress(SinkError):  # then the next run takes it for one that a killed process left
            if _is_new(now, self._before.get(key, now)):
                self.finish(output)
            else:
                self._append({"output": key, "ended": True})

    def _key(self, output: Path) -> str:
        return output.relative_to(self._folder).as_posix()

    def _append(self, line: Mapping[str, Any]) -> None:
        with write_errors(self._folder / RECORD):
            self._file.write(_encoded(line))
            self._file.flush()

    def _read(self) -> dict[str, dict[str, Any]]:
        """Read the record, and return the outputs that were begun and not finished."""
        path = self._folder / RECORD
        begun = dict[str, dict[str, Any]]()
        if not path.exists():
            return begun
        bad = 0
        for text in path.read_bytes().splitlines():
            try:
                line = json.loads(text)
                if _HEADER in line:
                    _check_version(line[_HEADER], path)
                elif "size" in line:
                    key = str(line["output"])
                    self._finished[key] = {**begun.pop(key, {}), **line}
                elif "ended" in line:
                    begun.pop(line["output"], None)
                else:
                    before = line["before"]
                    begun[str(line["output"])] = {**line, "before": tuple(before) if before else None}
            except (ValueError, TypeError, KeyError):
                bad += 1
        if bad > 1:  # a process that was killed as it wrote leaves one
            logger.warning("%s is damaged in %d lines; outputs that they named count as files of others", path, bad)
        return begun

    def _settle(self, begun: Mapping[str, dict[str, Any]]) -> None:
        """Find out what became of outputs that were begun: they are there as a whole, or not at all."""
        unfinished = [self._folder / RECORD]
        for key, line in begun.items():
            output = self._folder / key
            now = _stamp(output)
            if now is not None and _is_new(now, line["before"]):
                self._finished[key] = {**line, "size": now[0]}
                self.recovered.append(key)
            else:
                self.died.append(key)
                unfinished.append(link_target(output))
        _remove_parts(unfinished)

    def _compact(self) -> None:
        """Write the record anew, without what is out of date."""
        with atomic_write(self._folder / RECORD) as file:
            file.write(_encoded({_HEADER: VERSION}))
            for line in self._finished.values():
                file.write(_encoded({key: value for key, value in line.items() if key != "before"}))


def _lock(folder: Path) -> FileLock:
    """Lock the folder; the kernel releases the lock of a process that dies."""
    lock = FileLock(folder / LOCK, fallback_to_soft=False)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        problem = f"another process is writing into {folder}"
        raise ConfigError(problem, hint="wait for it, stop it, or give another folder") from error
    return lock


def _check_version(version: object, path: Path) -> None:
    if not isinstance(version, int) or version > VERSION:
        hint = "update rtstyle, or give another folder"
        raise ConfigError(f"{path} was written by a newer version of rtstyle", hint=hint)


def _encoded(line: Mapping[str, Any]) -> bytes:
    return json.dumps(line).encode() + b"\n"


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """Return what changes when a file is replaced: its size, its date and its number; ``None`` if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns, found.st_ino


def _is_new(now: tuple[int, int, int] | None, before: tuple[int, int, int] | None) -> bool:
    """Return True if a file was written since; an empty one is what a power cut leaves."""
    return now is not None and now[0] > 0 and now != before


def _identify(name: str) -> dict[str, Any]:
    """Return the identity of an input; the date saves reading the files again when the command is repeated."""
    if is_url(name):
        return _identify_url(name)
    try:
        return {**identify(name), "mtime_ns": Path(name).stat().st_mtime_ns}
    except OSError as error:
        raise SourceError(f"cannot read {name}: {reason(error)}", hint=advice(error)) from error


def _identify_url(url: str) -> dict[str, Any]:
    return {"name": redact(url), "url_sha256": hashlib.sha256(os.fsencode(url)).hexdigest()}


def _difference(found: Mapping[str, Any] | None, name: str, settings: Mapping[str, Any], size: int) -> str:
    """Return why a file is not the output of an input and settings; empty if it is."""
    if found is None or not {"input", "settings"} <= found.keys():
        return "already exists"
    if found["size"] != size:
        return f"is not as it was written: it has {size} bytes instead of {found['size']}"
    if not _is_same(found["input"], name):
        return f"was made of another input than {name} is now"
    changes = Manifest({}, found["settings"]).differences(Manifest({}, settings))
    return f"was made with other settings: {'; '.join(changes)}" if changes else ""


def _is_same(identity: Mapping[str, Any], name: str) -> bool:
    if is_url(name):
        return identity == _identify_url(name)
    path = Path(name)
    try:
        found = path.stat()
        if (identity.get("name"), identity.get("size")) != (path.name, found.st_size):
            return False
        return (
            identity.get("mtime_ns") == found.st_mtime_ns
            or identity.get("ends_sha256") == identify(name)["ends_sha256"]
        )
    except OSError:
        return False


def _remove_parts(outputs: Iterable[Path]) -> None:
    """Remove the hidden files in which a killed process was writing."""
    names = defaultdict[Path, set[str]](set)
    for output in outputs:
        names[output.parent] |= {f".{output.stem}", f".{output.name}"}
    for folder, ours in names.items():
        with suppress(OSError):  # it may be gone
            for path in folder.iterdir():
                ending = _PART.search(path.name)
                if ending and path.name[: ending.start()] in ours:
                    path.unlink()
