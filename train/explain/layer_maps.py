"""Maps of what each loss layer changed in the picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from engines.base import RGB
from train.config.schema import STYLE_LAYERS
from train.data.pictures import to_tensor
from train.losses.perceptual import content_loss, gram, style_distances
from train.losses.vgg_features import Features

Field = npt.NDArray[np.float32]
"""One value for each place of a layer: float32, (height, width), coarser than the picture."""

Kind = Literal["style", "change", "content"]


@dataclass(frozen=True)
class LayerMap:
    """What one loss layer changed between photograph and stylized picture.

    Attributes:
        layer: one of ``STYLE_LAYERS``.
        kind: ``style`` maps the drop of the style loss, ``change`` the change of the features, ``content`` the content
            loss.
        values: contribution of each place; their mean is ``before`` − ``after`` for ``style``, ``after`` otherwise.
        before: the loss of the photograph.
        after: the loss of the stylized picture.
    """

    layer: str
    kind: Kind
    values: Field
    before: float
    after: float


def style_contributions(photo: Tensor, stylized: Tensor, target: Tensor) -> Tensor:
    """Return each place's contribution to the drop of a layer's style loss.

    E(G) = ‖G − S‖² / ‖S‖² is quadratic in G, and G is a mean over places p of f_p f_pᵀ. Therefore, exactly,
    E(G_x) − E(G_y) = mean over p of f_p(x)ᵀ M f_p(x) − f_p(y)ᵀ M f_p(y) with M = (G_x + G_y − 2 S) / ‖S‖². M is the
    mean slope of E between the two; the slope at the photograph alone would overestimate the drop. These are integrated
    gradients: Sundararajan et al. 2017, arXiv:1703.01365.

    Args:
        photo: features of the photograph, (1, C, H, W).
        stylized: features of the stylized picture, same shape.
        target: Gram matrix of the painting, (1, C, C).

    Returns:
        (H, W), positive where the picture moved closer to the painting. The mean is the drop.
    """
    slope = (gram(photo) + gram(stylized) - 2 * target) / target.square().sum()

    def part(features: Tensor) -> Tensor:
        flat = features.float().flatten(2)
        return (flat * (slope @ flat)).sum(1).reshape(features.shape[-2:])

    return part(photo) - part(stylized)


def change_contributions(photo: Tensor, stylized: Tensor) -> Tensor:
    """Split ‖F(y) − F(x)‖² / ‖F(x)‖² by place. Two (1, C, H, W) → (H, W), whose mean is that value."""
    moved = (stylized.float() - photo.float()).square().sum((0, 1))
    return moved * moved.numel() / photo.float().square().sum().clamp_min(1e-8)


@torch.no_grad()
def painting_grams(features: Features, painting: RGB) -> list[Tensor]:
    """Return the targets of the style loss: a Gram matrix (1, C, C) for each of ``STYLE_LAYERS``."""
    return [gram(f) for f in _layers(features, painting)]


@torch.no_grad()
def layer_maps(features: Features, photo: RGB, stylized: RGB, targets: Sequence[Tensor]) -> list[LayerMap]:
    """Return one map for each style layer and one for the content.

    Without targets, which are ``painting_grams``, the style layers only show how far their features moved.
    """
    x, y = (_layers(features, rgb) for rgb in (photo, stylized))
    maps = []
    if targets:
        before, after = (style_distances(layers, targets) for layers in (x, y))
        for i, layer in enumerate(STYLE_LAYERS):
            parts = style_contributions(x[i], y[i], targets[i])
            maps.append(LayerMap(layer, "style", _field(parts), float(before[i]), float(after[i])))
    else:
        for layer, a, b in zip(STYLE_LAYERS[:-1], x[:-1], y[:-1], strict=True):
            maps.append(LayerMap(layer, "change", _field(change_contributions(a, b)), 0.0, float(content_loss(b, a))))
    content = _field(change_contributions(x[-1], y[-1]))
    return [*maps, LayerMap(STYLE_LAYERS[-1], "content", content, 0.0, float(content_loss(y[-1], x[-1])))]


def shares(maps: Sequence[LayerMap]) -> list[float]:
    """Return each map's share of the total drop of the style loss, 0 … 1; 0 for a layer that got no closer."""
    drops = [max(0.0, m.before - m.after) if m.kind == "style" else 0.0 for m in maps]
    total = sum(drops)
    return [drop / total if total else 0.0 for drop in drops]


def _layers(features: Features, rgb: RGB) -> list[Tensor]:
    x = to_tensor(rgb)
    return [*features.style(x), features.content(x)]


def _field(values: Tensor) -> Field:
    return np.asarray(values.cpu().numpy(), dtype=np.float32)
