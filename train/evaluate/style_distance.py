"""Style distance: Gram matrices of stylized pictures against those of the painting."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch

from engines.base import RGB
from train.data.pictures import to_tensor, with_short_side
from train.losses.perceptual import gram, style_distances
from train.losses.vgg_features import Vgg19

LAYERS = ("relu1_1", "relu2_1", "relu3_1")
PAINTING_SIDE = 512
"""Short side at which the painting is compared, pixels."""


@dataclass(frozen=True)
class StyleScores:
    """Relative squared distance of Gram matrices to those of the painting, for each of ``LAYERS``; 0 is a match."""

    layers: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean over the layers."""
        return sum(self.layers) / len(self.layers)

    @property
    def strokes(self) -> float:
        """relu3_1 alone, which recolouring cannot lower."""
        return self.layers[-1]


class StyleDistance:
    """Measure how close pictures are to a painting.

    The mean over pictures of ‖G(y) − G(s)‖² / ‖G(s)‖² (Frobenius), G = F Fᵀ / (H W), full-width VGG19, the painting at
    short side 512. Gatys et al. 2016, CVPR, eq. 4, made relative.

    Args:
        network: with the taps ``LAYERS``, float32.
        painting: the style picture.
    """

    @torch.no_grad()
    def __init__(self, network: Vgg19, painting: RGB):
        self.network = network
        self.grams = [gram(f) for f in network(to_tensor(with_short_side(painting, PAINTING_SIDE)))]

    @torch.no_grad()
    def __call__(self, pictures: Iterable[RGB]) -> StyleScores:
        """Return the mean over the pictures, each at its own size."""
        rows = [style_distances(self.network(to_tensor(rgb)), self.grams) for rgb in pictures]
        return StyleScores(tuple(float(v) for v in torch.tensor(rows).mean(0)))
