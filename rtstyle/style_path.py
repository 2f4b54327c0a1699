"""The weights between two styles."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from engines.mixing.mixed_style import MixedStyle, joined_ranges, with_weights
from engines.style_file import StyleModel
from rtstyle.style_library import open_style
from rtstyle.style_mix import Mix

STEP = 0.25
"""Largest part of a mix that changes from one mix on the way to the next; between them contrast falls by 3 %."""

FlatWeights: TypeAlias = npt.NDArray[np.float32]
"""All weights of a style in one array, in the order of their names."""


class StylePath:
    """The way from one mix to another: interpolated between mixes that are at most ``STEP`` apart.

    Making one takes a few tenths of a second, and each of its weights 1 ms.

    Raises:
        StyleError: a style cannot be used, or they do not mix.
    """

    def __init__(self, start: Mix, end: Mix) -> None:
        self.start, self.end = start, end
        steps = max(1, math.ceil(start.distance(end) / STEP - 1e-6))
        models = [open_style(str(start.toward(end, step / steps))) for step in range(steps + 1)]
        # In int8, all weights on the way need the ranges of both ends.
        first = replace(models[0], ranges=joined_ranges([model.ranges for model in models]))
        self._style = with_weights(first, first.tensors())
        self._points = [_flat(model) for model in models]
        self._changes = [other - one for one, other in pairwise(self._points)]

    def begin_from(self, weights: FlatWeights) -> None:
        """Begin with these weights instead of those of ``start``: frames have gone on meanwhile."""
        self._points[0], self._changes[0] = weights, self._points[1] - weights

    def weights(self, way: float) -> FlatWeights:
        """Return the weights after a part of the way, 0 … 1."""
        position = min(max(way, 0.0), 1.0) * (len(self._points) - 1)
        step = min(int(position), len(self._changes) - 1)
        weights = self._changes[step] * np.float32(position - step)
        weights += self._points[step]
        return weights

    def style(self, weights: FlatWeights) -> MixedStyle:
        """Return the style with these weights."""
        views, place = {}, 0
        for name, value in sorted(self._style.mixed.items()):
            views[name] = weights[place : place + value.size].reshape(value.shape)
            place += value.size
        return with_weights(self._style, views)


def _flat(style: StyleModel) -> FlatWeights:
    return np.concatenate([value.ravel() for _, value in sorted(style.tensors().items())], dtype=np.float32)
