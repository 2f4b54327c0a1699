"""The cache of built engines on this machine: the raw bytes of each, and metadata beside them.

    DIGEST.plan     the engine's bytes
    DIGEST.json     its key, size, sha256 and build time, and the builder's own metadata
    DIGEST.fault    instead of the two: why it could not be built
    DIGEST.lock     held while it is built or written

An engine is code for this GPU. It is built here, stays in a folder that only its user can write to, and is used only
if every bit is what was stored; nothing is ever unpickled. ``engines.trusted_files`` lists the checks.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from engines.atomic_write import PART
from engines.cache_dirs import FOLDER_VARIABLES, cache_folder
from engines.errors import EngineError
from engines.trt.plan_record import (
    FAULT,
    FORMAT,
    LOCK,
    METADATA,
    PLAN,
    Entry,
    Plan,
    PlanKey,
    digest_of,
    entry,
    fault_entry,
    figures,
    read_metadata,
    seal,
)
from engines.trusted_files import (
    RefusedError,
    check_folder,
    make_folder,
    read_own,
    remove,
    remove_untrusted,
    write_own,
)

__all__ = ["BusyError", "Entry", "Plan", "PlanCache", "PlanKey"]

FOLDER_VARIABLE = FOLDER_VARIABLES["engines"]

FAULT_LENGTH = 500
"""Characters of a fault that are kept."""

FAULTS_KEPT = 256
"""Failed builds that are remembered; the newest are."""

WRITE_WAIT_S = 60.0
"""How long a writer waits for another writer of the same engine, seconds."""

DEAD_AFTER_S = 3600.0
"""Age of an unfinished file whose writer must be dead, since writing takes seconds."""

_OURS = re.compile(r"\.?([0-9a-f]{64})(\.plan|\.json|\.fault|\.lock)(\..*\.part)?")


class BusyError(EngineError):
    """Another process or thread holds the lock of an engine."""


class PlanCache:
    """Engines on the disk; the least recently used are removed once they exceed a limit.

    Args:
        folder: by default RTSTYLE_CACHE, or the user's cache folder. It is created when it is needed.
        limit_bytes: for all engines together.

    Raises:
        EngineError: another user may write to the folder, or could replace it.
    """

    def __init__(self, folder: Path | None = None, limit_bytes: int = 2 << 30) -> None:
        named = folder or cache_folder("engines")
        try:
            # Links are followed once, here: changing one later has no effect.
            self.folder = named.expanduser().resolve()
        except (OSError, RuntimeError, ValueError) as error:  # no home, or links in a circle
            raise EngineError(f"{named} cannot be used: {error}", hint=f"set {FOLDER_VARIABLE} to a folder") from error
        self.limit_bytes = limit_bytes
        self._exists()

    def get(self, key: PlanKey) -> Plan | None:
        """Return the engine, or ``None``. A damaged one is removed.

        Raises:
            EngineError: the folder is not safe to use.
        """
        if not self._exists():
            return None
        try:
            return self._read(key)
        except OSError:  # missing, or not readable now: it can be rebuilt
            return None
        except RefusedError:
            return self._read_again(key)

    def put(self, key: PlanKey, plan: bytes, *, seconds: float, extra: Mapping[str, Any]) -> None:
        """Store an engine, forget its fault, and make room.

        Args:
            key: what it is for.
            plan: its bytes.
            seconds: time that the build took.
            extra: plain JSON that ``get`` returns.

        Raises:
            EngineError: it cannot be written, it exceeds the limit, or ``extra`` is not plain JSON.
        """
        metadata = seal(
            {
                "format": FORMAT,
                "key": asdict(key),
                "sha256": hashlib.sha256(plan).hexdigest(),
                "bytes": len(plan),
                "seconds": float(seconds),
                "extra": dict(extra),
            }
        )
        if len(plan) + len(metadata) > self.limit_bytes:
            raise EngineError(
                f"an engine of {len(plan) >> 20} MB is more than the limit of {self.limit_bytes >> 20} MB for all"
            )
        with self.lock(key, WRITE_WAIT_S), self._writing():
            self._sweep(key.digest)
            remove(self._path(key, FAULT))
            # Older metadata does not match the new engine: it has another sha256.
            write_own(self.folder, [(key.digest + PLAN, plan), (key.digest + METADATA, metadata)])
        self._shrink(key.digest)

    def fault(self, key: PlanKey) -> str:
        """Return why the engine could not be built; empty if it exists or was never tried.

        Raises:
            EngineError: the folder is not safe to use.
        """
        path = self._path(key, FAULT)
        if not self._exists():
            return ""
        try:
            return fault_entry(path, key).fault
        except OSError:
            return ""
        except RefusedError:
            with suppress(OSError):
                remove(path)
            return ""

    def mark_failed(self, key: PlanKey, fault: str, *, extra: Mapping[str, Any] | None = None) -> None:
        """Remember that the engine cannot be built or used, until the key changes or ``clear``; remove it if it exists.

        Args:
            key: what it would have been for.
            fault: why; kept as one line.
            extra: plain JSON for ``entries``.

        Raises:
            EngineError: the fault cannot be written.
        """
        line = " ".join(fault.split())[:FAULT_LENGTH] or "it cannot be built"
        metadata = seal({"format": FORMAT, "key": asdict(key), "fault": line, "extra": dict(extra or {})})
        with self._writing():
            self._ready()
            write_own(self.folder, [(key.digest + FAULT, metadata)])
            for suffix in (METADATA, PLAN):
                remove(self._path(key, suffix))
            faults = [path for path in self._files() if path.suffix == FAULT]
            for path in sorted(faults, key=_age_s)[FAULTS_KEPT:]:
                remove(path)

    def entries(self) -> list[Entry]:
        """Return engines and faults, the most recently used first, without damaged ones. Reads no engine's bytes.

        Raises:
            EngineError: the folder is not safe to use.
        """
        found: list[Entry] = []
        for path in self._files():
            with suppress(OSError, RefusedError):
                if path.suffix == METADATA:
                    found.append(entry(path))
                elif path.suffix == FAULT:
                    found.append(fault_entry(path))
        return sorted(found, key=lambda entry: -entry.used_s)

    def clear(self) -> int:
        """Remove all engines, faults and leftovers, except engines that are being built. Returns: bytes freed.

        Raises:
            EngineError: the folder is not safe to use, or not writable.
        """
        freed = 0
        for digest in sorted({digest_of(path) for path in self._files()}):
            with suppress(BusyError), self._locked(digest, 0), self._writing():
                # Metadata goes first. The lock goes last, while it is held: whoever waits for it then makes a new one.
                mine = [path for path in self._files() if digest_of(path) == digest]
                freed += sum(remove(path) for path in sorted(mine, key=lambda path: _ORDER.get(path.suffix, 0)))
        return freed

    @contextmanager
    def lock(self, key: PlanKey, timeout_s: float) -> Iterator[None]:
        """Lock the engine against other processes and threads; re-entrant within a thread.

        The kernel releases the lock of a process that dies.

        Args:
            key: which engine.
            timeout_s: how long to wait, seconds.

        Raises:
            BusyError: another process or thread still holds it.
            EngineError: the folder is not writable, or not safe to use.
        """
        with self._locked(key.digest, timeout_s):
            yield

    @contextmanager
    def _locked(self, digest: str, timeout_s: float) -> Iterator[None]:
        from filelock import FileLock, Timeout

        path = self.folder / (digest + LOCK)
        with self._writing():
            self._ready()
            remove_untrusted(path)
            # Without flock, a lock that is a mere file would outlive its owner.
            lock = FileLock(path, mode=0o600, is_singleton=True, fallback_to_soft=False)
            try:
                lock.acquire(timeout=max(0.0, timeout_s), poll_interval=0.1)
            except Timeout as error:
                raise BusyError("another process is building this engine", hint="wait for it, or stop it") from error
        try:
            yield
        finally:
            lock.release()

    def _path(self, key: PlanKey, suffix: str) -> Path:
        return self.folder / (key.digest + suffix)

    def _exists(self) -> bool:
        """Return True if the folder exists. Raises: EngineError: it is not safe to use."""
        try:
            self.folder.lstat()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise self._unusable(error) from error
        check_folder(self.folder)
        return True

    def _ready(self) -> None:
        if not self._exists():
            make_folder(self.folder)
            check_folder(self.folder)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Turn an OSError into an EngineError with a hint."""
        try:
            yield
        except OSError as error:
            raise self._unusable(error) from error

    def _unusable(self, error: OSError) -> EngineError:
        full = error.errno in (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", None))
        hint = "free some space" if full else f"set {FOLDER_VARIABLE} to a folder of your own"
        return EngineError(f"{self.folder} cannot be used: {error.strerror or error}", hint=hint)

    def _files(self) -> list[Path]:
        """Return all files that this cache could have written, by name."""
        if not self._exists():
            return []
        with self._writing():
            return [path for path in self.folder.iterdir() if _OURS.fullmatch(path.name)]

    def _read(self, key: PlanKey) -> Plan:
        """Raises: RefusedError, OSError: as ``read_own``; metadata without its engine is refused."""
        path = self._path(key, METADATA)
        metadata, _ = read_metadata(path, key)
        size, seconds, extra = figures(metadata)
        try:
            data, _ = read_own(self._path(key, PLAN), size)
        except FileNotFoundError as error:
            raise RefusedError("metadata without its engine") from error
        if len(data) != size or hashlib.sha256(data).hexdigest() != metadata.get("sha256"):
            raise RefusedError("the engine is damaged")
        with suppress(OSError):  # a disk may be read-only
            os.utime(path)
        return Plan(data, seconds, extra)

    def _read_again(self, key: PlanKey) -> Plan | None:
        """Read once more under the lock, in case the engine was just being replaced, and remove it if it is damaged."""
        with suppress(EngineError, OSError), self.lock(key, 0):
            try:
                return self._read(key)
            except RefusedError:
                for suffix in (METADATA, PLAN):
                    remove(self._path(key, suffix))
        return None

    def _sweep(self, digest: str) -> None:
        """Remove what dead writers left: everything of this engine, whose lock we hold, and old files of others."""
        for path in self._files():
            mine = digest_of(path) == digest
            orphan = path.suffix == PLAN and not path.with_suffix(METADATA).exists()
            if (path.suffix == PART and (mine or _age_s(path) > DEAD_AFTER_S)) or (
                orphan and not mine and _age_s(path) > DEAD_AFTER_S
            ):
                remove(path)

    def _shrink(self, newest: str) -> None:
        """Remove the least recently used engines until the rest fits; never the newest."""
        found = [path for path in self._files() if path.suffix == METADATA]
        total = sum(self._size(digest_of(path)) for path in found)
        for metadata in sorted(found, key=_age_s, reverse=True):
            if total <= self.limit_bytes:
                return
            if digest_of(metadata) != newest:
                total -= self._size(digest_of(metadata))
                with suppress(OSError):  # in use, on Windows
                    remove(metadata)
                    remove(metadata.with_suffix(PLAN))

    def _size(self, digest: str) -> int:
        total = 0
        for suffix in (PLAN, METADATA):
            with suppress(OSError):
                total += (self.folder / (digest + suffix)).lstat().st_size
        return total


_ORDER = {METADATA: -1, LOCK: 1}


def _age_s(path: Path) -> float:
    """Return the seconds since a file was written or used; 0 if it is gone."""
    try:
        return time.time() - path.lstat().st_mtime
    except OSError:
        return 0.0
