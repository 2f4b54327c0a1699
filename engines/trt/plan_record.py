"""The record beside a built engine: what it is for, and what vouches for its bytes."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from engines.errors import EngineError
from engines.trusted_files import RefusedError, read_own

FORMAT = 1
"""Version of the records. One of another version is built again."""

PLAN, RECORD, FAULT, LOCK = ".plan", ".json", ".fault", ".lock"
"""How names end."""

RECORD_LIMIT = 1 << 20
"""Largest record, in bytes."""

ANY_STYLE = "any"
"""In place of the weights' hash in the key of an engine whose weights are exchanged: it is every style's."""

GAIN = "gain"
"""In what is kept beside an engine: how many times as fast as the cuda engine it paints; absent where nobody knows."""

WORTH = 1.2
"""``auto`` changes to a built engine that is at least so many times as fast as the cuda engine."""

_NUMBERS = frozenset({"height", "width"})


@dataclass(frozen=True)
class PlanKey:
    """Everything that a built engine depends on; another value of any field is another engine.

    Attributes:
        style_sha256, graph_sha256: of the style's weights, and of its graph.
        height, width: of a frame, pixels.
        gpu, capability: the card's name, and its compute capability like ``8.9``.
        driver, cuda, tensorrt, torch, torch_tensorrt: versions.
        flags: of the builder.
    """

    style_sha256: str
    graph_sha256: str
    height: int
    width: int
    gpu: str
    capability: str
    driver: str
    cuda: str
    tensorrt: str
    torch: str
    torch_tensorrt: str
    flags: str

    def __post_init__(self) -> None:
        # torch's version is a text that compares otherwise, and sizes may be numpy's: kept is what JSON gives back.
        for field in fields(self):
            plain = int if field.name in _NUMBERS else str
            object.__setattr__(self, field.name, plain(getattr(self, field.name)))

    @cached_property
    def digest(self) -> str:
        """sha256 of the canonical JSON of all fields, 64 hex digits."""
        return hashlib.sha256(_canonical(asdict(self))).hexdigest()

    @classmethod
    def from_dict(cls, values: object) -> Self:
        """A key from its plain form.

        Raises:
            RefusedError: a field is missing, too much, or of another type.
        """
        expected = {field.name: int if field.name in _NUMBERS else str for field in fields(cls)}
        if not isinstance(values, dict) or {name: type(value) for name, value in values.items()} != expected:
            raise RefusedError("no key of an engine")
        return cls(**values)


@dataclass(frozen=True)
class Plan:
    """A built engine that is what was stored.

    Attributes:
        data: its bytes.
        seconds: what building it took.
        extra: what its builder put beside it.
    """

    data: bytes
    seconds: float
    extra: Mapping[str, Any]


@dataclass(frozen=True)
class Entry:
    """One line of the list of engines.

    Attributes:
        key: what it is for.
        bytes: on the disk, with its record.
        seconds: what building it took.
        used_s: when it was used last, seconds since 1970; for a fault, when that happened.
        extra: what its builder put beside it.
        fault: why it could not be built; empty for an engine that is there.
    """

    key: PlanKey
    bytes: int
    seconds: float
    used_s: float
    extra: Mapping[str, Any]
    fault: str = ""


def gain_of(extra: Mapping[str, Any]) -> float | None:
    """How many times as fast as the cuda engine one paints, from what is kept beside it; ``None``: nobody knows."""
    gain = extra.get(GAIN)
    return gain if isinstance(gain, float) else None


def too_slow(extra: Mapping[str, Any]) -> str:
    """Why ``auto`` leaves an engine alone, from what is kept beside it; empty where it is fast, or nobody knows."""
    gain = gain_of(extra)
    if gain is None or gain >= WORTH:
        return ""
    return f"it is only {gain:.2f} × as fast as cuda, and {WORTH:g} × would be worth a change"


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def seal(record: Mapping[str, Any]) -> bytes:
    """A record with its own sha256, so that no bit of it changes unseen.

    Raises:
        EngineError: it is no plain JSON, or too large.
    """
    try:
        plain = json.loads(_canonical(record))  # a number as a key becomes a text, which sorts otherwise
        sealed = _canonical({"record": plain, "sha256": hashlib.sha256(_canonical(plain)).hexdigest()})
    except (TypeError, ValueError, RecursionError) as error:
        raise EngineError(f"what is stored beside an engine must be plain JSON: {error}") from error
    if len(sealed) > RECORD_LIMIT:
        raise EngineError(f"what is stored beside an engine must not be over {RECORD_LIMIT >> 10} kB")
    return sealed


def read_record(path: Path, key: PlanKey | None = None) -> tuple[dict[str, Any], os.stat_result]:
    """A record that is what was written, is for ``key``, and bears its name.

    Raises:
        RefusedError, OSError: as ``read_own``.
    """
    data, state = read_own(path, RECORD_LIMIT)
    try:
        sealed = json.loads(data)
        record = sealed["record"]
        if _canonical({"record": record, "sha256": hashlib.sha256(_canonical(record)).hexdigest()}) != data:
            raise RefusedError(f"{path} is damaged")
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise RefusedError(f"{path} is damaged") from error
    if not isinstance(record, dict) or record.get("format") != FORMAT or not isinstance(record.get("extra"), dict):
        raise RefusedError(f"{path} is none of our records")
    found = PlanKey.from_dict(record.get("key"))
    if found.digest != digest_of(path) or (key is not None and found != key):
        raise RefusedError(f"{path} is for another engine")
    return record, state


def figures(record: Mapping[str, Any]) -> tuple[int, float, dict[str, Any]]:
    """Bytes, seconds and extra. Raises: RefusedError: they are of other types."""
    size, seconds = record.get("bytes"), record.get("seconds")
    if type(size) is not int or size < 0 or type(seconds) is not float:
        raise RefusedError("none of our records")
    return size, seconds, record["extra"]


def entry(path: Path) -> Entry:
    """The line of the list for an engine, its bytes unread.

    Raises:
        RefusedError, OSError: as ``read_own``.
    """
    record, state = read_record(path)
    _, seconds, extra = figures(record)
    size = path.with_suffix(PLAN).lstat().st_size + state.st_size
    return Entry(PlanKey.from_dict(record["key"]), size, seconds, state.st_mtime, extra)


def fault_entry(path: Path, key: PlanKey | None = None) -> Entry:
    """The line of the list for a build that failed.

    Raises:
        RefusedError, OSError: as ``read_own``.
    """
    record, state = read_record(path, key)
    fault = record.get("fault")
    if not isinstance(fault, str) or not fault:
        raise RefusedError("none of our records")
    return Entry(PlanKey.from_dict(record["key"]), state.st_size, 0.0, state.st_mtime, record["extra"], fault)


def digest_of(path: Path) -> str:
    """The digest of the key that a file is named after."""
    return path.name.partition(".")[0]
