"""Style distance: Gram matrices of stylized pictures against those of the painting."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from engines.base import RGB
from train.data.pictures import to_tensor, with_short_side
from train.losses.perceptual import gram, gram_distances
from train.losses.vgg_features import Vgg19

LAYERS = ("relu1_1", "relu2_1", "relu3_1")
PAINTING_SIDE = 512
"""Short side at which the painting is compared, pixels."""

COLOUR_BINS = 8
"""Bins of each axis of CIELAB."""


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
        self.grams = grams(network, with_short_side(painting, PAINTING_SIDE))

    @torch.no_grad()
    def __call__(self, pictures: Iterable[RGB]) -> StyleScores:
        """Return the mean over the pictures, each at its own size."""
        return self.of_grams(grams(self.network, rgb) for rgb in pictures)

    def of_grams(self, pictures: Iterable[Sequence[Tensor]]) -> StyleScores:
        """Return the same for pictures whose Gram matrices are known."""
        rows = [gram_distances(matrices, self.grams) for matrices in pictures]
        return StyleScores(tuple(float(v) for v in torch.tensor(rows).mean(0)))


@torch.no_grad()
def grams(network: Vgg19, picture: RGB) -> list[Tensor]:
    """Return the Gram matrices of a picture, (1, C, C) for each of ``LAYERS``."""
    return [gram(features) for features in network(to_tensor(picture))]


def colour_distance(picture: RGB, painting: RGB) -> float:
    """Return the Hellinger distance of two colour histograms in CIELAB; 0 for equal colours, 1 for none in common.

    Where the colours lie in the picture does not matter. Source: Bhattacharyya 1943, as OpenCV's ``HISTCMP_HELLINGER``.
    """
    return float(cv2.compareHist(_colours(picture), _colours(painting), cv2.HISTCMP_HELLINGER))


def _colours(picture: RGB) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    lab = cv2.cvtColor(picture, cv2.COLOR_RGB2LAB)
    counts = cv2.calcHist([lab], [0, 1, 2], None, [COLOUR_BINS] * 3, [0, 256] * 3)
    return np.asarray(counts / counts.sum(), dtype=np.float32)
