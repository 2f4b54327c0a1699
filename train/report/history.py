"""The log of a run: an append-only file with one JSON object per line."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from engines.errors import TrainError

HISTORY = "history.jsonl"
"""Name of the file in the run folder."""

MEASURED = ("discriminator", "penalty", "accuracy", "diversity", "data_wait")
"""Fields of an entry that are present only if they were measured."""


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class Entry:
    """One logged step, with means over the steps since the previous entry.

    Means, because single steps vary: their pictures are easy or hard, and if two sources of motion alternate, a logged
    step would always meet the same one.

    Attributes:
        step: steps done.
        seconds: training time, over all resumed parts.
        learning_rate: learning rate of the generator.
        losses: mean of each term, unweighted, over the steps in which it occurred; ``total`` is weighted. Values that
            are not finite are NaN.
        shares: each term's share of the generator's gradient at this step, 0 … 1; empty if not measured.
        steadiness: ``flicker_probe.Scene.steadiness`` of the last contact sheet; empty if there was none since the last
            entry.
        discriminator: loss of the discriminator, including its gradient penalty; ``None`` without one.
        penalty: gradient penalty alone, unweighted; ``None`` if the loss has none.
        accuracy: share of patches that the discriminator classified correctly, 0 … 1; ``None`` without one.
        diversity: diversity of the stylized pictures relative to the photographs; ``None`` if not measured.
        data_wait: share of the time since the last entry spent waiting for pictures, 0 … 1.
        at: time of the entry, ISO 8601 in UTC.
    """

    step: int
    seconds: float
    learning_rate: float
    losses: Mapping[str, float]
    shares: Mapping[str, float] = field(default_factory=dict)
    steadiness: Mapping[str, float] = field(default_factory=dict)
    discriminator: float | None = None
    penalty: float | None = None
    accuracy: float | None = None
    diversity: float | None = None
    data_wait: float | None = None
    at: str = field(default_factory=_now)

    def to_line(self) -> bytes:
        """Encode as one line of JSON; NaN becomes ``null``."""
        plain = {key: _plain(value) for key, value in vars(self).items() if value is not None and value != {}}
        return json.dumps(plain, allow_nan=False).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Entry:
        """Decode a line.

        Raises:
            ValueError: the line is truncated or not an entry.
        """
        values = json.loads(line)
        if not isinstance(values, dict) or not line.endswith(b"\n"):
            raise ValueError("not a complete entry")
        try:
            return cls(
                step=int(values["step"]),
                seconds=float(values["seconds"]),
                learning_rate=float(values["learning_rate"]),
                losses=_numbers(values["losses"]),
                shares=_numbers(values.get("shares", {})),
                steadiness=_numbers(values.get("steadiness", {})),
                at=str(values["at"]),
                **{key: _number(values[key]) for key in MEASURED if key in values},
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError("not an entry of a history") from error


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(number) for name, number in value.items()}
    if isinstance(value, str | int):
        return value
    return float(value) if math.isfinite(value) else None


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _numbers(values: Mapping[str, float | None]) -> dict[str, float]:
    return {str(name): _number(value) for name, value in values.items()}


class History:
    """The log of a run, without truncated lines and without steps that are repeated after a resume.

    Args:
        path: file.
        entries: entries that the file already holds.
    """

    def __init__(self, path: Path, entries: Sequence[Entry] = ()):
        self.path = path
        self._entries = list(entries)

    @classmethod
    def open(cls, path: Path, step: int) -> History:
        """Open the log at a step: 0 starts a new one, the step of a checkpoint continues.

        Args:
            path: file, which need not exist.
            step: later entries are cut off.

        Raises:
            TrainError: the file cannot be read or written.
        """
        try:
            data = path.read_bytes() if path.exists() else b""
            entries, end = [], 0
            for entry, entry_end in _entries(data):
                if entry.step > step:
                    break
                entries.append(entry)
                end = entry_end
            if end < len(data):
                os.truncate(path, end)
        except OSError as error:
            raise _failed(path, error) from error
        return cls(path, entries)

    @property
    def entries(self) -> Sequence[Entry]:
        """Entries in the order of their steps."""
        return self._entries

    def add(self, entry: Entry) -> None:
        """Append an entry, unbuffered, so that a killed process loses none.

        Raises:
            TrainError: the disk is full or the folder is gone.
        """
        try:
            with self.path.open("ab", buffering=0) as file:
                file.write(entry.to_line())
        except OSError as error:
            raise _failed(self.path, error) from error
        self._entries.append(entry)


def read_history(path: Path) -> list[Entry]:
    """Read every complete entry of a log without changing the file.

    Raises:
        TrainError: it cannot be read.
    """
    try:
        return [entry for entry, _ in _entries(path.read_bytes())]
    except OSError as error:
        raise _failed(path, error) from error


def _entries(data: bytes) -> Iterator[tuple[Entry, int]]:
    """Yield complete entries, each with the offset of its end, skipping damaged lines."""
    end = 0
    for line in data.splitlines(keepends=True):
        end += len(line)
        try:
            yield Entry.from_line(line), end
        except ValueError:
            continue


def _failed(path: Path, error: OSError) -> TrainError:
    hint = "free some disk space, then continue with --resume"
    return TrainError(f"cannot read or write the history {path}: {error.strerror}", hint=hint)
