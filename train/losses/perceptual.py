"""Loss terms, each a function with its formula and source.

They take pictures or features of shape (N, C, H, W) and return a scalar, the mean over the batch. x is the input
picture, y the stylized one; the painting is the artwork whose style is learned.
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
"""Side of a patch larger than a stroke, pixels."""

PLAIN, DETAIL = 32, 25
"""Sides of the squares that are averaged in a plain picture, and around a pixel to find its detail, pixels."""

SHADES = 9
"""Steps from black to white whose colours are compared."""

PHOTOGRAPH_MEAN, PHOTOGRAPH_SPREAD = 0.47, 0.24
"""Mean and standard deviation of ``tones`` over a few hundred photographs of people, rooms, streets and landscapes."""

NARROWEST = 0.15
"""Smallest standard deviation that pictures are asked for: with that of a painting in one tone, no scene is seen."""


class _Gram(torch.autograd.Function):
    """Fᵀ F with the gradient F (∂G + ∂Gᵀ): one product instead of two and a sum."""

    @staticmethod
    def forward(ctx: Any, flat: Tensor) -> Tensor:
        """(N, P, C) → (N, C, C)."""
        ctx.save_for_backward(flat)
        return flat.transpose(1, 2) @ flat

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        """(N, C, C) → (N, P, C)."""
        flat: Tensor = ctx.saved_tensors[0]
        return flat @ (grads[0] + grads[0].transpose(1, 2))


def gram(features: Tensor) -> Tensor:
    """G = F Fᵀ / (H W). (N, C, H, W) → (N, C, C), float32. Gatys et al. 2016, CVPR, eq. 3.

    The product is computed in the type of the features: bfloat16 sums in float32, and is several times faster.
    Features in channels-last memory, as the feature networks give them, are not copied.
    """
    flat = features.permute(0, 2, 3, 1).flatten(1, 2)
    product: Tensor = _Gram.apply(flat)  # type: ignore[no-untyped-call]
    return product.float() / flat.shape[1]


def content_loss(stylized: Tensor, original: Tensor, mask: Tensor | None = None) -> Tensor:
    """Σ m (F(y) − F(x))² / ‖F(x)‖², per picture. Gatys et al. 2016, eq. 1, made relative.

    Args:
        stylized: F(y), (N, C, h, w).
        original: F(x), same shape.
        mask: m, the share of each pixel, (N, 1, H, W), averaged down to the features; ``None`` is 1.
    """
    stylized, original = stylized.float(), original.float()
    energy = original.square().sum((1, 2, 3)).clamp_min(1e-8)
    error = (stylized - original).square()
    if mask is not None:
        error = error * F.adaptive_avg_pool2d(mask, (error.shape[2], error.shape[3]))
    return (error.sum((1, 2, 3)) / energy).mean()


def style_distances(stylized: Sequence[Tensor], painting: Sequence[Tensor]) -> list[Tensor]:
    """Return ``gram_distances`` of features, one tensor per layer."""
    return gram_distances([gram(features) for features in stylized], painting)


def gram_distances(stylized: Sequence[Tensor], painting: Sequence[Tensor]) -> list[Tensor]:
    """‖G(y) − G(s)‖² / ‖G(s)‖², Frobenius, per layer.

    Args:
        stylized: Gram matrices of the stylized pictures, (N, C, C), one tensor per layer.
        painting: Gram matrices of the painting, (1, C, C), same layers.

    Returns:
        one scalar per layer. Gatys et al. 2016, eq. 4, made relative.
    """
    return [
        ((p - g).square().sum((1, 2)) / g.square().sum((1, 2))).mean() for p, g in zip(stylized, painting, strict=True)
    ]


def temporal_loss(warped: Tensor, second: Tensor, valid: Tensor) -> Tensor:
    """Mean over pictures of the mean over valid pixels of (warp(G(x)) − G(warp(x)))².

    Ruder et al. 2016, arXiv:1604.08610, eq. 7. Pictures count equally, however much of them is valid.

    Args:
        warped: first stylized frame, warped onto the second.
        second: second stylized frame.
        valid: (N, 1, H, W), 1 where the flow is defined.
    """
    error = (warped - second).square().mean(1, keepdim=True)
    return ((error * valid).sum((1, 2, 3)) / valid.sum((1, 2, 3)).clamp_min(1)).mean()


def luminance(x: Tensor) -> Tensor:
    """Y = 0.2126 R + 0.7152 G + 0.0722 B, ITU-R BT.709. (N, 3, H, W) → (N, 1, H, W)."""
    return (x * x.new_tensor(LUMINANCE).view(3, 1, 1)).sum(1, keepdim=True)


def luminance_temporal_loss(
    stylized_first: Tensor, stylized_second: Tensor, first: Tensor, second: Tensor, flow: Tensor, valid: Tensor
) -> Tensor:
    """Mean over valid pixels of ((O₂ − W(O₁)) − Y(I₂ − W(I₁)))², W = warp onto the second frame.

    The output may brighten as much as the scene does, equally in all three channels. Y is taken of the stored values,
    not of linear light, so that both differences have the same scale.

    Args:
        stylized_first: O₁, the first stylized frame, (N, 3, H, W), roughly in [0, 1].
        stylized_second: O₂, the second one.
        first: I₁, the first input frame, same shape, in [0, 1].
        second: I₂, the second one.
        flow: (N, H, W, 2), pixels: where in the first frame each pixel of the second comes from.
        valid: (N, 1, H, W), 1 where the flow is trusted.

    Source:
        Gao et al. 2018 (ReCoNet), arXiv:1807.01197, eqs. 6 and 7.
    """
    lighter = luminance(second - warp(first, flow))
    return temporal_loss(warp(stylized_first, flow) + lighter, stylized_second, valid)


def noise_loss(clean: Tensor, noisy: Tensor) -> Tensor:
    """Mean (G(x) − G(x + n))². Stability training, Zheng et al. 2016, arXiv:1604.04326, eq. 3."""
    return (clean - noisy).square().mean()


def tones(x: Tensor) -> Tensor:
    """Return the luminance of 24×24 patches, or of the whole of a tiny picture. (N, 3, H, W) → (N, 1, h, w)."""
    side = min(PATCH, *x.shape[-2:])
    return F.avg_pool2d(luminance(x), side, -(-side // 3))


def tone_loss(stylized: Tensor, original: Tensor, mean: float, spread: float) -> Tensor:
    """Mean (t(y) − t′(x))², t = ``tones``, t′ = t with the mean and standard deviation of the painting.

    Style losses only ask for the painting's colours somewhere; this one asks for light colours where the photograph is
    light. The mapping is the same for all pictures, so that it cannot flicker. Luminance transfer by mean and standard
    deviation: Gatys et al. 2016, arXiv:1606.05897, section 5.1.

    Args:
        stylized: (N, 3, H, W).
        original: the input pictures, same shape.
        mean: of the ``tones`` of the painting.
        spread: their standard deviation.
    """
    wanted = mean + (tones(original) - PHOTOGRAPH_MEAN) * (spread / PHOTOGRAPH_SPREAD)
    return (tones(stylized) - wanted).square().mean()


def palette(x: Tensor) -> Tensor:
    """Return which colours the darks, the lights and all shades between them have.

    Args:
        x: (N, 3, H, W) in [0, 1].

    Returns:
        (SHADES, 4): sums over the pixels of each shade, divided by the number of all pixels: of R − Y, G − Y, B − Y,
        and of 1. A pixel counts for the two shades that are nearest to its luminance Y, which gets no gradient.
    """
    light = luminance(x)
    steps = torch.arange(SHADES, device=x.device, dtype=x.dtype).view(-1, 1)
    share = (1 - (light.detach().flatten() * (SHADES - 1) - steps).abs()).clamp_min(0)
    colour = (x - light).transpose(0, 1).flatten(1)
    return torch.column_stack([share @ colour.t(), share.sum(1)]) / light.numel()


def palette_loss(stylized: Tensor, painting: Tensor) -> Tensor:
    """Σ s ‖c(y) − c(painting)‖², c = mean colour of a shade, s = √ of the product of its shares in both.

    Gram matrices are content with the right colours anywhere; this term asks for the colour that the painting's darks
    have in the darks. It compares means, and leaves all variation around them.

    Args:
        stylized: ``palette`` of the batch, (SHADES, 4).
        painting: that of the painting, same shape.
    """
    shares = stylized[:, 3].detach() * painting[:, 3]
    mean = stylized[:, :3] / stylized[:, 3:].clamp_min(1e-6)
    return (shares.sqrt() * (mean - painting[:, :3] / painting[:, 3:].clamp_min(1e-6)).square().sum(1)).sum()


def lattice_loss(y: Tensor) -> Tensor:
    """Mean (ā − b̄)², which measures the mesh that a pixel shuffle leaves in flat areas.

    ā is the mean over 16×16 cells of the pixels at one position in their 2×2 cells, b̄ that of all four positions.
    Strokes average out over the square, a mesh does not. Checkerboards of upsampling: Odena et al. 2016,
    Distill, doi:10.23915/distill.00003.

    Args:
        y: (N, 3, H, W); an odd last row or column is ignored.
    """
    high, wide = y.shape[-2] // 2, y.shape[-1] // 2
    places = F.pixel_unshuffle(y[..., : 2 * high, : 2 * wide], 2).view(-1, 3, 4, high, wide)
    apart = (places - places.mean(2, keepdim=True)).view(-1, 12, high, wide)
    return F.avg_pool2d(apart, min(16, high, wide)).square().mean()


def detail(x: Tensor) -> Tensor:
    """Return what is finer than a square of ``DETAIL`` pixels: x minus its mean around each pixel. Any (N, C, H, W)."""
    side = min(DETAIL, *x.shape[-2:])
    side -= 1 - side % 2
    return x - F.avg_pool2d(x, side, 1, side // 2, count_include_pad=False)


def plain(x: Tensor) -> Tensor:
    """Take all detail from pictures: what is left are skies and walls. (N, C, H, W) → same shape."""
    size = max(1, x.shape[2] // PLAIN), max(1, x.shape[3] // PLAIN)
    return F.interpolate(F.adaptive_avg_pool2d(x, size), x.shape[-2:], mode="bilinear", align_corners=False)


def plain_loss(stylized: Tensor, original: Tensor) -> Tensor:
    """Mean (d(G(x)) − d(x))², d = ``detail``, of ``plain`` pictures x. (N, 3, H, W), twice → scalar."""
    return (detail(stylized) - detail(original)).square().mean()


def variation_loss(y: Tensor) -> Tensor:
    """Anisotropic total variation: mean |∂x y| + mean |∂y y|. Mahendran and Vedaldi 2015, arXiv:1412.0035."""
    return (y[..., 1:] - y[..., :-1]).abs().mean() + (y[..., 1:, :] - y[..., :-1, :]).abs().mean()


def range_loss(y: Tensor) -> Tensor:
    """Mean (y − clamp(y, 0, 1))², because the deployed graph clamps."""
    return (y - y.clamp(0, 1)).square().mean()


def straight_clamp(y: Tensor) -> Tensor:
    """Clamp to [0, 1] with an unchanged gradient. Straight-through, Bengio et al. 2013, arXiv:1308.3432.

    The feature networks see what a viewer sees, and a channel that has left the range can still return.
    """
    return y + (y.clamp(0, 1) - y).detach()
