"""Checkpoints that are whole or not there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from engines.atomic_write import atomic_write
from engines.errors import TrainError

FORMAT = 1


def save(path: Path, state: dict[str, Any]) -> None:
    """A crash, also of the machine, leaves the old checkpoint or the new one.

    Raises:
        TrainError: the disk is full or the folder is gone; the old checkpoint stays.
    """
    try:
        with atomic_write(path, durable=True) as file:
            torch.save({"format": FORMAT, **state}, file)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
        raise TrainError(f"cannot save {path}: {error}", hint="the last checkpoint is untouched") from error


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint; only tensors and plain values are unpickled.

    Raises:
        TrainError: no such file, cut short, or of another format.
    """
    if not path.exists():
        raise TrainError(f"nothing to resume: no {path}", hint="leave --resume away to start anew")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # flipped bits come out as almost any type: IndexError, UnicodeDecodeError, …
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise TrainError(
            f"the checkpoint {path} is damaged: {lines[0]}", hint="delete it and leave --resume away to start anew"
        ) from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise TrainError(f"{path} is a checkpoint of another version")
    return state
