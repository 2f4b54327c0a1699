"""Which layer of the losses moved, and where in the picture."""

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
"""A value for each place of a layer: float32, (height, width), coarser than the picture."""

Kind = Literal["style", "moved", "content"]


@dataclass(frozen=True)
class LayerMap:
    """What one layer of the losses has to say about photograph and painted picture.

    Attributes:
        layer: one of ``STYLE_LAYERS``.
        kind: ``style`` is the fall of the style term, ``moved`` the change of the features, ``content`` the content
            term.
        places: each place's part; their mean is ``before`` − ``after`` for the style, ``after`` for the others.
        before, after: the term for the photograph and for the painted picture.
    """

    layer: str
    kind: Kind
    places: Field
    before: float
    after: float


def style_parts(photo: Tensor, painted: Tensor, target: Tensor) -> Tensor:
    """Each place's part in the fall of a layer's style term.

    E(G) = ‖G − S‖² / ‖S‖² is quadratic in G, and G is a mean over places p of f_p f_pᵀ. So, exactly,
    E(G_x) − E(G_y) = mean over p of f_p(x)ᵀ M f_p(x) − f_p(y)ᵀ M f_p(y), M = (G_x + G_y − 2 S) / ‖S‖²: what a place
    gives up and takes on, each weighed by the mean slope of E on the way. (The slope at the photograph alone would
    promise far more than is reached.) Integrated gradients along that way: Sundararajan et al. 2017, arXiv:1703.01365.

    Args:
        photo, painted: features, (1, C, H, W).
        target: Gram matrix of the painting, (1, C, C).

    Returns:
        (H, W); above 0 the place came nearer to the painting. The mean is the fall.
    """
    slope = (gram(photo) + gram(painted) - 2 * target) / target.square().sum()

    def part(features: Tensor) -> Tensor:
        flat = features.float().flatten(2)
        return (flat * (slope @ flat)).sum(1).reshape(features.shape[-2:])

    return part(photo) - part(painted)


def moved_parts(photo: Tensor, painted: Tensor) -> Tensor:
    """Each place's part in ‖F(y) − F(x)‖² / ‖F(x)‖²: (1, C, H, W) twice → (H, W), whose mean is that."""
    moved = (painted.float() - photo.float()).square().sum((0, 1))
    return moved * moved.numel() / photo.float().square().sum().clamp_min(1e-8)


@torch.no_grad()
def painting_grams(features: Features, painting: RGB) -> list[Tensor]:
    """What the style term compares with: a Gram matrix, (1, C, C), for each of ``STYLE_LAYERS``."""
    return [gram(f) for f in _layers(features, painting)]


@torch.no_grad()
def layer_maps(features: Features, photo: RGB, painted: RGB, targets: Sequence[Tensor]) -> list[LayerMap]:
    """One map for each style layer, and one for the content.

    Args:
        features: what the losses are made of.
        photo, painted: the same size.
        targets: ``painting_grams``; where they are empty there is no style term, and the style layers tell only how far
            they moved.
    """
    x, y = (_layers(features, rgb) for rgb in (photo, painted))
    maps = []
    if targets:
        before, after = (style_distances(layers, targets) for layers in (x, y))
        for i, layer in enumerate(STYLE_LAYERS):
            parts = style_parts(x[i], y[i], targets[i])
            maps.append(LayerMap(layer, "style", _field(parts), float(before[i]), float(after[i])))
    else:
        for layer, a, b in zip(STYLE_LAYERS[:-1], x[:-1], y[:-1], strict=True):
            maps.append(LayerMap(layer, "moved", _field(moved_parts(a, b)), 0.0, float(content_loss(b, a))))
    content = _field(moved_parts(x[-1], y[-1]))
    return [*maps, LayerMap(STYLE_LAYERS[-1], "content", content, 0.0, float(content_loss(y[-1], x[-1])))]


def shares(maps: Sequence[LayerMap]) -> list[float]:
    """Each style layer's share of the fall of the style term, 0 … 1; 0 for a layer that came no nearer."""
    falls = [max(0.0, m.before - m.after) if m.kind == "style" else 0.0 for m in maps]
    whole = sum(falls)
    return [fall / whole if whole else 0.0 for fall in falls]


def _layers(features: Features, rgb: RGB) -> list[Tensor]:
    x = to_tensor(rgb)
    return [*features.style(x), features.content(x)]


def _field(values: Tensor) -> Field:
    return np.asarray(values.cpu().numpy(), dtype=np.float32)
