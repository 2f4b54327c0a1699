"""Built engines on this machine: the raw bytes of each, and a record beside it that vouches for them.

    DIGEST.plan     the engine as its builder gave it
    DIGEST.json     its key, size and sha256, what it cost, and what its builder wants to know again
    DIGEST.fault    instead of the two: why it could not be built
    DIGEST.lock     held while it is built or written

An engine is code for this GPU. It is built here, stays in a folder that only its user can write to, and is used only
if every bit of it is what was stored; nothing is ever unpickled. ``engines.trusted_files`` says what is checked.
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

from engines.errors import EngineError
from engines.trt.plan_record import (
    FAULT,
    FORMAT,
    LOCK,
    PLAN,
    RECORD,
    Entry,
    Plan,
    PlanKey,
    digest_of,
    entry,
    fault_entry,
    figures,
    read_record,
    seal,
)
from engines.trusted_files import (
    PART,
    RefusedError,
    check_folder,
    make_folder,
    read_own,
    remove,
    remove_strange,
    write_own,
)

__all__ = ["BusyError", "Entry", "Plan", "PlanCache", "PlanKey", "default_folder"]

FOLDER_VARIABLE = "RTSTYLE_CACHE"
"""Environment variable that names another folder for the engines."""

FAULT_LENGTH = 500
"""Characters of a fault that are kept."""

FAULTS_KEPT = 256
"""Failed builds that are remembered, the newest ones."""

WRITE_WAIT_S = 60.0
"""How long a writer waits for another one of the same engine, seconds."""

DEAD_AFTER_S = 3600.0
"""Age of a half-written file whose writer must be dead: writing takes seconds."""

_OURS = re.compile(r"([0-9a-f]{64})(\.plan|\.json|\.fault|\.lock)(\..*\.part)?")


class BusyError(EngineError):
    """Somebody else holds the lock of an engine."""


class PlanCache:
    """Engines on the disk, the least recently used ones removed where they become too many.

    Args:
        folder: where; unless told, what RTSTYLE_CACHE names, or the user's cache folder. It is made when it is needed.
        limit_bytes: of all engines together.

    Raises:
        EngineError: somebody else may write into the folder, or could put another one in its place.
    """

    def __init__(self, folder: Path | None = None, limit_bytes: int = 2 << 30) -> None:
        named = folder or default_folder()
        try:
            # Links are followed once, here: who changes one later changes nothing.
            self.folder = named.expanduser().resolve()
        except (OSError, RuntimeError, ValueError) as error:  # no home, or links in a circle
            raise EngineError(f"{named} cannot be used: {error}", hint=f"set {FOLDER_VARIABLE} to a folder") from error
        self.limit_bytes = limit_bytes
        self._exists()

    def get(self, key: PlanKey) -> Plan | None:
        """The engine, or ``None``. One that is damaged or strange is removed.

        Raises:
            EngineError: the folder cannot be trusted.
        """
        if not self._exists():
            return None
        try:
            return self._read(key)
        except OSError:  # not there, or not to be read now: who can, builds it again
            return None
        except RefusedError:
            return self._look_again(key)

    def put(self, key: PlanKey, plan: bytes, *, seconds: float, extra: Mapping[str, Any]) -> None:
        """Store an engine, forget its fault, and make room.

        Args:
            key: what it is for.
            plan: its bytes.
            seconds: what building it took.
            extra: plain JSON that ``get`` gives back.

        Raises:
            EngineError: it cannot be written, is larger than all engines may be, or ``extra`` is no plain JSON.
        """
        record = seal(
            {
                "format": FORMAT,
                "key": asdict(key),
                "sha256": hashlib.sha256(plan).hexdigest(),
                "bytes": len(plan),
                "seconds": float(seconds),
                "extra": dict(extra),
            }
        )
        if len(plan) + len(record) > self.limit_bytes:
            raise EngineError(
                f"an engine of {len(plan) >> 20} MB is more than the {self.limit_bytes >> 20} MB for all of them"
            )
        with self.lock(key, WRITE_WAIT_S), self._writing():
            self._sweep(key.digest)
            remove(self._path(key, FAULT))
            # An older record cannot vouch for the new engine: it has another sha256.
            write_own(self.folder, [(key.digest + PLAN, plan), (key.digest + RECORD, record)])
        self._shrink(key.digest)

    def fault(self, key: PlanKey) -> str:
        """Why the engine could not be built; empty when nobody tried, or when it is there.

        Raises:
            EngineError: the folder cannot be trusted.
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

    def refuse(self, key: PlanKey, fault: str, *, extra: Mapping[str, Any] | None = None) -> None:
        """Remember that the engine cannot be built or used: not to be tried again until the key changes or ``clear``.

        An engine that is there is removed.

        Args:
            key: what it would have been for.
            fault: why; kept as one line.
            extra: plain JSON for ``entries``.

        Raises:
            EngineError: that cannot be written.
        """
        told = " ".join(fault.split())[:FAULT_LENGTH] or "it cannot be built"
        record = seal({"format": FORMAT, "key": asdict(key), "fault": told, "extra": dict(extra or {})})
        with self._writing():
            self._ready()
            write_own(self.folder, [(key.digest + FAULT, record)])
            for suffix in (RECORD, PLAN):
                remove(self._path(key, suffix))
            faults = [path for path in self._files() if path.suffix == FAULT]
            for path in sorted(faults, key=_age_s)[FAULTS_KEPT:]:
                remove(path)

    def entries(self) -> list[Entry]:
        """Engines and faults, the last used first. What is damaged is left out; its bytes are read by ``get`` only.

        Raises:
            EngineError: the folder cannot be trusted.
        """
        found: list[Entry] = []
        for path in self._files():
            with suppress(OSError, RefusedError):
                if path.suffix == RECORD:
                    found.append(entry(path))
                elif path.suffix == FAULT:
                    found.append(fault_entry(path))
        return sorted(found, key=lambda entry: -entry.used_s)

    def clear(self) -> int:
        """Remove all engines, faults and leftovers, but for what somebody is building now. Returns: bytes freed.

        Raises:
            EngineError: the folder cannot be trusted, or does not let itself be written to.
        """
        freed = 0
        for digest in sorted({digest_of(path) for path in self._files()}):
            with suppress(BusyError), self._locked(digest, 0), self._writing():
                # The record goes first. The lock goes last, while it is held: who waits for it then makes a new one.
                mine = [path for path in self._files() if digest_of(path) == digest]
                freed += sum(remove(path) for path in sorted(mine, key=lambda path: _ORDER.get(path.suffix, 0)))
        return freed

    @contextmanager
    def lock(self, key: PlanKey, timeout_s: float) -> Iterator[None]:
        """Hold the engine alone among all processes and threads; the thread that holds it may take it again.

        The kernel frees the lock of a process that has died.

        Args:
            key: which engine.
            timeout_s: how long to wait, seconds.

        Raises:
            BusyError: somebody else still holds it.
            EngineError: the folder cannot be written to, or cannot be trusted.
        """
        with self._locked(key.digest, timeout_s):
            yield

    @contextmanager
    def _locked(self, digest: str, timeout_s: float) -> Iterator[None]:
        from filelock import FileLock, Timeout

        path = self.folder / (digest + LOCK)
        with self._writing():
            self._ready()
            remove_strange(path)
            # A lock that is a mere file, where there is no flock, would outlive its owner.
            lock = FileLock(path, mode=0o600, is_singleton=True, fallback_to_soft=False)
            try:
                lock.acquire(timeout=max(0.0, timeout_s), poll_interval=0.1)
            except Timeout as error:
                raise BusyError("another process is building this engine", hint="wait for it, or end it") from error
        try:
            yield
        finally:
            lock.release()

    def _path(self, key: PlanKey, suffix: str) -> Path:
        return self.folder / (key.digest + suffix)

    def _exists(self) -> bool:
        """Whether there is a folder. Raises: EngineError: it cannot be trusted."""
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
        """Within, an OSError becomes an EngineError that says what to do."""
        try:
            yield
        except OSError as error:
            raise self._unusable(error) from error

    def _unusable(self, error: OSError) -> EngineError:
        full = error.errno in (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", None))
        hint = "free some space" if full else f"set {FOLDER_VARIABLE} to a folder of your own"
        return EngineError(f"{self.folder} cannot be used: {error.strerror or error}", hint=hint)

    def _files(self) -> list[Path]:
        """Everything that has a name of ours."""
        if not self._exists():
            return []
        with self._writing():
            return [path for path in self.folder.iterdir() if _OURS.fullmatch(path.name)]

    def _read(self, key: PlanKey) -> Plan:
        """Raises: RefusedError, OSError: as ``read_own``; a record without its engine is refused."""
        path = self._path(key, RECORD)
        record, _ = read_record(path, key)
        size, seconds, extra = figures(record)
        try:
            data, _ = read_own(self._path(key, PLAN), size)
        except FileNotFoundError as error:
            raise RefusedError("a record without its engine") from error
        if len(data) != size or hashlib.sha256(data).hexdigest() != record.get("sha256"):
            raise RefusedError("not the engine that was stored")
        with suppress(OSError):  # a disk may be read-only
            os.utime(path)
        return Plan(data, seconds, extra)

    def _look_again(self, key: PlanKey) -> Plan | None:
        """Remove what is damaged, unless it was only being replaced while we looked."""
        with suppress(EngineError, OSError), self.lock(key, 0):
            try:
                return self._read(key)
            except RefusedError:
                for suffix in (RECORD, PLAN):
                    remove(self._path(key, suffix))
        return None

    def _sweep(self, digest: str) -> None:
        """Remove what dead writers left: all of this engine, whose lock we hold, and what is old of the others."""
        for path in self._files():
            mine = digest_of(path) == digest
            orphan = path.suffix == PLAN and not path.with_suffix(RECORD).exists()
            if (path.suffix == PART and (mine or _age_s(path) > DEAD_AFTER_S)) or (
                orphan and not mine and _age_s(path) > DEAD_AFTER_S
            ):
                remove(path)

    def _shrink(self, newest: str) -> None:
        """Remove the engines that were used longest ago until the rest fits; never the newest."""
        records = [path for path in self._files() if path.suffix == RECORD]
        total = sum(self._size(digest_of(path)) for path in records)
        for record in sorted(records, key=_age_s, reverse=True):
            if total <= self.limit_bytes:
                return
            if digest_of(record) != newest:
                total -= self._size(digest_of(record))
                with suppress(OSError):  # in use, on Windows
                    remove(record)
                    remove(record.with_suffix(PLAN))

    def _size(self, digest: str) -> int:
        total = 0
        for suffix in (PLAN, RECORD):
            with suppress(OSError):
                total += (self.folder / (digest + suffix)).lstat().st_size
        return total


_ORDER = {RECORD: -1, LOCK: 1}


def default_folder() -> Path:
    """Where engines are unless told: what RTSTYLE_CACHE names, or the user's cache folder."""
    named = os.environ.get(FOLDER_VARIABLE)
    if named:
        return Path(named)
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("rtstyle", appauthor=False)) / "engines"


def _age_s(path: Path) -> float:
    """Seconds since it was last written or used; one that is gone is young."""
    try:
        return time.time() - path.lstat().st_mtime
    except OSError:
        return 0.0
