"""Synthetic motion with exact flow, and synthetic sensor noise."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def random_flow(count: int, size: tuple[int, int], largest: float, rng: torch.Generator) -> Tensor:
    """Draw smooth random motion: an affine part (shift, rotation, zoom, shear) and an elastic part.

    Args:
        count: number of flows.
        size: height and width, pixels.
        largest: scale of the motion, pixels; single pixels may move about 1.5 times as far.
        rng: source of all random numbers, on the CPU.

    Returns:
        (count, H, W, 2), pixels, (x, y): where each pixel of the moved picture comes from.

    Source:
        affine and elastic augmentation, Simard et al. 2003.
    """
    height, width = size
    ys = torch.linspace(-1, 1, height).view(1, height, 1)
    xs = torch.linspace(-1, 1, width).view(1, 1, width)
    # The draw is squared so that small motions, which a sitting person makes, are common.
    scale = largest * torch.rand(count, 1, 1, generator=rng) ** 2
    a = (2 * torch.rand(count, 6, 1, 1, generator=rng) - 1).unbind(1)
    dx = a[0] + 0.5 * (a[1] * xs + a[2] * ys)
    dy = a[3] + 0.5 * (a[4] * xs + a[5] * ys)
    coarse = 2 * torch.rand(count, 2, 4, 4, generator=rng) - 1
    elastic = 0.4 * F.interpolate(coarse, size, mode="bicubic", align_corners=True)
    return torch.stack([dx * scale, dy * scale], dim=-1) + (elastic * scale[:, None]).permute(0, 2, 3, 1)


def warp(x: Tensor, flow: Tensor) -> Tensor:
    """Move pictures along a flow, with bilinear interpolation.

    Args:
        x: (N, C, H, W).
        flow: (N, H, W, 2), pixels, (x, y).

    Returns:
        (N, C, H, W); the border is repeated outside the picture.
    """
    height, width = x.shape[-2:]
    ys = torch.arange(height, dtype=flow.dtype, device=flow.device).view(1, height, 1)
    xs = torch.arange(width, dtype=flow.dtype, device=flow.device).view(1, 1, width)
    grid = torch.stack([2 * (xs + flow[..., 0] + 0.5) / width - 1, 2 * (ys + flow[..., 1] + 0.5) / height - 1], dim=-1)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=False)


def inside(flow: Tensor) -> Tensor:
    """Return 1 where the flow points into the picture, else 0. (N, H, W, 2) → (N, 1, H, W)."""
    height, width = flow.shape[1:3]
    x = flow[..., 0] + torch.arange(width, dtype=flow.dtype, device=flow.device).view(1, 1, width)
    y = flow[..., 1] + torch.arange(height, dtype=flow.dtype, device=flow.device).view(1, height, 1)
    valid = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    return valid[:, None].to(flow.dtype)


def sensor_noise(count: int, size: tuple[int, int], sigma: float, rng: torch.Generator) -> Tensor:
    """Draw the noise that a sensor and a codec add: grey and colour noise, partly correlated between neighbours.

    Args:
        count: number of pictures.
        size: height and width, pixels.
        sigma: largest standard deviation, 8-bit steps; each picture draws its own, uniformly.
        rng: source of all random numbers, on the CPU.

    Returns:
        (count, 3, H, W), to be added to pictures in [0, 1]; see ``add_noise``.
    """
    height, width = size
    level = sigma / 255.0 * torch.rand(count, 1, 1, 1, generator=rng)
    fine = torch.randn(count, 3, height, width, generator=rng)
    coarse = torch.randn(count, 3, math.ceil(height / 2), math.ceil(width / 2), generator=rng)
    blurred = F.interpolate(coarse, size, mode="bilinear", align_corners=False)
    share = torch.rand(count, 1, 1, 1, generator=rng)
    return level * torch.lerp(fine, blurred, share)


def add_noise(x: Tensor, noise: Tensor) -> Tensor:
    """Add noise to pictures in [0, 1] and clamp. Two tensors of the same shape and device → the same shape."""
    return (x + noise).clamp(0, 1)
