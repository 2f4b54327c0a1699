"""The mean of several styles' weights, with the contrast that averaging takes from it given back.

Two networks of one shape that were trained from one another mix by the mean of their weights. But where their channels
do not agree, the mean of two signals is smaller than either, layer after layer: half-way between two of the shipped
styles, the picture had lost a quarter of its contrast and of its strokes, and most of its colour. So each channel of
each convolution gets the mean and the spread that it has in the styles, in the shares of the mix. That is one factor
and one offset for each channel, found once on ``calibration_pictures`` and multiplied into the weights: frames cost
nothing more, and no statistics of theirs are used.

Measured half-way between twelve pairs of the shipped styles, on six photographs, relative to the mean of both ends
(``benchmarks/mixes.py``):

    weights                                      contrast                gradients
    the mean                                     0.77 (0.68 … 0.87)      0.73 (0.51 … 0.85)
    the mean, its output stretched               1.02 (0.98 … 1.07)      0.97 (0.78 … 1.12)    colours stay lost
    this                                         1.05 (0.95 … 1.13)      0.98 (0.89 … 1.07)

Source: REPAIR, Jordan et al. 2022, arXiv:2211.08403.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from engines.mixing.calibration import calibration_pictures
from engines.mixing.numpy_network import PAINTING, Floats, Weights, run_network

MOST_GAIN = 4.0
"""Largest factor of a channel: one that is nearly constant in the mix must not become noise."""

LEAST_SPREAD = 1e-4
"""Spread of a channel that counts as constant."""

Tensors: TypeAlias = dict[str, npt.NDArray[np.float32]]


class Moments(NamedTuple):
    """Mean and standard deviation of each channel of a convolution's output."""

    mean: Floats
    spread: Floats


def channel_moments(weights: Weights) -> dict[str, Moments]:
    """Return the moments of all convolutions of a style by name."""
    found: dict[str, Moments] = {}

    def look(name: str, output: Floats) -> Floats:
        found[name] = _moments(name, output)
        return output

    run_network(weights, calibration_pictures(), look)
    return found


def mean_of(styles: Sequence[Weights], shares: Sequence[float]) -> Tensors:
    """Return the weighted mean of weights of one shape; the shares sum to 1."""
    mixed: Tensors = {}
    for name in styles[0]:
        total = np.zeros(styles[0][name].shape, np.float32)
        for weights, share in zip(styles, shares, strict=True):
            total += np.float32(share) * weights[name].astype(np.float32)
        mixed[name] = total
    return mixed


def mix_weights(
    styles: Sequence[Weights], shares: Sequence[float], moments: Sequence[Mapping[str, Moments]]
) -> Tensors:
    """Return the mean of weights with the moments of the styles restored, layer after layer.

    Args:
        styles: weights of the same names and shapes.
        shares: of each style; they sum to 1.
        moments: of each style, from ``channel_moments``.
    """
    mixed = mean_of(styles, shares)

    def restore(name: str, output: Floats) -> Floats:
        now = _moments(name, output)
        mean, spread = mean_moments(name)
        gain = np.clip(spread / np.maximum(now.spread, LEAST_SPREAD), 1 / MOST_GAIN, MOST_GAIN)
        offset = mean - gain * now.mean
        layer = "head" if name == PAINTING else name
        mixed[f"{layer}.conv.weight"] *= gain[:, None, None, None]
        mixed[f"{layer}.conv.bias"] *= gain
        mixed[f"{layer}.conv.bias"] += offset
        if name == PAINTING:
            mixed["softening"] *= gain[:, None, None, None]
        return np.asarray(output * gain + offset)

    def mean_moments(name: str) -> Floats:
        stacked = np.array([one[name] for one in moments])
        return np.asarray(np.tensordot(np.asarray(shares, np.float32), stacked, 1), np.float32)

    run_network(mixed, calibration_pictures(), restore)
    return mixed


def _moments(name: str, output: Floats) -> Moments:
    """Return the moments of an output's channels; the pixels of a painting's squares have those of their colour.

    Moments of their own would make the pixels of a square differ on flat parts, which shows as a mesh.
    """
    channels = output.reshape(-1, 3 if name in ("head", PAINTING) else output.shape[-1])
    mean = channels.mean(0, dtype=np.float64).astype(np.float32)
    spread = channels.std(0, dtype=np.float64).astype(np.float32)
    times = output.shape[-1] // len(mean)
    return Moments(np.tile(mean, times), np.tile(spread, times))
