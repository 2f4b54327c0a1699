"""Local contrast: what can be seen in nearly flat parts of an image, normalised to its own size.

A generator without such statistics leaves a plain wall plain, or fills it with the lattice of its pixel shuffle. But a
wall has shades. Divided by their spread, they are as large as the contrast of a face, and waves over them follow their
contours, a few pixels apart: lines for strokes that move with the scene.

Sources: local contrast normalisation: Jarrett et al. 2009, ICCV, section 2. Waves of the input, with which a shallow
network can tell similar values apart: Tancik et al. 2020, arXiv:2006.10739, section 4.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

REACH = 9
"""Side of the neighbourhood, in pixels of the map."""

EDGE_FINE, EDGE_COARSE = 2, 1
"""Outer pixels of the maps at 1/4 and 1/8 of which most, or all, is a frame's margin: its reflection, in which a ramp
turns back. Wider ones would need larger frames."""

WAVES = (1, 2, 4)
"""Half periods of each wave per standard deviation of the neighbourhood; each is twice the previous one."""

CONTRASTS = 3 + 2 * len(WAVES)
"""Output channels of ``Contrast``."""

LUMINANCE = (0.2126, 0.7152, 0.0722)
"""Weights of red, green and blue, ITU-R BT.709."""


class Contrast(nn.Module):
    """Computes c = (x − m) / √(v + floor²), and sin, cos of π k times the luminance of c for each k of ``WAVES``.

    m is the mean of the neighbourhood, and v the mean of (x − m)² over the neighbourhood and the colours. Both are
    local, so that one corner of an image cannot change another.

    Args:
        floor: spread that counts as noise.
    """

    luminance: Tensor
    thirds: Tensor

    def __init__(self, floor: float):
        super().__init__()
        self.floor = floor
        self.register_buffer("luminance", torch.tensor(LUMINANCE).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("thirds", torch.full((1, 3, 1, 1), 1 / 3), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, 3, H, W) in [0, 1] to (N, CONTRASTS, H, W)."""
        away = x - mean_around(x, REACH)
        # Sum over colours with a convolution, which runtimes compute several times faster than a reduction.
        squares = F.conv2d(away * away, self.thirds.to(x.dtype))
        variance = mean_around(squares, REACH, ramp=False)
        spread = torch.sqrt(variance + self.floor * self.floor)
        relative = away / spread
        light = F.conv2d(relative, self.luminance.to(x.dtype)) * math.pi
        sines, cosines = [torch.sin(light)], [torch.cos(light)]
        for _ in WAVES[1:]:  # double-angle formulas
            cosines.append(1 - 2 * sines[-1] * sines[-1])
            sines.append(2 * sines[-1] * cosines[-2])
        return torch.cat([relative, *sines, *cosines], 1)


def smooth_inside(x: Tensor, edge: int) -> Tensor:
    """Average 3×3 pixels of a map (N, C, H, W); its outer ``edge`` ≥ 1 pixels go on from the inside as a ramp.

    The mean comes first: a ramp through two single pixels would pass on their noise several times over.
    """
    cut = edge - 1
    mean = F.avg_pool2d(x[..., cut : x.shape[-2] - cut, cut : x.shape[-1] - cut], 3, 1)
    rows = _continued(mean, (0, 0, edge, edge), ramp=True)
    return _continued(rows, (edge, edge, 0, 0), ramp=True)


def mean_around(x: Tensor, side: int, *, ramp: bool = True) -> Tensor:
    """Return the mean of the side×side neighbourhood of each pixel, in the same shape.

    Beyond a border, a map is its reflection about the value there, 2 × border − reflection, so that a ramp goes on as a
    ramp. A mean of only what is there would find that the border of a smooth sky differs from its neighbourhood, and
    the network would paint a frame.

    Args:
        x: (N, C, H, W), more than ``side`` // 2 pixels high and wide.
        side: of the neighbourhood, in pixels; odd.
        ramp: otherwise the map is only reflected, which keeps it positive.
    """
    reach = side // 2
    rows = F.avg_pool2d(_continued(x, (0, 0, reach, reach), ramp), (side, 1), 1)
    return F.avg_pool2d(_continued(rows, (reach, reach, 0, 0), ramp), (1, side), 1)


def _continued(x: Tensor, pads: tuple[int, int, int, int], ramp: bool) -> Tensor:
    reflection = F.pad(x, pads, mode="reflect")
    return 2 * F.pad(x, pads, mode="replicate") - reflection if ramp else reflection
