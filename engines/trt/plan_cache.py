"""The cache of built engines on this machine: the raw bytes of each, and metadata beside them.

    DIGEST.plan     the engine's bytes
    DIGEST.json     its key, size, sha256 and build time, and the builder's own metadata
    DIGEST.runtime  kernels of TensorRT for RTX, see ``engines.trt.runtime_cache``: their sha256, then their bytes
    DIGEST.fault    instead of the three: why it could not be built
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
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from engines.atomic_write import PART
from engines.cache_dirs import FOLDER_VARIABLES, cache_folder
from engines.errors import EngineError
from engines.os_errors import reason
from engines.trt import plan_record
from engines.trt.plan_record import FAULT, FORMAT, LOCK, METADATA, PLAN, RUNTIME, Entry, Plan, PlanKey, digest_of
from engines.trusted_files import RefusedError, check_folder, make_folder, read_own, remove, remove_untrusted, write_own

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

RUNTIME_LIMIT = 64 << 20
"""Largest runtime cache of an engine, in bytes."""

_OURS = re.compile(r"\.?([0-9a-f]{64})(\.plan|\.json|\.runtime|\.fault|\.lock)(\..*\.part)?")


class BusyError(EngineError):
    """Another process or thread holds the lock of an engine."""


class PlanCache:
    """Engines on the disk; the least recently used are removed once they exceed a limit.

    Args:
        folder: by default RTSTYLE_CACHE, or the user's cache folder. It is created when it is needed.
        limit_bytes: for all engines together.

    Raises:
        EngineError: here and in every method: another user may write to the folder or could replace it, or it cannot
            be used.
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
        """Return the engine, or ``None``. A damaged one is removed."""
        try:
            return self._read(key) if self._exists() else None
        except OSError:  # missing, or not readable now: it can be rebuilt
            return None
        except RefusedError:
            return self._read_again(key)

    def put(self, key: PlanKey, plan: bytes, *, seconds: float, extra: Mapping[str, Any]) -> None:
        """Store an engine that took ``seconds`` to build, forget its fault, and make room.

        Raises:
            EngineError: it cannot be written, it exceeds the limit, or ``extra`` is not plain JSON.
        """
        about = {"sha256": hashlib.sha256(plan).hexdigest(), "bytes": len(plan), "seconds": float(seconds)}
        metadata = plan_record.seal({"format": FORMAT, "key": asdict(key), "extra": dict(extra), **about})
        if len(plan) + len(metadata) > self.limit_bytes:
            raise EngineError(
                f"an engine of {len(plan) >> 20} MB is more than the limit of {self.limit_bytes >> 20} MB for all"
            )
        with self.lock(key, WRITE_WAIT_S), self._usable():
            self._sweep(key.digest)
            remove(self._path(key, FAULT))
            remove(self._path(key, RUNTIME))
            # Older metadata does not match the new engine: it has another sha256.
            write_own(self.folder, [(key.digest + PLAN, plan), (key.digest + METADATA, metadata)])
        self._shrink(key.digest)

    def runtime_cache(self, key: PlanKey) -> bytes:
        """Return the kernels that ``put_runtime_cache`` stored, or nothing. Damaged ones are removed."""
        path = self._path(key, RUNTIME)
        with suppress(OSError):
            try:
                data, _ = read_own(path, RUNTIME_LIMIT + _SHA256_BYTES)
                if hashlib.sha256(data[_SHA256_BYTES:]).digest() != data[:_SHA256_BYTES]:
                    raise RefusedError("the kernels are damaged")
                return data[_SHA256_BYTES:]
            except RefusedError:
                remove(path)
        return b""

    def put_runtime_cache(self, key: PlanKey, data: bytes) -> None:
        """Store the kernels of an engine, unless the engine is gone.

        Raises:
            EngineError: they are too large, cannot be written, or the engine is being built.
        """
        if len(data) > RUNTIME_LIMIT:
            raise EngineError(f"{len(data) >> 20} MB of kernels are more than {RUNTIME_LIMIT >> 20} MB")
        with self.lock(key, 0), self._usable():
            if self._path(key, METADATA).exists():
                write_own(self.folder, [(key.digest + RUNTIME, hashlib.sha256(data).digest() + data)])
        self._shrink(key.digest)

    def remove_runtime_cache(self, key: PlanKey) -> None:
        """Remove the kernels of an engine, which stays."""
        with suppress(OSError):  # in use, on Windows
            remove(self._path(key, RUNTIME))

    def fault(self, key: PlanKey) -> str:
        """Return why the engine could not be built; empty if it exists or was never tried."""
        path = self._path(key, FAULT)
        with suppress(OSError):
            try:
                return plan_record.entry(path, key).fault if self._exists() else ""
            except RefusedError:
                remove(path)
        return ""

    def mark_failed(self, key: PlanKey, fault: str, *, extra: Mapping[str, Any] | None = None) -> None:
        """Remember why an engine cannot be built or used, until its key changes or ``clear``; remove it."""
        line = " ".join(fault.split())[:FAULT_LENGTH] or "it cannot be built"
        metadata = plan_record.seal({"format": FORMAT, "key": asdict(key), "fault": line, "extra": dict(extra or {})})
        with self._usable():
            self._ready()
            write_own(self.folder, [(key.digest + FAULT, metadata)])
            self._remove(key.digest)
            faults = [path for path in self._files() if path.suffix == FAULT]
            for path in sorted(faults, key=_age_s)[FAULTS_KEPT:]:
                remove(path)

    def entries(self) -> list[Entry]:
        """Return engines and faults, the most recently used first, without damaged ones. Reads no engine's bytes."""
        found: list[Entry] = []
        for path in self._files():
            with suppress(OSError, RefusedError):
                if path.suffix in (METADATA, FAULT):
                    found.append(plan_record.entry(path))
        return sorted(found, key=lambda entry: -entry.used_s)

    def clear(self) -> int:
        """Remove all engines, faults and leftovers, except engines that are being built; return the bytes freed."""
        freed = 0
        for digest in sorted({digest_of(path) for path in self._files()}):
            with suppress(BusyError), self._locked(digest, 0), self._usable():
                # Metadata goes first. The lock goes last, while it is held: whoever waits for it then makes a new one.
                mine = [path for path in self._files() if digest_of(path) == digest]
                freed += sum(remove(path) for path in sorted(mine, key=lambda path: _ORDER.get(path.suffix, 0)))
        return freed

    def lock(self, key: PlanKey, timeout_s: float) -> AbstractContextManager[None]:
        """Lock the engine against other processes and threads; re-entrant within a thread.

        The kernel releases the lock of a process that dies.

        Raises:
            BusyError: another process or thread still holds it.
        """
        return self._locked(key.digest, timeout_s)

    @contextmanager
    def _locked(self, digest: str, timeout_s: float) -> Iterator[None]:
        from filelock import FileLock, Timeout

        path = self.folder / (digest + LOCK)
        with self._usable():
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
        with self._usable():
            try:
                self.folder.lstat()
            except FileNotFoundError:
                return False
        check_folder(self.folder)
        return True

    def _ready(self) -> None:
        if not self._exists():
            make_folder(self.folder)
            check_folder(self.folder)

    @contextmanager
    def _usable(self) -> Iterator[None]:
        """Turn an OSError into an EngineError with a hint."""
        try:
            yield
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", None))
            hint = "free some space" if full else f"set {FOLDER_VARIABLE} to a folder of your own"
            raise EngineError(f"{self.folder} cannot be used: {reason(error)}", hint=hint) from error

    def _files(self) -> list[Path]:
        """Return all files that this cache could have written, by name."""
        if not self._exists():
            return []
        with self._usable():
            return [path for path in self.folder.iterdir() if _OURS.fullmatch(path.name)]

    def _read(self, key: PlanKey) -> Plan:
        """Raises: RefusedError, OSError: as ``read_own``; metadata without its engine is refused."""
        path = self._path(key, METADATA)
        metadata, _ = plan_record.read_metadata(path, key)
        size, seconds, extra = plan_record.figures(metadata)
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
                self._remove(key.digest)
        return None

    def _remove(self, digest: str) -> None:
        for suffix in (METADATA, PLAN, RUNTIME):
            remove(self.folder / (digest + suffix))

    def _sweep(self, digest: str) -> None:
        """Remove what dead writers left: everything of this engine, whose lock we hold, and old files of others."""
        for path in self._files():
            mine, dead = digest_of(path) == digest, _age_s(path) > DEAD_AFTER_S
            orphan = path.suffix in (PLAN, RUNTIME) and not path.with_suffix(METADATA).exists()
            if (path.suffix == PART and (mine or dead)) or (orphan and dead and not mine):
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
                    self._remove(digest_of(metadata))

    def _size(self, digest: str) -> int:
        total = 0
        for suffix in (PLAN, METADATA, RUNTIME):
            with suppress(OSError):
                total += (self.folder / (digest + suffix)).lstat().st_size
        return total


_SHA256_BYTES = 32

_ORDER = {METADATA: -1, LOCK: 1}


def _age_s(path: Path) -> float:
    """Return the seconds since a file was written or used; 0 if it is gone."""
    try:
        return time.time() - path.lstat().st_mtime
    except OSError:
        return 0.0
