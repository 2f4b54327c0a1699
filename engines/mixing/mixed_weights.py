"""The mean of several styles' weights, with the contrast that averaging takes from it given back.

Two networks of one shape that were trained from one another mix by the mean of their weights. But where their channels
do not agree, the mean of two signals is smaller than either, layer after layer: half-way between two of the shipped
styles, the picture had lost a third of its strokes, and its colours were off. So each channel of
each convolution gets the mean and the spread that it has in the styles, in the shares of the mix. That is one factor
and one offset for each channel, found once on ``calibration_pictures`` and multiplied into the weights: frames cost
nothing more, and no statistics of theirs are used.

Then the colours of large areas: the last layer is fitted so that patches of the pictures get the mean of the colours
that they have in the styles, by ridge regression of what is missing on the means of the hidden channels. The same
change for all pixels and all neighbours leaves the strokes as they are.

Measured half-way between twelve pairs of the shipped styles, on six photographs, relative to the mean of both ends
(``benchmarks/mixes.py``):

    weights                    contrast              gradients             colours of large areas, off by (of 255)
    the mean                   0.92 (0.75 … 1.17)    0.66 (0.52 … 0.83)    18 (9 … 31)
    with mean and spread       1.00 (0.85 … 1.14)    0.93 (0.79 … 1.05)    17 (10 … 27)
    this                       0.99 (0.86 … 1.09)    0.92 (0.78 … 1.05)    14 (9 … 20)

Sources: REPAIR, Jordan et al. 2022, arXiv:2211.08403; ridge regression, Hoerl and Kennard 1970, Technometrics 12(1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from engines.mixing.calibration import calibration_pictures
from engines.mixing.numpy_network import CELL_OUT, PAINTING, Floats, Weights, head_input, run_network

MOST_GAIN = 4.0
"""Largest factor of a channel: one that is nearly constant in the mix must not become noise."""

LEAST_SPREAD = 1e-4
"""Spread of a channel that counts as constant."""

PATCH = 8
"""Side of a patch whose colour is kept, in squares of 2×2 pixels."""

RIDGE = 0.2
"""Penalty of the regression, relative to the largest variance of a hidden channel."""

Tensors: TypeAlias = dict[str, npt.NDArray[np.float32]]


class Moments(NamedTuple):
    """Mean and standard deviation of each channel of a convolution's output."""

    mean: Floats
    spread: Floats


class Look(NamedTuple):
    """What a mix keeps of a style, measured on ``calibration_pictures``.

    Attributes:
        moments: of all convolutions by name.
        colours: mean of each patch of the paintings, (patches, 3) in [0, 1].
    """

    moments: Mapping[str, Moments]
    colours: Floats


def look_of(weights: Weights) -> Look:
    """Measure a style."""
    found: dict[str, Moments] = {}

    def look(name: str, output: Floats) -> Floats:
        found[name] = _moments(name, output)
        return output

    return Look(found, _colours(run_network(weights, calibration_pictures(), look)))


def mean_of(styles: Sequence[Weights], shares: Sequence[float]) -> Tensors:
    """Return the weighted mean of weights of one shape; the shares sum to 1."""
    mixed: Tensors = {}
    for name in styles[0]:
        total = np.zeros(styles[0][name].shape, np.float32)
        for weights, share in zip(styles, shares, strict=True):
            total += np.float32(share) * weights[name].astype(np.float32)
        mixed[name] = total
    return mixed


def mix_weights(styles: Sequence[Weights], shares: Sequence[float], looks: Sequence[Look]) -> Tensors:
    """Return the mean of weights with the moments and colours of the styles restored, layer after layer.

    Args:
        styles: weights of the same names and shapes.
        shares: of each style; they sum to 1.
        looks: of each style, from ``look_of``.
    """
    mixed, hidden = mean_of(styles, shares), np.empty(0, np.float32)

    def restore(name: str, output: Floats) -> Floats:
        nonlocal hidden
        now = _moments(name, output)
        mean, spread = _mean([one.moments[name] for one in looks], shares)
        gain = np.clip(spread / np.maximum(now.spread, LEAST_SPREAD), 1 / MOST_GAIN, MOST_GAIN)
        offset = mean - gain * now.mean
        layer = "head" if name == PAINTING else name
        mixed[f"{layer}.conv.weight"] *= gain[:, None, None, None]
        mixed[f"{layer}.conv.bias"] *= gain
        mixed[f"{layer}.conv.bias"] += offset
        if name == PAINTING:
            mixed["softening"] *= gain[:, None, None, None]
        restored = np.asarray(output * gain + offset)
        if name == "refine":
            hidden = head_input(restored)
        return restored

    painting = run_network(mixed, calibration_pictures(), restore)
    _fit_colours(mixed, hidden, _mean([one.colours for one in looks], shares) - _colours(painting))
    return mixed


def _mean(values: Sequence[npt.ArrayLike], shares: Sequence[float]) -> Floats:
    """Return the weighted mean of arrays of one shape."""
    return np.asarray(np.tensordot(np.asarray(shares, np.float32), np.asarray(values), 1), np.float32)


def _fit_colours(mixed: Tensors, hidden: Floats, missing: Floats) -> None:
    """Change the last layer so that patches get the colours that they miss, (patches, 3), as far as it can; in place.

    The change is the same for the pixels of a square, which would differ on flat parts otherwise.
    """
    weight, bias = mixed["head.conv.weight"], mixed["head.conv.bias"]
    inputs = _patches(hidden[:, 1:-1, 1:-1])  # the head's convolution takes one square off each side
    mean = inputs.mean(0)
    centred = inputs - mean
    gram = centred.T @ centred / len(inputs)
    # A channel that these pictures hardly switch on gets hardly any weight: others may switch it on.
    penalty = RIDGE * max(float(gram.diagonal().max()), LEAST_SPREAD**2) * np.eye(len(mean), dtype=np.float32)
    change = np.linalg.solve(gram + penalty, centred.T @ (missing - missing.mean(0)) / len(inputs))
    taps = weight[0, 0].size
    weight += np.tile(change.T, (CELL_OUT**2, 1))[..., None, None] / np.float32(taps)
    bias += np.tile(missing.mean(0) - mean @ change, CELL_OUT**2)


def _colours(painting: Floats) -> Floats:
    """Return the mean colour of each patch of paintings in squares of 2×2 pixels, (patches, 3)."""
    shown = np.clip(painting, 0.0, 1.0)
    return _patches(shown.reshape(*shown.shape[:3], CELL_OUT**2, 3).mean(3))


def _patches(x: Floats) -> Floats:
    """Return the means of all whole patches, (N, H, W, C) → (patches, C)."""
    count, rows, columns, channels = len(x), x.shape[1] // PATCH, x.shape[2] // PATCH, x.shape[3]
    whole = x[:, : rows * PATCH, : columns * PATCH].reshape(count, rows, PATCH, columns, PATCH, channels)
    return np.asarray(whole.mean((2, 4)).reshape(-1, channels), np.float32)


def _moments(name: str, output: Floats) -> Moments:
    """Return the moments of an output's channels; the pixels of a painting's squares have those of their colour.

    Moments of their own would make the pixels of a square differ on flat parts, which shows as a mesh.
    """
    channels = output.reshape(-1, 3 if name in ("head", PAINTING) else output.shape[-1])
    mean = channels.mean(0, dtype=np.float64).astype(np.float32)
    spread = channels.std(0, dtype=np.float64).astype(np.float32)
    times = output.shape[-1] // len(mean)
    return Moments(np.tile(mean, times), np.tile(spread, times))
