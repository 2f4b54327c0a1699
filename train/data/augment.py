"""Differentiable augmentation, which keeps the discriminator from memorising a few pictures.

The same policy applies to the artist's works and to stylized pictures, in the step of the discriminator and in that of
the generator; the random numbers may differ. Zhao et al. 2020, arXiv:2006.10738.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

GREY = 0.5
"""The middle of [0, 1]; the paper's 0 in [−1, 1]."""


def colour(x: Tensor, rng: torch.Generator) -> Tensor:
    """Change brightness by ± 0.25, saturation by 0 … 2, contrast by 0.5 … 1.5, without clamping, as in the paper.

    (N, 3, H, W) in [0, 1] → same shape. The brightness is half of the paper's, for half of its range.
    """
    brightness, saturation, contrast = _uniform(rng, (3, len(x), 1, 1, 1)).to(x)
    x = x + 0.5 * (brightness - 0.5)
    grey = x.mean(1, keepdim=True)
    x = torch.lerp(grey, x, 2 * saturation)
    mean = x.mean((1, 2, 3), keepdim=True)
    return torch.lerp(mean, x, contrast + 0.5)


def translation(x: Tensor, rng: torch.Generator, ratio: float = 0.125) -> Tensor:
    """Shift by whole pixels, up to ``ratio`` of each side. (N, C, H, W) → same shape.

    The gap shows the picture's reflection, as in Karras et al. 2020, arXiv:2006.06676, appendix B: a patch
    discriminator would mostly look at the edges of the paper's black bars.
    """
    height, width = x.shape[-2:]
    high, wide = int(ratio * height + 0.5), int(ratio * width + 0.5)
    padded = F.pad(x, (wide, wide, high, high), mode="reflect")
    choices = torch.tensor([2 * high + 1, 2 * wide + 1], device=rng.device).view(2, 1, 1)
    tops, lefts = (_uniform(rng, (2, len(x), 1)) * choices).long().flatten(1).tolist()
    places = zip(padded, tops, lefts, strict=True)
    return torch.stack([one[:, top : top + height, left : left + width] for one, top, left in places])


def cutout(x: Tensor, rng: torch.Generator, ratio: float = 0.5) -> Tensor:
    """Cover a rectangle anywhere, its sides ``ratio`` of the picture's, with grey.

    (N, C, H, W) → same shape. DeVries and Taylor 2017, arXiv:1708.04552.
    """
    inside = torch.ones(len(x), 1, 1, 1, dtype=torch.bool, device=x.device)
    for axis, size in ((2, x.shape[2]), (3, x.shape[3])):
        form = [1, 1, 1, 1]
        form[axis] = size
        middle = _uniform(rng, (len(x), 1, 1, 1)).to(x.device) * size
        pixels = torch.arange(size, device=x.device).view(form) + 0.5
        inside = inside & ((pixels - middle).abs() < 0.5 * ratio * size)
    return x.masked_fill(inside, GREY)


def augment(x: Tensor, rng: torch.Generator) -> Tensor:
    """Change colours, shift and cover pictures differentiably, without clamping: for up to a few thousand pictures.

    Args:
        x: (N, 3, H, W) in [0, 1], any floating type and device.
        rng: source of all random numbers, on any device.
    """
    return cutout(translation(colour(x, rng), rng), rng)


def _uniform(rng: torch.Generator, shape: tuple[int, ...]) -> Tensor:
    """Draw float32 on the device of the generator, so that type and device of the pictures do not matter."""
    return torch.rand(shape, generator=rng, device=rng.device)
