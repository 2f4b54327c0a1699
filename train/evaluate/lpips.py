"""LPIPS: perceptual distance of two pictures by a small network with fitted weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from engines.base import RGB
from engines.errors import ShapeError, TrainError
from train.data.pictures import to_tensor
from train.losses.vgg_features import MEAN, STD, check_values

NETWORK = "squeezenet1_1_fp16.safetensors"
HEADS = "lpips_squeeze_v0.1.safetensors"

_ANOTHER = "replace it with an undamaged copy, or delete it to leave LPIPS out"

FIRES = {
    3: (64, 16, 64), 4: (128, 16, 64), 6: (128, 32, 128), 7: (256, 32, 128), 9: (256, 48, 192), 10: (384, 48, 192),
    11: (384, 64, 256), 12: (512, 64, 256),
}  # fmt: skip
"""torchvision's index of each Fire module: input, squeeze and expand channels."""

POOLED = frozenset({3, 6, 9})
"""Fire modules that follow a 3×3 max pool of stride 2."""

TAPS = {1: 64, 4: 128, 7: 256, 9: 384, 10: 384, 11: 512, 12: 512}
"""torchvision's index of each compared layer, after its ReLU, and its channels."""

MIN_SIDE = 32
"""Smallest side, pixels; the last layers have no output for smaller pictures."""


class Lpips(nn.Module):
    """Learned perceptual distance on SqueezeNet 1.1.

    Σₗ mean over positions of wₗ · (F̂ₗ(x) − F̂ₗ(y))², with features F̂ scaled to unit length at every position and weights
    w ≥ 0 fitted to human judgements. 0 for equal pictures, symmetric.

    Args:
        network: ``features.N…`` of SqueezeNet 1.1 with torchvision's names.
        heads: ``linK.model.1.weight``, (1, channels, 1, 1), of LPIPS version 0.1.

    Source:
        Zhang et al. 2018, arXiv:1801.03924, eq. 1; SqueezeNet: Iandola et al. 2016, arXiv:1602.07360.
    """

    def __init__(self, network: Mapping[str, Tensor], heads: Mapping[str, Tensor]):
        super().__init__()
        for name, value in (*network.items(), *heads.items()):
            self.register_buffer(name.replace(".", "_"), value.float(), persistent=False)
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the distance of each pair. Two (N, 3, H, W) in [0, 1] → (N,).

        Raises:
            ShapeError: the shapes differ, or a side is under ``MIN_SIDE``.
        """
        if first.shape != second.shape or min(first.shape[-2:]) < MIN_SIDE:
            raise ShapeError(
                f"LPIPS cannot compare {tuple(first.shape)} with {tuple(second.shape)}",
                hint=f"both must have one shape, and sides of at least {MIN_SIDE} pixels",
            )
        total = torch.zeros(first.shape[0])
        for layer, (a, b) in enumerate(zip(self._features(first), self._features(second), strict=True)):
            difference = (_unit(a) - _unit(b)).square()
            weighted = F.conv2d(difference, self.get_buffer(f"lin{layer}_model_1_weight"))
            total = total + weighted.mean((1, 2, 3))
        return total

    @torch.no_grad()
    def distance(self, first: RGB, second: RGB) -> float:
        """Return the distance of two pictures of one size.

        Raises:
            ShapeError: as ``forward``.
        """
        return float(self(to_tensor(first), to_tensor(second)))

    def _features(self, x: Tensor) -> list[Tensor]:
        x = (x - self.get_buffer("mean")) / self.get_buffer("std")
        x = F.relu(self._conv("0", x, stride=2))
        found = [x]
        for index in FIRES:
            if index in POOLED:
                x = F.max_pool2d(x, 3, stride=2, ceil_mode=True)
            squeezed = F.relu(self._conv(f"{index}_squeeze", x))
            wide = self._conv(f"{index}_expand3x3", squeezed, padding=1)
            x = F.relu(torch.cat([self._conv(f"{index}_expand1x1", squeezed), wide], dim=1))
            if index in TAPS:
                found.append(x)
        return found

    def _conv(self, name: str, x: Tensor, stride: int = 1, padding: int = 0) -> Tensor:
        weight, bias = self.get_buffer(f"features_{name}_weight"), self.get_buffer(f"features_{name}_bias")
        return F.conv2d(x, weight, bias, stride, padding)


def _unit(x: Tensor) -> Tensor:
    """Scale the features of each position to length 1; (N, C, H, W)."""
    return x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10)


def load_lpips(folder: Path) -> Lpips | None:
    """Load LPIPS from a folder; ``None`` if one of its two files is missing.

    Raises:
        TrainError: a file is damaged or holds another network.
    """
    if not ((folder / NETWORK).exists() and (folder / HEADS).exists()):
        return None
    return Lpips(_read(folder / NETWORK, network_shapes()), _read(folder / HEADS, head_shapes()))


def network_shapes() -> dict[str, tuple[int, ...]]:
    """Return torchvision's name and shape of each tensor of SqueezeNet 1.1, up to its last Fire module."""
    weights: dict[str, tuple[int, ...]] = {"0": (64, 3, 3, 3)}
    for index, (before, squeezed, wide) in FIRES.items():
        weights[f"{index}.squeeze"] = (squeezed, before, 1, 1)
        weights[f"{index}.expand1x1"] = (wide, squeezed, 1, 1)
        weights[f"{index}.expand3x3"] = (wide, squeezed, 3, 3)
    shapes: dict[str, tuple[int, ...]] = {}
    for name, shape in weights.items():
        shapes |= {f"features.{name}.weight": shape, f"features.{name}.bias": shape[:1]}
    return shapes


def head_shapes() -> dict[str, tuple[int, ...]]:
    """Return name and shape of the weights of each compared layer."""
    return {f"lin{layer}.model.1.weight": (1, width, 1, 1) for layer, width in enumerate(TAPS.values())}


def _read(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise TrainError(f"cannot read {path}: {error}", hint=_ANOTHER) from error
    for name, shape in shapes.items():
        found = tuple(tensors[name].shape) if name in tensors else None
        if found != shape:
            raise TrainError(
                f"{path} does not hold the expected network: {name} is {found or 'missing'}, expected {shape}",
                hint=_ANOTHER,
            )
    check_values(path, tensors, _ANOTHER)
    return {name: tensors[name] for name in shapes}
