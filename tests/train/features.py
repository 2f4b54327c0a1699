"""Feature networks small enough for a test."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file

from train.losses.vgg_features import DISTILLED, WIDE

WIDTHS = {0: 6, 2: 6, 5: 8, 7: 8, 10: 10, 12: 10, 14: 10, 16: 10, 19: 12}
"""Channels of the narrow feature networks, by torchvision's index of the convolution."""


def write_features(folder: Path) -> Path:
    """Write feature networks of the right form, with a few random channels, into a folder, and return it."""
    rng = torch.Generator().manual_seed(0)
    tensors, before = {}, 3
    for index, width in WIDTHS.items():
        tensors[f"features.{index}.weight"] = (
            torch.randn(width, before, 3, 3, generator=rng) * (2 / (9 * before)) ** 0.5
        )
        tensors[f"features.{index}.bias"] = 0.1 * torch.randn(width, generator=rng)
        before = width
    tensors["aux.19.weight"] = torch.randn(16, WIDTHS[19], 1, 1, generator=rng) * (2 / WIDTHS[19]) ** 0.5
    tensors["aux.19.bias"] = torch.zeros(16)
    folder.mkdir(exist_ok=True)
    wide = {name: value for name, value in tensors.items() if int(name.split(".")[1]) <= 10}
    save_file(wide, folder / WIDE)
    save_file(tensors, folder / DISTILLED)
    return folder
