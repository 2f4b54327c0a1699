"""What is left to see where a picture is nearly flat: differences from the surroundings, measured by their own size.

A generator without statistics of its own leaves a plain wall plain, or fills it with the lattice of its pixel shuffle.
But a wall has shades. Divided by their spread, they are as large as the contrast of a face; and waves over them lie
along their contours, a few pixels apart: something to draw strokes on that moves with the scene.

Sources: local contrast normalisation: Jarrett et al. 2009, ICCV, section 2. Waves of an input, so that a network of few
layers can tell near values apart: Tancik et al. 2020, arXiv:2006.10739, section 4.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

REACH = 9
"""Side of the square of surroundings, in pixels of the map."""

WAVES = (1, 2, 4)
"""Half periods of each wave from one standard deviation of the surroundings to the next; each twice the one before."""

CONTRASTS = 3 + 2 * len(WAVES)
"""Channels of ``Contrast``."""

LUMINANCE = (0.2126, 0.7152, 0.0722)
"""Weights of red, green and blue, ITU-R BT.709."""


class Contrast(nn.Module):
    """c = (x − m) / √(v + floor²), and sin, cos of π k times the luminance of c for each k of ``WAVES``.

    m is the mean of the surroundings and v that of (x − m)², over colours, too; both are local, so that nothing in
    one corner changes another.

    Args:
        floor: spread that is taken for noise.
    """

    luminance: Tensor
    thirds: Tensor

    def __init__(self, floor: float):
        super().__init__()
        self.floor = floor
        self.register_buffer("luminance", torch.tensor(LUMINANCE).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("thirds", torch.full((1, 3, 1, 1), 1 / 3), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) in [0, 1] → (N, CONTRASTS, H, W)."""
        away = x - mean_around(x, REACH)
        # Sums over colours are convolutions, which runtimes do several times faster than reductions.
        spread = torch.sqrt(
            mean_around(F.conv2d(away * away, self.thirds.to(x.dtype)), REACH) + self.floor * self.floor
        )
        relative = away / spread
        light = F.conv2d(relative, self.luminance.to(x.dtype)) * math.pi
        sines, cosines = [torch.sin(light)], [torch.cos(light)]
        for _ in WAVES[1:]:  # each is twice as fast as the one before
            cosines.append(1 - 2 * sines[-1] * sines[-1])
            sines.append(2 * sines[-1] * cosines[-2])
        return torch.cat([relative, *sines, *cosines], 1)


def mean_around(x: Tensor, side: int) -> Tensor:
    """Mean of what lies in the square of side×side pixels around each pixel. Same shape; ``side`` is odd."""
    reach = side // 2
    rows = F.avg_pool2d(x, (side, 1), 1, (reach, 0), count_include_pad=False)
    return F.avg_pool2d(rows, (1, side), 1, (0, reach), count_include_pad=False)
