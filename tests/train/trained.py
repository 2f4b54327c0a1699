"""What a training leaves, made up: runs with a discriminator, and styles with a record."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch

from train import checkpoint
from train.config.schema import DiscriminatorConfig
from train.losses.discriminator import Discriminator

SHAPE: dict[str, Any] = {"scales": 2, "width": 4, "layers": 2}


def run_folder(folder: Path, **changed: Any) -> Path:
    """A run folder whose checkpoint holds a discriminator."""
    folder.mkdir(exist_ok=True)
    torch.manual_seed(1)
    state = {
        "settings": {"discriminator": vars(DiscriminatorConfig(**SHAPE))},
        "critic": {"discriminator": Discriminator(**SHAPE).state_dict()},
    }
    checkpoint.save(folder / "checkpoint.pt", state | changed)
    return folder


def recorded(style: Path, folder: Path, training: dict[str, Any]) -> str:
    """A copy of a style with another training record."""
    shutil.copytree(style, folder)
    manifest = json.loads((folder / "style.json").read_text())
    (folder / "style.json").write_text(json.dumps(manifest | {"training": training}))
    return str(folder)
