"""The metadata beside a built engine: what it is for, and the hash that protects its bytes."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from engines.errors import EngineError
from engines.trusted_files import RefusedError, read_own

FORMAT = 1
"""Version of the metadata. An engine of another version is rebuilt."""

PLAN, METADATA, FAULT, LOCK, RUNTIME = ".plan", ".json", ".fault", ".lock", ".runtime"
"""Suffixes of the files."""

METADATA_LIMIT = 1 << 20
"""Largest metadata file, in bytes."""

ANY_STYLE = "any"
"""Replaces the hash of the weights in the key of an engine that all styles share."""

SPEEDUP = "gain"
"""Metadata: how many times as fast as the cuda engine it is; absent if it was not timed."""

MIN_SPEEDUP = 1.2
"""``auto`` switches to a built engine that is at least this many times as fast as the cuda engine."""

_NUMBERS = frozenset({"height", "width"})


@dataclass(frozen=True)
class PlanKey:
    """Everything that a built engine depends on: a change in any field makes it another engine.

    Attributes:
        style_sha256, graph_sha256: of the style's weights, and of its graph.
        height, width: of a frame, pixels.
        gpu, capability: the GPU's name, and its compute capability like ``8.9``.
        driver, cuda, tensorrt, torch, torch_tensorrt: versions.
        flags: the builder's settings, the architecture, and a hash of the code.
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
        # torch's version is a str subclass that compares differently, and sizes may be NumPy's: keep JSON's types.
        for field in fields(self):
            plain = int if field.name in _NUMBERS else str
            object.__setattr__(self, field.name, plain(getattr(self, field.name)))

    @cached_property
    def digest(self) -> str:
        """The sha256 of the canonical JSON of all fields, 64 hex digits."""
        return hashlib.sha256(_canonical(asdict(self))).hexdigest()

    @classmethod
    def from_dict(cls, values: object) -> Self:
        """Return a key from its plain form. Raise RefusedError if a field is missing, unknown, or of another type."""
        expected = {field.name: int if field.name in _NUMBERS else str for field in fields(cls)}
        if not isinstance(values, dict) or {name: type(value) for name, value in values.items()} != expected:
            raise RefusedError("not the key of an engine")
        return cls(**values)


@dataclass(frozen=True)
class Plan:
    """A built engine: its verified bytes, the seconds that the build took, and the builder's own metadata."""

    data: bytes
    seconds: float
    extra: Mapping[str, Any]


@dataclass(frozen=True)
class Entry:
    """One line of the list of engines.

    Attributes:
        key: what it is for.
        bytes: on the disk, with its metadata and its runtime cache.
        seconds: time that the build took.
        used_s: when it was used last, seconds since 1970; for a fault, when it happened.
        extra: the builder's own metadata.
        fault: why it could not be built; empty for an engine that exists.
    """

    key: PlanKey
    bytes: int
    seconds: float
    used_s: float
    extra: Mapping[str, Any]
    fault: str = ""


def speedup_of(extra: Mapping[str, Any]) -> float | None:
    """Return an engine's speedup over the cuda engine from its metadata; ``None`` if it was not timed."""
    speedup = extra.get(SPEEDUP)
    return speedup if isinstance(speedup, float) else None


def too_slow(extra: Mapping[str, Any], min_speedup: float) -> str:
    """Return why an engine is not worth a switch, from its metadata; empty if it is, or if it was not timed."""
    speedup = speedup_of(extra)
    if speedup is None or speedup >= min_speedup:
        return ""
    return f"it is only {speedup:.2f} × as fast as cuda; a switch needs {min_speedup:g} ×"


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def seal(metadata: Mapping[str, Any]) -> bytes:
    """Serialize metadata with its own sha256, so that any changed bit shows. It must be plain JSON and small."""
    try:
        plain = json.loads(_canonical(metadata))  # a number as a key becomes a string, which sorts differently
        sealed = _canonical({"record": plain, "sha256": hashlib.sha256(_canonical(plain)).hexdigest()})
    except (TypeError, ValueError, RecursionError) as error:
        raise EngineError(f"the metadata of an engine must be plain JSON: {error}") from error
    if len(sealed) > METADATA_LIMIT:
        raise EngineError(f"the metadata of an engine is over {METADATA_LIMIT >> 10} kB")
    return sealed


def read_metadata(path: Path, key: PlanKey | None = None) -> tuple[dict[str, Any], os.stat_result]:
    """Return metadata and the state of its file, after checking its hash, its key and its name.

    Raises:
        RefusedError: it is damaged, from another version, or for another key.
        OSError: it cannot be read.
    """
    data, state = read_own(path, METADATA_LIMIT)
    try:
        metadata = json.loads(data)["record"]
        if seal(metadata) != data:
            raise RefusedError(f"{path} is damaged")
    except (ValueError, TypeError, KeyError, RecursionError, EngineError) as error:
        raise RefusedError(f"{path} is damaged") from error
    if (
        not isinstance(metadata, dict)
        or metadata.get("format") != FORMAT
        or not isinstance(metadata.get("extra"), dict)
    ):
        raise RefusedError(f"{path} is not the metadata of an engine")
    found = PlanKey.from_dict(metadata.get("key"))
    if found.digest != digest_of(path) or (key is not None and found != key):
        raise RefusedError(f"{path} is for another engine")
    return metadata, state


def figures(metadata: Mapping[str, Any]) -> tuple[int, float, dict[str, Any]]:
    """Return bytes, seconds and extra. Raises: RefusedError: they have other types."""
    size, seconds = metadata.get("bytes"), metadata.get("seconds")
    if type(size) is not int or size < 0 or type(seconds) is not float:
        raise RefusedError("not the metadata of an engine")
    return size, seconds, metadata["extra"]


def entry(path: Path, key: PlanKey | None = None) -> Entry:
    """Return the list entry for an engine, whose bytes are not read, or a failed build; errors of ``read_metadata``."""
    metadata, state = read_metadata(path, key)
    found, fault = PlanKey.from_dict(metadata["key"]), metadata.get("fault")
    if path.suffix != FAULT:
        _, seconds, extra = figures(metadata)
        size = path.with_suffix(PLAN).lstat().st_size + state.st_size
        with suppress(OSError):
            size += path.with_suffix(RUNTIME).lstat().st_size
        return Entry(found, size, seconds, state.st_mtime, extra)
    if not isinstance(fault, str) or not fault:
        raise RefusedError("not the record of a failed build")
    return Entry(found, state.st_size, 0.0, state.st_mtime, metadata["extra"], fault)


def digest_of(path: Path) -> str:
    """Return the digest of the key that a file is named after."""
    return path.name.lstrip(".").partition(".")[0]
