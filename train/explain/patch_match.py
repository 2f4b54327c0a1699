"""Which part of the painting the strokes of a region resemble most."""

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
"""Side of a compared square, places of relu3_1."""

STRIDE, VIEW = 4, 24
"""Pixels from one place of relu3_1 to the next, and the side of what one place sees, pixels."""

BOX = ((PATCH - 1) * STRIDE + VIEW) // STRIDE
"""Side of what a square of places sees, places."""

ROWS, COLUMNS = 2, 3
"""Parts of the picture; one region is taken from each."""


@dataclass(frozen=True)
class Square:
    """Part of a picture, pixels."""

    top: int
    left: int
    side: int

    def cut(self, rgb: RGB) -> RGB:
        """The part itself."""
        return rgb[self.top : self.top + self.side, self.left : self.left + self.side]

    def around(self, rgb: RGB) -> Square:
        """The same part with as much again on all sides together, inside the picture."""
        side = min(2 * self.side, *rgb.shape[:2])
        before = (side - self.side) // 2
        return _inside(self.top - before, self.left - before, side, rgb)


@dataclass(frozen=True)
class Match:
    """A region and what it resembles.

    Attributes:
        region: in the painted picture.
        found: in the painting.
        likeness: cosine of the two, −1 … 1.
        photo: the most that the unpainted region resembles any of the same pieces of the painting.
    """

    region: Square
    found: Square
    likeness: float
    photo: float


@torch.no_grad()
def matches(network: Vgg19, photo: RGB, painted: RGB, painting: RGB) -> list[Match]:
    """Look up, for a handful of regions, the part of the painting that is most like each.

    The regions are those that the style changed most, one from each part of the picture; no piece of the painting is
    shown for two of them, as long as there are others. Compared are squares of
    ``PATCH`` × ``PATCH`` places of relu3_1 with the painting's mean taken away, by their cosine, at every place of the
    painting. Patches of features: Li and Wand 2016, arXiv:1601.04589, section 3.

    Args:
        network: its last tap is relu3_1.
        photo, painted: the same size.
        painting: at the size in which it was learned from.
    """
    x, y, s = (network(to_tensor(rgb))[-1].float() for rgb in (photo, painted, painting))
    size = min(PATCH, *y.shape[-2:], *s.shape[-2:])
    change = F.avg_pool2d((y - x).square().sum(1, keepdim=True), size, stride=1)[0, 0]
    places = list(_chosen(change))
    mean = s.mean((2, 3), keepdim=True)
    after, before = (_cosines(_patches(f - mean, places, size), s - mean) for f in (y, x))
    found = []
    free = torch.ones_like(after[0], dtype=torch.bool)
    for place, cosine, unpainted in zip(places, after, before, strict=True):
        if not bool(free.any()):  # a small painting has not so many pieces
            free.fill_(True)
        top, left = divmod(int(cosine.masked_fill(~free, -torch.inf).argmax()), cosine.shape[1])
        found.append(
            Match(
                _square(place, size, painted),
                _square((top, left), size, painting),
                float(cosine[top, left]),
                float(unpainted[free].max()),
            )
        )
        free[max(0, top - BOX + 1) : top + BOX, max(0, left - BOX + 1) : left + BOX] = False
    return found


def _chosen(change: Tensor) -> Iterator[tuple[int, int]]:
    """(top, left) of the largest value inside each part of a map, row by row."""
    for top, bottom in _spans(change.shape[0], ROWS):
        for left, right in _spans(change.shape[1], COLUMNS):
            row, column = divmod(int(change[top:bottom, left:right].argmax()), right - left)
            yield top + row, left + column


def _spans(length: int, parts: int) -> Iterator[tuple[int, int]]:
    """The inside of each part of a line, with a box kept free at both ends, or as much of it as there is room for.

    Two regions on either side of a border would otherwise be the same stroke twice.
    """
    for places in torch.arange(length).tensor_split(parts):
        if len(places):
            free = min(BOX, (len(places) - 1) // 2)
            yield int(places[0]) + free, int(places[-1]) + 1 - free


def _patches(features: Tensor, places: list[tuple[int, int]], size: int) -> Tensor:
    """(1, C, H, W) → (places, C, size, size)."""
    return torch.cat([features[..., top : top + size, left : left + size] for top, left in places])


def _cosines(patches: Tensor, features: Tensor) -> Tensor:
    """(N, C, k, k) against every square of (1, C, H, W) → (N, H − k + 1, W − k + 1)."""
    size = patches.shape[-1]
    energy = F.avg_pool2d(features.square().sum(1, keepdim=True), size, stride=1) * size**2
    lengths = patches.flatten(1).norm(dim=1).view(1, -1, 1, 1) * energy.sqrt()
    cosines: Tensor = F.conv2d(features, patches) / lengths.clamp_min(1e-8)
    return cosines[0]


def _square(place: tuple[int, int], size: int, rgb: RGB) -> Square:
    """What a square of places sees, moved inside where it looks over the border."""
    side = min((size - 1) * STRIDE + VIEW, *rgb.shape[:2])
    # The first place sees as far before its own pixels as the last one sees behind them.
    top, left = (STRIDE * at - (VIEW - STRIDE) // 2 for at in place)
    return _inside(top, left, side, rgb)


def _inside(top: int, left: int, side: int, rgb: RGB) -> Square:
    return Square(min(max(0, top), rgb.shape[0] - side), min(max(0, left), rgb.shape[1] - side), side)
