"""The network that most real-time style transfer still uses, to be compared with.

Johnson et al. 2016, arXiv:1603.08155, as in the supplement and in the examples of torch: 9×9 convolutions at full
resolution at both ends, five residual blocks of 128 channels at 1/4, instance normalisation, nearest-neighbour
upsampling, reflection padding everywhere. 1.68 M parameters.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def _layer(in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.ReflectionPad2d(kernel // 2),
        nn.Conv2d(in_channels, out_channels, kernel, stride),
        nn.InstanceNorm2d(out_channels, affine=True),
    )


class _Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = _layer(128, 128, 3), _layer(128, 128, 3)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.second(F.relu(self.first(x)))
        return y


class Johnson(nn.Module):
    """(N, 3, H, W) in [0, 255], or in what range it was trained in, → the same; H and W are multiples of 4."""

    def __init__(self) -> None:
        super().__init__()
        self.ends = nn.ModuleList([_layer(3, 32, 9), _layer(32, 64, 3, 2), _layer(64, 128, 3, 2)])
        self.body = nn.Sequential(*[_Residual() for _ in range(5)])
        self.up = nn.ModuleList([_layer(128, 64, 3), _layer(64, 32, 3)])
        self.last = nn.Sequential(nn.ReflectionPad2d(4), nn.Conv2d(32, 3, 9))

    def forward(self, x: Tensor) -> Tensor:
        """Stylize."""
        for layer in self.ends:
            x = F.relu(layer(x))
        x = self.body(x)
        for layer in self.up:
            x = F.relu(layer(F.interpolate(x, scale_factor=2.0, mode="nearest")))
        y: Tensor = self.last(x)
        return y


class JohnsonGraph(nn.Module):
    """The network with the same work around it as ``engines.model.generator.FrameGraph``: uint8 RGB in and out."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Johnson()

    def forward(self, frame: Tensor, strength: Tensor) -> Tensor:
        """(1, H, W, 3) uint8 and (1,) → (1, H, W, 3) uint8."""
        x = frame.permute(0, 3, 1, 2).to(torch.float32)
        y = x + strength * (torch.clamp(self.net(x), 0.0, 255.0) - x)
        return (y + 0.5).to(torch.uint8).permute(0, 2, 3, 1)
