"""What happened in a run, in a file that only grows: one JSON object a line."""

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
"""Name of the file in the folder of a run."""

MEASURED = ("discriminator", "penalty", "accuracy", "diversity", "data_wait")
"""Fields of an entry that are there only where they were measured."""


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class Entry:
    """A logged step, and the steps since the one logged before.

    One step says little: its pictures are easy or hard, and with two sources of motion a logged step always meets the
    same one. So losses and figures are means over the steps since the last entry of this part of the run.

    Attributes:
        step: steps done.
        seconds: spent training, over all resumed parts.
        learning_rate: of the generator.
        losses: value of each term, unweighted, over the steps in which it occurred; ``total`` is weighted. One that is
            not finite is kept as NaN.
        shares: each term's share of the generator's gradient at this step, 0 … 1; empty where it was not measured.
        steadiness: ``flicker.Scene.steadiness`` of the last contact sheet; empty where none was made since the last
            entry.
        discriminator: the discriminator's loss, its gradient penalty included; ``None`` without one.
        penalty: the gradient penalty alone, unweighted; ``None`` where the loss has none.
        accuracy: share of patches that the discriminator told apart, 0 … 1; ``None`` without one.
        diversity: how different the paintings are, relative to the photographs; ``None`` where it was not measured.
        data_wait: share of the time since the last entry spent waiting for pictures, 0 … 1.
        at: when, ISO 8601 in UTC.
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
        """The entry as JSON with a line end; JSON has no NaN, so that is ``null``."""
        plain = {key: _plain(value) for key, value in vars(self).items() if value is not None and value != {}}
        return json.dumps(plain, allow_nan=False).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Entry:
        """Read a line back.

        Raises:
            ValueError: it is cut, or no entry.
        """
        values = json.loads(line)
        if not isinstance(values, dict) or not line.endswith(b"\n"):
            raise ValueError("no whole entry")
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
            raise ValueError("no entry of a history") from error


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
    """The record of a run. Lines that a crash has cut are not there; those of a step that is done again go.

    Args:
        path: of the file.
        entries: that it holds.
    """

    def __init__(self, path: Path, entries: Sequence[Entry] = ()):
        self.path = path
        self._entries = list(entries)

    @classmethod
    def open(cls, path: Path, step: int) -> History:
        """Go on after a step: 0 starts anew, that of a checkpoint resumes.

        Args:
            path: of the file, which need not exist.
            step: entries beyond this one are cut off.

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
        """In the order of the steps."""
        return self._entries

    def add(self, entry: Entry) -> None:
        """Append, so that a killed process loses nothing that was added.

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
    """Every whole entry of a history, without touching the file.

    Raises:
        TrainError: it cannot be read.
    """
    try:
        return [entry for entry, _ in _entries(path.read_bytes())]
    except OSError as error:
        raise _failed(path, error) from error


def _entries(data: bytes) -> Iterator[tuple[Entry, int]]:
    """Whole entries, and for each the number of bytes up to its end; damaged lines are passed over."""
    end = 0
    for line in data.splitlines(keepends=True):
        end += len(line)
        try:
            yield Entry.from_line(line), end
        except ValueError:
            continue


def _failed(path: Path, error: OSError) -> TrainError:
    hint = "is the disk full? then make room; --resume goes on"
    return TrainError(f"cannot keep the history {path}: {error.strerror}", hint=hint)
