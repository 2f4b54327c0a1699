"""Find the parts of the painting with strokes most similar to those of a region."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from engines.base import RGB
from train.data.pictures import to_tensor
from train.losses.vgg_features import Vgg19

PATCH = 3
"""Side of a compared square, in places of relu3_1."""

STRIDE, VIEW = 4, 24
"""Distance of neighbouring places of relu3_1, and side of the receptive field of one, pixels."""

BOX = ((PATCH - 1) * STRIDE + VIEW) // STRIDE
"""Side of the receptive field of a compared square, in places."""

ROWS, COLUMNS = 2, 3
"""The picture is divided into this grid; one region is chosen from each part."""


@dataclass(frozen=True)
class Square:
    """Part of a picture, pixels."""

    top: int
    left: int
    side: int

    def cut(self, rgb: RGB) -> RGB:
        """Crop the square from a picture."""
        return rgb[self.top : self.top + self.side, self.left : self.left + self.side]

    def surroundings(self, rgb: RGB) -> Square:
        """Return a square of twice the side around this one, inside the picture."""
        side = min(2 * self.side, *rgb.shape[:2])
        before = (side - self.side) // 2
        return _inside(self.top - before, self.left - before, side, rgb)


@dataclass(frozen=True)
class Match:
    """A region of the stylized picture, its most similar piece of the painting, and the cosine of their features.

    ``photo_similarity`` is that of the same region of the photograph to the best of the same pieces.
    """

    region: Square
    found: Square
    similarity: float
    photo_similarity: float


@torch.no_grad()
def matches(network: Vgg19, photo: RGB, stylized: RGB, painting: RGB) -> list[Match]:
    """Find the most similar part of the painting for a few regions.

    The regions are those that changed most, one from each part of the picture. No piece of the painting is used
    twice unless it has too few. Squares of ``PATCH`` × ``PATCH`` places of relu3_1, minus the painting's mean, are
    compared by their cosine at every place of the painting. Feature patches: Li and Wand 2016, arXiv:1601.04589,
    section 3.
    """
    x, y, s = (network(to_tensor(rgb))[-1].float() for rgb in (photo, stylized, painting))
    size = min(PATCH, *y.shape[-2:], *s.shape[-2:])
    change = F.avg_pool2d((y - x).square().sum(1, keepdim=True), size, stride=1)[0, 0]
    places = list(_chosen(change))
    mean = s.mean((2, 3), keepdim=True)
    after, before = (_cosines(_patches(f - mean, places, size), s - mean) for f in (y, x))
    found = []
    free = torch.ones_like(after[0], dtype=torch.bool)
    for place, cosine, of_input in zip(places, after, before, strict=True):
        if not bool(free.any()):  # a small painting has too few pieces
            free.fill_(True)
        top, left = divmod(int(cosine.masked_fill(~free, -torch.inf).argmax()), cosine.shape[1])
        found.append(
            Match(
                _square(place, size, stylized),
                _square((top, left), size, painting),
                float(cosine[top, left]),
                float(of_input[free].max()),
            )
        )
        free[max(0, top - BOX + 1) : top + BOX, max(0, left - BOX + 1) : left + BOX] = False
    return found


def _chosen(change: Tensor) -> Iterator[tuple[int, int]]:
    """Yield (top, left) of the largest value inside each part of a map, row by row."""
    for top, bottom in _spans(change.shape[0], ROWS):
        for left, right in _spans(change.shape[1], COLUMNS):
            row, column = divmod(int(change[top:bottom, left:right].argmax()), right - left)
            yield top + row, left + column


def _spans(length: int, parts: int) -> Iterator[tuple[int, int]]:
    """Yield the inside of each part of a line, with up to a box of margin at both ends.

    Without the margin, regions on both sides of a border could show the same stroke.
    """
    for places in torch.arange(length).tensor_split(parts):
        if len(places):
            free = min(BOX, (len(places) - 1) // 2)
            yield int(places[0]) + free, int(places[-1]) + 1 - free


def _patches(features: Tensor, places: list[tuple[int, int]], size: int) -> Tensor:
    """(1, C, H, W) → (places, C, size, size)."""
    return torch.cat([features[..., top : top + size, left : left + size] for top, left in places])


def _cosines(patches: Tensor, features: Tensor) -> Tensor:
    """Compare (N, C, k, k) with every square of (1, C, H, W) → (N, H − k + 1, W − k + 1)."""
    size = patches.shape[-1]
    energy = F.avg_pool2d(features.square().sum(1, keepdim=True), size, stride=1) * size**2
    lengths = patches.flatten(1).norm(dim=1).view(1, -1, 1, 1) * energy.sqrt()
    cosines: Tensor = F.conv2d(features, patches) / lengths.clamp_min(1e-8)
    return cosines[0]


def _square(place: tuple[int, int], size: int, rgb: RGB) -> Square:
    """Return the receptive field of a square of places, moved inside the picture."""
    side = min((size - 1) * STRIDE + VIEW, *rgb.shape[:2])
    # The receptive field extends equally on both sides of a place's own pixels.
    top, left = (STRIDE * at - (VIEW - STRIDE) // 2 for at in place)
    return _inside(top, left, side, rgb)


def _inside(top: int, left: int, side: int, rgb: RGB) -> Square:
    return Square(min(max(0, top), rgb.shape[0] - side), min(max(0, left), rgb.shape[1] - side), side)
