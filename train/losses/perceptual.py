"""The loss terms, each a function with its formula and its source.

All take pictures or features of shape (N, C, H, W) and return a scalar, the mean over the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from engines.model.local_contrast import LUMINANCE
from train.data.synthetic_motion import warp

PATCH = 24
"""Side of a patch that is larger than a stroke, pixels."""

PHOTOGRAPH_MEAN, PHOTOGRAPH_SPREAD = 0.47, 0.24
"""Mean and standard deviation of ``tones`` over a few hundred photographs of people, rooms, streets and landscapes."""


class _Gram(torch.autograd.Function):
    """F Fᵀ with the gradient (∂G + ∂Gᵀ) F: one product, where automatic differentiation would take two and a sum."""

    @staticmethod
    def forward(ctx: Any, flat: Tensor) -> Tensor:
        """(N, C, P) → (N, C, C)."""
        ctx.save_for_backward(flat)
        return flat @ flat.transpose(1, 2)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        """(N, C, C) → (N, C, P)."""
        flat: Tensor = ctx.saved_tensors[0]
        return (grads[0] + grads[0].transpose(1, 2)) @ flat


def gram(features: Tensor) -> Tensor:
    """G = F Fᵀ / (H W). (N, C, H, W) → (N, C, C), float32. Gatys et al. 2016, CVPR, eq. 3.

    The product is taken in the features' own type: bfloat16 sums in float32, and is several times faster.
    """
    flat = features.flatten(2)
    product: Tensor = _Gram.apply(flat)  # type: ignore[no-untyped-call]
    return product.float() / flat.shape[-1]


def content_loss(painted: Tensor, original: Tensor) -> Tensor:
    """‖F(y) − F(x)‖² / ‖F(x)‖² for each picture. Gatys et al. 2016, eq. 1, made relative."""
    painted, original = painted.float().flatten(1), original.float().flatten(1)
    return ((painted - original).square().sum(1) / original.square().sum(1).clamp_min(1e-8)).mean()


def style_distances(painted: Sequence[Tensor], painting: Sequence[Tensor]) -> list[Tensor]:
    """``gram_distances`` of features, one tensor for each layer."""
    return gram_distances([gram(features) for features in painted], painting)


def gram_distances(painted: Sequence[Tensor], painting: Sequence[Tensor]) -> list[Tensor]:
    """‖G(y) − G(s)‖² / ‖G(s)‖², Frobenius, for each layer.

    Args:
        painted: Gram matrices of the results, (N, C, C), one tensor for each layer.
        painting: Gram matrices of the painting, (1, C, C), same layers.

    Returns:
        one scalar for each layer. Gatys et al. 2016, eq. 4, made relative.
    """
    return [
        ((p - g).square().sum((1, 2)) / g.square().sum((1, 2))).mean() for p, g in zip(painted, painting, strict=True)
    ]


def temporal_loss(moved_painting: Tensor, painting_of_moved: Tensor, valid: Tensor) -> Tensor:
    """mean over pictures of the mean over valid pixels of (warp(G(x)) − G(warp(x)))².

    Ruder et al. 2016, arXiv:1604.08610, eq. 7. Pictures count alike, however much of them is valid.

    Args:
        moved_painting: the first painting, warped onto the second frame.
        painting_of_moved: the painting of the second frame.
        valid: (N, 1, H, W), 1 where the flow is defined.
    """
    error = (moved_painting - painting_of_moved).square().mean(1, keepdim=True)
    return ((error * valid).sum((1, 2, 3)) / valid.sum((1, 2, 3)).clamp_min(1)).mean()


def luminance(x: Tensor) -> Tensor:
    """Y = 0.2126 R + 0.7152 G + 0.0722 B, ITU-R BT.709. (N, 3, H, W) → (N, 1, H, W)."""
    return (x * x.new_tensor(LUMINANCE).view(3, 1, 1)).sum(1, keepdim=True)


def luminance_temporal_loss(
    painting_first: Tensor, painting_second: Tensor, first: Tensor, second: Tensor, flow: Tensor, valid: Tensor
) -> Tensor:
    """mean over valid pixels of ((O₂ − W(O₁)) − Y(I₂ − W(I₁)))², W = warp onto the second frame.

    A painting may grow lighter where the scene does, by as much, in all three channels. Y is taken of the stored
    values, not of linear light: so both differences are on one scale.

    Args:
        painting_first, painting_second: O₁ and O₂, paintings of two frames, (N, 3, H, W), about [0, 1].
        first, second: I₁ and I₂, the frames, same shape, in [0, 1].
        flow: (N, H, W, 2), pixels: where in the first frame each pixel of the second comes from.
        valid: (N, 1, H, W), 1 where the flow is trusted.

    Source:
        Gao et al. 2018 (ReCoNet), arXiv:1807.01197, eqs. 6 and 7.
    """
    lighter = luminance(second - warp(first, flow))
    return temporal_loss(warp(painting_first, flow) + lighter, painting_second, valid)


def noise_loss(painting: Tensor, painting_of_noisy: Tensor) -> Tensor:
    """mean (G(x) − G(x + n))². Stability training, Zheng et al. 2016, arXiv:1604.04326, eq. 3."""
    return (painting - painting_of_noisy).square().mean()


def tones(x: Tensor) -> Tensor:
    """Luminance of large patches, 24×24 pixels or, in a tiny picture, all of it. (N, 3, H, W) → (N, 1, h, w)."""
    side = min(PATCH, *x.shape[-2:])
    return F.avg_pool2d(luminance(x), side, -(-side // 3))


def tone_loss(painting: Tensor, original: Tensor, mean: float, spread: float) -> Tensor:
    """mean (t(y) − t′(x))², t = ``tones``, t′ the same with mean and standard deviation of the style's painting.

    Style losses are content when every picture has the painting's colours somewhere; this one says where the light
    ones belong. The map is one for all pictures, so that it cannot flicker. Luminance transfer by mean and standard
    deviation: Gatys et al. 2016, arXiv:1606.05897, section 5.1.

    Args:
        painting, original: (N, 3, H, W).
        mean, spread: of the ``tones`` of the style's painting.
    """
    wanted = mean + (tones(original) - PHOTOGRAPH_MEAN) * (spread / PHOTOGRAPH_SPREAD)
    return (tones(painting) - wanted).square().mean()


def lattice_loss(y: Tensor) -> Tensor:
    """What the four pixels of a 2×2 cell differ by everywhere: the mesh that a pixel shuffle leaves in flat parts.

    mean (ā − b̄)², ā the mean of the pixels at one place in their cells over a square of 16×16 cells, b̄ that of all four
    places. Strokes average out over the square, a mesh does not. Checkerboards of upsampling: Odena et al. 2016,
    Distill, doi:10.23915/distill.00003.

    Args:
        y: (N, 3, H, W); an odd last row or column is left out.
    """
    high, wide = y.shape[-2] // 2, y.shape[-1] // 2
    places = F.pixel_unshuffle(y[..., : 2 * high, : 2 * wide], 2).view(-1, 3, 4, high, wide)
    apart = (places - places.mean(2, keepdim=True)).view(-1, 12, high, wide)
    return F.avg_pool2d(apart, min(16, high, wide)).square().mean()


def variation_loss(y: Tensor) -> Tensor:
    """Anisotropic total variation: mean |∂x y| + mean |∂y y|. Mahendran and Vedaldi 2015, arXiv:1412.0035."""
    return (y[..., 1:] - y[..., :-1]).abs().mean() + (y[..., 1:, :] - y[..., :-1, :]).abs().mean()


def range_loss(y: Tensor) -> Tensor:
    """mean of the squared excess over [0, 1], which the deployed graph clamps away."""
    return (y - y.clamp(0, 1)).square().mean()


def straight_clamp(y: Tensor) -> Tensor:
    """Clamp to [0, 1] with an unchanged gradient. Straight-through, Bengio et al. 2013, arXiv:1308.3432.

    The feature networks see what a viewer will see, and a channel that has left the range can still come back.
    """
    return y + (y.clamp(0, 1) - y).detach()
