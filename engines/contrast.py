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
from torch import Tensor

REACH = 9
"""Side of the square of surroundings, in pixels of the map."""

WAVES = (1, 2, 4)
"""Half periods of each wave from one standard deviation of the surroundings to the next."""

CONTRASTS = 3 + 2 * len(WAVES)
"""Channels of ``contrast``."""

LUMINANCE = (0.2126, 0.7152, 0.0722)
"""Weights of red, green and blue, ITU-R BT.709."""


def contrast(x: Tensor, floor: float) -> Tensor:
    """c = (x − m) / √(v + floor²), and sin, cos of π k times the luminance of c for each k of ``WAVES``.

    m is the mean of the surroundings and v that of (x − m)², over colours, too; both are local, so that nothing in
    one corner changes another.

    Args:
        x: (N, 3, H, W) in [0, 1].
        floor: spread that is taken for noise.
    Returns: (N, CONTRASTS, H, W).
    """
    away = x - mean_around(x, REACH)
    spread = torch.sqrt(mean_around(away * away, REACH).mean(1, keepdim=True) + floor * floor)
    relative = away / spread
    light = (relative * relative.new_tensor(LUMINANCE).view(1, 3, 1, 1)).sum(1, keepdim=True)
    angles = torch.cat([light * (math.pi * wave) for wave in WAVES], 1)
    return torch.cat([relative, torch.sin(angles), torch.cos(angles)], 1)


def mean_around(x: Tensor, side: int) -> Tensor:
    """Mean over squares of side×side pixels, the border repeated. (N, C, H, W) → the same shape; ``side`` is odd."""
    reach = side // 2
    return F.avg_pool2d(F.pad(x, (reach, reach, reach, reach), mode="replicate"), side, 1)
