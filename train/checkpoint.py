"""Atomic checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from engines.atomic_write import atomic_write
from engines.errors import TrainError
from rtstyle.style_library import RUN_CHECKPOINT

CHECKPOINT = RUN_CHECKPOINT
"""Name of the checkpoint file in the run folder."""

FORMAT = 1


def save(path: Path, state: dict[str, Any]) -> None:
    """Save a checkpoint; after a crash or power cut the file is the old one or the new one.

    Raises:
        TrainError: the disk is full or the folder is gone; the old checkpoint is kept.
    """
    try:
        with atomic_write(path, durable=True) as file:
            torch.save({"format": FORMAT, **state}, file)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
        raise TrainError(f"cannot save {path}: {error}", hint="the last checkpoint is untouched") from error


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint; only tensors and plain values are unpickled.

    Raises:
        TrainError: the file is missing, damaged, or has another format.
    """
    if not path.exists():
        raise TrainError(f"nothing to resume: {path} does not exist", hint="start over without --resume")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # flipped bits raise almost any type: IndexError, UnicodeDecodeError, …
        lines = str(error).strip().splitlines() or [type(error).__name__]
        problem = f"the checkpoint {path} is damaged: {lines[0]}"
        raise TrainError(problem, hint="delete it and start over without --resume") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise TrainError(f"{path} is a checkpoint of another version")
    return state
